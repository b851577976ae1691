"""What a client of a session hears: rows, errors with all their fields, notices. How long something took and how many pages were read is
left out: both depend on rows that are not shown, as time does."""

import re
from collections.abc import Sequence
from typing import Any

import asyncpg

_PAGES = re.compile(r"^\(? *(?:Buffers|I/O Timings|Planning|WAL):.*\n?", re.MULTILINE)
"""Lines of a plan that are there only where pages were read at all: to plan, after caches were emptied."""
_WORK = re.compile(
    r"actual time=[\d.]+|\b[\d.]+ ?ms\b|\d+kB"
    r"|\"((Shared|Local|Temp|WAL|Sort Space|Peak Memory)[A-Za-z /-]*|[A-Za-z ]+ Time)\": [\d.]+|shard_[0-9a-f]+"
)
"""How long, how much, and in which database."""
_PARAMETER = re.compile(r"\$\d")


async def told(connection: "asyncpg.Connection[asyncpg.Record]", statements: Sequence[str]) -> str:
    """Everything that a client hears: rows, errors with all their fields, notices."""
    heard: list[str] = []

    def notice(_: object, message: Any) -> None:
        heard.append(f"{type(message).__name__}: {message} {getattr(message, 'detail', '')}")

    connection.add_log_listener(notice)
    try:
        for statement in statements:
            heard += [await _one(connection, statement)]
    finally:
        connection.remove_log_listener(notice)
    return without_work("\n".join(heard))


def without_work(heard: str) -> str:
    return _WORK.sub("", _PAGES.sub("", heard))


async def _one(connection: "asyncpg.Connection[asyncpg.Record]", statement: str) -> str:
    try:
        if ";" in statement.rstrip(";"):
            return await connection.execute(statement)
        rows = await connection.fetch(statement, *_unknown(statement))
    except asyncpg.PostgresError as exc:
        return " | ".join(
            f"{name}={value}" for name, value in sorted(exc.as_dict().items()) if name != "server_source_line"
        )
    except (asyncpg.InterfaceError, UnicodeDecodeError, ValueError, OverflowError) as exc:
        return f"client: {type(exc).__name__}"
    keys = list(rows[0].keys()) if rows else []
    return "\n".join([str(keys), *sorted(_text(row) for row in rows)])


def _unknown(statement: str) -> list[None]:
    """Of a plan for whatever values, as many as it names; a client that gives none asks nothing."""
    return [None] * len(set(_PARAMETER.findall(statement))) if statement.startswith("EXPLAIN (GENERIC_PLAN") else []


def _text(value: Any) -> str:
    """As Postgres would say it, so that what is hidden is found in it."""
    if isinstance(value, asyncpg.Record):
        return f"({', '.join(_text(one) for one in value.values())})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(one) for one in value)}]"
    return str(value)


def leaves_nothing(statements: Sequence[str]) -> bool:
    """Whether the session is as before."""
    return all(one.startswith(("SELECT ", "EXPLAIN ", "WITH ", "TABLE ")) and ";" not in one for one in statements)


async def cleaned(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """As it was when it was opened, but for the client's own prepared statements."""
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK")
    await connection.execute("CLOSE ALL; UNLISTEN *; RESET SESSION AUTHORIZATION; RESET ALL")
