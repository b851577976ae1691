"""`python -m load_tests.openloop`: people sign up, then actions of the scenario's mix begin at a constant rate until the time is over.

Its lines go where those of locust's workers go, so the same oracle judges them.
"""

import asyncio
import itertools
import random
import sys
from pathlib import Path

from foundation import http
from foundation.clock import SystemClock
from foundation.settings import SettingsError
from load_tests import plan
from load_tests.openloop import arrivals
from load_tests.openloop.arrivals import UNDER_WAY_MAX, Arrivals
from load_tests.openloop.driver import Driver
from load_tests.openloop.schedule import due, number
from load_tests.oracle.ledger import Writer
from load_tests.scenarios.actions import ACTIONS
from load_tests.scenarios.person import Person
from load_tests.scenarios.signing_up import sign_up

ANSWER_S_MAX = 20.0
SIGN_UP_TRIES = 5
SIGN_UPS_AT_ONCE = 8
LEFT_OUT = frozenset({"travel_head", "aliases", "expiry"})
"""Actions that are no single request."""


async def main(given: plan.Plan) -> int:
    """Exit status: 0, or 2 where nobody could be signed up."""
    clock = SystemClock()
    chance = random.Random()  # noqa: S311 - load, no secret
    scenario, world, ledger = given.scenario, given.world(), Writer(Path(given.out))
    countries = chance.choices(list(scenario.people), list(scenario.people.values()), k=scenario.users)
    async with http.client(total_s=ANSWER_S_MAX, connections_max=512) as client:
        driver = Driver(client, clock)
        people = [Person(country, world, ledger.write, chance) for country in countries]
        gate = asyncio.Semaphore(SIGN_UPS_AT_ONCE)

        async def settle(person: Person) -> None:
            async with gate:
                for _ in range(SIGN_UP_TRIES):
                    if not person.at_home:
                        await driver.play(sign_up(person, clock.unix_s()), clock.unix_s())

        await asyncio.gather(*(settle(person) for person in people))
        homes = [person for person in people if person.at_home]
        if not homes:
            sys.stderr.write("nobody could be signed up\n")
            return 2
        arrivals.write(await _arrivals(given, driver, homes, chance, clock), Path(given.out))
    return 0


async def _arrivals(
    given: plan.Plan, driver: Driver, homes: list[Person], chance: random.Random, clock: SystemClock
) -> Arrivals:
    mix = {name: weight for name, weight in given.scenario.mix.items() if weight and name not in LEFT_OUT}
    started, dropped = clock.unix_s(), 0
    turn = itertools.cycle(homes)
    under_way: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:
        for offset in due(given.rate, given.scenario.seconds):
            await asyncio.sleep(max(0.0, started + offset - clock.unix_s()))
            if len(under_way) >= UNDER_WAY_MAX:
                dropped += 1
                continue
            name = chance.choices(list(mix), list(mix.values()))[0]
            action = ACTIONS[name](next(turn), started + offset)
            task = group.create_task(driver.play(action, started + offset))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
    return Arrivals(due=number(given.rate, given.scenario.seconds), dropped=dropped)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(plan.of_environment())))
    except SettingsError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(2)
