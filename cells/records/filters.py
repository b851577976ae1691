"""Filters of the dialect: `not.op(any).value`, and trees of them under and/or. Pure; columns are checked later, by grant.

https://docs.postgrest.org/en/v13/references/api/tables_views.html#operators
"""

import re
from typing import Literal

from cells.records import errors
from cells.records.query import IS_VALUES, QUANTIFIED, Condition, Group, Operator, Path, Term
from cells.records.scanner import PLAIN_NAME, Scanner

IN_MAX = 1_000
TERMS_MAX = 200
"""Filters in one request, those inside trees counted."""
DEPTH_MAX = 10
PATTERN_MAX = 200
"""Characters of a regular expression: what Postgres makes of a long one takes memory."""

_PATTERNS = (Operator.LIKE, Operator.ILIKE)
_REGULAR = (Operator.MATCH, Operator.IMATCH)
_ARRAYS = (Operator.CS, Operator.CD, Operator.OV)
_OPERATION = re.compile(r"((?:not\.){0,8})([a-z]{1,20})(?:\(([^()]{0,40})\))?\.")
_COMPARED = re.compile(r"(eq|neq|gte?|lte?)\.")
_OPERATORS = {one.value: one for one in Operator}
_GROUP = re.compile(r"(not\.)?(and|or)(?=\()")
_TO_COMMA = re.compile(r"[^,)]*", re.DOTALL)
_BRACED = re.compile(r"\{[^{}]*\}", re.DOTALL)
_ABSENT = dict.fromkeys(("fts", "plfts", "phfts", "wfts"), "full text search")


def condition(name: str, value: str) -> Condition:
    """A filter as a parameter of its own: the path is its name, and the value reaches to the end. Raises ProblemError."""
    compared = _COMPARED.match(value)
    if (
        compared is not None and PLAIN_NAME.fullmatch(name) is not None
    ):  # what the grammar below makes of it, and most filters are
        return Condition(path=Path(name), operator=_OPERATORS[compared.group(1)], values=(value[compared.end() :],))
    named = Scanner(name, "a filter")
    path = named.path()
    if not named.ended:
        raise named.refused("an operator is expected after the column's name")
    return _operation(Scanner(value, f"filter on {path.column}"), path, nested=False)


def group(joint: Literal["and", "or"], value: str, *, negated: bool) -> Group:
    """A tree of filters as a parameter of its own. Raises ProblemError."""
    scanner = Scanner(value, joint)
    found = _group(scanner, joint, negated=negated, depth=1)
    if not scanner.ended:
        raise errors.dialect(errors.QUERY, f"{joint}: nothing may follow the closing parenthesis")
    return found


def count(terms: tuple[Term, ...]) -> int:
    return sum(count(term.terms) if isinstance(term, Group) else 1 for term in terms)


def _group(scanner: Scanner, joint: Literal["and", "or"], *, negated: bool, depth: int) -> Group:
    if depth > DEPTH_MAX:
        raise errors.dialect(errors.QUERY, f"groups are nested at most {DEPTH_MAX} deep")
    if not scanner.take("("):
        raise errors.dialect(errors.QUERY, f"{joint}: (filter,filter) is expected")
    terms: list[Term] = []
    while True:
        scanner.spaces()
        terms.append(_member(scanner, depth))
        scanner.spaces()
        if scanner.take(")"):
            return Group(joint=joint, terms=tuple(terms), negated=negated)
        if not scanner.take(","):
            raise scanner.refused("a comma or a closing parenthesis is expected")
        if len(terms) >= TERMS_MAX:
            raise errors.dialect(errors.QUERY, f"a request has at most {TERMS_MAX} filters")


def _member(scanner: Scanner, depth: int) -> Term:
    inner = scanner.match(_GROUP)
    if inner is not None:
        joint: Literal["and", "or"] = "and" if inner.group(2) == "and" else "or"
        return _group(scanner, joint, negated=inner.group(1) is not None, depth=depth + 1)
    path = scanner.path()
    if not scanner.take("."):
        raise scanner.refused("column.operator.value is expected")
    return _operation(scanner, path, nested=True)


