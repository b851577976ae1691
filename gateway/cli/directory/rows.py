"""Existing users out of a file, row by row, each blinded here."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from directory.bulk.answers import BulkRow
from directory.bulk.packed import Packed, pack
from directory.placement.answers import ClaimedKey
from foundation.blinding import LOGIN, Blinder
from foundation.identifiers import IdentifierKind, MalformedIdentifier, parse
from foundation.settings import SettingsError
from foundation.words import LookupKey
from gateway.cli.directory.columns import Blinding
from gateway.cli.directory.fields import FIELDS, IDENTIFIERS, NAMING, FieldMap, mapping, value_of
from gateway.cli.directory.lines import Columns, Record, Records

__all__ = ["FIELDS", "Malformed", "Reader", "Taken", "batches", "mapping", "passed"]

ROW_CHARS_SHOWN_MAX = 200
PASSED_AT_ONCE = 5_000


class Malformed(msgspec.Struct, frozen=True):
    """A row that is refused before it is sent; `detail` says what is wrong and never a value of the row."""

    row: int
    detail: str


class Reader:
    """Turns a file's rows into what the directory is sent."""

    def __init__(self, mapped: FieldMap, blinder: Blinder) -> None:
        self._naming = [(field, column) for field, column in mapped.columns.items() if field in NAMING]
        self._named = {field: value for field, value in mapped.constants.items() if field in NAMING}
        self._stating = [(field, column) for field, column in mapped.columns.items() if field not in NAMING]
        constants = {field: value_of(field, value) for field, value in mapped.constants.items() if field not in NAMING}
        self._stated = {field: value for field, value in constants.items() if value is not None}
        self._blinder = blinder
        self._blinding = Blinding(mapped, blinder)

    def taken(self, first: int, found: Columns | Sequence[Record], sent: str) -> "Taken":
        """A batch of rows, the first of which has this number."""
        if isinstance(found, Columns):
            in_columns = self._in_columns(first, found, sent)
            if in_columns is not None:
                return in_columns
            found = found.records()
        rows = [self.row(number, record) for number, record in enumerate(found, first)]
        good = [one for one in rows if isinstance(one, BulkRow)]
        return Taken(len(rows), pack(good) if good else None, [one for one in rows if isinstance(one, Malformed)], sent)

    def _in_columns(self, first: int, found: Columns, sent: str) -> "Taken | None":
        """The same at once. What `Blinding` leaves out is looked at by itself; None where that turns out to be a row after all."""
        good, left_out = self._blinding.packed(first, found)
        rows = [self.row(first + place, found.record(place)) for place in left_out]
        malformed = [one for one in rows if isinstance(one, Malformed)]
        return Taken(len(found), good, malformed, sent) if len(malformed) == len(rows) else None

    def row(self, number: int, record: Record) -> BulkRow | Malformed:
        """Blinded and of the right shape, or why not."""
        if isinstance(record, str):
            return Malformed(number, record)
        said = {field: record.get(column) for field, column in self._naming} | self._named
        try:
            body = {"row": number, "keys": self._keys(said)} | self._stated
            for field, column in self._stating:
                value = value_of(field, record.get(column))
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


class Taken(msgspec.Struct, frozen=True):
    """A batch of the file: so many rows of it, those to send (None: none), those refused here. `sent`: digest of all rows up to its end."""

    rows: int
    good: Packed | None
    malformed: list[Malformed]
    sent: str


def passed(records: Records, rows: int) -> str:
    """The digest of so many rows, which are not taken."""
    left = rows
    while left:
        some = min(left, PASSED_AT_ONCE)
        found = len(records.block(some)) or sum(1 for _ in islice(records, some))
        if not found:
            break
        left -= found
    return records.digest


def batches(records: Records, reader: Reader, size: int, *, first: int = 0) -> Iterator[Taken]:
    """Of what is left, the next row being number `first`; always the same batches for the same rows.

    What stops the reading is raised after the rows before it.
    """
    stopped: SettingsError | None = None
    while stopped is None:
        found: Columns | Sequence[Record] = records.block(size)
        if not found:
            one_by_one: list[Record] = []
            try:
                for record in islice(records, size):
                    one_by_one.append(record)  # noqa: PERF402 - what came before an error stays
            except SettingsError as exc:
                stopped = exc
            found = one_by_one
        if not found:
            break
        yield reader.taken(first, found, records.digest)
        first += len(found)
    if stopped is not None:
        raise stopped
