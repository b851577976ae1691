"""How logs stand with their witnesses, for `domicile ledger show` and `domicile status`: a line for each quorum."""

from collections.abc import Sequence
from typing import Any

from deploy.local.layout import NEAR_S, WIDE_S, Paths, ledgers
from foundation.clock import SystemClock
from foundation.ledger.reading import Absent, LogReader
from foundation.ledger.witness.quorum import Reach
from foundation.ledger.witness.standing import Standing, standing
from foundation.settings import SettingsError
from gateway.cli.ledger.which import Which, choose, told
from gateway.cli.options import utc

QUORUMS = tuple(f"{reach.value} quorum" for reach in Reach)
WITHIN_S = {Reach.NEAR: NEAR_S, Reach.WIDE: WIDE_S}
"""How long an entry of the stack's own logs may wait."""


def standings(chosen: Which, reader: LogReader) -> dict[Reach, Standing]:
    """By the quorums whose notes the log gives out; of the stack's logs, all. Raises what reading a log raises."""
    now_s = SystemClock().unix_s()
    found = {reach: standing(reach, chosen.fetch, reader, chosen.verifier, chosen.witnesses, now_s) for reach in Reach}
    return {reach: one for reach, one in found.items() if chosen.ours or one.size > 0 or one.by}


def lines(chosen: Which, found: dict[Reach, Standing], size: int) -> list[str]:
    return [f"{reach.value} quorum: {_covers(one, size)}{_late(chosen, reach, one)}" for reach, one in found.items()]


def as_json(chosen: Which, found: dict[Reach, Standing]) -> dict[str, Any]:
    return {
        reach.value: {
            "size": one.size,
            "by": {name: said.at_s for name, said in one.by.items()},
            "beyond_s": one.beyond_s,
            "overdue": _overdue(chosen, reach, one),
        }
        for reach, one in found.items()
    }


def of_stack(paths: Paths) -> list[dict[str, Any]]:
    """The logs of a stack as far as they are there; one that cannot be read says so in `mistake`."""
    named = [(name.removeprefix("cell-"), name) for name in ledgers()]
    return [{"log": log, **_of(log, paths)} for log, name in named if paths.ledger(name).is_dir()]


def rows(logs: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Of a table: log, entries, entries under each quorum, what is amiss."""
    return [
        (each["log"], each["size"], *(each["cosigned"][reach]["size"] for reach in Reach), _amiss(each))
        if each["mistake"] is None
        else (each["log"], "", "", "", each["mistake"])
        for each in logs
    ]


def _of(log: str, paths: Paths) -> dict[str, Any]:
    try:
        with told():
            chosen = choose(log, paths.state, None, None)
            reader = chosen.reader()
            found = standings(chosen, reader)
    except (SettingsError, Absent) as exc:
        return {"size": None, "cosigned": {}, "mistake": str(exc)}
    return {"size": reader.checkpoint.size, "cosigned": as_json(chosen, found), "mistake": None}


def _amiss(each: dict[str, Any]) -> str:
    late = [f"{name} quorum overdue" for name, one in each["cosigned"].items() if one["overdue"]]
    return ", ".join(late)


def _covers(one: Standing, size: int) -> str:
    by = ", ".join(f"{name} ({utc(said.at_s)} UTC)" for name, said in one.by.items())
    whose = (
        f", cosigned by {by}"
        if by
        else ", the log says; no witness that is known here has cosigned"
        if one.size
        else ""
    )
    return f"{one.size:,} of {size:,} entries{whose}"


def _late(chosen: Which, reach: Reach, one: Standing) -> str:
    if one.beyond_s is None:
        return ""
    overdue = ", OVERDUE" if _overdue(chosen, reach, one) else ""
    return f"; the oldest entry beyond is {one.beyond_s:,.0f} s old{overdue}"


def _overdue(chosen: Which, reach: Reach, one: Standing) -> bool | None:
    """None where it is not known how long an entry may wait."""
    if not chosen.ours:
        return None
    return one.beyond_s is not None and one.beyond_s > WITHIN_S[reach]
