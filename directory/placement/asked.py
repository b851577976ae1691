"""What a caller states of a new subject, in the words of the rules; and the rules' no, in the words of callers. Pure."""

from directory.placement.answers import PlaceRequest
from foundation.problems import Code, Problem
from foundation.words import Country, ServiceId
from routing_rules.facts import PlaceFacts, SubjectFacts
from routing_rules.hints import nearest, shown
from routing_rules.rules import Rules
from routing_rules.verdicts import NoCell


def facts_of(asked: PlaceRequest, rules: Rules) -> PlaceFacts | Problem:
    """Canonical, so that the same facts get the same `facts_id`: everything sorted and once, aliases of tags resolved.

    A part of the declared country says nothing of another one that was verified: then no part is known.
    """
    declared = Country(asked.residence)
    residence = declared if asked.verified_residence is None else Country(asked.verified_residence)
    wrong = _part_problem(asked.subdivision, (declared, residence)) or _terms_problem(asked.terms, rules)
    if wrong is not None:
        return wrong
    tags = _tags(asked.tags, rules)
    if isinstance(tags, Problem):
        return tags
    part = asked.subdivision
    citizenships = asked.citizenships
    return PlaceFacts(
        subject=SubjectFacts(
            residence=residence,
            subdivision=part if part is not None and part.startswith(f"{residence}-") else None,
            citizenships=None if citizenships is None else tuple(sorted({Country(one) for one in citizenships})),
            tags=tags,
            terms=asked.terms,
        ),
        services=tuple(sorted({ServiceId(one) for one in asked.services})),
        declared=None if declared == residence else declared,
        observed=None if asked.observed is None else Country(asked.observed),
    )


def refused(answer: NoCell) -> Problem:
    """The rules' refusal, with what would allow a cell: `lacks`, each the instruments that are missing."""
    lacks = [
        {
            "cell": cell,
            "from": lack.regime,
            "to": lack.to,
            "gateways": list(lack.requirements),
            "tags": list(lack.items),
            "row": f"{lack.row.file}.csv:{lack.row.line}",
        }
        for cell, lack in answer.lacks
    ]
    extra = {"ground": answer.ground} | ({"lacks": lacks} if lacks else {})
    return Problem(code=answer.code, detail=answer.detail, extra=extra)


def _tags(tags: tuple[str, ...], rules: Rules) -> tuple[str, ...] | Problem:
    names = rules.pack.tag_names
    for tag in tags:
        if tag not in names:
            return _wrong(f"the pack knows no tag {shown(tag)}{nearest(tag, names)}")
    return tuple(sorted({names[tag] for tag in tags}))


def _part_problem(subdivision: str | None, countries: tuple[Country, ...]) -> Problem | None:
    if subdivision is None or any(subdivision.startswith(f"{country}-") for country in countries):
        return None
    return _wrong("subdivision is no part of the country of residence")


def _terms_problem(terms: str | None, rules: Rules) -> Problem | None:
    if terms is None or terms in rules.policy.terms:
        return None
    return _wrong(f"policy has no terms {shown(terms)}{nearest(terms, rules.policy.terms)}")


def _wrong(detail: str) -> Problem:
    return Problem(code=Code.BAD_REQUEST, detail=detail)
