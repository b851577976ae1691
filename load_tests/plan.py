"""What a run hands to its own processes: one file of JSON, named by an environment variable."""

import os
from pathlib import Path

import msgspec

from foundation.settings import SettingsError
from load_tests.scenarios.person import World
from load_tests.scenarios.shape import Scenario
from load_tests.target import Target

ENVIRONMENT = "DOMICILE_LOAD_PLAN"
BEGUN = "begun"
"""The file in `out` with which the process that conducts says that the first people have their homes: the scenario's clock starts."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`out`: the folder that workers write their lines to."""

    scenario: Scenario
    target: Target
    out: str
    rate: float = 0.0
    """Arrivals a second of the open-loop driver; 0: none."""

    def world(self) -> World:
        scenario, target = self.scenario, self.target
        return World(
            regions=target.regions,
            ways=scenario.ways,
            acting=scenario.acting,
            secrets=None if target.state is None else str(Path(target.state) / "secrets"),
            countries=tuple(name for name, weight in scenario.people.items() if weight),
            nowhere=scenario.nowhere,
            verdict_s=scenario.verdict_s,
        )


def write(plan: Plan, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1))


def here(plan: Plan, out: Path) -> Plan:
    """The plan of another machine for workers of this one: lines go to `out`, and files of a stack that is not here are not read."""
    state = plan.target.state
    if state is not None and not Path(state).exists():
        plan = msgspec.structs.replace(plan, target=msgspec.structs.replace(plan.target, state=None))
    return msgspec.structs.replace(plan, out=str(out))


def read(path: Path) -> Plan:
    """Raises SettingsError."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan)
    except (OSError, msgspec.MsgspecError) as exc:
        raise SettingsError(f"{path} is no plan of a load: {exc}") from exc


def of_environment() -> Plan:
    """Raises SettingsError."""
    path = os.environ.get(ENVIRONMENT)
    if not path:
        raise SettingsError(f"{ENVIRONMENT} names the plan of a run; start it with `domicile load`")
    return read(Path(path))
