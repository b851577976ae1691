"""`PUT`: one row made or replaced whole, named by its key in the URL. Pure.

https://docs.postgrest.org/en/v13/references/api/tables_views.html#put
"""

import uuid

from cells.records import errors
from cells.records.contracts import Contract
from cells.records.core import Bound
from cells.records.query import Condition, Operator, Path, Query
from foundation.problems import Code, ProblemError


def key_of(query: Query, contract: Contract, bound: Bound) -> str:
    """The id that a PUT names: `id=eq.…`, beside which only `placed_by` may stand, as it is anyway. Raises ProblemError."""
    if query.limit is not None or query.offset:
        message = "limit/offset querystring parameters are not allowed for PUT"
        raise errors.dialect(errors.PUT_PAGE, message)
    if query.order or query.columns is not None or query.conflict is not None:
        raise errors.dialect(errors.QUERY, "a PUT takes its key and select only")
    stated: dict[str, str] = {}
    for term in query.where:
        match term:
            case Condition(path=Path(column=name, steps=()), operator=Operator.EQ, negated=False, quantifier=None):
                if name in stated:
                    raise _refused()
                stated[name] = term.values[0]
            case _:
                raise _refused()
    if stated.keys() - {contract.placed_by} != {"id"}:
        raise _refused()
    if _uuid(stated.get(contract.placed_by, bound.subject)) != bound.subject:
        message = f"column {contract.placed_by} of {contract.table} is set from the decision and cannot be another"
        raise errors.dialect(errors.NO_RIGHT, message, code=Code.FORBIDDEN)
    return _uuid(stated["id"])


def check_key(stated: str | None, key: str) -> None:
    """The body's id is the URL's. Raises ProblemError."""
    if stated is None or _uuid(stated) != key:
        raise errors.dialect(errors.PUT_KEY, "Payload values do not match URL in primary key column(s)")


def _refused() -> ProblemError:
    message = "Filters must include all and only primary key columns with 'eq' operators"
    return errors.dialect(errors.PUT_FILTERS, message, code=Code.METHOD_NOT_ALLOWED)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as exc:
        raise errors.dialect(errors.NOT_A_VALUE, "invalid input syntax for type uuid") from exc
