"""Whether other cells' locks let somebody take a step here.

What was heard stops whoever is locked in any cell from everything. What was not heard for too long stops only what gives access: whatever
ends or narrows it goes on, as do emergencies, which need the cell's own locks alone.
"""

from cells.breakglass.book import Grant
from cells.breakglass.locks.core import Barred
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.policy import Person
from cells.breakglass.refusals import Refused, Why

WIDENING = frozenset({"request", "edit", "approve", "certify", "exempt"})
"""Actions of policy that give access, or lead to it."""

_WHY = {Barred.LOCKED: Why.LOCKED_ELSEWHERE, Barred.STALE: Why.LOCKS_STALE}


def of_person(elsewhere: Elsewhere, person: Person, action: str, *, emergency: bool = False) -> Refused | None:
    """Why somebody may not take a step, or look."""
    return _refused(elsewhere, person.id, needs_fresh=action in WIDENING and not emergency)


def of_grant(elsewhere: Elsewhere, grant: Grant) -> Refused | None:
    """Why a grant is no access just now, and nothing is approved or signed under it."""
    return _refused(elsewhere, grant.engineer, needs_fresh=not grant.emergency)


def _refused(elsewhere: Elsewhere, engineer: str, *, needs_fresh: bool) -> Refused | None:
    why = elsewhere.barred(engineer, needs_fresh=needs_fresh)
    return None if why is None else Refused(_WHY[why])
