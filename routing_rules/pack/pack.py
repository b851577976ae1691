"""The pack as one value: every row of every file, what can be looked up in them, and the digest over their bytes."""

import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec

from foundation.words import Country, JurisdictionId
from routing_rules.pack import prose
from routing_rules.pack.prose import Prose, regime_named
from routing_rules.pack.read import PackError, table
from routing_rules.pack.rows import (
    Deny,
    Edge,
    Fact,
    Gateway,
    Jurisdiction,
    Kind,
    Member,
    Obligation,
    SpecialCategory,
    Storage,
    Tag,
    Threshold,
    Unresolved,
)

TABLES: tuple[type[Fact] | type[Unresolved], ...] = (
    *(Jurisdiction, Member, Tag, SpecialCategory, Edge, Gateway, Deny, Storage, Threshold, Obligation, Unresolved),
)
FILES = (*(f"{kind.file}.csv" for kind in TABLES), *(f"prose/{file}" for file in prose.COLUMNS))
"""Every file of the pack, as `parse` names them."""

_OWNING = (Kind.STATE, Kind.BLOC, Kind.DEFAULT)
_JURISDICTIONS = "jurisdictions.csv:"


class Pack(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in the order of their files. Make one by `parse` or `build`: they fill the lookups and refuse what contradicts itself.

    `rows`: jurisdictions by id. `owners`: who owns each country. `tag_names`: every tag and alias -> the tag. `prose`: by reference.
    `regimes_by_name`: what references call a regime (`eu`, `eu:DE`, `us-2027`) -> the regimes that are meant. `open_by_regime`: the
    lines of unresolved.csv that name it. `digest`: SHA-256 hex over every file under its name.
    """

    jurisdictions: tuple[Jurisdiction, ...]
    groups: tuple[Member, ...]
    tags: tuple[Tag, ...]
    special_categories: tuple[SpecialCategory, ...]
    edges: tuple[Edge, ...]
    gateways: tuple[Gateway, ...]
    denies: tuple[Deny, ...]
    storage: tuple[Storage, ...]
    thresholds: tuple[Threshold, ...]
    obligations: tuple[Obligation, ...]
    unresolved: tuple[Unresolved, ...]
    prose: dict[str, Prose]
    digest: str
    rows: dict[JurisdictionId, Jurisdiction]
    owners: dict[Country, JurisdictionId]
    tag_names: dict[str, str]
    thresholds_by_id: dict[str, Threshold]
    regimes_by_name: dict[str, tuple[JurisdictionId, ...]]
    open_by_regime: dict[JurisdictionId, tuple[Unresolved, ...]]

    def source_of(self, fact: Fact) -> str:
        """What the row rests on, in words: each `=file:key` is replaced by the source of that row of the prose, where there is one."""
        if not fact.source.startswith("="):
            return fact.source
        return "; ".join(self._source(reference) for reference in fact.source.split(";"))

    def _source(self, reference: str) -> str:
        row = self.prose.get(reference.removeprefix("="))
        return reference if row is None else row.source

    def as_of(self, fact: Fact) -> str | None:
        """The month (`2026-02`) that the row's evidence speaks for; of several, the oldest. None: the files do not say."""
        if isinstance(fact, Jurisdiction):
            return fact.as_of
        cited = [row.cells["as_of"] for row in self.prose_of(fact) if row.ref.startswith(_JURISDICTIONS)]
        return min(cited, default=None) or min(self._months(fact), default=None)

    def _months(self, fact: Fact) -> list[str]:
        """The months of the row's own regime, else of those that its references name."""
        own: JurisdictionId | None = getattr(fact, "jurisdiction", None) or getattr(fact, "origin", None)
        regimes = [own] if own is not None else _regimes_named(fact, self.regimes_by_name)
        return [self.rows[regime].as_of for regime in regimes if regime in self.rows]

    def prose_of(self, fact: Fact | Unresolved) -> tuple[Prose, ...]:
        """The rows in words that this one was made from; for explanation only."""
        return tuple(self.prose[ref] for ref in fact.fact_ref if ref in self.prose)

    def open_lines(self, regime: JurisdictionId) -> tuple[Unresolved, ...]:
        """What is known to be open about this regime's law, in the order of the file."""
        return self.open_by_regime.get(regime, ())


@functools.cache
def bundled() -> Pack:
    """The pack of this release, read once from package data. Raises PackError if it was damaged."""
    return parse(bundled_texts())


def bundled_texts() -> dict[str, str]:
    """File -> text of the pack of this release, byte for byte; a changed copy is what `parse` takes as well."""
    here = resources.files(__package__)
    return {file: here.joinpath(*file.split("/")).read_bytes().decode() for file in FILES}


def parse(files: Mapping[str, str]) -> Pack:
    """A pack from the texts of all its files (`FILES`). Raises PackError, which names file, line and what would be right."""
    for file in FILES:
        if file not in files:
            raise PackError(f"{file}: is missing")
    for file in files:
        if file not in FILES:
            raise PackError(f"{file}: is no file of the pack; there are {', '.join(FILES)}")
    tables = {kind.file: table(kind, files[f"{kind.file}.csv"]) for kind in TABLES}
    return build(tables, prose.read({file: files[f"prose/{file}"] for file in prose.COLUMNS}), digest_of(files))


def build(tables: Mapping[str, Sequence[Any]], words: Mapping[str, Prose], digest: str) -> Pack:
    """A pack of rows that were read before: file without `.csv` -> rows. Raises PackError where a lookup would have two answers."""
    jurisdictions: Sequence[Jurisdiction] = tables["jurisdictions"]
    rows = _by_id(jurisdictions)
    _check_parents(rows)
    names = _regimes_by_name(jurisdictions)
    return Pack(
        **{name: tuple(found) for name, found in tables.items()},
        prose=dict(words),
        digest=digest,
        rows=rows,
        owners=_owners(jurisdictions),
        tag_names=_tag_names(tables["tags"]),
        thresholds_by_id=_thresholds(tables["thresholds"]),
        regimes_by_name=names,
        open_by_regime=_open_by_regime(tables["unresolved"], names),
    )


def digest_of(files: Mapping[str, str]) -> str:
    """SHA-256 hex over the digests of the files under their names, so that no text can move from one file to the next unseen."""
    try:
        lines = [f"{file} {hashlib.sha256(files[file].encode()).hexdigest()}\n" for file in sorted(files)]
    except UnicodeEncodeError as exc:
        raise PackError("a file of the pack is not Unicode text") from exc
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _by_id(jurisdictions: Iterable[Jurisdiction]) -> dict[JurisdictionId, Jurisdiction]:
    rows: dict[JurisdictionId, Jurisdiction] = {}
    for row in jurisdictions:
        if row.id in rows:
            raise PackError(f"jurisdictions.csv: line {row.line}: {row.id} stands there twice")
        rows[row.id] = row
    return rows


def _check_parents(rows: Mapping[JurisdictionId, Jurisdiction]) -> None:
    """Parents are states or blocs, one level up; who owns countries has none."""
    for row in rows.values():
        place = f"jurisdictions.csv: line {row.line}"
        if row.parent is None:
            if row.kind in (Kind.SUBDIVISION, Kind.OVERLAY):
                raise PackError(f"{place}: {row.kind} {row.id} names no parent")
            continue
        if row.kind in _OWNING:
            raise PackError(f"{place}: {row.id} is a {row.kind} and names parent {row.parent}")
        parent = rows.get(row.parent)
        if parent is None or parent.kind not in (Kind.STATE, Kind.BLOC):
            raise PackError(f"{place}: {row.id} names parent {row.parent}, which is no state or bloc")


def _owners(jurisdictions: Iterable[Jurisdiction]) -> dict[Country, JurisdictionId]:
    owners: dict[Country, JurisdictionId] = {}
    for row in jurisdictions:
        for country in row.countries if row.kind in _OWNING else ():
            if country in owners:
                raise PackError(
                    f"jurisdictions.csv: line {row.line}: {country} belongs to {owners[country]} and to {row.id}"
                )
            owners[country] = row.id
    return owners


def _tag_names(tags: Iterable[Tag]) -> dict[str, str]:
    names: dict[str, str] = {}
    for row in tags:
        for name in dict.fromkeys((row.tag, *row.aliases)):
            if name in names:
                raise PackError(f"tags.csv: line {row.line}: {name} names {names[name]} and {row.tag}")
            names[name] = row.tag
    return names


def _thresholds(thresholds: Iterable[Threshold]) -> dict[str, Threshold]:
    found: dict[str, Threshold] = {}
    for row in thresholds:
        if row.id in found:
            raise PackError(f"thresholds.csv: line {row.line}: {row.id} stands there twice")
        found[row.id] = row
    return found


def _regimes_by_name(jurisdictions: Iterable[Jurisdiction]) -> dict[str, tuple[JurisdictionId, ...]]:
    """An id names itself. A name of the prose that is no id (`eu:DE`, `us-2027`) means the regimes whose rows were made from it."""
    names: dict[str, tuple[JurisdictionId, ...]] = {row.id: (row.id,) for row in jurisdictions}
    ids = frozenset(names)
    for row in jurisdictions:
        for name in dict.fromkeys(regime_named(ref) for ref in row.fact_ref):
            if name is not None and name not in ids:
                names[name] = (*names.get(name, ()), row.id)
    return names


def _regimes_named(
    fact: Fact | Unresolved, names: Mapping[str, tuple[JurisdictionId, ...]]
) -> tuple[JurisdictionId, ...]:
    """The regimes that a row's references name, each once."""
    named = [regime_named(ref) for ref in fact.fact_ref]
    return tuple(dict.fromkeys(regime for name in named if name is not None for regime in names.get(name, ())))


def _open_by_regime(
    unresolved: Iterable[Unresolved], names: Mapping[str, tuple[JurisdictionId, ...]]
) -> dict[JurisdictionId, tuple[Unresolved, ...]]:
    found: dict[JurisdictionId, tuple[Unresolved, ...]] = {}
    for line in unresolved:
        for regime in _regimes_named(line, names):
            found[regime] = (*found.get(regime, ()), line)
    return found
