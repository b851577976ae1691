"""What `locust -f` runs: a class of users for each country of residence, and the scenario's shape. `domicile load` starts it."""

import random
import signal
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, LoadTestShape, task
from locust.runners import MasterRunner

from foundation.clock import SystemClock
from load_tests import plan
from load_tests.oracle.ledger import Writer
from load_tests.scenarios.actions import ACTIONS
from load_tests.scenarios.person import Person
from load_tests.scenarios.signing_up import sign_up
from load_tests.swarm.driver import ANSWER_S_MAX, play

_CLOCK = SystemClock()
_PLAN = plan.of_environment()
_SCENARIO, _WORLD = _PLAN.scenario, _PLAN.world()
_BEGUN = Path(_PLAN.out) / plan.BEGUN
_LEDGER = Writer(Path(_PLAN.out))
_NAMES = [name for name, weight in _SCENARIO.mix.items() if weight]
_WEIGHTS = [_SCENARIO.mix[name] for name in _NAMES]
SIGN_UP_PAUSE_S = 1.0

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell hands it to what it starts in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # by which a run that is broken off ends


class Resident(FastHttpUser):
    """A person: signs up, then does what the mix says until told to stop."""

    abstract = True
    host = "http://stated.in.each.request.invalid"
    country = ""
    network_timeout = ANSWER_S_MAX
    connection_timeout = 5.0
    insecure = False  # certificates are checked

    def on_start(self) -> None:
        agent: Any = self.client.client
        agent.redirect_response_codes = frozenset()  # a redirect is an answer to judge
        self.chance = random.Random()  # noqa: S311 - load, no secret
        self.me = Person(self.country, _WORLD, _LEDGER.write, self.chance)

    def wait_time(self) -> float:
        return self.chance.uniform(*_SCENARIO.pause_ms) / 1000

    @task
    def act(self) -> None:
        """Whoever has no home yet signs up."""
        if not self.me.at_home:
            play(sign_up(self.me, _CLOCK.unix_s()), "sign_up", self.me, self.client)
            if not self.me.at_home:
                gevent.sleep(SIGN_UP_PAUSE_S)
            return
        name = self.chance.choices(_NAMES, _WEIGHTS)[0]
        play(ACTIONS[name](self.me, _CLOCK.unix_s()), name, self.me, self.client)


class Shape(LoadTestShape):
    """The scenario's number of users by time, which starts when the first people have their homes.

    Locust's master gives users to a worker that joins, but forgets one that joins while it starts users, or after it shared users out
    anew once. It shares them out when a look at the shape differs from the last one: so the rate does where a worker waits for two looks.
    """

    use_common_options = False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.started_s = _CLOCK.monotonic_s()
        self.begun = False
        self._waiting: frozenset[str] = frozenset()
        self._forgotten = 0

    def reset_time(self) -> None:
        """Called when a run begins, also anew from locust's pages."""
        super().reset_time()  # type: ignore[no-untyped-call]
        self.started_s = _CLOCK.monotonic_s()

    def tick(self) -> Any:
        if not self.begun:
            self.started_s = _CLOCK.monotonic_s()
            self.begun = _BEGUN.exists()
        users = _SCENARIO.users_at(_CLOCK.monotonic_s() - self.started_s)
        return None if users is None else (users, max(10, users) + self._shared_anew())

    def _shared_anew(self) -> int:
        """Grows when somebody has waited for users since the last look."""
        workers = self.runner.clients.ready if isinstance(self.runner, MasterRunner) else []
        waiting = frozenset(worker.id for worker in workers)
        if waiting & self._waiting:
            self._forgotten += 1
            waiting = frozenset()  # locust has a whole look to hear from them before they count again
        self._waiting = waiting
        return self._forgotten


for _country, _weight in _SCENARIO.people.items():
    if _weight:
        _name = f"Resident{_country}"
        globals()[_name] = type(_name, (Resident,), {"country": _country, "weight": _weight, "abstract": False})
