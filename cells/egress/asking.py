"""Events of a product service, treated for a destination and purpose: who they are about is asked anew for each batch, which is recorded.

Consent, fences, the directory's facts and rules are those of the moment, so a withdrawal holds from the next batch on.
"""

import datetime
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from cells.egress.events import Given, Read, RowReader, columns_of
from cells.egress.keys import keys_for
from cells.egress.manifest import EVENT_PREFIX
from cells.egress.owners import Owners
from cells.egress.plan import Release, TablePlan
from cells.egress.settings import EgressSettings
from cells.egress.treating import Batch, Held, Person, Treated, Treater, Whose
from cells.egress.treatments import Means
from cells.egress.values import OF_DATABASE, OF_JSON, Reader
from cells.records.contracts import Contract
from cells.service.context import Context
from foundation.ledger.port import Event, Kind
from foundation.mute import Secret
from foundation.problems import Code, refuse
from foundation.words import DestinationId, RulesDigest, ServiceId
from routing_rules.rules import Rules

TREATERS_MAX = 64
"""Kinds of batches with plans made ready; beyond it all are made anew."""


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """What events are to be treated for. `contract`: the table or event that they are of."""

    contract: str
    to: str
    purpose: str


class EgressSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a batch beside its events, of which none leaves where it is `held` by a finding. `stayed`: events that may not leave,
    by ground. `duties`: what the law asks of whoever sends the others on. `counts`: field → what became of its values → how many.
    `release`: the id of the batch in the ledger."""

    release: str
    stayed: dict[str, int]
    duties: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    held: tuple[Held, ...]


class EgressAnswer(EgressSaid, frozen=True, kw_only=True):
    """`events`: those that may leave, treated, in no promised order."""

    events: list[dict[str, Any]]


class Asked(msgspec.Struct, frozen=True):
    """Who asks for what, under which contract and rules."""

    service: ServiceId
    aim: Aim
    contract: Contract
    rules: Rules


Form: TypeAlias = Literal["json", "arrow"]
"""What events come as."""
_READERS: Mapping[Form, Mapping[str, Reader]] = {"json": OF_JSON, "arrow": OF_DATABASE}


class Asking:
    """Over one cell's context."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract], settings: EgressSettings | None) -> None:
        """Raises SettingsError for keys that cannot be read, and where a scanner that is wanted is not installed."""
        self._context = context
        self._contracts = contracts
        self._owners = Owners(context, contracts)
        self._root: Secret[bytes] | None = None if settings is None else settings.root()
        self._joins = {} if settings is None else settings.joins()
        self._scan = None if settings is None else settings.scanner()
        self._treaters: dict[tuple[str, str, str, RulesDigest, datetime.date, Form], Treater] = {}

    async def answer(self, service: ServiceId, aim: Aim, events: Sequence[Given]) -> EgressAnswer:
        """What of a batch may leave; recorded when it returns. Raises ProblemError."""
        asked = self.asked(service, aim)
        made = self.treater(asked, "json")
        columns = columns_of(asked.contract, events)
        people = await self.people(asked, columns.values)
        treated = made.treat(Batch(people, columns.values, unnamed=columns.unnamed, plain=columns.plain))
        answer = answer_of(treated, duties_of(made, people))
        await self.record(asked, answer, len(answer.events), msgspec.json.encode(answer.events))
        return answer

    def reader(self, service: ServiceId, aim: Aim) -> Read:
        """Of the events of a stream. Raises ProblemError for what the service may not read, or nobody declared."""
        return RowReader(self.asked(service, aim).contract)

    def asked(self, service: ServiceId, aim: Aim) -> Asked:
        """Raises ProblemError for what the service may not read, or nobody declared."""
        contract = self._contract(aim.contract, service)
        return Asked(service, aim, contract, self._aimed(aim))

    async def people(self, asked: Asked, columns: Mapping[str, Sequence[Any]]) -> list[Whose]:
        """Whose each event is, by the contract's columns of people. Raises ProblemError."""
        return await self._owners.of(asked.contract, columns, asked.aim.purpose)

    async def record(self, asked: Asked, what: EgressSaid, events: int, payload: bytes) -> None:
        """`payload`: what is given back, of which the ledger keeps the digest. Raises ProblemError."""
        event = _event(asked, what, events, payload, self._context.clock.unix_s())
        await self._context.event_shard().record([event])

    def treater(self, asked: Asked, form: Form) -> Treater:
        return self._treater(asked.contract, asked.aim, asked.rules, form)

    def planned(self, aim: Aim, person: Person) -> tuple[TablePlan, dict[str, str]]:
        """What each field would become for somebody, and those that cannot be made. Raises ProblemError."""
        contract = self._contracts.get(aim.contract)
        if contract is None:
            raise refuse(Code.NOT_FOUND, "no contract has that name")
        made = self._treater(contract, aim, self._aimed(aim), "json")
        return made.plan_of(person), made.unmade(person)

    def _aimed(self, aim: Aim) -> Rules:
        """The rules that hold, by which there is such a release. Raises ProblemError."""
        rules = self._context.rules.require()
        to = rules.policy.destinations.get(DestinationId(aim.to))
        if to is None or aim.purpose not in to.purposes:
            raise refuse(
                Code.RESIDENCY_REFUSED, "policy declares no such destination for this purpose", ground="policy"
            )
        return rules

    def _contract(self, name: str, service: ServiceId) -> Contract:
        """Of what the service may read. Raises ProblemError."""
        contract = self._contracts.get(name)
        if contract is None or not contract.access.services.get(service) or not contract.access.services[service].read:
            raise refuse(Code.FORBIDDEN, "no contract of that name lets this service read")
        if self._root is None:
            raise refuse(Code.NOT_READY, "this cell's settings have no [egress]: nothing leaves it")
        return contract

    def _treater(self, contract: Contract, aim: Aim, rules: Rules, form: Form) -> Treater:
        context, root = self._context, self._root
        day = datetime.datetime.fromtimestamp(context.clock.unix_s(), datetime.UTC).date()
        key = (contract.table, aim.to, aim.purpose, rules.digest, day, form)
        held = self._treaters.get(key)
        if held is None:
            if root is None:
                raise refuse(Code.NOT_READY, "this cell's settings have no [egress]: nothing leaves it")
            if len(self._treaters) >= TREATERS_MAX:
                self._treaters.clear()
            means = Means(day, keys_for(root, context.cell, aim.purpose, self._joins), contract.hierarchies)
            release = Release(cell=context.cell, destination=DestinationId(aim.to), purpose=aim.purpose)
            held = Treater(contract, release, rules, day, means=means, readers=_READERS[form], scan=self._scan)
            self._treaters[key] = held
        return held


