"""What a gateway makes of the registry: addresses within policy, nobody new for a drained cell, and who is there is served."""

from typing import Any

from directory.registry.client import HeldRegistry
from directory.registry.core import Stated, cell_name, service_name
from foundation.mute import Secret
from foundation.problems import Code
from foundation.words import CellId, FeedSeq, LookupKey, RegionId, ServiceId, Verb
from gateway.edge.book import Book
from gateway.edge.core import judge
from gateway.edge.outcome import Admitted, Gathered, Refused
from gateway.edge.ports import Homeless
from gateway.edge.target import Route, Target
from gateway.identity.identity import Identity
from routing_rules.rules import load
from tests.stands.edge import CLOCK, REGION_ROOT, placement, policy_text

ADDRESSES = {"eu-de": "127.0.0.1:1", "us-va": "127.0.0.1:2"}
EU_DE, ORDERS = CellId("eu-de"), ServiceId("orders")
ANN = Identity(login=(LookupKey("a" * 32),), email=(LookupKey("e" * 32),), kids=("b1",), until=2e9)
TWO = policy_text(ADDRESSES, ADDRESSES).replace('"127.0.0.1:1"', '"127.0.0.1:1", "127.0.0.1:11"')


class Desk:
    """A book and the registry that it reads."""

    def __init__(self) -> None:
        self.held = HeldRegistry()
        self.book = Book(
            load(TWO),
            FeedSeq(1),
            region=RegionId("eu"),
            root=("r1", Secret(REGION_ROOT)),
            clock=CLOCK,
            registry=self.held,
        )

    def say(self, entry: str, version: int, **stated: Any) -> None:
        self.held.take(Stated(entry=entry, version=version, **stated), FeedSeq(version))

    def outcome(self, **facts: Any) -> Admitted | Refused:
        gathered = {"verb": Verb.READ, "who": ANN, "home": placement(), "residence": None} | facts
        route = gathered.pop("route", Route.ORDINARY)
        return judge(Gathered(target=Target(ORDERS, route), **gathered), self.book, RegionId("eu"))

    def sign_up(self) -> Admitted | Refused:
        return self.outcome(route=Route.SIGNUP, verb=Verb.WRITE, home=Homeless.NONE, residence="DE")


def hosts(found: Admitted | Refused) -> tuple[str, ...]:
    assert isinstance(found, Admitted)
    return tuple(found.hosts)


def test_requests_go_to_the_addresses_that_the_registry_chose_and_follow_it() -> None:
    desk = Desk()
    name = service_name(ORDERS, EU_DE).text
    assert hosts(desk.outcome()) == ("127.0.0.1:1", "127.0.0.1:11")
    desk.say(name, 1, addresses=("127.0.0.1:11",))
    assert hosts(desk.outcome()) == ("127.0.0.1:11",)
    assert hosts(desk.sign_up()) == ("127.0.0.1:11",)
    desk.say(name, 2)
    assert hosts(desk.outcome()) == ("127.0.0.1:1", "127.0.0.1:11")


def test_an_address_that_policy_does_not_declare_is_never_used() -> None:
    desk = Desk()
    desk.say(service_name(ORDERS, EU_DE).text, 1, addresses=("10.6.6.6:80", "127.0.0.1:1"))
    assert hosts(desk.outcome()) == ("127.0.0.1:1",)


def test_a_drained_cell_takes_nobody_new_and_serves_who_is_there() -> None:
    desk = Desk()
    assert isinstance(desk.sign_up(), Admitted)
    desk.say(cell_name(EU_DE).text, 1, drain=True)
    refused = desk.sign_up()
    assert isinstance(refused, Refused)
    assert (refused.problem.code, refused.problem.retry_after_s) == (Code.NOT_READY, 30)
    assert isinstance(desk.outcome(), Admitted)
    assert isinstance(desk.outcome(verb=Verb.WRITE), Admitted)
    desk.say(cell_name(EU_DE).text, 2)
    assert isinstance(desk.sign_up(), Admitted)
