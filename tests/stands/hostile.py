"""Hostile requests for `/records/notes`: a grammar of the dialect, asked wrongly on purpose, and mutations of its texts. From a seed."""

import random
import string
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

COLUMNS = ["subject_id", "id", "body", "rank", "total", "price", "done", "due", "extra", "span", "stay"]
KEYS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(4)]
HIDDEN = ["shadow", "epoch", "card", "ctid", "xmin", "tableoid", "nothing", "t", "_w", "h", "f.epoch"]
"""Unclassified, sealed, Postgres's own, or not there."""
FITTING = {
    "subject_id": ["00000000-0000-0000-0000-000000000000"], "id": ["00000000-0000-0000-0000-000000000000"],
    "body": ["one*", "text", "%", "{one*,t}", "", "^o"], "rank": ["1", "3", "{1,2}", "(1,2,3)"], "total": ["5", "null", "(5)"],
    "price": ["1.5", "NaN", "{1}"], "done": ["true", "false", "null"], "due": ["2026-01-01", "infinity", "now"],
    "extra": ['{"n":1}', "null", "[1]"], "span": ["[1,5)", "empty", "(,3]", "[2,2]"],
    "stay": ["[2026-01-01,2026-02-01)", "(,)", "[now,]", "empty"],
}  # fmt: skip
RANGED = ["sl", "sr", "nxr", "nxl", "adj", "cs", "cd", "ov", "eq", "not.adj"]
COMPARING = ["eq", "neq", "gt", "gte", "lt", "lte", "isdistinct"]
WORDS = [
    "eq", "neq", "gt", "gte", "lt", "lte", "like", "ilike", "match", "imatch", "in", "is", "isdistinct", "cs", "cd", "ov",
    "fts", "sl", "sr", "nxr", "nxl", "adj", "adj(any)", "not", "eq(any)", "like(all)", "gt(any)", "is(any)", "", "EQ", "or", "~~",
]  # fmt: skip
VALUES = [
    "1", "0", "-1", "5", "9007199254740993", "1e400", "NaN", "infinity", "null", "true", "", " ", "*", "%", "one*", "{1,2}", "{", "}",
    "{a,b}", '{"n":10}', "[1]", "(1,2)", '("a","b")', "(", ")", '"', "\\", "'", "' or 1=1 --", "1); drop table live.notes; --",
    "'||(select body from live.notes limit 1)||'", "$1", "$3", "%00", "\u0000", "\ud7ff", "\U0001f600", "2026-01-01", "epoch",
    "now()", "((((((((((a{1,99}){1,99}", "(a+)+$", "^", "[[:alpha:]]", "\\d", "00000000-0000-0000-0000-000000000000", "a.b.c", "x" * 300,
    "1.5",
    "[1,5)", "[5,1)", "(,)", "[,", "empty", "[2026-01-01,2026-02-01)",
    "0x10", "pg_sleep(3)", "current_user", "is.null", "٣", "e'\\x41'", "null::text", "/*", "--", ";",
]  # fmt: skip
PREFERS = [
    "return=representation", "return=representation",
    "return=minimal", "return=headers-only", "count=exact", "count=planned", "count=estimated",
    "resolution=merge-duplicates", "resolution=ignore-duplicates", "missing=default", "handling=strict", "max-affected=1",
    "max-affected=999999999999999999", "tx=rollback", "tx=commit", "nonsense", "=", "return=", "timezone=x", "count=exact;q=1",
]  # fmt: skip
RANGES = [
    "0-1",
    "3-",
    "9-1",
    "items=0-0",
    "bytes=0-9",
    "a",
    "0-99999999999999999999",
    "99999999999-",
    "-5",
    "0-1,2-3",
    "2147483647-",
]
ACCEPTS = [
    "*/*", "application/json", "application/vnd.pgrst.object+json", "application/vnd.pgrst.array+json;nulls=stripped", "text/csv",
    "application/vnd.pgrst.plan+json; options=verbose", "", ";",
    "application/vnd.pgrst.object+json;nulls=stripped",
]  # fmt: skip


@dataclass
class Request:
    """`refused`: asks in the grammar's own words for what no caller may touch, so anything but a refusal is a leak."""

    method: str
    query: str
    headers: dict[str, str]
    body: bytes | None
    refused: bool = False
    who: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.query!r} {self.headers} {self.body!r} {self.who}"


