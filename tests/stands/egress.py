"""Egress for tests: a contract with every treatment, a policy with destinations, a world in memory in which a release is made."""

import dataclasses
import datetime
import functools
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cells.egress.formats import Format
from cells.egress.keys import keys_for
from cells.egress.manifest import MANIFEST, SIGNATURE
from cells.egress.plan import Release
from cells.egress.ports import World
from cells.egress.reading import LAST, Page, Standing
from cells.egress.runs import Journal, Run
from cells.egress.scan import Scan
from cells.egress.sinks.port import SinkFailed
from cells.egress.treating import Batch, Person, Treated, Treater
from cells.egress.treatments import Means
from cells.egress.values import OF_DATABASE, Reader
from cells.records.contracts import Contract, parse
from foundation.ledger.notes import Signer
from foundation.ledger.port import Event
from foundation.mute import Secret
from foundation.words import CellId, Country, DestinationId, ShardId, SubjectId
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent
from routing_rules.rules import Rules, load

TODAY = datetime.date(2026, 11, 21)
ROOT = Secret(b"r" * 32)
SIGNER = Signer("egress.example.com/eu-de", Secret(b"s" * 32))
EU = CellId("eu-de")
SHOP = Path(__file__).parents[2] / "routing_rules" / "cases" / "shop.policy.toml"
DESTINATIONS = """
[destinations.us-lake]
country = "US"
purposes = ["analytics", "sale"]
recipient_classes = []
[destinations.uk-lake]
country = "GB"
purposes = ["analytics", "care"]
recipient_classes = []
[destinations.de-lake]
country = "DE"
purposes = ["analytics"]
recipient_classes = []
[destinations.br-lake]
country = "BR"
purposes = ["analytics"]
recipient_classes = []
"""
CONSENT_SCHEME = """
[[instruments]]
from = "uk"
to = "us"
gateway = "consent"
detail = "explicit_derogation"
ref = "SHOP-CONSENT"
since = 2026-03-01
until = 2029-02-28
"""

PEOPLE = """
table: people
placed_by: subject_id
owner: subject_id
hierarchies:
  tiers: {gold: paid, silver: paid, none: free}
columns:
  subject_id: {type: uuid, class: pseudonymous, leaving: {default: token}}
  id:         {type: uuid, class: none}
  item:       {type: text, class: none, leaving: {default: keep}}
  email:      {type: text, class: direct, purposes: [service], leaving: {default: keep, "purpose:analytics": mask_domain}}
  phone:      {type: text, class: direct, leaving: {default: drop, "purpose:analytics": last(4)}}
  address:    {type: text, class: quasi, leaving: {"purpose:analytics": subnet}}
  name:       {type: text, class: direct, leaving: {"purpose:analytics": initials}}
  born:       {type: date, class: quasi, leaving: {default: keep, "to:us": age_band, "from:in": drop, "from:in+to:us": drop}}
  postcode:   {type: text, class: quasi, leaving: {default: postal(2)}}
  seen:       {type: timestamptz, class: quasi, leaving: {default: month}}
  place:      {type: text, class: special, tags: [precise_location], leaving: {default: geohash(4)}}
  tier:       {type: text, class: none, leaving: {default: level(tiers)}}
  total:      {type: bigint, class: none, leaving: {default: bin(100)}}
  score:      {type: numeric, class: none, leaving: {default: "bins(0,50,90)"}}
  note:       {type: text, class: free_text, leaving: {default: scan}}
  illness:    {type: text, class: special, tags: [health], leaving: {default: keep}}
  card:       {type: text, class: direct, sealed: true}
  extra:
    type: jsonb
    class: none
    leaving: {default: walk}
    members:
      theme: {type: text, class: none, leaving: {default: keep}}
      mail:  {type: text, class: direct, leaving: {default: drop}}
      tries: {type: json, class: none, leaving: {default: walk}, items: {type: int, class: none, leaving: {default: keep}}}
  shadow:     {type: text}
"""


def people(text: str = PEOPLE) -> Contract:
    return parse(text, where="people.yaml")


