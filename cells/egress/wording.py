"""Treatments as contracts write them: `age_band(10)`, for `purpose:analytics+to:us`. Pure; knows no contract."""

import re
from collections.abc import Iterator, Mapping

import msgspec

TEXT_CHARS_MAX = 200
_CALL = re.compile(r"([a-z][a-z0-9_]*)(?:\(([^()]*)\))?\Z")
_WORD = re.compile(r"[a-z][a-z0-9_-]{0,62}\Z")
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,6})?\Z")
DROP, KEEP, WALK, SCAN = "drop", "keep", "walk", "scan"

_TEXT = frozenset({"text"})
_WHOLE = frozenset({"smallint", "int", "integer", "bigint"})
_NUMBERS = _WHOLE | {"numeric", "real", "double precision"}
_DAYS = frozenset({"date", "timestamp", "timestamptz"})
_JSON = frozenset({"json", "jsonb"})
_PLAIN = _TEXT | _NUMBERS | _DAYS | {"uuid", "boolean", "bool", "time", "text[]", "uuid[]"}


class MalformedTreatment(ValueError):
    """A text is no treatment, or no selector; the message says what would be."""


class Form(msgspec.Struct, frozen=True):
    """A treatment's types of column, and the arguments that it takes: how many words or numbers, and their bounds."""

    types: frozenset[str]
    arguments: tuple[int, int] = (0, 0)
    low: float = 0
    high: float = 0
    usual: tuple[str, ...] = ()
    words: bool = False


FORMS: Mapping[str, Form] = {
    DROP: Form(frozenset()),
    KEEP: Form(_PLAIN),
    WALK: Form(_JSON),
    SCAN: Form(_TEXT),
    "mask_domain": Form(_TEXT),
    "last": Form(_TEXT, (0, 1), 1, 4, ("4",)),
    "subnet": Form(_TEXT),
    "initials": Form(_TEXT),
    "token": Form(_TEXT | _WHOLE | {"uuid"}, (0, 1), words=True),
    "age_band": Form(frozenset({"date"}), (0, 1), 5, 50, ("10",)),
    "postal": Form(_TEXT, (0, 1), 1, 3, ("2",)),
    "month": Form(_DAYS),
    "year": Form(_DAYS),
    "geohash": Form(_TEXT, (0, 1), 1, 5, ("4",)),
    "bin": Form(_WHOLE, (1, 1), 2, 1e15),
    "bins": Form(_NUMBERS, (1, 50), -1e15, 1e15),
    "level": Form(_TEXT, (1, 1), words=True),
}
"""Every treatment there is. What each does to a value stands in `treatments`; docs/contracts.md says it for people."""


class Treatment(msgspec.Struct, frozen=True):
    """What becomes of a column's values."""

    kind: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}({','.join(self.arguments)})" if self.arguments else self.kind

    @property
    def numbers(self) -> tuple[float, ...]:
        return tuple(float(one) for one in self.arguments)


class Selector(msgspec.Struct, frozen=True):
    """For which releases a treatment is stated; None: any. `origin`: a regime that the person is under."""

    origin: str | None = None
    to: str | None = None
    purpose: str | None = None

    @property
    def parts(self) -> int:
        return sum(one is not None for one in (self.origin, self.to, self.purpose))


def treatment(text: str) -> Treatment:
    """Raises MalformedTreatment."""
    found = _CALL.match(text.strip()) if len(text) <= TEXT_CHARS_MAX else None
    if found is None or found[1] not in FORMS:
        raise MalformedTreatment(f"{text[:60]!r} is no treatment; there are {', '.join(FORMS)}")
    kind, form = found[1], FORMS[found[1]]
    stated = tuple(one.strip() for one in found[2].split(",")) if found[2] else ()
    least, most = form.arguments
    if not least <= len(stated) <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise MalformedTreatment(f"{text[:60]!r}: {kind} takes {wanted} arguments")
    shape, what = (_WORD, "a word of lower-case letters") if form.words else (_NUMBER, "a number")
    for one in stated:
        if not shape.match(one):
            raise MalformedTreatment(f"{text[:60]!r}: {one[:40]!r} is not {what}")
        if not form.words and not form.low <= float(one) <= form.high:
            raise MalformedTreatment(f"{text[:60]!r}: {one} does not lie between {form.low:g} and {form.high:g}")
    if kind == "bins" and list(stated) != sorted(set(stated), key=float):
        raise MalformedTreatment(f"{text[:60]!r}: the bounds of bins ascend")
    if kind not in ("bins", "level", "token") and any("." in one for one in stated):
        raise MalformedTreatment(f"{text[:60]!r}: {kind} takes a whole number")
    return Treatment(kind, stated or form.usual)


def selector(text: str) -> Selector:
    """`default`, or parts `from:JURISDICTION`, `to:JURISDICTION`, `purpose:PURPOSE` joined by `+`. Raises MalformedTreatment."""
    if text == "default":
        return Selector()
    parts: dict[str, str] = {}
    for part in text.split("+"):
        key, _, word = part.strip().partition(":")
        if key not in ("from", "to", "purpose") or key in parts or not _WORD.match(word):
            raise MalformedTreatment(f"{text[:60]!r}: write default, or from:ID, to:ID and purpose:WORD joined by +")
        parts[key] = word
    return Selector(parts.get("from"), parts.get("to"), parts.get("purpose"))


def mistakes(leaving: Mapping[str, str], of_type: str, *, klass: str | None, sealed: bool) -> Iterator[str]:
    """What is wrong with a column's `leaving`, each in a clause that begins with the selector."""
    for key, text in leaving.items():
        try:
            selector(key)
            stated = treatment(text)
        except MalformedTreatment as exc:
            yield f"{key}: {exc}"
            continue
        if stated.kind != DROP and of_type not in FORMS[stated.kind].types:
            yield f"{key}: {stated.kind} is for {', '.join(sorted(FORMS[stated.kind].types))}, not for {of_type}"
        elif sealed and stated.kind != DROP:
            yield f"{key}: a sealed column never leaves; write drop"
        elif klass == "free_text" and stated.kind not in (DROP, SCAN, WALK):
            yield f"{key}: free text leaves scanned and redacted or not at all; write scan or drop"
