"""A small Postgres of messages, one after the other, without SQL and without any code of the door: what it ran is the truth that the door's
attribution is held to.

Texts are commands of a few words. Every run ends with a tag or an SQLSTATE of its own, so that what the door says of it can be traced back.
"""

import random
import struct
from collections import deque
from dataclasses import dataclass, field


@dataclass
class Portal:
    """`runs`: what it names had rows when it was bound, so that FETCH runs it, whatever it is by then."""

    text: str
    parameters: tuple[bytes | None, ...]
    left: int
    by_message: bool
    begun: bool = False
    runs: bool = False


class Failed(Exception):
    def __init__(self, code: str) -> None:
        self.code = code


@dataclass
class Ran:
    """`by`: the kind of message."""

    text: str
    parameters: tuple[bytes | None, ...]
    by: str


def framed(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def strings(*values: str) -> bytes:
    return b"".join(value.encode() + b"\0" for value in values)


@dataclass
class Backend:
    """`sent`: what a client could have read by now; `ran` by the tag or SQLSTATE that told it; `touched`: portals that FETCH ran without a
    message."""

    statements: dict[str, str] = field(default_factory=dict)
    portals: dict[str, Portal] = field(default_factory=dict)
    sent: bytearray = field(default_factory=bytearray)
    ran: dict[str, Ran] = field(default_factory=dict)
    touched: list[Portal] = field(default_factory=list)
    inbox: deque[bytes] = field(default_factory=deque)
    block: str = "I"
    skipping: bool = False
    _serial: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _partial: bytes = b""

    def hear(self, data: bytes) -> None:
        data, at = self._partial + data, 0
        while len(data) - at >= 5:
            end = at + 1 + struct.unpack_from("!I", data, at + 1)[0]
            if end > len(data):
                break
            self.inbox.append(data[at:end])
            at = end
        self._partial = data[at:]

    def step(self) -> None:
        """Takes one message."""
        raw = self.inbox.popleft()
        kind, body = chr(raw[0]), raw[5:]
        if kind == "S":
            self.skipping = False
            self._ready()
        elif self.skipping:
            return
        elif kind == "Q":
            self._query(body[:-1].decode())
        elif kind == "H":
            self._flush()
        else:
            try:
                {"P": self._parse, "B": self._bind, "D": self._describe, "E": self._execute, "C": self._close}[kind](
                    body
                )
            except Failed as exc:
                self._error(exc.code)
                self.skipping = True

    # --- messages ------------------------------------------------------------------------------------------------------------

    def _parse(self, body: bytes) -> None:
        name, text = (part.decode() for part in body.split(b"\0")[:2])
        if not name:
            self.statements.pop("", None)
        self._compiles(text)
        if name and name in self.statements:
            raise Failed("42P05")
        self.statements[name] = text
        self._say("1")

    def _bind(self, body: bytes) -> None:
        portal, statement, rest = body.split(b"\0", 2)
        text = self.statements.get(statement.decode())
        if text is None:
            raise Failed("26000")
        self._alive(text)
        (formats,) = struct.unpack_from("!H", rest)
        at = 2 + 2 * formats
        (count,) = struct.unpack_from("!H", rest, at)
        at += 2
        parameters: list[bytes | None] = []
        for _ in range(count):
            (size,) = struct.unpack_from("!i", rest, at)
            at += 4
            parameters.append(None if size < 0 else rest[at : at + size])
            at += max(size, 0)
        if portal and portal.decode() in self.portals:
            raise Failed("42P03")
        runs = text.startswith("EXECUTE") and rows_of(self.statements.get(text.split()[1], "")) > 0
        self.portals[portal.decode()] = Portal(text, tuple(parameters), rows_of(text), by_message=True, runs=runs)
        self._say("2")

    def _describe(self, body: bytes) -> None:
        name = body[1:-1].decode()
        if body[:1] == b"S":
            text = self.statements.get(name)
            if text is None:
                raise Failed("26000")
            self._say("t", b"\0\0")
        else:
            held = self.portals.get(name)
            if held is None:
                raise Failed("34000")
            text = held.text
        self._alive(text)
        self._columns(text)

    def _columns(self, text: str) -> None:
        if rows_of(text):
            number = int(text.split()[1])
            self._say(
                "T", struct.pack("!H", 1) + strings(f"c{number}") + struct.pack("!IhIhih", number, 1, 25, -1, -1, 0)
            )
        else:
            self._say("n")

    def _execute(self, body: bytes) -> None:
        name = body.split(b"\0")[0].decode()
        (most,) = struct.unpack_from("!I", body, len(name) + 1)
        portal = self.portals.get(name)
        if portal is None:
            raise Failed("34000")
        self._alive(portal.text)
        self._serial += 1
        serial = self._serial
        run = Ran(portal.text, portal.parameters, "E")
        try:
            if not portal.by_message or portal.begun or rows_of(portal.text):
                portal.begun = True
                count = min(most or portal.left, portal.left)
                portal.left -= count
                self._rows(count)
                if most and portal.left:
                    self.ran[f"SUSPENDED {serial}"] = run
                    self._say("s")
                    return
                tag = f"SELECT {serial}"
            else:
                portal.begun = True
                tag = self._command(portal.text, serial)
        except Failed as exc:
            self.ran[self._named(exc)] = run
            raise
        self.ran[tag] = run
        if tag.startswith("EMPTY"):
            self._say("I")
        else:
            self._say("C", strings(tag))

    def _close(self, body: bytes) -> None:
        (self.statements if body[:1] == b"S" else self.portals).pop(body[1:-1].decode(), None)
        self._say("3")

    def _query(self, said: str) -> None:
        self.statements.pop("", None)
        self.portals.pop("", None)
        run = Ran(said, (), "Q")
        try:
            for text in said.split(";"):
                self._compiles(text)
            for text in said.split(";"):
                self._serial += 1
                serial = self._serial
                self._alive(text)
                if rows_of(text):
                    self._columns(text)
                    self._rows(rows_of(text))
                    tag = f"SELECT {serial}"
                else:
                    tag = self._command(text, serial)
                self.ran[tag] = run
                self._say("I") if tag.startswith("EMPTY") else self._say("C", strings(tag))
        except Failed as exc:
            self.ran[self._named(exc)] = run
            self._error(exc.code)
        self._ready()

    # --- commands ------------------------------------------------------------------------------------------------------------

    def _command(self, text: str, serial: int) -> str:
        word, *rest = text.split() or [""]
        name = rest[0] if rest else ""
        match word:
            case "":
                return f"EMPTY {serial}"
            case "BEGIN":
                self.block = "T"
            case "COMMIT" | "ROLLBACK":
                self.block = "I"
                self.portals.clear()
            case "FAIL":
                raise Failed("")
            case "PREPARE":
                if name in self.statements:
                    raise Failed("")
                self.statements[name] = " ".join(rest[2:])
            case "DEALLOCATE" if name != "ALL":
                if self.statements.pop(name, None) is None:
                    raise Failed("")
            case "DEALLOCATE" | "DISCARD" | "DO":
                self.statements = {held: one for held, one in self.statements.items() if not held}
                if word == "DO":
                    self.statements["s1"] = "SELECT 9"
            case "DECLARE":
                if name in self.portals:
                    raise Failed("")
                source = " ".join(rest[3:])
                self.portals[name] = Portal(source, (), rows_of(source), by_message=False)
            case "CLOSE":
                if name == "ALL":
                    self.portals = {held: one for held, one in self.portals.items() if not held}
                elif self.portals.pop(name, None) is None:
                    raise Failed("")
            case "EXECUTE":
                inner = self.statements.get(name)
                if inner is None or inner.startswith(("EXECUTE", "FETCH")):
                    raise Failed("")
                if not rows_of(inner):
                    return self._command(inner, serial)
                self._rows(rows_of(inner))
                return f"SELECT {serial}"
            case "FETCH":
                held = self.portals.get(name)
                if held is None or not (rows_of(held.text) or held.runs):
                    raise Failed("")
                self.touched.append(held)
                if held.runs and not held.begun:
                    self._command(held.text, serial)
                held.left, held.begun = 0, True
                return f"FETCH {serial}"
            case _:
                pass
        told = {"DECLARE": "DECLARE CURSOR", "CLOSE": "CLOSE CURSOR", "DISCARD": "DISCARD ALL", "DO": "DO"}.get(
            word, word
        )
        # Postgres' tags have no serial number; one in a second word keeps those of the door's interest as they are.
        return f"{told} ALL" if text == "DEALLOCATE ALL" else told if word in _PLAIN else f"{told} {serial}"

    def _compiles(self, text: str) -> None:
        if text.split()[:1] not in ([], *([word] for word in WORDS)):
            raise Failed("42601")

    def _alive(self, text: str) -> None:
        if self.block == "E" and text not in ("ROLLBACK", "COMMIT"):
            raise Failed("25P02")

    def _named(self, exc: Failed) -> str:
        """Codes of Postgres are those of many runs."""
        if not exc.code:
            exc.code = f"X{self._serial:04d}"
            return exc.code
        return f"{exc.code} of {len(self.ran)}"

    # --- answers -------------------------------------------------------------------------------------------------------------

    def _rows(self, count: int) -> None:
        for _ in range(count):
            self._say("D", b"\0\1\0\0\0\1x")

    def _error(self, code: str) -> None:
        self._say("E", b"".join(strings(one) for one in ("SERROR", "VERROR", f"C{code}", "Mfailed")) + b"\0")
        self.block = "E" if self.block != "I" else "I"
        if self.block == "I":
            self.portals.clear()
        self._flush()

    def _ready(self) -> None:
        if self.block == "I":
            self.portals.clear()
        self._say("Z", self.block.encode())
        self._flush()

    def _say(self, kind: str, body: bytes = b"") -> None:
        self._buffer += framed(kind, body)

    def _flush(self) -> None:
        self.sent += self._buffer
        self._buffer.clear()


_PLAIN = ("DEALLOCATE", "DISCARD", "DO", "DECLARE", "CLOSE")
WORDS = (*_PLAIN, "SELECT", "BEGIN", "COMMIT", "ROLLBACK", "FAIL", "PREPARE", "EXECUTE", "FETCH")


def rows_of(text: str) -> int:
    return 1 + int(text.split()[1]) % 3 if text.startswith("SELECT") else 0


# --- scripts -----------------------------------------------------------------------------------------------------------------

NAMES = ("", "", "s1", "s2")
CURSORS = ("", "", "c1", "c2")


class Script:
    """What a client sends, by chance. `sql_names`: whether commands that give and take names are among it."""

    def __init__(self, chance: random.Random, *, sql_names: bool) -> None:
        self._chance = chance
        self._sql_names = sql_names

    def messages(self, count: int) -> list[bytes]:
        """At least so many, a Sync last."""
        found: list[bytes] = []
        while len(found) < count:
            found += self._some()
        return [*found, framed("S")]

    def _some(self) -> list[bytes]:
        pick = self._chance.choice
        if self._sql_names and pick((True, False, False, False)):
            return pick((self._taken, self._taken, self._shadowed, self._shadowed, self._swapped))()
        name, portal = pick(NAMES), pick(CURSORS)
        parse = framed("P", strings(name, self._text()) + b"\0\0")
        execute = framed("E", strings(portal) + struct.pack("!I", pick((0, 0, 1))))
        match pick(("whole", "whole", "whole", "again", "again", "bind", "execute", "one", "query", "sync", "sync")):
            case "whole":
                described = [framed("D", b"P" + strings(portal))] if pick((True, False)) else []
                return [parse, self._bind(portal, name), *described, execute]
            case "again":
                return [self._bind(portal, name), execute]
            case "bind":
                return [self._bind(portal, name)]
            case "execute":
                return [execute]
            case "query":
                return [framed("Q", strings(";".join(self._text() for _ in range(pick((1, 1, 1, 2))))))]
            case "sync":
                return [framed("S")]
            case _:
                of = pick("SP")
                named = of.encode() + strings(pick(NAMES if of == "S" else CURSORS))
                return [pick((parse, framed("H"), framed("D", named), framed("C", named)))]

    def _taken(self) -> list[bytes]:
        """The name of a statement, taken by SQL and given to another one."""
        pick, name, portal, number = self._chance.choice, self._chance.choice(("s1", "s2")), *self._drawn()
        taking = pick((f"DEALLOCATE {name}", "DEALLOCATE ALL", "DISCARD ALL", "DO"))
        return [
            *(framed("P", strings(name, f"SELECT {number}") + b"\0\0"), *self._maybe_sync()),
            *(
                *self._sql(taking),
                *self._maybe_sync(),
                *self._sql(f"PREPARE {name} AS SELECT {number + 1}"),
                *self._maybe_sync(),
            ),
            *(self._bind(portal, name), framed("E", strings(portal) + b"\0\0\0\0"), *self._maybe_sync()),
        ]

    def _shadowed(self) -> list[bytes]:
        """The same of a portal, inside a transaction."""
        name, portal, number = "s3", *self._drawn()
        portal = portal or "c1"
        taking = self._chance.choice((f"CLOSE {portal}", "CLOSE ALL"))
        return [
            *(*self._sql("BEGIN"), framed("P", strings(name, f"SELECT {number}") + b"\0\0"), self._bind(portal, name)),
            *(*self._maybe_sync(), *self._sql(taking), *self._maybe_sync()),
            *(*self._sql(f"DECLARE {portal} CURSOR FOR SELECT {number + 1}"), *self._maybe_sync()),
            *(framed("E", strings(portal) + b"\0\0\0\0"), *self._maybe_sync(), *self._sql("ROLLBACK"), framed("S")),
        ]

    def _swapped(self) -> list[bytes]:
        """What a portal names is another statement by the time that FETCH runs it, and takes a name away."""
        portal, number = self._drawn()
        portal = portal or "c2"
        return [
            *(*self._sql("BEGIN"), framed("P", strings("s1", f"SELECT {number}") + b"\0\0")),
            *(framed("P", strings("s2", "SELECT 1") + b"\0\0"), *self._maybe_sync()),
            *(framed("P", strings("", "EXECUTE s2") + b"\0\0"), self._bind(portal, ""), *self._maybe_sync()),
            *(*self._sql("DEALLOCATE s2"), framed("P", strings("s2", "DEALLOCATE s1") + b"\0\0")),
            *(*self._maybe_sync(), *self._sql(f"FETCH {portal}"), *self._maybe_sync()),
            *(*self._sql(f"PREPARE s1 AS SELECT {number + 1}"), *self._maybe_sync()),
            *(self._bind("", "s1"), framed("E", strings("") + b"\0\0\0\0"), framed("S")),
            *(*self._sql("ROLLBACK"), framed("S")),
        ]

    def _drawn(self) -> tuple[str, int]:
        return self._chance.choice(CURSORS), self._chance.randrange(90)

    def _maybe_sync(self) -> list[bytes]:
        return [framed("S")] if self._chance.choice((True, False, False)) else []

    def _sql(self, text: str) -> list[bytes]:
        if self._chance.choice((True, False)):
            return [framed("Q", strings(text))]
        return [framed("P", strings("", text) + b"\0\0"), self._bind("", ""), framed("E", b"\0" * 5)]

    def _bind(self, portal: str, statement: str) -> bytes:
        parameters = [self._chance.choice((None, b"", b"1", b"22")) for _ in range(self._chance.choice((0, 1, 2)))]
        sent = b"".join(
            struct.pack("!i", -1) if one is None else struct.pack("!i", len(one)) + one for one in parameters
        )
        return framed("B", strings(portal, statement) + b"\0\0" + struct.pack("!H", len(parameters)) + sent + b"\0\0")

    def _text(self) -> str:
        pick, number = self._chance.choice, self._chance.randrange(100)
        usual = [f"SELECT {number}"] * 9 + ["BEGIN", "BEGIN", "BEGIN", "COMMIT", "ROLLBACK", pick(("FAIL", "BAD", ""))]
        if not self._sql_names:
            return pick(usual)
        name, cursor = pick(("s1", "s2")), pick(("c1", "c2"))
        others = [
            f"PREPARE {name} AS SELECT {number}",
            f"PREPARE {name} AS SELECT {number}",
            f"DEALLOCATE {name}",
            f"DEALLOCATE {name}",
            "DEALLOCATE ALL",
            "DISCARD ALL",
            "DO",
            f"DECLARE {cursor} CURSOR FOR SELECT {number}",
            f"DECLARE {cursor} CURSOR FOR SELECT {number}",
            f"CLOSE {cursor}",
            "CLOSE ALL",
            f"FETCH {cursor}",
            f"EXECUTE {name}",
        ]
        return pick(usual + others)