@functools.cache
def rules(*more: str) -> Rules:
    return load(SHOP.read_text() + DESTINATIONS + "".join(more))


def person(residence: str = "DE", consent: Consent = Consent.UNSAID) -> Person:
    return Person(SubjectFacts(residence=Country(residence)), consent)


def treater(
    to: str = "us-lake",
    purpose: str = "analytics",
    *,
    contract: Contract | None = None,
    cell: CellId = EU,
    held: Rules | None = None,
    joins: Mapping[str, Secret[bytes]] | None = None,
    scan: Scan | None = None,
    readers: Mapping[str, Reader] = OF_DATABASE,
    root: Secret[bytes] = ROOT,
    at: datetime.date = TODAY,
) -> Treater:
    stated = contract or people()
    return Treater(
        stated,
        Release(cell=cell, destination=DestinationId(to), purpose=purpose),
        held or rules(),
        at,
        means=Means(at, keys_for(root, cell, purpose, joins or {}), stated.hierarchies),
        readers=readers,
        scan=scan,
    )


def row(number: int = 1, **values: Any) -> dict[str, Any]:
    """A row of `people` as the database gives it."""
    return {
        "subject_id": uuid.UUID(int=number),
        "id": uuid.UUID(int=number),
        "item": f"item {number}",
        "email": f"ann{number}@mail.example.com",
        "phone": "+49 30 1234567",
        "address": "203.0.113.77",
        "name": "Ann Marie Carter",
        "born": datetime.date(1990, 5, 17),
        "postcode": "10117",
        "seen": datetime.datetime(2026, 4, 3, 12, 30, tzinfo=datetime.UTC),
        "place": "u33dc0cppp",
        "tier": "gold",
        "total": 1234,
        "score": None,
        "note": "call me on 030 1234567",
        "illness": "flu",
        "card": "4111111111111111",
        "extra": '{"theme": "dark", "mail": "ann@mail.example.com", "tries": [1, "two", 3]}',
        "shadow": "unseen",
    } | values


def batch(*rows: dict[str, Any], whose: Person | Sequence[Person | None] | None = None, **more: Any) -> Batch:
    columns = {name: [one[name] for one in rows] for name in rows[0]}
    everybody = whose if isinstance(whose, Sequence) else [whose or person()] * len(rows)
    return Batch(everybody, columns, **more)


def treated(made: Treater, *rows: dict[str, Any], whose: Person | None = None) -> Treated:
    return made.treat(batch(*rows, whose=whose))


@dataclasses.dataclass
class MemoryWorld:
    """A source, origins and a ledger in memory. `pages_until_death`: pages given before the process is as good as killed. `away`: subjects
    that are not active here. `meanwhile` is called once, when time is first asked for: before people are looked at again."""

    shards: dict[ShardId, list[dict[str, Any]]]
    homes: dict[str, str] = dataclasses.field(default_factory=dict)
    said: dict[str, Consent] = dataclasses.field(default_factory=dict)
    drifted: tuple[str, ...] = ()
    away: set[str] = dataclasses.field(default_factory=set)
    meanwhile: Callable[[], None] | None = None
    page_rows: int = 10
    pages_until_death: int | None = None
    recorded: list[Event] = dataclasses.field(default_factory=list)
    ledger_is_away: bool = False
    directory_is_away: bool = False
    held: Rules = dataclasses.field(default_factory=rules)
    now_s: float = 1_795_300_000.0

    def world(self) -> World:
        async def current() -> Rules:
            if self.directory_is_away:
                raise ConnectionError
            return self.held

        return World(_Source(self), _Origins(self), _Ledger(self), current, self._now, SIGNER, "cell:eu-de")

    def _now(self) -> float:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        return self.now_s


class Found(msgspec.Struct, frozen=True):
    """A finding of a scanner of tests."""

    kind: str
    start: int
    end: int


class Killed(BaseException):
    """The process ends here: nothing after it runs."""


