"""Section 4 of docs/evaluation.md by brute force: may it be transferred?"""

from typing import NamedTuple

from routing_rules.law.questions import Location, TransferQuestion
from tests.oracle.naive import Oracle, every, some
from tests.oracle.tables import Row, counts, words

NEUTRAL = ("general", "citizens_general", "any_personal_data", "non_special_category")
ALWAYS = (
    "transfer_planned",
    "first_transfer",
    "foreign_processing",
    "foreign_provider_used",
    "disclosure_to_provider_or_third_party",
)
BASE, UNDECLARED = "(base)", "(undeclared)"


class Transfer(NamedTuple):
    """`obligations`: (regime, trigger, action). `lacking`: (regime, requirement) whose evidence would make a deny a yes."""

    answer: str
    obligations: frozenset[tuple[str, str, str]]
    lacking: frozenset[tuple[str, str]]


def proven(row: Row, question: TransferQuestion) -> bool:
    classes = words(row["recipient_class"])
    return not classes or any(one in (question.recipient_classes or ()) for one in classes)


def count(oracle: Oracle, threshold: Row) -> int | None:
    return oracle.world.operator.counts.get(f"{threshold['jurisdiction']}/{threshold['tag']}")


def reached(oracle: Oracle, name: str) -> bool:
    """A threshold without a row exempts nothing."""
    counting = oracle.counting("thresholds", "id", name)
    over = any((n := count(oracle, row)) is None or n >= int(row["min"]) for row in counting)
    return over or not oracle.tables.of("thresholds", "id", name)


def denies(oracle: Oracle, row: Row, question: TransferQuestion, held: set[str], regime: str) -> str:
    classes = "yes" if proven(row, question) else "unknown" if question.recipient_classes is None else "no"
    purpose = "yes" if row["purpose"] in ("", question.purpose) else "no"
    enough = "yes" if not row["threshold_id"] or reached(oracle, row["threshold_id"]) else "no"
    return every(
        [oracle.matches(row, question.to), classes, purpose, oracle.restricts(row["tag"], held, regime), enough]
    )


def covers(oracle: Oracle, row: Row, item: str, held: set[str], regime: str) -> bool:
    """As far as tags go: does a permission speak of the item?"""
    special = oracle.special_in(regime)

    def among(tag: str, listed: list[str]) -> bool:
        return tag in listed or ("special_category" in listed and tag in special)

    if only := words(row["tags_only"]):
        return item not in (BASE, UNDECLARED) and among(item, only)
    barred = words(row["tags_except"])
    meant = {one for tag in barred for one in (special if tag == "special_category" else {tag})}
    if any(oracle.undeclared(tag) and tag not in held for tag in meant):
        return False
    return item in (BASE, UNDECLARED) or not any(among(tag, barred) for tag in oracle.widened({item}, regime))


def fits(oracle: Oracle, rows: list[Row]) -> bool:
    """Do the running counts lie inside the ranges that an alternative names?"""
    names = {name for row in rows for name in words(row["threshold_id"])}
    ranges = [(name, row) for name in sorted(names) for row in oracle.tables.of("thresholds", "id", name)]
    if names - {name for name, _ in ranges}:
        return False

    def inside(row: Row) -> bool:
        n = count(oracle, row)
        known = n is not None and counts("thresholds", row, oracle.world.profile, oracle.at)
        return known and int(row["min"]) <= n and (not row["max"] or n < int(row["max"]))

    tags = {row["tag"] for _, row in ranges}
    return all(any(inside(row) for _, row in ranges if row["tag"] == tag) for tag in tags)


def evidence(oracle: Oracle, row: Row, item: str, place: Location) -> bool:
    return any(
        one.origin == row["from"]
        and one.to in ("*", place.id, oracle.parent(place.id) or place.id)
        and one.gateway == row["requirement"]
        and one.since <= oracle.at <= one.until
        and (one.detail is None or one.detail == row["detail_tag"])
        and (item == BASE or "*" in one.tags or item in {oracle.canonical(tag) for tag in one.tags})
        for one in oracle.world.instruments
    )


def transfer(oracle: Oracle, question: TransferQuestion) -> Transfer:
    standing = {regime: oracle.standing(regime) for regime in question.regimes}
    speaking = [regime for regime, how in standing.items() if how != "out"]
    nothing: frozenset = frozenset()
    overlaid = {row["parent"] for row in oracle.tables.of("jurisdictions", "kind", "overlay")}
    undeclared = oracle.world.operator.overlays is None and overlaid & set(speaking)
    if not speaking or "unknown" in standing.values() or undeclared or not oracle.is_place(question.to):
        return Transfer("unknown", nothing, nothing)
    found = [answer for regime in speaking if (answer := transfer_under(oracle, regime, question)) is not None]
    answers = [one.answer for one in found]
    worst = next((a for a in ("deny", "unknown", "allow_with", "allow") if a in answers), "unknown")
    return Transfer(worst, nothing.union(*(o.obligations for o in found)), nothing.union(*(o.lacking for o in found)))


