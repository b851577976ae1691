"""Figures of the rules: loading, a cold decision, a remembered one, the law's own answers. Run: python -m load_tests.bench.rules"""

import argparse
import datetime
import itertools
import statistics
import string
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib import resources

from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.words import CellId, Country, FeedSeq, RegionId, ServiceId, Verb
from gateway.edge.book import Book
from routing_rules.decide import decide
from routing_rules.facts import PlaceFacts, RequestFacts, SubjectFacts
from routing_rules.law.questions import TransferQuestion
from routing_rules.pack import bundled_texts, parse
from routing_rules.place import place
from routing_rules.rules import Rules, load

AT = datetime.date(2026, 11, 21)
ORDERS = ServiceId("orders")
HOMES = (("eu-de", ("DE", "FR", "GB", "CH")), ("us-va", ("US", "PR")), ("in-mum", ("IN",)))
TAGS: tuple[tuple[str, ...], ...] = ((), ("health",), ("payments",))


def policy() -> str:
    """The embedded stack's policy with addresses that nobody listens on."""
    text = resources.files("deploy.local").joinpath("policy.template.toml").read_text(encoding="utf-8")
    names = string.Template(text).get_identifiers()
    return string.Template(text).substitute(
        {
            name: f"http://{name}.invalid" if name.startswith("gateway") else f"127.0.0.1:{7000 + n}"
            for n, name in enumerate(names)
        }
    )


def requests() -> list[RequestFacts]:
    """Each home from each region, with and without tags: what a gateway meets."""
    return [
        RequestFacts(
            service=ORDERS,
            verb=Verb.READ,
            ingress=RegionId(ingress),
            cell=CellId(cell),
            subject=SubjectFacts(residence=Country(country), tags=tags),
            services=(ORDERS,),
        )
        for (cell, countries), ingress, tags in itertools.product(HOMES, ("eu", "us", "in"), TAGS)
        for country in countries
    ]


def each_us(call: Callable[[], object], rounds: int) -> float:
    """Median time of a call over rounds, in microseconds."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        call()
        taken.append((time.perf_counter_ns() - started) / 1000)
    return statistics.median(taken)


def row(what: str, figures: Iterable[float], unit: str = "us") -> None:
    found = sorted(figures)
    print(f"| {what} | {statistics.median(found):.1f} {unit} | {found[-1]:.1f} {unit} |")


def remembered_us(rules: Rules, asked: list[RequestFacts], rounds: int) -> list[float]:
    """A gateway's verdict from its book, facts made anew as each request makes them."""
    root = ("k", Secret(bytes(32)))
    book = Book(rules, FeedSeq(1), region=RegionId("eu"), root=root, clock=SystemClock())
    for facts in asked:
        book.decide(facts)
    again = requests()
    found = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        for facts in again:
            book.decide(facts)
        found.append((time.perf_counter_ns() - started) / 1000 / len(again))
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m load_tests.bench.rules", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="measurements of each figure (default 30)")
    rounds = parser.parse_args(arguments).rounds
    text, files = policy(), bundled_texts()
    rules = load(text)
    asked = requests()
    print("| what | median | slowest of its kind |\n| --- | ---: | ---: |")
    row("read and index the pack", [each_us(lambda: parse(files), 3) / 1000 for _ in range(3)], "ms")
    row("load a policy on it, law compiled", [each_us(lambda: load(text), 3) / 1000 for _ in range(3)], "ms")
    row("decide, cold", [each_us(partial(decide, facts, rules, AT), rounds) for facts in asked])
    at_home = [facts for facts in asked if rules.policy.cells[facts.cell].region == facts.ingress]
    row("decide at home, cold", [each_us(partial(decide, facts, rules, AT), rounds) for facts in at_home])
    row("decide, remembered by a gateway", remembered_us(rules, asked, rounds))
    persons = [PlaceFacts(subject=facts.subject, services=(ORDERS,)) for facts in at_home]
    row("place, cold", [each_us(partial(place, facts, rules, AT), rounds) for facts in persons])
    questions = [
        TransferQuestion(
            regimes=(origin.id,), to=rules.law.location(Country(to)), purpose="service", recipient_classes=()
        )
        for origin in rules.pack.jurisdictions
        for to in ("DE", "US", "CN")
    ]
    row("one transfer under one regime", [each_us(partial(rules.law.transfer, one, AT), 3) for one in questions])


if __name__ == "__main__":
    main()