def duties_of(made: Treater, people: Sequence[Whose]) -> tuple[str, ...]:
    """What is owed for those of these people of whom something goes, each duty once."""
    kinds = {id(one): one for one in people if isinstance(one, Person)}.values()
    went = [plan for one in kinds if (plan := made.plan_of(one)).goes]
    return tuple(dict.fromkeys(owed for plan in went for owed in plan.owed))


def said(treated: Treated, duties: tuple[str, ...]) -> EgressSaid:
    return EgressSaid(
        release=EVENT_PREFIX + secrets.token_hex(16),
        stayed=treated.stayed,
        duties=duties if treated.rows else (),
        counts=treated.counts,
        held=treated.held,
    )


def answer_of(treated: Treated, duties: tuple[str, ...]) -> EgressAnswer:
    names = list(treated.columns)
    rows = zip(*treated.columns.values(), strict=True) if treated.rows else ()
    events = [dict(zip(names, row, strict=True)) for row in rows]
    return EgressAnswer(events=events, **msgspec.structs.asdict(said(treated, duties)))


def _event(asked: Asked, what: EgressSaid, events: int, payload: bytes, at: float) -> Event:
    aim = asked.aim
    details = {
        "contract": aim.contract,
        "destination": aim.to,
        "purpose": aim.purpose,
        "events": events,
        "stayed": sum(what.stayed.values()),
        "held": len(what.held),
        "payload": f"sha256:{hashlib.sha256(payload).hexdigest()}",
        "rules": asked.rules.digest,
    }
    return Event(id=what.release, at=at, kind=Kind.RELEASE, actor=f"service:{asked.service}", details=details)
