"""The pack: facts of law as rows, each with source, date and confidence. Compiled by non-lawyers; not legal advice.

`jurisdictions.csv` decides; `sources.csv` is the prose behind it and only explains (its `source` cells are what `=jurisdictions.csv:ID`
points at). A country is owned by exactly one row of kind state, bloc or default; subdivisions, overlays and schemes own none.
"""

import csv
import datetime
import enum
import functools
import hashlib
import io
from collections.abc import Iterable
from importlib import resources

import msgspec

from foundation.words import Country, JurisdictionId

_REFERENCE = "=jurisdictions.csv:"


class PackError(Exception):
    """The facts contradict themselves or are not in their form; the message names the row. A fault of the release, not of a policy."""


class Kind(enum.StrEnum):
    """What a row is. Only `state` and `bloc` own countries whose law is known; `default` owns those of which nothing is known."""

    STATE = "state"
    BLOC = "bloc"
    SUBDIVISION = "subdivision"
    OVERLAY = "overlay"
    SCHEME = "scheme"
    DEFAULT = "default"


class Status(enum.StrEnum):
    IN_FORCE = "in_force"
    ENACTED = "enacted"
    PROMISED = "promised"
    REPEALED = "repealed"
    DISPUTED = "disputed"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of jurisdictions.csv: the columns that rules and explanations read. `since`, `until`: first and last day it holds.

    A blank `since` means that the row never counts. `as_of` is the month its evidence speaks for.
    """

    id: JurisdictionId
    name: str
    kind: Kind
    parent: JurisdictionId | None
    countries: tuple[Country, ...]
    law: str
    as_of: str
    status: Status
    profile: str
    since: datetime.date | None
    until: datetime.date | None
    source: str
    confidence: str
    note: str


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """All rows by id, who owns each country, the prose of the sources by row id, and a digest over every byte of the files."""

    rows: dict[JurisdictionId, Row]
    owners: dict[Country, JurisdictionId]
    sources: dict[str, str]
    digest: str

    def source_of(self, row: Row) -> str:
        """The row's source in words: the cell that `=file:key` points at where the pack has it, else the reference itself."""
        if row.source.startswith(_REFERENCE):
            return self.sources.get(row.source.removeprefix(_REFERENCE), row.source)
        return row.source


@functools.cache
def bundled() -> Pack:
    """The pack of this release, read once from package data. Raises PackError if it was damaged."""
    here = resources.files(__name__)
    return parse(
        here.joinpath("jurisdictions.csv").read_text(encoding="utf-8"),
        here.joinpath("sources.csv").read_text(encoding="utf-8"),
    )


def parse(csv_text: str, sources_text: str = "") -> Pack:
    """A pack from the text of jurisdictions.csv and, for explanations only, sources.csv. Raises PackError."""
    rows: dict[JurisdictionId, Row] = {}
    for cells in csv.DictReader(io.StringIO(csv_text)):
        row = _row(cells)
        if row.id in rows:
            raise PackError(f"jurisdictions.csv: {row.id} stands there twice")
        rows[row.id] = row
    _check_parents(rows)
    sources = {cells["id"]: cells["source"] for cells in csv.DictReader(io.StringIO(sources_text))}
    return Pack(rows=rows, owners=_owners(rows.values()), sources=sources, digest=_digest(csv_text, sources_text))


def _row(cells: dict[str, str]) -> Row:
    name = cells.get("id", "?")
    try:
        return Row(
            id=JurisdictionId(cells["id"]),
            name=cells["name"],
            kind=Kind(cells["kind"]),
            parent=JurisdictionId(cells["parent"]) if cells["parent"] else None,
            countries=tuple(Country(code) for code in cells["countries"].split(";") if code),
            law=cells["law"],
            as_of=cells["as_of"],
            status=Status(cells["status"]),
            profile=cells["profile"],
            since=_date(cells["since"]),
            until=_date(cells["until"]),
            source=cells["source"],
            confidence=cells["confidence"],
            note=cells["note"],
        )
    except (KeyError, ValueError, AttributeError, TypeError) as exc:
        raise PackError(f"jurisdictions.csv: row {name} is not in its form: {exc}") from exc


def _date(text: str) -> datetime.date | None:
    return datetime.date.fromisoformat(text) if text else None


def _check_parents(rows: dict[JurisdictionId, Row]) -> None:
    for row in rows.values():
        if row.kind is Kind.SUBDIVISION and row.parent is None:
            raise PackError(f"jurisdictions.csv: subdivision {row.id} names no parent")
        parent = rows.get(row.parent) if row.parent is not None else None
        if row.parent is not None and (parent is None or parent.kind not in (Kind.STATE, Kind.BLOC)):
            raise PackError(f"jurisdictions.csv: {row.id} names parent {row.parent}, which is no state or bloc")


def _owners(rows: Iterable[Row]) -> dict[Country, JurisdictionId]:
    owners: dict[Country, JurisdictionId] = {}
    for row in rows:
        if row.kind not in (Kind.STATE, Kind.BLOC, Kind.DEFAULT):
            continue
        for country in row.countries:
            if country in owners:
                raise PackError(f"jurisdictions.csv: {country} belongs to {owners[country]} and to {row.id}")
            owners[country] = row.id
    return owners


def _digest(csv_text: str, sources_text: str) -> str:
    """SHA-256 hex over the digests of the files under their names, so that no text can move from one file to the next unseen."""
    parts = (("jurisdictions.csv", csv_text), ("sources.csv", sources_text))
    lines = [f"{name} {hashlib.sha256(text.encode()).hexdigest()}\n" for name, text in parts]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