class Grammar:
    """An endless row of requests; one seed gives one row."""

    def __init__(self, seed: int, identifiers: list[str]) -> None:
        self._chance = random.Random(seed)
        self._values = VALUES + identifiers
        self._refused = False
        """Whether the parameter under way names what cannot be compared."""

    def request(self) -> Request:
        chance = self._chance
        method = chance.choices(["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"], [58, 6, 13, 13, 6, 4])[0]
        parts: list[str] = []
        refused = False
        for _ in range(chance.choice([0, 1, 1, 2, 2, 3, 5])):
            self._refused = False
            part = self._parameter(method)
            # Most parameters stand once.
            name = part.partition("=")[0]
            if chance.random() < 0.1 or not any(one.startswith(f"{name}=") for one in parts):
                parts.append(part)
                refused |= self._refused
        if method == "PUT":
            parts = self._key(parts)
        query, mutated = "&".join(parts), chance.random() < 0.2
        if mutated:
            query = self._mutated(query)
        headers = {}
        if chance.random() < 0.5:
            headers["prefer"] = ", ".join(chance.sample(PREFERS, chance.randint(1, 3)))
        if chance.random() < 0.1:
            headers["range"] = chance.choice(RANGES)
        if chance.random() < 0.12:
            headers["accept"] = chance.choice(ACCEPTS)
        body = self._body(whole=method == "PUT") if method in ("POST", "PATCH", "PUT") else None
        who = chance.choice([{}, {}, {"service": "records"}, {"service": "analytics", "purpose": "analytics"}])
        return Request(method, f"?{query}", headers, body, refused and not mutated, who)

    def _key(self, parts: list[str]) -> list[str]:
        """A PUT's parameters: its key, and seldom what does not belong there."""
        chance = self._chance
        kept = [one for one in parts if one.startswith("select=") or chance.random() < 0.1]
        key = chance.choice([*KEYS, *self._values[-3:]] if chance.random() < 0.3 else KEYS)
        return [f"id={'eq.' if chance.random() < 0.95 else self._not()}{quote(key)}", *kept]

    def _parameter(self, method: str) -> str:
        chance = self._chance
        match chance.choices(["filter", "tree", "select", "order", "page", "write"], self._weights(method))[0]:
            case "filter":
                name, comparison = self._comparison()
                return f"{quote(name, safe='>-')}={quote(self._not() + comparison, safe='(){},.')}"
            case "tree":
                negated = chance.choice(["", "", "not.", self._not()])
                return f"{negated}{chance.choice(['or', 'and'])}={quote(self._tree(0), safe='(){},.>-')}"
            case "select":
                items = [self._item() for _ in range(chance.randint(1, 4))]
                return f"select={quote(','.join(items), safe=',:*>-()')}"
            case "order":
                suffixes = [".asc", ".desc", ".desc.nullslast", ".nullsfirst", "", ""] * 2 + [".up", "."]
                items = [
                    self._path(compared=method == "GET") + chance.choice(suffixes) for _ in range(chance.randint(1, 3))
                ]
                return f"order={quote(','.join(items), safe=',.>-')}"
            case "page":
                return (
                    f"{chance.choice(['limit', 'offset'])}={quote(chance.choice(['0', '1', '3', '100000', *VALUES]))}"
                )
            case _:
                names = ",".join(self._name() for _ in range(chance.randint(1, 3)))
                return f"{chance.choice(['columns', 'on_conflict'])}={quote(names, safe=',')}"

    @staticmethod
    def _weights(method: str) -> list[int]:
        return {"POST": [2, 2, 30, 2, 2, 62], "PATCH": [50, 20, 15, 1, 1, 13], "PUT": [3, 1, 90, 1, 2, 3]}.get(
            method, [45, 20, 20, 10, 4, 1]
        )

    def _not(self) -> str:
        return self._chance.choice(["", "", "", "not.", "not.not."])

    def _name(self) -> str:
        return self._chance.choice(HIDDEN if self._chance.random() < 0.06 else COLUMNS)

    def _path(self, *, compared: bool) -> str:
        name = self._name()
        if name == "extra" and self._chance.random() < 0.6:
            return name + self._chance.choice(["->a->0", "->>n", "->n", "->a->>-1", '->"x y"'])
        # What this names cannot be answered with success, whatever stands beside it.
        self._refused |= compared and name in HIDDEN
        if self._chance.random() < 0.05:
            steps = ["->a", "->>a", "->0", "->-1", '->"x y"', "->", "->>a->b", "->99999999999", '->"', "->a'b"]
            return name + "".join(self._chance.sample(steps, self._chance.randint(1, 2)))
        return name

    def _item(self) -> str:
        chance = self._chance
        if chance.random() < 0.85:
            return chance.choice(["*", self._path(compared=False), f"{self._name()}::text"])
        alias = chance.choice(["", "", "a:", "rank:", "A1:", "drop table:", "::"])
        cast = chance.choice(["", "", "", "::text", "::int", "::date", "::jsonb", "::regclass", "::text[]"])
        return chance.choice(
            [
                "*",
                "a:body",
                "b:rank",
                f"{alias}{self._path(compared=False)}{cast}",
                "lines(*)",
                "count()",
                "...x(*)",
                "",
            ]
        )

    def _tree(self, depth: int) -> str:
        chance = self._chance
        members = []
        for _ in range(chance.randint(1, 3)):
            if depth < 3 and chance.random() < 0.3:
                members.append(f"{chance.choice(['', 'not.'])}{chance.choice(['and', 'or'])}{self._tree(depth + 1)}")
            else:
                name, comparison = self._comparison()
                word, _, value = comparison.partition(".")
                quoted = f'"{value}"' if chance.random() < 0.2 else value
                members.append(f"{name}.{self._not()}{word}.{quoted}")
        return f"({','.join(members)})"

    def _comparison(self) -> tuple[str, str]:
        """A path, and an operator with its value: such as fit each other, more often than not."""
        chance = self._chance
        name = self._path(compared=True)
        if name not in FITTING or chance.random() < 0.12:
            return name, f"{chance.choice(WORDS)}.{self._value()}"
        value = chance.choice(FITTING[name])
        if name in ("span", "stay"):
            return name, f"{chance.choice(RANGED)}.{value}"
        if value[:1] == "(" or value == "null":
            return name, f"{'in' if value != 'null' else 'is'}.{value}"
        if value[:1] == "{" and name != "extra":
            return (
                name,
                f"{'like' if name == 'body' else chance.choice(['eq', 'gt'])}({chance.choice(['any', 'all'])}).{value}",
            )
        return name, f"{chance.choice(['like', 'imatch', *COMPARING] if name == 'body' else COMPARING)}.{value}"

    def _value(self) -> str:
        return self._chance.choice(self._values)

    def _mutated(self, text: str) -> str:
        chance = self._chance
        for _ in range(chance.randint(1, 4)):
            at = chance.randint(0, len(text))
            cut = text[at : at + chance.randint(0, 6)]
            match chance.randint(0, 3):
                case 0:
                    text = text[:at] + chance.choice("()\"\\,.:*&=>-%{}$;'+#") + text[at:]
                case 1:
                    text = text.replace(cut, "", 1) if cut else text
                case 2:
                    text = text[:at] + cut + text[at:]
                case _:
                    text = (
                        text[:at] + quote(chr(chance.choice([0, 9, 10, 13, 34, 39, 92, 127, 0x80, 0x2028]))) + text[at:]
                    )
        return "".join(one if one in string.printable and one not in "\t\n\r\x0b\x0c #" else quote(one) for one in text)

    def _body(self, *, whole: bool) -> bytes:
        chance = self._chance
        rows = []
        for _ in range(1 if whole and chance.random() < 0.95 else chance.choice([1, 1, 2, 5])):
            if whole and chance.random() < 0.9:
                rows.append("{" + ",".join(f'"{key}":{self._json(key)}' for key in [*COLUMNS[1:], "card"]) + "}")
                continue
            keys = chance.sample([*COLUMNS[1:], "card"], chance.randint(0, 4)) + (
                ["shadow"] if chance.random() < 0.05 else []
            )
            rows.append("{" + ",".join(f'"{key}":{self._json(key)}' for key in keys) + "}")
        text = rows[0] if len(rows) == 1 and chance.random() < 0.7 else f"[{','.join(rows)}]"
        if chance.random() < 0.1:
            at = chance.randint(0, len(text))
            text = text[:at] + chance.choice(['"', "{", "\\u0000", "\x00", "]", "é", ","]) + text[at:]
        return text.encode()

    def _json(self, key: str) -> str:
        fitting = {
            "rank": ["1", "2", "3", "7"], "total": ["5", "null"], "done": ["true"], "extra": ['{"a":[1]}', "[]"], "body": ['"text"'],
            "price": ["1.5"], "due": ['"2026-01-01"'], "id": [f'"{one}"' for one in KEYS],
            "span": ['"[1,5)"', "null"], "stay": ['"[2026-01-01,2026-02-01)"', "null"],
        }.get(key, ['"text"'])  # fmt: skip
        strange = [
            "null",
            "[]",
            "{}",
            '"\\u0000"',
            "1e999",
            '"' + "x" * 200 + '"',
            "9" * 40,
            '"\\ud800"',
            "true",
            '"infinity"',
        ]
        return self._chance.choice(fitting * 12 + strange + [f'"{one}"' for one in self._values[-3:]])
