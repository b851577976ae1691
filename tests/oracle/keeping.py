"""Section 5 of docs/evaluation.md by brute force: may it be kept and handled there?"""

from typing import NamedTuple

from routing_rules.law.questions import Location, StorageQuestion
from tests.oracle.naive import Oracle, every, some
from tests.oracle.tables import Row, words

STRICTEST_FIRST = ("local_only", "primary_local", "process_here_or_copy_local", "copy_local")
VERBS = ("store", "process", "access")


class Applying(NamedTuple):
    """A storage row, and whether it applies: `yes` or `unknown`."""

    row: Row
    how: str


def storage(oracle: Oracle, question: StorageQuestion) -> str:
    standing = {regime: oracle.standing(regime) for regime in question.regimes}
    speaking = [regime for regime, how in standing.items() if how != "out"]
    if not speaking or "unknown" in standing.values():
        return "unknown"
    if any(general_rule(oracle, regime) in ("", "unknown") for regime in speaking):
        return "unknown"
    held = oracle.carried(question.tags)
    places = (question.primary, *question.stores, *question.processes, *question.accesses, *question.copies)
    applying = [
        Applying(row, how)
        for column in {row["jurisdiction"] for row in oracle.tables.rows["storage"]}
        for row in oracle.counting("storage", "jurisdiction", column)
        if (
            how := every(
                [oracle.restricts(row["tag"], held, row["jurisdiction"]), key(oracle, row, question, speaking)]
            )
        )
        != "no"
        and not lifted(oracle, row, places)
    ]
    sure = met(oracle, [one.row for one in applying if one.how == "yes"], question)
    if sure == "no":
        return "deny"
    perhaps = met(oracle, [one.row for one in applying], question)
    return "allow" if every([sure, perhaps]) == "yes" and not oracle.has_strange(question.tags) else "unknown"


def general_rule(oracle: Oracle, regime: str) -> str:
    rows = oracle.tables.of("jurisdictions", "id", regime)
    rule = rows[0]["general_storage_rule"]
    if rule or rows[0]["kind"] not in ("overlay", "subdivision"):
        return rule
    return next((row["general_storage_rule"] for row in oracle.tables.of("jurisdictions", "id", rows[0]["parent"])), "")


def key(oracle: Oracle, row: Row, question: StorageQuestion, regimes: list[str]) -> str:
    own, operator = row["jurisdiction"], oracle.world.operator.country
    match row["key"]:
        case "residence":
            return "yes" if own in regimes else "no"
        case "citizenship":
            return "unknown" if question.citizenships is None else "yes" if own in question.citizenships else "no"
        case "operator":
            if own in regimes:
                return "yes"
            return "unknown" if operator is None else "yes" if own in oracle.regimes(operator, None).regimes else "no"
        case "place_of_collection":
            return "yes" if own in regimes else "unknown"
    raise ValueError(row["key"])


def lifted(oracle: Oracle, row: Row, places: tuple[Location, ...]) -> bool:
    if not row["lifted_by"]:
        return False
    outside = [place for place in places if in_region(oracle, row, place) != "yes"]
    return all(
        any(lifts(oracle, row, word, place, n) for n in range(len(oracle.world.instruments)))
        for word in words(row["lifted_by"])
        for place in outside
    )


def lifts(oracle: Oracle, row: Row, word: str, place: Location, n: int) -> bool:
    one = oracle.world.instruments[n]
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
    match next(rule for rule in STRICTEST_FIRST if any(row["rule"] == rule for row in naming)):
        case "local_only":
            return every(inside(place) for place in locations(question, verb))
        case "primary_local":
            return inside(question.primary)
        case "process_here_or_copy_local":
            return some([every(inside(place) for place in question.processes), copied])
        case _:
            return copied


def left_abroad(oracle: Oracle, row: Row, question: StorageQuestion) -> str:
    if not row["ttl_hours_abroad"] or (
        question.hours_abroad is not None and question.hours_abroad <= int(row["ttl_hours_abroad"])
    ):
        return "yes"
    other = [place for verb in VERBS if verb not in words(row["verbs"]) for place in locations(question, verb)]
    return every(in_region(oracle, row, place) for place in other)