def transfer_under(oracle: Oracle, regime: str, question: TransferQuestion) -> Transfer | None:
    """What one regime says; None: nothing, it is silent."""
    nothing: frozenset = frozenset()
    held = oracle.carried(question.tags)
    denied = some(denies(oracle, row, question, held, regime) for row in oracle.counting("denies", "from", regime))
    if denied == "yes":
        return Transfer("deny", nothing, nothing)
    is_open = denied == "unknown" or oracle.has_strange(question.tags)
    place = question.to
    if place.id == regime or (oracle.kind(place.id) == "subdivision" and oracle.parent(place.id) == regime):
        return Transfer("unknown" if is_open else "allow", nothing, nothing)
    rows = oracle.tables.of("edges", "from", regime) + oracle.tables.of("gateways", "from", regime)
    if oracle.kind(regime) == "subdivision" and not rows:
        return Transfer("unknown", nothing, nothing) if is_open else None
    return coverage(oracle, regime, question, held, is_open)


class Covered(NamedTuple):
    """How an item is covered. `missing`: what alternatives that would cover it lack; `satisfied`: those that lack nothing."""

    by_edge: bool
    free: bool
    satisfied: list[list[Row]]
    missing: set[str]


def coverage(oracle: Oracle, regime: str, question: TransferQuestion, held: set[str], is_open: bool) -> Transfer:
    items = [BASE, *sorted(held - set(NEUTRAL))] + ([UNDECLARED] if oracle.world.operator.sectors is None else [])
    edges, gates = fitting_rows(oracle, regime, question)
    found = {item: covered(oracle, regime, question.to, item, held, edges, gates) for item in items}
    bare = {item: how.missing for item, how in found.items() if not (how.by_edge or how.satisfied)}
    nothing: frozenset = frozenset()
    firm = {item: missing for item, missing in bare.items() if item != UNDECLARED}
    if firm and all(firm.values()) and not oracle.has_strange(question.tags):
        return Transfer("deny", nothing, frozenset((regime, name) for missing in firm.values() for name in missing))
    if bare or is_open:
        return Transfer("unknown", nothing, nothing)
    relied = [row for how in found.values() if not (how.by_edge or how.free) for row in how.satisfied[0]]
    by_gate = any(not how.by_edge for how in found.values())
    duties = duties_of(oracle, regime, question, held, relied, by_gate)
    return Transfer("allow_with" if relied or duties else "allow", duties, nothing)


def fitting_rows(oracle: Oracle, regime: str, question: TransferQuestion) -> tuple[list[Row], list[list[Row]]]:
    """Edges and alternatives that lead there, for this recipient and these counts."""

    def leads(row: Row) -> bool:
        return oracle.matches(row, question.to) == "yes" and proven(row, question)

    ways: dict[tuple[str, int], list[Row]] = {}
    for row in oracle.counting("gateways", "from", regime):
        ways.setdefault((row["to"], int(row["alternative"])), []).append(row)
    gates = [ways[key] for key in sorted(ways) if all(leads(row) for row in ways[key]) and fits(oracle, ways[key])]
    return [row for row in oracle.counting("edges", "from", regime) if leads(row)], gates


def covered(
    oracle: Oracle, regime: str, place: Location, item: str, held: set[str], edges: list[Row], gates: list[list[Row]]
) -> Covered:
    speaking = [gate for gate in gates if all(covers(oracle, row, item, held, regime) for row in gate)]
    missing = [
        {row["requirement"] for row in gate if row["requirement"] != "none" and not evidence(oracle, row, item, place)}
        for gate in speaking
    ]
    return Covered(
        by_edge=any(covers(oracle, row, item, held, regime) for row in edges),
        free=any(all(row["requirement"] == "none" for row in gate) for gate in speaking),
        satisfied=[gate for gate, lack in zip(speaking, missing, strict=True) if not lack],
        missing=set().union(*missing),
    )


def duties_of(
    oracle: Oracle, regime: str, question: TransferQuestion, held: set[str], used: list[Row], by_gate: bool
) -> frozenset:
    wide = oracle.widened(held, regime)
    place = question.to.id
    fitting = {
        **dict.fromkeys(ALWAYS, True),
        "special_category_transfer_planned": bool(held & oracle.special_in(regime)),
        "transfer_by_scc_or_bcr": any(row["requirement"] in ("scc", "bcr") for row in used),
        "transfer_to_non_adequate": by_gate,
        "transfer_to_eu": place == "eu" or (oracle.kind(place) == "subdivision" and oracle.parent(place) == "eu"),
        "standard_contract_signed": any(row["requirement"] == "scc" for row in used),
        "equivalent_measures_transfer": any(row["detail_tag"] == "equivalent_measures" for row in used),
        "payment_processed_abroad": "payments" in held,
        "sale_of_consumer_health": question.purpose == "sale" and "consumer_health" in wide,
        "data_brokerage_to_foreign_person": question.purpose == "sale",
    }
    return frozenset(
        (regime, row["trigger"], row["action"])
        for row in oracle.counting("obligations", "jurisdiction", regime)
        if fitting.get(row["trigger"], False)
        or (row["trigger"].startswith("threshold_") and reached(oracle, row["trigger"].removeprefix("threshold_")))
    )