class _Source:
    def __init__(self, world: MemoryWorld) -> None:
        self._world = world
        self.shards = tuple(world.shards)

    async def page(self, shard: ShardId, after: tuple[str, str], until: tuple[str, str] = LAST) -> Page:
        world = self._world
        if world.pages_until_death is not None:
            world.pages_until_death -= 1
            if world.pages_until_death < 0:
                raise Killed
        rows = [one for one in world.shards[shard] if after < (str(one["subject_id"]), str(one["id"])) <= until]
        rows = [one for one in rows if str(one["subject_id"]) not in world.away]
        rows = sorted(rows, key=lambda one: (str(one["subject_id"]), str(one["id"])))[: world.page_rows]
        keys = [(str(one["subject_id"]), str(one["id"])) for one in rows]
        columns = {name: [one[name] for one in rows] for name in (row() if not rows else rows[0])}
        return Page(
            subjects=[SubjectId(subject) for subject, _ in keys],
            owners=[subject for subject, _ in keys],
            consents=[world.said.get(subject, Consent.UNSAID) for subject, _ in keys],
            columns={name: values for name, values in columns.items() if name not in world.drifted},
            drifted=world.drifted,
            unnamed=0,
            first=keys[0] if keys else None,
            last=keys[-1] if keys else None,
            after=keys[-1] if len(keys) == world.page_rows else None,
        )

    async def standing(self, shard: ShardId, subjects: Sequence[SubjectId], owners: Sequence[str]) -> Standing:
        world = self._world
        return Standing(
            frozenset(one for one in subjects if one not in world.away),
            {one: world.said[one] for one in owners if one in world.said},
        )


class _Origins:
    def __init__(self, world: MemoryWorld) -> None:
        self._world = world

    async def facts(self, subjects: Sequence[SubjectId]) -> dict[SubjectId, SubjectFacts]:
        homes = {one: self._world.homes.get(one, "DE") for one in subjects}
        return {one: SubjectFacts(residence=Country(home)) for one, home in homes.items() if home}


class _Ledger:
    def __init__(self, world: MemoryWorld) -> None:
        self._world = world

    async def record(self, event: Event) -> None:
        if self._world.ledger_is_away:
            raise ConnectionError
        if event.id not in {one.id for one in self._world.recorded}:
            self._world.recorded.append(event)


@dataclasses.dataclass
class MemorySink:
    """A second implementation of `Sink`. `dies_after`: files that are taken before it dies; `removes`: whether it lets anything be removed;
    `meanwhile`: what happens before the so-manyth file is put. `put_names`: of files that were taken, in their order."""

    files: dict[str, bytes] = dataclasses.field(default_factory=dict)
    dies_after: int | None = None
    removes: bool = True
    meanwhile: dict[int, Callable[[], None]] = dataclasses.field(default_factory=dict)
    put_names: list[str] = dataclasses.field(default_factory=list)
    puts = True

    def put(self, release: str, file: Path, sha256: str) -> None:
        self.meanwhile.pop(len(self.put_names), lambda: None)()
        if self.dies_after is not None and len(self.put_names) >= self.dies_after:
            raise SinkFailed("the sink died")
        self.files[file.name] = file.read_bytes()
        self.put_names.append(file.name)

    def remove(self, release: str, name: str) -> None:
        if not self.removes:
            raise SinkFailed("the sink lets nothing be removed")
        self.files.pop(name, None)

    def publish(self, release: str, staging: Path) -> None:
        for name in (SIGNATURE, MANIFEST):
            self.put(release, staging / name, "")

    def holds(self, release: str) -> bool:
        return MANIFEST in self.files


def run_of(
    folder: Path,
    *,
    format_: Format = Format.NDJSON,
    to: str = "us-lake",
    run_id: str = "rel-1",
    held: Rules,
    out: str | None = None,
) -> Run:
    return Run(
        id=run_id,
        cell=EU,
        table="people",
        destination=DestinationId(to),
        purpose="analytics",
        format=format_,
        out=out or str(folder / "out"),
        day=TODAY.isoformat(),
        contract="sha256:c",
        rules=held.digest,
        keys="k",
        begun_at=1_795_300_000.0,
    )


def journal_of(folder: Path, run: Run) -> Journal:
    journal = Journal(folder / "runs" / run.id)
    journal.begin(run)
    return journal
