"""A scenario's document, parsed strictly: proportions of people, mix of actions, shape of the load, faults with their times."""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from foundation.settings import SettingsError, load
from load_tests.oracle.proven import UNEXPLAINED_MAX

HERE = Path(__file__).parent
Way = Literal["hairpin", "home", "refuse"]
Weight = Annotated[int, Meta(ge=0, le=10_000)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Users = Annotated[int, Meta(ge=1, le=100_000)]


class Constant(msgspec.Struct, frozen=True, tag="constant", forbid_unknown_fields=True):
    """All users from the start."""


class Ramp(msgspec.Struct, frozen=True, tag="ramp", forbid_unknown_fields=True):
    """From a share of the users to all of them, evenly over `over` of the time."""

    start: Annotated[float, Meta(gt=0, le=1)] = 0.1
    over: Annotated[float, Meta(gt=0, le=1)] = 0.8


class Burst(msgspec.Struct, frozen=True, tag="burst", forbid_unknown_fields=True):
    """`low` of the users, and all of them for `for_s` in every `every_s`."""

    low: Annotated[float, Meta(gt=0, le=1)] = 0.3
    every_s: Annotated[float, Meta(gt=1)] = 20.0
    for_s: Annotated[float, Meta(gt=0)] = 5.0


class Crowd(msgspec.Struct, frozen=True, tag="crowd", forbid_unknown_fields=True):
    """All users for `for_s` from the start, and then `low` of them: what is opened as it is needed is open after that."""

    low: Annotated[float, Meta(gt=0, le=1)] = 0.25
    for_s: Annotated[float, Meta(gt=0)] = 180.0


Shape = Constant | Ramp | Burst | Crowd


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that happens at `at_s` and is undone `for_s` later.

    `target`: a process or pattern (`stop`, `kill`, `freeze`, `slow`), a region (`late`, `rotate`), a cell (`drain`); `each_s`: between
    epoch changes; `replace`: pairs of policy text for `rules`; `share`: of each `period_s`, how long what is `slow` stands still.
    """

    kind: Literal["stop", "kill", "freeze", "slow", "late", "epochs", "drain", "rules", "rotate"]
    at_s: Seconds
    for_s: Seconds = 0.0
    target: str = ""
    each_s: Annotated[float, Meta(ge=0.01, le=60)] = 0.25
    replace: tuple[tuple[str, str], ...] = ()
    share: Annotated[float, Meta(ge=0.05, le=0.95)] = 0.6
    period_s: Annotated[float, Meta(ge=0.05, le=2)] = 0.25


class Acting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service that acts for people: its token's file under the stack's secrets, and whose residents it may read for."""

    token: str
    countries: tuple[str, ...]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario. `people`: weights by country of residence. `mix`: weights by action. `ways`: what travellers from one region to
    another meet (`eu->us`); a pair that is not stated may meet any, the same each time. `nowhere`: a residence that no cell serves."""

    about: str
    seconds: Annotated[int, Meta(ge=5, le=86_400)]
    users: Users
    people: Annotated[dict[str, Weight], Meta(min_length=1)]
    mix: Annotated[dict[str, Weight], Meta(min_length=1)]
    pause_ms: tuple[Annotated[int, Meta(ge=0)], Annotated[int, Meta(ge=0)]] = (50, 300)
    shape: Shape = Constant()
    faults: tuple[Fault, ...] = ()
    ways: dict[str, Way] = {}
    acting: Acting | None = None
    nowhere: str | None = None
    verdict_s: Annotated[float, Meta(gt=0, le=60)] = 8.0
    """How long a head whose body is held back may wait for its verdict."""
    name: str = ""
    soak: bool = False
    """Whether memory and file descriptors of the stack's processes must stay flat."""
    unexplained_max: Annotated[float, Meta(ge=0, le=1)] = UNEXPLAINED_MAX
    """The share of all answers that may be errors which no fault explains; a run with more of them ends with 2."""

    def users_at(self, second: float) -> int | None:
        """How many users there are `second` s after the start; None once it is over. Pure."""
        if second >= self.seconds:
            return None
        match self.shape:
            case Constant():
                return self.users
            case Ramp(start, over):
                return self._share(min(1.0, start + (1 - start) * second / (self.seconds * over)))
            case Burst(low, every_s, for_s):
                return self._share(1.0 if every_s - second % every_s <= for_s else low)
            case Crowd(low, for_s):
                return self._share(1.0 if second < for_s else low)

    def _share(self, share: float) -> int:
        return max(1, round(self.users * share))


def known() -> list[str]:
    """The scenarios that come with the harness."""
    return sorted(path.stem for path in HERE.glob("*.toml"))


def read(name: str, actions: frozenset[str]) -> Scenario:
    """A scenario by its name or its file. Raises SettingsError."""
    path = HERE / f"{name}.toml"
    if not path.exists():
        path = Path(name)
        if not path.exists():
            raise SettingsError(f"no scenario is called {name}{_nearest(name, known())}")
    scenario = load(path, Scenario)
    mistake = _mistake(scenario, actions)
    if mistake is not None:
        raise SettingsError(f"{path}: {mistake}")
    return msgspec.structs.replace(scenario, name=path.stem)


def _mistake(scenario: Scenario, actions: frozenset[str]) -> str | None:
    for action in scenario.mix:
        if action not in actions:
            return f"mix: no action is called {action}{_nearest(action, sorted(actions))}"
    for country in [*scenario.people, *([scenario.nowhere] if scenario.nowhere else [])]:
        if not (len(country) == 2 and country.isascii() and country.isupper()):
            return f"{country} is no country of ISO 3166-1, such as DE"
    if not any(scenario.people.values()) or not any(scenario.mix.values()):
        return "people and mix each need one weight above 0"
    if scenario.pause_ms[0] > scenario.pause_ms[1]:
        return "pause_ms is [least, most]"
    for fault in scenario.faults:
        if fault.kind in ("stop", "kill", "freeze", "slow", "late", "rotate", "drain") and not fault.target:
            return f"a fault of kind {fault.kind} needs a target"
        if fault.at_s + fault.for_s > scenario.seconds:
            return f"the fault {fault.kind} {fault.target} at {fault.at_s:g} s ends after the scenario"
    return None


def _nearest(word: str, words: list[str]) -> str:
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(words)}"


def resized(scenario: Scenario, **changes: Any) -> Scenario:
    """With what the command line says instead. A shorter run has epochs change until it ends, and leaves out other faults that would end
    after it."""
    made = msgspec.structs.replace(scenario, **{name: value for name, value in changes.items() if value is not None})
    clipped = (
        msgspec.structs.replace(fault, for_s=min(fault.for_s, max(0.0, made.seconds - fault.at_s)))
        if fault.kind == "epochs"
        else fault
        for fault in made.faults
    )
    kept = tuple(fault for fault in clipped if fault.at_s + fault.for_s <= made.seconds)
    return msgspec.structs.replace(made, faults=kept)
