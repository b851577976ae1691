"""Structured logs: one JSON object a line, an event name and listed fields, never personal data.

A field's name must stand in `FIELDS` and its value be a plain scalar; anything else raises `TypeError`, so a test that walks a path
finds a bad log line before an operator does. `Mute` values are refused by type.
"""

import json
import logging
import sys
import traceback
from typing import TextIO

from foundation.clock import Clock, SystemClock

FIELDS = frozenset(
    {
        # who and where: pseudonymous ids only
        "service", "cell", "shard", "region", "subject_id", "claim", "actor", "epoch", "old_epoch", "seq", "source", "as_of", "digest",
        # what happened
        "entry", "code", "verdict", "ground", "verb", "method", "route", "status", "state", "reason", "kind", "table", "contract", "column",
        "migration", "worker", "error", "trace_id", "span_id", "kid", "issuer", "role",
        # how much and how long
        "count", "events", "pending", "attempt", "bytes", "duration_ms", "age_s", "wait_s", "lag", "limit", "generation",
        # where it listens or calls; configured addresses, never a client's
        "address", "port", "upstream", "pid", "version", "compiled", "file",
    }
)  # fmt: skip

_LIBRARY_CHARS_MAX = 120

Scalar = str | int | float | bool | None


class Log:
    """Named logger bound to constant fields."""

    def __init__(self, logger: logging.Logger, bound: dict[str, Scalar]) -> None:
        self._logger = logger
        self._bound = bound

    def bind(self, **fields: Scalar) -> "Log":
        _check(fields)
        return Log(self._logger, self._bound | fields)

    def debug(self, event: str, **fields: Scalar) -> None:
        self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Scalar) -> None:
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Scalar) -> None:
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Scalar) -> None:
        self._emit(logging.ERROR, event, fields)

    def fault(self, event: str, exc: BaseException, **fields: Scalar) -> None:
        """A fault with the exception's type and place, not its text: texts of exceptions quote data."""
        frame = traceback.extract_tb(exc.__traceback__)[-1:] if exc.__traceback__ else []
        where = f"{'/'.join(frame[0].filename.split('/')[-2:])}:{frame[0].lineno}" if frame else ""
        self._emit(logging.ERROR, event, fields | {"error": type(exc).__name__, "file": where})

    def _emit(self, level: int, event: str, fields: dict[str, Scalar]) -> None:
        _check(fields)
        if self._logger.isEnabledFor(level):
            self._logger.log(level, event, extra={"fields": self._bound | fields})


def _check(fields: dict[str, Scalar]) -> None:
    for name, value in fields.items():
        if name not in FIELDS:
            raise TypeError(f"log field {name!r} is not listed in foundation.logs.FIELDS")
        if not (value is None or isinstance(value, str | int | float | bool)):
            raise TypeError(f"log field {name!r} holds a {type(value).__name__}; only plain scalars are logged")


def get(name: str) -> Log:
    return Log(logging.getLogger(name), {})


class _JsonFormatter(logging.Formatter):
    def __init__(self, process: str, clock: Clock) -> None:
        super().__init__()
        self._process = process
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Scalar] = {
            "at": round(self._clock.unix_s(), 3),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
        }
        fields = getattr(record, "fields", None)
        if fields is None:
            line["event"] = "library"
            line["reason"] = _constant_part(record)
            if record.exc_info and record.exc_info[0]:
                line["error"] = record.exc_info[0].__name__
        else:
            line["event"] = record.msg
            line |= fields
        return json.dumps(line, separators=(",", ":"), default=str)


def _constant_part(record: logging.LogRecord) -> str:
    """What a library's line says without what it quotes: never the arguments, and of a finished text only the first line's start.

    asyncio, for one, puts the representation of a failed task's exception on the second line.
    """
    text = str(record.msg).split("%", maxsplit=1)[0] if record.args else str(record.msg)
    return text.partition("\n")[0].partition(":")[0][:_LIBRARY_CHARS_MAX]


def configure(process: str, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Sets up the process's one handler; libraries log warnings and worse through the same formatter."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter(process, SystemClock()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for package in ("cells", "deploy", "directory", "foundation", "gateway", "routing_rules"):
        logging.getLogger(package).setLevel(level)
