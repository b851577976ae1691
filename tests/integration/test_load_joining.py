"""A worker that joins in the moment which locust's master forgets: it plays all the same."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from load_tests import plan
from load_tests.target import Target
from tests.stands.deployment import scenario
from tests.stands.servers import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

MASTER_AND_WORKERS = """
from gevent import monkey

monkey.patch_all()

import sys

import gevent
from locust import User, task
from locust.env import Environment

from load_tests.swarm.locustfile import Shape

port = int(sys.argv[1])


class Slow(User):
    "So slow to start that the second worker joins while the first one's users do."

    def __init__(self, environment):
        gevent.sleep(3)
        super().__init__(environment)

    @task
    def act(self):
        gevent.sleep(0.1)


def until(holds, what):
    for _ in range(600):
        if holds():
            return
        gevent.sleep(0.1)
    sys.exit(f"{what}: not within a minute")


conducting = Environment(user_classes=[Slow], shape_class=Shape())
master = conducting.create_master_runner("127.0.0.1", port)
first = Environment(user_classes=[Slow]).create_worker_runner("127.0.0.1", port)
until(lambda: master.clients.ready, "the first worker was heard")
master.start_shape()
until(lambda: master.state == "spawning" and not master.clients.ready, "the first worker starts users")
second = Environment(user_classes=[Slow]).create_worker_runner("127.0.0.1", port)
until(lambda: len(master.clients.all) == 2, "the second worker was heard")
if master.state != "spawning":
    sys.exit("the second one came too late: nothing is shown")
until(lambda: (first.user_count, second.user_count) == (4, 4), "both have as many users")
master.quit()
"""


async def test_a_worker_that_joins_while_another_starts_its_users_is_given_some(tmp_path: Path) -> None:
    target = Target(directory={"url": "http://127.0.0.1:1"}, regions={}, cells={})
    plan.write(plan.Plan(scenario=scenario(users=8), target=target, out=str(tmp_path)), tmp_path / "plan.json")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", MASTER_AND_WORKERS, str(free_port()),
        env=os.environ | {plan.ENVIRONMENT: str(tmp_path / "plan.json")},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    told = (await process.communicate())[0].decode()
    assert process.returncode == 0, told
