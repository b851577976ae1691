"""What a person declares of themselves in the query of a sign-up or preview, parsed. Pure.

`?residence=DE`, and where the rules ask for more `&subdivision=US-TX` (ISO 3166-2) and `&citizenship=DE` (as often as there are any).
"""

from foundation.problems import Code, Problem
from foundation.words import Country, MalformedWord, parse_country, parse_subdivision
from routing_rules.facts import SubjectFacts

CITIZENSHIPS_MAX = 8


def subject_of(residence: str | None, subdivision: str | None, citizenship: str | None) -> SubjectFacts | Problem:
    """The declared facts, or what is wrong with them. A repeated parameter is its values with commas between."""
    country = residence_of(residence)
    if isinstance(country, Problem):
        return country
    try:
        part = None if subdivision is None else parse_subdivision(subdivision)
        citizenships = None if citizenship is None else _countries(citizenship)
    except MalformedWord as exc:
        return Problem(code=Code.BAD_REQUEST, detail=str(exc))
    if part is not None and not part.startswith(f"{country}-"):
        return Problem(code=Code.BAD_REQUEST, detail="the subdivision is no part of the country of residence")
    return SubjectFacts(residence=country, subdivision=part, citizenships=citizenships)


def residence_of(text: str | None) -> Country | Problem:
    """The declared residence: one country."""
    if text is None:
        return Problem(code=Code.RESIDENCE_REQUIRED, detail="state the residence first: ?residence=DE")
    try:
        return parse_country(text)
    except MalformedWord as exc:
        return Problem(code=Code.BAD_REQUEST, detail=str(exc))


def _countries(text: str) -> tuple[Country, ...]:
    """Sorted, each once. Raises MalformedWord."""
    named = text.split(",")
    if len(named) > CITIZENSHIPS_MAX:
        raise MalformedWord(f"at most {CITIZENSHIPS_MAX} citizenships are taken")
    return tuple(sorted({parse_country(one.strip()) for one in named}))
