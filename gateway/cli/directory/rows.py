"""Existing users out of a file, row by row, each blinded here."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from directory.bulk.answers import BulkRow
from directory.placement.answers import ClaimedKey
from foundation.blinding import LOGIN, Blinder
from foundation.identifiers import IdentifierKind, MalformedIdentifier, parse
from foundation.settings import SettingsError
from foundation.words import LookupKey
from gateway.cli.directory.lines import Record, Records

IDENTIFIERS = ("email", "phone", "handle")
NAMING = ("issuer", "sub", *IDENTIFIERS)
"""Fields that say who somebody is: they are blinded, and go no further."""
LISTS = ("services", "tags", "citizenships")
FIELDS = (
    *NAMING, "residence", "verified_residence", "subdivision", "citizenships", "tags", "terms", "services",
)  # fmt: skip
ROW_CHARS_SHOWN_MAX = 200


class Malformed(msgspec.Struct, frozen=True):
    """A row that is refused before it is sent; `detail` says what is wrong and never a value of the row."""

    row: int
    detail: str


class FieldMap(msgspec.Struct, frozen=True):
    """Where a row's fields come from: `columns`, field → column of the file; `constants`, field → value of every row."""

    columns: Mapping[str, str]
    constants: Mapping[str, str]


def mapping(maps: tuple[str, ...], constants: tuple[str, ...], regions: Mapping[str, str]) -> FieldMap:
    """`FIELD=COLUMN` and `FIELD=VALUE`; a field that is not named comes from the column of its own name. `regions`: issuers by region.
    Raises ValueError."""
    columns = {field: field for field in FIELDS} | _pairs(maps)
    fixed = _pairs(constants)
    if "issuer" in fixed:
        fixed["issuer"] = regions.get(fixed["issuer"], fixed["issuer"])
    return FieldMap({field: column for field, column in columns.items() if field not in fixed}, fixed)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        field, separator, value = text.partition("=")
        if not separator or not value or field not in FIELDS:
            raise ValueError(f"{text!r}: write FIELD=…, FIELD being one of {', '.join(FIELDS)}")
        if field in found:
            raise ValueError(f"{field} stands twice")
        found[field] = value
    return found


class Reader:
    """Turns a file's rows into what the directory is sent."""

    def __init__(self, mapped: FieldMap, blinder: Blinder) -> None:
        self._naming = [(field, column) for field, column in mapped.columns.items() if field in NAMING]
        self._named = {field: value for field, value in mapped.constants.items() if field in NAMING}
        self._stating = [(field, column) for field, column in mapped.columns.items() if field not in NAMING]
        constants = {field: _value(field, value) for field, value in mapped.constants.items() if field not in NAMING}
        self._stated = {field: value for field, value in constants.items() if value is not None}
        self._blinder = blinder

    def row(self, number: int, record: Record) -> BulkRow | Malformed:
        """Blinded and of the right shape, or why not."""
        if isinstance(record, str):
            return Malformed(number, record)
        said = {field: record.get(column) for field, column in self._naming} | self._named
        try:
            body = {"row": number, "keys": self._keys(said)} | self._stated
            for field, column in self._stating:
                value = _value(field, record.get(column))
                if value is not None:
                    body[field] = value
            return msgspec.convert(body, BulkRow)
        except MalformedIdentifier as exc:
            return Malformed(number, str(exc))
        except msgspec.ValidationError as exc:
            return Malformed(number, str(exc)[:ROW_CHARS_SHOWN_MAX])
        except ValueError as exc:
            return Malformed(number, str(exc))

    def _keys(self, said: dict[str, Any]) -> list[ClaimedKey]:
        issuer, sub = said["issuer"], said["sub"]
        if bool(issuer) != bool(sub):
            raise ValueError("issuer and sub go together")
        found = self._claimed(LOGIN, self._blinder.login(str(issuer), str(sub))) if sub else []
        for kind in IDENTIFIERS:
            if said[kind]:
                found += self._claimed(kind, self._blinder.alias(parse(IdentifierKind(kind), str(said[kind]))))
        if not found:
            raise ValueError(
                "the row names nobody: it has neither issuer and sub nor an e-mail address, phone number or handle"
            )
        return found

    def _claimed(self, kind: str, keys: Sequence[LookupKey]) -> list[ClaimedKey]:
        """One identifier under every live blinding key, each by its name."""
        return [ClaimedKey(kind=kind, key=key, kid=kid) for key, kid in zip(keys, self._blinder.kids, strict=True)]


def _value(field: str, value: Any) -> Any:
    """Empty is not stated. A list may be JSON's, or text with commas."""
    if value is None or value == "":
        return None
    if field in LISTS:
        parts = value if isinstance(value, list) else [part.strip() for part in str(value).split(",")]
        return sorted({part.upper() if field == "citizenships" else part for part in parts if part})
    return (
        str(value).strip().upper()
        if field in ("residence", "verified_residence", "subdivision")
        else str(value).strip()
    )


class Taken(msgspec.Struct, frozen=True):
    """A batch of the file: so many rows of it, those to send, those refused here. `sent`: digest of all rows up to its end."""

    rows: int
    good: list[BulkRow]
    malformed: list[Malformed]
    sent: str


def passed(records: Records, rows: int) -> str:
    """The digest of so many rows, which are not taken."""
    for _ in islice(records, rows):
        pass
    return records.digest


def batches(records: Records, reader: Reader, size: int, *, first: int = 0) -> Iterator[Taken]:
    """Of what is left, the next row being number `first`; always the same batches for the same rows.

    What stops the reading is raised after the rows before it.
    """
    rows = enumerate(records, first)
    stopped: SettingsError | None = None
    while stopped is None:
        taken: list[BulkRow | Malformed] = []
        try:
            for number, record in islice(rows, size):
                taken.append(reader.row(number, record))
        except SettingsError as exc:
            stopped = exc
        if not taken:
            break
        good = [one for one in taken if isinstance(one, BulkRow)]
        yield Taken(len(taken), good, [one for one in taken if isinstance(one, Malformed)], records.digest)
    if stopped is not None:
        raise stopped
