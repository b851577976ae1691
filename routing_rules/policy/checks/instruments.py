"""`[[instruments]]`: each must be evidence that some row of the pack asks for, or it grounds nothing. Pure."""

from collections.abc import Mapping
from typing import get_args

from foundation.words import JurisdictionId
from routing_rules.hints import shown
from routing_rules.pack import Kind, Pack
from routing_rules.pack.rows import Requirement
from routing_rules.policy.checks.words import LIVED_UNDER, check_tags
from routing_rules.policy.draft import Draft, canonical
from routing_rules.policy.key_lines import Path
from routing_rules.policy.mistakes import Mistakes
from routing_rules.policy.tables import REF_CHARS_MAX, Instrument

Asked = Mapping[JurisdictionId, Mapping[str, frozenset[str]]]
"""Jurisdiction -> what its rows ask for as evidence -> which kinds of it (`detail_tag`), where rows say so."""


def check_instruments(draft: Draft, pack: Pack, mistakes: Mistakes) -> None:
    asked = asked_for(pack)
    first_with: dict[tuple[object, ...], int] = {}
    for n, instrument in draft.instruments.items():
        at: Path = ("instruments", n)
        _check_origin(instrument, at, asked, pack, mistakes)
        _check_to(instrument, at, pack, mistakes)
        if instrument.tags != ("*",):
            check_tags(instrument.tags, (*at, "tags"), pack, mistakes)
        _check_ref(instrument.ref, (*at, "ref"), mistakes)
        if instrument.since > instrument.until:
            mistakes.add((*at, "until"), f"is {instrument.until}, before since ({instrument.since})")
        scope = (instrument.origin, instrument.to, instrument.gateway, instrument.detail, instrument.ref)
        other = first_with.setdefault((*scope, frozenset(canonical(instrument.tags, pack))), n)
        if other != n:
            mistakes.add(at, f"has the ref and scope of instruments[{other}]; change the dates there instead")


def asked_for(pack: Pack) -> Asked:
    """What rows of gateways and of storage ask of an operator, whatever their dates and profile."""
    asked: dict[JurisdictionId, dict[str, frozenset[str]]] = {}
    pairs = [(row.origin, row.requirement, row.detail_tag) for row in pack.gateways]
    pairs += [(row.jurisdiction, word, None) for row in pack.storage for word in row.lifted_by]
    for origin, requirement, detail in pairs:
        if requirement != "none":
            kinds = asked.setdefault(origin, {})
            kinds[requirement] = kinds.get(requirement, frozenset()) | ({detail} if detail else frozenset())
    return asked


def _check_origin(instrument: Instrument, at: Path, asked: Asked, pack: Pack, mistakes: Mistakes) -> None:
    origin = instrument.origin
    kinds = asked.get(origin, {})
    if origin not in pack.rows:
        mistakes.add_unknown((*at, "from"), f"no jurisdiction {shown(origin)} in the pack", origin, asked.keys())
    elif not kinds:
        mistakes.add((*at, "from"), f"no row of {origin} asks for an instrument{_above(origin, asked, pack)}")
    elif instrument.gateway not in kinds:
        known = "" if instrument.gateway in get_args(Requirement) else ", nor does any other law"
        what = f"no row of {origin} asks for {shown(instrument.gateway)} as evidence{known}"
        mistakes.add((*at, "gateway"), f"{what}; its rows ask for {_listed(kinds)}")
    elif instrument.detail is not None and instrument.detail not in (details := kinds[instrument.gateway]):
        what = f"no row of {origin} asks for {instrument.gateway} of kind {shown(instrument.detail)}"
        mistakes.add((*at, "detail"), f"{what}; its rows name {_listed(details) or 'no kind, so leave detail out'}")


def _above(origin: JurisdictionId, asked: Asked, pack: Pack) -> str:
    """A hint at the jurisdiction whose rows do ask, where the one named leaves it to its parent."""
    parent = pack.rows[origin].parent
    return f"; did you mean {parent}?" if parent in asked else ""


def _check_to(instrument: Instrument, at: Path, pack: Pack, mistakes: Mistakes) -> None:
    to = JurisdictionId(instrument.to)
    row = pack.rows.get(to)
    if to == "*":
        return
    if row is None:
        places = [one.id for one in pack.jurisdictions if one.kind in LIVED_UNDER]
        mistakes.add_unknown((*at, "to"), f"no jurisdiction {shown(to)} in the pack", to, places)
    elif row.kind in (Kind.SCHEME, Kind.OVERLAY):
        above = f"write its parent {row.parent}" if row.parent else "write *"
        proven = "; operator.recipient_classes proves the class of recipients" if row.kind is Kind.SCHEME else ""
        mistakes.add((*at, "to"), f"{to} is of kind {row.kind}, never a place; {above}{proven}")
    elif instrument.origin in (to, row.parent):
        mistakes.add((*at, "to"), f"{to} lies inside {instrument.origin}; nothing leaves it there")


def _check_ref(ref: str, at: Path, mistakes: Mistakes) -> None:
    if not ref.strip() or not ref.isprintable() or len(ref) > REF_CHARS_MAX:
        mistakes.add(
            at, f"is {shown(ref)}; name the document on file in one line of at most {REF_CHARS_MAX} characters"
        )


def _listed(words: Mapping[str, object] | frozenset[str]) -> str:
    return ", ".join(sorted(words))
