"""The wall against whoever wants to see more: two worlds that differ in all but what is shown, on real Postgres, as the role itself.

`WALL_STATEMENTS` says how many statements are generated (1,000 usually), `WALL_SEED` from where.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Sequence

import asyncpg
import pytest

from cells.breakglass.wall.masks import expression
from cells.breakglass.wall.views import body, install, statements
from deploy.local.postgres import PostgresServer
from tests.stands.wall import World, contracts, two_worlds
from tests.stands.wall_grammar import Grammar
from tests.stands.wall_longer import Shape
from tests.stands.wall_shapes import SHAPES
from tests.stands.wall_telling import cleaned, leaves_nothing, told
from tests.stands.wall_tricks import TRICKS

pytestmark = pytest.mark.anyio

STATEMENTS = int(os.environ.get("WALL_STATEMENTS", "1000"))
SEED = int(os.environ.get("WALL_SEED", "20261127"))
EACH = 500
"""Statements of one session: it ends by itself after ten minutes."""
Worlds = tuple[World, World]


@pytest.fixture(scope="module")
async def worlds(postgres_server: PostgresServer) -> AsyncIterator[Worlds]:
    async with two_worlds(postgres_server) as built:
        yield built


def leaked(world: World, heard: str, statement: str, *, inside: bool) -> set[str]:
    """What came out that may not, beside what the statement itself says."""
    held = world.raw | world.foreign
    if not inside:
        held = held | {world.guesses["handle"]}
    return {one for one in held if one in heard and one not in statement}


async def holes(
    worlds: Worlds, shapes: Iterable[Shape], *, inside: bool, writing: bool = False, planted: Sequence[str] = ()
) -> dict[str, str]:
    """The shapes that get something through the wall, and what is heard. `planted`: what an admin does to both worlds before."""
    first, second = worlds
    found: dict[str, str] = {}
    async with first.engineer(inside=inside) as one, second.engineer(inside=inside) as other:
        for world in worlds if planted else ():
            await world.as_admin(*planted)
        for shape in shapes:
            asked = [statement.format(**first.guesses) for statement in shape.statements]
            answers = await asyncio.gather(*(heard(connection, asked, writing=writing) for connection in (one, other)))
            for world, said in zip(worlds, answers, strict=True):
                through = leaked(world, said, "\n".join(asked), inside=inside)
                if through:
                    found[shape.name] = f"{asked}: {sorted(through)[:5]}"
            if shape.same and answers[0] != answers[1]:
                found.setdefault(shape.name, f"{asked}: {answers[0][:600]} /// {answers[1][:600]}")
        for connection in (one, other):
            assert await connection.fetchval("SELECT count(*) FROM wall.people"), (
                "a session that has ended proves nothing"
            )
    return found


async def heard(connection: "asyncpg.Connection[asyncpg.Record]", asked: Sequence[str], *, writing: bool) -> str:
    if writing:
        await connection.execute("SET default_transaction_read_only = off")
    said = await told(connection, asked)
    if writing or not leaves_nothing(asked):
        await cleaned(connection)
    return said


async def counts(world: World) -> list[tuple[object, ...]]:
    """What any change would show in."""
    async with world.shard.as_owner() as owner:
        rows = await owner.fetch(
            "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg%')),"
            " (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_roles), (SELECT count(*) FROM pg_operator),"
            " (SELECT count(*) FROM pg_cast),"
            " (SELECT count(*) FROM pg_largeobject_metadata), (SELECT md5(string_agg(p::text, '' ORDER BY id)) FROM product.people AS p),"
            " (SELECT md5(string_agg(p::text, '' ORDER BY id)) FROM product.payments AS p)"
        )
        return [tuple(row.values()) for row in rows]


async def test_the_engineer_sees_rows_of_the_ticket_and_what_the_masks_leave(worlds: Worlds) -> None:
    for inside, name, diary in ((True, "Aaaaaaa Aaaaaaaaa", "*** (34 characters)"), (False, "***", "***")):
        async with worlds[0].engineer(inside=inside) as engineer:
            rows = await engineer.fetch("SELECT * FROM people")
            assert (len(rows), {row["name"] for row in rows}, {row["diary"] for row in rows}) == (12, {name}, {diary})
            assert (
                {row["illness"] for row in rows}
                == {row["profile"] for row in rows}
                == {row["rate"] for row in rows}
                == {None}
            )
            assert ({row["handle"] for row in rows} == {None}) is not inside
            assert {(row["born"].month, row["born"].day) for row in rows if row["born"]} == (
                {(1, 1)} if inside else set()
            )
            assert {str(row["friend"]) for row in rows} == {"None", worlds[0].guesses["own"]}
            assert {"card", "shadow", "salary"}.isdisjoint(rows[0].keys())


@pytest.mark.parametrize(("inside", "writing"), [(True, False), (False, True)], ids=["inside", "outside, writing"])
async def test_no_shape_gets_a_value_or_a_row_through_the_wall(worlds: Worlds, inside: bool, writing: bool) -> None:
    before = [await counts(world) for world in worlds]
    assert await holes(worlds, (*SHAPES, *TRICKS), inside=inside, writing=writing) == {}
    assert [await counts(world) for world in worlds] == before


async def test_no_generated_statement_gets_a_value_or_a_row_through_the_wall(worlds: Worlds) -> None:
    grammar = Grammar(SEED, worlds[0].guesses)
    made = [grammar.statement() for _ in range(STATEMENTS)]
    shapes = [
        Shape(f"{SEED}:{number}", (text.replace("{", "{{").replace("}", "}}"),)) for number, text in enumerate(made)
    ]
    half = len(shapes) // 2
    for at in range(0, len(shapes), EACH):
        assert await holes(worlds, shapes[at : at + EACH], inside=at < half) == {}


# --- holes on purpose ------------------------------------------------------------------------------------------------------------

PEOPLE = contracts()["people"]
SESSION = "(SELECT e.subjects, e.inside, e.purpose FROM domicile.engineer_session AS e WHERE e.pid = pg_backend_pid())"
AT_HOME = (
    "(SELECT p.* FROM product.people AS p JOIN domicile.home AS f ON f.subject_id = p.subject_id"
    " WHERE f.state IN ('active', 'frozen'))"
)
TAKEN_DOWN = ("SET ROLE domicile_wall", "DROP VIEW wall.people", "DROP FUNCTION wall.people()")
OPENED = ("GRANT SELECT ON wall.people TO domicile_engineer", "RESET ROLE")
BY_SETTING = "current_setting('TimeZone') = 'Pacific/Kiritimati'"
UNFILTERED = body(PEOPLE).replace('ON t."subject_id" = u.subject', "ON true")


def plain(options: str) -> tuple[str, ...]:
    """A view of the usual form over the table, with the same masks and rows, and no function beneath."""
    read = body(PEOPLE).replace("domicile.engineer_now()", SESSION).replace('live."people"', AT_HOME)
    return (*TAKEN_DOWN, f"CREATE VIEW wall.people {options} AS {read}", *OPENED)


def bodied(changed: str) -> tuple[str, ...]:
    """The wall's own form with another body."""
    made = [one.replace(body(PEOPLE), changed) for one in statements(PEOPLE)]
    grant = "GRANT EXECUTE ON FUNCTION wall.people() TO domicile_engineer"
    return (*TAKEN_DOWN, "SET check_function_bodies = off", *made, grant, *OPENED)


