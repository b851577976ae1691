"""A person of the load: who they are, where their home is, what they wrote, and what they may be told. One user each."""

import random
import secrets
from collections.abc import Callable

import msgspec

from load_tests.oracle.ledger import Answered, Line
from load_tests.oracle.violations import Violation, told
from load_tests.scenarios.shape import Acting, Way
from load_tests.scenarios.steps import Answer, Ask
from load_tests.target import Region

TOKEN_S = 120
"""Lifetime of a person's token: short, so that they are renewed under load."""
TOKEN_LEFT_S = 20.0
ORDERS_READ = 20


class World(msgspec.Struct, frozen=True, kw_only=True):
    """What everybody in one run shares."""

    regions: dict[str, Region]
    ways: dict[str, Way] = {}
    acting: Acting | None = None
    secrets: str | None = None
    """Folder of the acting service's token."""
    countries: tuple[str, ...] = ()
    nowhere: str | None = None
    verdict_s: float = 8.0


class Written(msgspec.Struct, kw_only=True):
    """A write of this person: how many orders had been sent when it was, and whether it is known to stand."""

    number: int
    stands: bool = False


class Person:
    """State of one user. `tell` is handed each line of the ledger."""

    def __init__(self, country: str, world: World, tell: Callable[[Line], None], chance: random.Random) -> None:
        self.country = country
        self.world = world
        self.chance = chance
        self._tell = tell
        self.nonce = secrets.token_hex(8)
        self.sub = f"load|{self.nonce}"
        self.email = f"load-{self.nonce}@example.org"
        self.name = f"Load {self.nonce}"
        self.region = ""
        self.jurisdiction = ""
        self.subject = ""
        self.cell = ""
        self.epoch = 0
        self.token = ""
        self.token_until = 0.0
        self.orders: dict[str, Written] = {}
        self.orders_sent = 0
        self.titles: set[str] = set()
        self.many: tuple[str, ...] = ()
        """Notes that were stored together, by id; known to stand."""
        self.found: tuple[Violation, ...] = ()
        """Violations of the latest answer, for the driver's own display."""
        self.fine = True

    @property
    def at_home(self) -> bool:
        return bool(self.subject)

    def gateway(self, region: str) -> str:
        return self.world.regions[region].gateway

    def elsewhere(self) -> str | None:
        """A region that is not this person's; None where there is one region only."""
        others = sorted(set(self.world.regions) - {self.region})
        return self.chance.choice(others) if others else None

    def anywhere(self) -> str:
        return self.chance.choice(sorted(self.world.regions))

    def note(self, line: Line) -> None:
        self._tell(line)

    def answered(
        self,
        action: str,
        ask: Ask,
        answer: Answer,
        *,
        violations: tuple[Violation, ...] = (),
        expected: bool = False,
        fenced: bool = False,
        writes: tuple[str, ...] = (),
        outcome: "str | None" = None,
    ) -> None:
        """Writes the answer down and remembers the epoch that it carried."""
        self.found = violations
        self.fine = not violations and (expected or answer.ok)
        if answer.ok and answer.epoch is not None and answer.cell == self.cell:
            self.epoch = max(self.epoch, answer.epoch)
        self._tell(
            msgspec.convert(
                {
                    "type": "answer", "at": answer.at, "ms": answer.ms, "action": action, "country": self.country,
                    "asked": self._region_of(ask.url), "home": self.region, "status": answer.status,
                    "subject": self.subject or None, "code": answer.code, "detail": answer.detail, "cell": answer.cell,
                    "epoch": answer.epoch, "verdict": answer.verdict, "trace": trace_id(ask), "write": next(iter(writes), None),
                    "also": writes[1:], "outcome": outcome,
                    "expected": expected, "fenced": fenced, "violations": violations,
                },
                Answered,
            )
        )  # fmt: skip

    def _region_of(self, url: str) -> str:
        return next((name for name, region in self.world.regions.items() if url.startswith(region.gateway)), "")

    def words(self) -> str:
        return told(self.found)


def traced() -> dict[str, str]:
    """A `traceparent` of its own: a crossing is found by it."""
    return {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"}


def trace_id(ask: Ask) -> str | None:
    parent = ask.headers.get("traceparent")
    return parent.split("-")[1] if parent else None