def _operation(scanner: Scanner, path: Path, *, nested: bool) -> Condition:
    found = scanner.match(_OPERATION)
    if found is None:
        raise errors.dialect(errors.QUERY, f"filter on {path.column}: operator.value is expected", hint=_HINT)
    operator = _operator(path.column, found.group(2))
    quantifier = _quantifier(path.column, operator, found.group(3))
    match operator:
        case Operator.IN:
            values = _list(scanner, path.column)
        case _:
            values = (_operand(scanner, nested=nested, braced=quantifier is not None or operator in _ARRAYS),)
    if not nested and not scanner.ended:
        raise errors.dialect(errors.QUERY, f"filter on {path.column}: nothing may follow the closing parenthesis")
    return Condition(
        path=path,
        operator=operator,
        values=_checked(path.column, operator, values),
        negated=found.group(1).count("not.") % 2 == 1,
        quantifier=quantifier,
    )


def _operator(column: str, word: str) -> Operator:
    known = _OPERATORS.get(word)
    if known is not None:
        return known
    if word in _ABSENT:
        raise errors.dialect(errors.QUERY, f"filter on {column}: {_ABSENT[word]} is not supported here ({word})")
    raise errors.dialect(errors.QUERY, f"filter on {column}: there is no such operator", hint=_HINT)


def _quantifier(column: str, operator: Operator, word: str | None) -> Literal["any", "all"] | None:
    if word is None:
        return None
    if operator in QUANTIFIED and word == "any":
        return "any"
    if operator in QUANTIFIED and word == "all":
        return "all"
    raise errors.dialect(errors.QUERY, f"filter on {column}: {operator}({word}) is not supported here")


def _operand(scanner: Scanner, *, nested: bool, braced: bool) -> str:
    """A value: the rest of a parameter; inside a tree quoted, an array in braces, or up to the next comma or parenthesis."""
    if not nested:
        value = scanner.rest
        scanner.at = len(scanner.text)
        return value
    start = scanner.at
    quoted = scanner.quoted()
    if quoted is not None and (scanner.ended or scanner.text[scanner.at] in ",)"):
        return quoted
    scanner.at = start
    found = (scanner.match(_BRACED) if braced else None) or scanner.match(_TO_COMMA)
    return "" if found is None else found.group()


def _list(scanner: Scanner, column: str) -> tuple[str, ...]:
    """`(a,b,"c,d")`: a quoted element may hold commas and parentheses."""
    refused = errors.dialect(
        errors.QUERY, f"filter on {column}: in.(a,b) takes at most {IN_MAX} values, quoted where they hold , or )"
    )
    if not scanner.take("("):
        raise refused
    if scanner.take(")"):
        return ()
    values: list[str] = []
    while len(values) < IN_MAX:
        values.append(_operand(scanner, nested=True, braced=False))
        if scanner.take(")"):
            return tuple(values)
        if not scanner.take(","):
            break
    raise refused


def _checked(column: str, operator: Operator, values: tuple[str, ...]) -> tuple[str, ...]:
    """The values as the operator wants them. Raises ProblemError."""
    if operator in _PATTERNS:
        return tuple(value.replace("*", "%") for value in values)
    if operator in _REGULAR and any(len(value) > PATTERN_MAX for value in values):
        raise errors.dialect(errors.QUERY, f"filter on {column}: a pattern is at most {PATTERN_MAX} characters long")
    if operator is Operator.IS:
        word = values[0].lower()
        if word not in IS_VALUES:
            raise errors.dialect(errors.QUERY, f"filter on {column}: is.null, not_null, true, false or unknown")
        return (word,)
    return values


_HINT = f"operators: {', '.join(one.value for one in Operator)}; not. before any; (any) or (all) after some"