PLANTED = {
    "a view without a barrier": (plain(""), "foreign"),
    "a barrier and nothing beneath": (plain("WITH (security_barrier)"), "explaining"),
    "a mask left out": (bodied(body(PEOPLE).replace(expression(PEOPLE, "name"), 't."name"')), "reading"),
    "a mask by what a session sets": (
        bodied(body(PEOPLE).replace('NULL::text AS "illness"', f'CASE WHEN {BY_SETTING} THEN t.illness END AS "illness"')),
        "a stranger's settings",
    ),
    "a year of the session's own zone": (bodied(body(PEOPLE).replace(", 'UTC')", ")")), "the year's edge"),
    "subjects left out": (bodied(UNFILTERED), "foreign"),
    "the fence left out": (bodied(body(PEOPLE).replace("live.", "product.")), "foreign"),
    "rights of the table": (("GRANT USAGE ON SCHEMA product TO PUBLIC", "GRANT SELECT ON product.people TO PUBLIC"), "reading"),
    "a mask left out, told by whole rows": (bodied(body(PEOPLE).replace(expression(PEOPLE, "name"), 't."name"')), "tricks of rows"),
    "a mask left out, told by errors": (bodied(body(PEOPLE).replace(expression(PEOPLE, "name"), 't."name"')), "tricks of errors"),
    "subjects left out, told by groups": (bodied(UNFILTERED), "tricks of groups"),
    "statistics": (("GRANT pg_read_all_data TO domicile_engineer WITH INHERIT TRUE",), "catalogue"),
    "a function of the product's": (
        ("GRANT USAGE ON SCHEMA product TO PUBLIC", "GRANT EXECUTE ON FUNCTION product.whole_name(uuid) TO PUBLIC"),
        "reading",
    ),
}  # fmt: skip
MENDED = (
    "REVOKE USAGE ON SCHEMA product FROM PUBLIC", "REVOKE SELECT ON product.people FROM PUBLIC",
    "REVOKE EXECUTE ON FUNCTION product.whole_name(uuid) FROM PUBLIC", "REVOKE pg_read_all_data FROM domicile_engineer",
    "DROP VIEW wall.people", "DROP FUNCTION IF EXISTS wall.people()",
)  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
async def test_a_planted_hole_is_found_by_the_same_shapes(worlds: Worlds, name: str) -> None:
    planted, kind = PLANTED[name]
    try:
        found = await holes(
            worlds, [one for one in (*SHAPES, *TRICKS) if one.name.startswith(kind)], inside=True, planted=planted
        )
    finally:
        for world in worlds:
            await world.as_admin(*MENDED)
            async with world.shard.as_owner() as owner:
                assert await install(owner, contracts())
    assert found != {}
