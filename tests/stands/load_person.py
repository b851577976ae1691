"""A person of the load with a scripted far side: actions are played without any network."""

import random
from collections.abc import Callable
from typing import Any

import msgspec

from load_tests.oracle.ledger import Answered, Line
from load_tests.scenarios.person import Person, World
from load_tests.scenarios.steps import Answer, Ask, Pause, Play, Together
from load_tests.target import Region

REGIONS = {name: Region(gateway=f"http://{name}.test", issuer=f"http://issuer-{name}.test") for name in ("eu", "in")}
SUBJECT = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"


def person(**world: Any) -> tuple[Person, list[Line]]:
    """Somebody of Germany at home in eu-de under epoch 7, and the lines of their ledger."""
    lines: list[Line] = []
    shared = World(regions=REGIONS, countries=("DE",), nowhere="BR", **world)
    me = Person("DE", shared, lines.append, random.Random(1))
    me.region, me.jurisdiction, me.subject, me.cell, me.epoch = "eu", "eu", SUBJECT, "eu-de", 7
    me.token, me.token_until = "token", 1e12
    return me, lines


def answer(
    status: int = 200,
    body: Any = None,
    *,
    cell: str | None = "eu-de",
    epoch: int | None = 7,
    verdict: str | None = "serve",
) -> Answer:
    """As a gateway answers."""
    headers = {} if verdict is None else {"domicile-verdict": verdict}
    if cell is not None:
        headers["domicile-cell"] = cell
    if epoch is not None:
        headers["domicile-epoch"] = str(epoch)
    return Answer(at=100.0, ms=1.0, status=status, headers=headers, body=msgspec.json.encode(body))


def refusal(status: int, code: str, **extra: Any) -> Answer:
    verdict = "redirect" if code == "home_elsewhere" else "refuse"
    return answer(status, {"code": code, **extra}, cell=None, epoch=None, verdict=verdict)


def play(action: Play, reply: Callable[[Ask], Answer]) -> None:
    """Answers each request by `reply`; tokens are given to everybody."""
    found: Any = None
    while True:
        try:
            step = action.send(found)
        except StopIteration:
            return
        match step:
            case Pause():
                found = None
            case Together(asks):
                found = [reply(ask) for ask in asks]
            case Ask() if step.url.endswith("/mint"):
                found = Answer(at=100.0, ms=1.0, status=200, body=b'{"access_token": "minted"}')
            case Ask():
                found = reply(step)


def kinds(lines: list[Line]) -> list[str]:
    """Every violation that was written down, by name."""
    return [one.kind.value for line in lines if isinstance(line, Answered) for one in line.violations]
