"""Words that several tables use: countries and their parts, regimes, tags, purposes, weights. Each check adds its own mistakes. Pure."""

import difflib
import re
from collections.abc import Iterable

from foundation.words import Country, JurisdictionId
from routing_rules.hints import SHOWN_CHARS_MAX, shown
from routing_rules.pack import Jurisdiction, Kind, Pack
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import WEIGHT_MAX

_WORD = re.compile(r"[a-z][a-z0-9_-]*\Z")
_SUBDIVISION = re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}\Z")
_NEARLY = 0.75
LIVED_UNDER = (Kind.STATE, Kind.BLOC, Kind.SUBDIVISION)
"""Kinds of jurisdictions that people live under; the others follow an entity, or own what nothing is known of."""


def check_country(country: Country, at: Path, pack: Pack, mistakes: Mistakes) -> bool:
    """True if the pack knows the country code, by whichever row."""
    if country in pack.owners:
        return True
    upper = country.upper()
    hint = f"; did you mean {upper}?" if upper in pack.owners else "; write the two letters of ISO 3166-1, such as DE"
    mistakes.add(at, f"no country {shown(country)}{hint}")
    return False


def check_subdivision(subdivision: str | None, country: Country, at: Path, mistakes: Mistakes) -> bool:
    """True if none is stated, or one of the form of ISO 3166-2 that begins with the country. Which parts exist is not known here."""
    if subdivision is None:
        return True
    if not _SUBDIVISION.match(subdivision):
        mistakes.add(at, f"is {shown(subdivision)}; write a part of the country as ISO 3166-2 does, such as US-VA")
    elif not subdivision.startswith(f"{country}-"):
        mistakes.add(at, f"{subdivision} is no part of {shown(country)}")
    else:
        return True
    return False


def check_regime(regime: JurisdictionId, at: Path, pack: Pack, mistakes: Mistakes) -> Jurisdiction | None:
    """The row, if the id names a jurisdiction that people can live under and of which something is known."""
    row = pack.rows.get(regime)
    if row is None:
        ids = [one.id for one in pack.jurisdictions if one.kind is not Kind.DEFAULT]
        mistakes.add_unknown(at, f"no jurisdiction {shown(regime)} in the pack", regime, ids)
    elif row.kind is Kind.DEFAULT:
        mistakes.add(at, f"of {regime} the pack knows nothing (row as of {row.as_of}), so nobody's data may rest on it")
    elif row.kind not in LIVED_UNDER:
        mistakes.add(at, f"{regime} is of kind {row.kind}, which follows an entity; nobody lives there")
    else:
        return row
    return None


def check_tags(tags: Iterable[str], at: Path, pack: Pack, mistakes: Mistakes) -> None:
    """Every text is a tag of the pack or one of its aliases."""
    for n, tag in enumerate(tags, start=1):
        if tag == "*":
            mistakes.add((*at, n), "is '*'; name the kinds of data")
        elif tag not in pack.tag_names:
            mistakes.add_unknown((*at, n), f"no tag {shown(tag)} in the pack", tag, pack.tag_names.keys())


def check_word(word: str, at: Path, what: str, mistakes: Mistakes) -> None:
    if not _WORD.match(word):
        mistakes.add(at, f"is {shown(word)}; {what} is lower-case letters, digits, - and _")


def check_purpose(purpose: str, at: Path, pack: Pack, mistakes: Mistakes) -> None:
    """Purposes are the operator's own words, but one that is nearly a word that a prohibition names would pass it by."""
    check_word(purpose, at, "a purpose", mistakes)
    named = {deny.purpose for deny in pack.denies if deny.purpose is not None}
    meant = difflib.get_close_matches(purpose[:SHOWN_CHARS_MAX], sorted(named), n=1, cutoff=_NEARLY)
    if meant and purpose not in named:
        mistakes.add(
            at, f"is {shown(purpose)}; write {meant[0]}, of which prohibitions speak, or a word that is less like it"
        )


def check_weight(weight: float, at: Path, mistakes: Mistakes) -> None:
    if not 0 < weight <= WEIGHT_MAX:  # false for nan and infinity too
        mistakes.add(at, f"is {weight:g}; must be above 0 and at most {WEIGHT_MAX:g}")
