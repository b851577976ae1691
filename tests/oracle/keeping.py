"""Section 5 of docs/evaluation.md by brute force: may it be kept and handled there?"""

from typing import NamedTuple

from routing_rules.law.questions import Location, StorageQuestion
from routing_rules.policy import Instrument
from tests.oracle.naive import Oracle, every, some
from tests.oracle.tables import Row, counts, words

VERBS = ("store", "process", "access")


class Applying(NamedTuple):
    """A storage row, and whether it applies: `yes` or `unknown`."""

    row: Row
    how: str


def storage(oracle: Oracle, question: StorageQuestion) -> str:
    standing = {regime: oracle.standing(regime) for regime in question.regimes}
    speaking = [regime for regime, how in standing.items() if how != "out"]
    places = (question.primary, *question.stores, *question.processes, *question.accesses, *question.copies)
    if not speaking or "unknown" in standing.values() or not all(oracle.is_place(place) for place in places):
        return "unknown"
    if any(general_rule(oracle, regime) in ("", "unknown") for regime in speaking):
        return "unknown"
    held = oracle.carried(question.tags)
    country = oracle.world.operator.country
    operators = None if country is None else oracle.regimes(country, None).regimes
    applying = [
        Applying(row, how)
        for row in oracle.tables.rows["storage"]
        if counts("storage", row, oracle.world.profile, oracle.at)
        and (how := applies(oracle, row, held, key(row, question, speaking, operators))) != "no"
        and not lifted(oracle, row, places)
    ]
    sure = met(oracle, [one.row for one in applying if one.how == "yes"], question)
    if sure == "no":
        return "deny"
    perhaps = met(oracle, [one.row for one in applying], question)
    return "allow" if every([sure, perhaps]) == "yes" and not oracle.has_strange(question.tags) else "unknown"


def applies(oracle: Oracle, row: Row, held: set[str], by_key: str) -> str:
    return by_key if by_key == "no" else every([by_key, oracle.restricts(row["tag"], held, row["jurisdiction"])])


def general_rule(oracle: Oracle, regime: str) -> str:
    rows = oracle.tables.of("jurisdictions", "id", regime)
    rule = rows[0]["general_storage_rule"]
    if rule or rows[0]["kind"] not in ("overlay", "subdivision"):
        return rule
    return next((row["general_storage_rule"] for row in oracle.tables.of("jurisdictions", "id", rows[0]["parent"])), "")


def key(row: Row, question: StorageQuestion, regimes: list[str], operators: frozenset[str] | None) -> str:
    """`operators`: the regimes of the operator's own country."""
    own = row["jurisdiction"]
    match row["key"]:
        case "residence":
            return "yes" if own in regimes else "no"
        case "citizenship":
            return "unknown" if question.citizenships is None else "yes" if own in question.citizenships else "no"
        case "operator":
            if own in regimes:
                return "yes"
            return "unknown" if operators is None else "yes" if own in operators else "no"
        case "place_of_collection":
            return "yes" if own in regimes else "unknown"
    raise ValueError(row["key"])


def lifted(oracle: Oracle, row: Row, places: tuple[Location, ...]) -> bool:
    if not row["lifted_by"]:
        return False
    outside = [place for place in places if in_region(oracle, row, place) != "yes"]
    on_file, needed = oracle.world.instruments, words(row["lifted_by"])
    return all(any(lifts(oracle, one, row, word, place) for one in on_file) for word in needed for place in outside)


def lifts(oracle: Oracle, one: Instrument, row: Row, word: str, place: Location) -> bool:
    return (
        one.origin == row["jurisdiction"]
        and one.gateway == word
        and one.to in ("*", place.id, oracle.parent(place.id) or place.id)
        and one.since <= oracle.at <= one.until
        and (row["tag"] == "*" or "*" in one.tags or row["tag"] in {oracle.canonical(tag) for tag in one.tags})
    )


def in_region(oracle: Oracle, row: Row, place: Location) -> str:
    names = {place.id} | ({oracle.parent(place.id)} if oracle.kind(place.id) == "subdivision" else set())
    return some(
        oracle.is_member(word.removeprefix("group:"), place)
        if word.startswith("group:")
        else "yes"
        if word in names
        else "no"
        for word in words(row["region"])
    )


def met(oracle: Oracle, rows: list[Row], question: StorageQuestion) -> str:
    """Are all verbs of these rows satisfied, and what may be left abroad for a time?"""
    return every(
        [
            *(verb_met(oracle, verb, rows, question) for verb in VERBS),
            *(left_abroad(oracle, row, question) for row in rows),
        ]
    )


def locations(question: StorageQuestion, verb: str) -> tuple[Location, ...]:
    match verb:
        case "store":
            return (question.primary, *question.stores, *question.copies)
        case "process":
            return question.processes
        case _:
            return question.accesses


def verb_met(oracle: Oracle, verb: str, rows: list[Row], question: StorageQuestion) -> str:
    naming = [row for row in rows if verb in words(row["verbs"])]
    if not naming:
        return "yes"

    def inside(place: Location) -> str:
        return every(in_region(oracle, row, place) for row in naming)

    copied = some(inside(place) for place in (question.primary, *question.stores, *question.copies))

    def rule_met(rule: str) -> str:
        match rule:
            case "local_only":
                return every(inside(place) for place in locations(question, verb))
            case "primary_local":
                return inside(question.primary)
            case "process_here_or_copy_local":
                return some([every(inside(place) for place in question.processes), copied])
            case "copy_local":
                return copied
        raise ValueError(rule)

    return every(rule_met(row["rule"]) for row in naming)


def left_abroad(oracle: Oracle, row: Row, question: StorageQuestion) -> str:
    if not row["ttl_hours_abroad"] or (
        question.hours_abroad is not None and question.hours_abroad <= int(row["ttl_hours_abroad"])
    ):
        return "yes"
    other = [place for verb in VERBS if verb not in words(row["verbs"]) for place in locations(question, verb)]
    return every(in_region(oracle, row, place) for place in other)
