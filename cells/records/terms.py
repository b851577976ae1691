"""Columns, paths and filters as SQL: identifiers only from the contract, quoted; everything a client wrote as a parameter. Pure."""

from typing import Literal, assert_never

from cells.records import errors
from cells.records.contracts import TYPES, Contract
from cells.records.core import Bound, Grant
from cells.records.query import Condition, Group, Operator, Order, Path, Term
from foundation.problems import Code

_COMPARED = {
    Operator.EQ: "=", Operator.NEQ: "<>", Operator.GT: ">", Operator.GTE: ">=", Operator.LT: "<", Operator.LTE: "<=",
    Operator.ISDISTINCT: "IS DISTINCT FROM",
    Operator.LIKE: "LIKE", Operator.ILIKE: "ILIKE", Operator.MATCH: "~", Operator.IMATCH: "~*",
    Operator.CS: "@>", Operator.CD: "<@", Operator.OV: "&&",
    Operator.SL: "<<", Operator.SR: ">>", Operator.NXR: "&<", Operator.NXL: "&>", Operator.ADJ: "-|-",
}  # fmt: skip
_TEXTUAL = frozenset({Operator.LIKE, Operator.ILIKE, Operator.MATCH, Operator.IMATCH})
_OF_RANGES = frozenset({Operator.SL, Operator.SR, Operator.NXR, Operator.NXL, Operator.ADJ})
_IS = {"null": "NULL", "not_null": "NOT NULL", "true": "TRUE", "false": "FALSE", "unknown": "UNKNOWN"}
_ARRAYS = frozenset({"text[]", "uuid[]"})
_RANGES = frozenset({"int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"})


class Parameters:
    """Collects arguments and hands out their places; $1 is the subject, $2 the epoch."""

    def __init__(self, bound: Bound) -> None:
        self.held: list[str | int | list[str]] = [bound.subject, bound.epoch]

    def text(self, value: str) -> str:
        self.held.append(value)
        return f"${len(self.held)}::text"

    def texts(self, values: tuple[str, ...]) -> str:
        self.held.append(list(values))
        return f"${len(self.held)}::text[]"


class Terms:
    """Expressions over one contract's table, named `t`, as far as a caller's grant goes. All raise ProblemError."""

    def __init__(self, contract: Contract, granted: Grant, parameters: Parameters) -> None:
        self._contract = contract
        self._granted = granted
        self._parameters = parameters

    def readable(self, name: str) -> str:
        """A column that may be returned."""
        if name in self._granted.read:
            return f't."{name}"'
        if name not in self._contract.columns:
            raise errors.dialect(errors.NO_COLUMN, f"column {self._contract.table}.{name} does not exist")
        message = f"column {name} of {self._contract.table} may not be read by this caller for this purpose"
        raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)

    def filterable(self, name: str) -> str:
        """A column that may be compared, ordered by, taken apart or cast: not a sealed one."""
        column = self.readable(name)
        if name not in self._granted.filter:
            message = (
                f"column {name} of {self._contract.table} is sealed: it is returned whole, no filter or order on it"
            )
            raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)
        return column

    def selected(self, path: Path, cast: str | None) -> str:
        if not path.steps and cast is None:
            return self.readable(path.column)
        expression, _ = self.typed(path)
        return expression if cast is None else f"CAST({expression} AS {TYPES[cast]})"

    def typed(self, path: Path) -> tuple[str, str]:
        """The expression for a path that may be compared, and Postgres's name of its type."""
        expression = self.filterable(path.column)
        held = TYPES[self._contract.columns[path.column].type]
        if not path.steps:
            return expression, held
        if held not in ("json", "jsonb"):
            raise errors.dialect(errors.QUERY, f"column {path.column} is {held}: -> goes into json and jsonb only")
        if held == "json":
            expression = f"to_jsonb({expression})"
        for step in path.steps:
            arrow = "->>" if step.as_text else "->"
            key = self._parameters.text(str(step.key)) + ("::integer" if isinstance(step.key, int) else "")
            expression = f"({expression} {arrow} {key})"
        return expression, "text" if path.steps[-1].as_text else "jsonb"

    def where(self, terms: tuple[Term, ...]) -> list[str]:
        return [self._term(term) for term in terms]

    def ordered(self, order: tuple[Order, ...]) -> str:
        """`ORDER BY …` with a space before it, or nothing."""
        if not order:
            return ""
        return f" ORDER BY {', '.join(self._ordering(one) for one in order)}"

    def _ordering(self, one: Order) -> str:
        expression, held = self.typed(one.path)
        if held == "json":
            raise errors.dialect(
                errors.QUERY, f"column {one.path.column} is json, which has no order; order by a path into it"
            )
        nulls = f" NULLS {one.nulls.upper()}" if one.nulls else ""
        return f"{expression} {'DESC' if one.descending else 'ASC'}{nulls}"

    def _term(self, term: Term) -> str:
        match term:
            case Group():
                inner = f" {term.joint.upper()} ".join(self._term(one) for one in term.terms)
                return f"NOT ({inner})" if term.negated else f"({inner})"
            case Condition():
                compared = self._condition(term)
                return f"NOT ({compared})" if term.negated else compared
            case _:
                assert_never(term)

    def _condition(self, one: Condition) -> str:
        expression, held = self.typed(one.path)
        _check_applies(one, held)
        parameters = self._parameters
        match one.operator:
            case Operator.IS:
                return f"{expression} IS {_IS[one.values[0]]}"
            case Operator.IN:
                return f"{expression} = ANY ({parameters.texts(one.values)}::{held}[])"
            case _ if one.quantifier is not None:
                several: Literal["ANY", "ALL"] = "ANY" if one.quantifier == "any" else "ALL"
                return f"{expression} {_COMPARED[one.operator]} {several} ({parameters.text(one.values[0])}::{held}[])"
            case _:
                return f"{expression} {_COMPARED[one.operator]} {parameters.text(one.values[0])}::{held}"


def operators(held: str) -> tuple[Operator, ...]:
    """The operators of a type, by Postgres's name of it."""
    return tuple(one for one in Operator if _known(one, held))


def _known(operator: Operator, held: str) -> bool:
    match operator:
        case Operator.IS:
            return True
        case Operator.OV:
            return held in _ARRAYS or held in _RANGES
        case Operator.CS | Operator.CD:
            return held in _ARRAYS or held in _RANGES or held == "jsonb"
        case Operator.IN:
            return held != "json" and held not in _ARRAYS
        case _ if operator in _TEXTUAL:
            return held == "text"
        case _ if operator in _OF_RANGES:
            return held in _RANGES
        case _:
            return held != "json"


def _check_applies(one: Condition, held: str) -> None:
    """Refuses what Postgres has no operator for: its own refusal would come after planning, in words about its operators."""
    applies = _known(one.operator, held) and not (one.quantifier is not None and held in _ARRAYS)
    if one.operator is Operator.IS:
        applies = held == "boolean" or one.values[0] in ("null", "not_null")
    if not applies:
        word = f"is.{one.values[0]}" if one.operator is Operator.IS else one.operator.value
        message = f"filter on {one.path.column}: {word} does not apply to {held}"
        raise errors.dialect(errors.WRONG_TYPE if one.operator is Operator.IS else errors.NO_OPERATOR, message)
