"""When which fault held, and which answers it excuses. Pure."""

import fnmatch
from collections.abc import Sequence

import msgspec

GRACE_S = 8.0
"""How long after a fault its effects may still be seen: restarts, leases that run out, connections that are found to be dead."""


CUT_LOOKS_BACK_S = 60.0


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A fault as it happened, in Unix seconds. `ended` is None while it holds."""

    kind: str
    target: str
    began: float
    ended: float | None = None
    words: str = ""
    regions: tuple[str, ...] = ()
    """Whose people and gateways it can touch; none stated: everybody's."""

    def touches(self, sent: float, ms: float) -> bool:
        """Whether a request under way at some time of the fault, or of its aftermath, was sent then."""
        end = float("inf") if self.ended is None else self.ended + GRACE_S
        return sent <= end and sent + ms / 1000 >= self.began


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The fence of a subject stood at `epoch` by `at`; `stored`: ids of its rows of the last `CUT_LOOKS_BACK_S`, in that same snapshot."""

    subject: str
    epoch: int
    at: float
    stored: frozenset[str] = frozenset()
    frozen: bool = False


_DOWN = ("stop", "kill", "freeze", "late")
_ONLY_DOWN = frozenset({"cell_unreachable", "upstream_broken"})
"""What a process that is slow, but there, does not excuse."""
_UNREACHABLE = frozenset(
    {"cell_unreachable", "cell_busy", "upstream_broken", "upstream_timeout", "not_ready", "no_answer", "cell_behind"}
)
_STATEMENT_TIMEOUT = "57014"
"""`query_canceled` (PostgreSQL, appendix A), as the records API hands it on: a database that stands still lets time run out."""
EXCUSES: dict[str, frozenset[str]] = {
    # What a process that is down, and one that is back, may cost. `no_answer`: the client's own connection.
    "directory": frozenset({"home_unknown", "not_ready", "cell_behind"}),
    "postgres-directory": frozenset({"home_unknown", "not_ready", "cell_behind"}),
    "valkey-*": frozenset({"home_unknown"}),
    "cell-*": _UNREACHABLE,
    "orders-*": _UNREACHABLE,
    "postgres-*": _UNREACHABLE | {_STATEMENT_TIMEOUT},
    "gateway-*": _UNREACHABLE | {"home_unknown"},
    "issuer-*": frozenset({"unauthenticated", "malformed_token", "not_ready"}),
}
"""The closed table: refusals that a process being down excuses. Anything else at any time is an error."""
_OTHER = {
    "epochs": frozenset({"subject_frozen", "cell_behind", "stale_epoch"}),
    "drain": frozenset({"no_cell_allowed", "home_elsewhere"}),
    "rules": frozenset({"residency_refused", "home_elsewhere", "not_ready", "no_cell_allowed", "cell_behind"}),
    "rotate": frozenset({"unauthenticated"}),
    "late": frozenset({"cell_behind", "stale_epoch"}),
}


def excused(code: str | None, sent: float, ms: float, where: Sequence[str], windows: Sequence[Window]) -> str | None:
    """The fault that a refusal is put down to, the latest of several, or None. `where`: the regions that the request went through."""
    for window in reversed(windows):
        here = not window.regions or any(region in window.regions for region in where)
        if here and window.touches(sent, ms) and code in _codes(window):
            return f"{window.kind} {window.target}".strip()
    return None


def _codes(window: Window) -> frozenset[str]:
    found = _OTHER.get(window.kind, frozenset())
    if window.kind == "slow":
        return _down(window.target) - _ONLY_DOWN
    if window.kind in _DOWN:
        found |= _down(f"gateway-{window.target}" if window.kind == "late" else window.target)
    return found


def _down(target: str) -> frozenset[str]:
    """What processes of that name, or pattern, excuse while they are down."""
    if target in EXCUSES:
        return EXCUSES[target]
    found: frozenset[str] = frozenset()
    for pattern, causes in EXCUSES.items():
        if fnmatch.fnmatchcase(target, pattern) or fnmatch.fnmatchcase(pattern, target):
            found |= causes
    return found
