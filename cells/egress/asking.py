"""Events of a product service, treated for a destination and purpose: who they are about is asked anew for each batch, which is recorded.

Consent, fences, the directory's facts and rules are those of the moment, so a withdrawal holds from the next batch on.
"""

import datetime
import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from cells.egress.events import Given, Read, RowReader, columns_of
from cells.egress.keys import keys_for
from cells.egress.manifest import EVENT_PREFIX
from cells.egress.plan import Release, TablePlan
from cells.egress.reading import consent_statement, merged
from cells.egress.settings import EgressSettings
from cells.egress.treating import Batch, Held, Person, Treated, Treater
from cells.egress.treatments import Means
from cells.egress.values import OF_JSON
from cells.egress.worlds import DirectoryOrigins
from cells.records.contracts import Contract
from cells.service.context import Context
from directory.client.remote import DirectoryUnavailable
from directory.placement.core import State
from foundation.ledger.port import Event, Kind
from foundation.mute import Secret
from foundation.problems import Code, refuse
from foundation.words import (
    DestinationId,
    MalformedWord,
    RulesDigest,
    ServiceId,
    ShardId,
    SubjectId,
    Verb,
    parse_subject_id,
)
from routing_rules.release import Consent
from routing_rules.rules import Rules

TREATERS_MAX = 64
"""Kinds of batches with plans made ready; beyond it all are made anew."""


class Aim(msgspec.Struct, frozen=True, kw_only=True):
    """What events are to be treated for. `contract`: the table or event that they are of."""

    contract: str
    to: str
    purpose: str


class EgressAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`events`: those that may leave, treated, in no promised order; none where the batch is `held` by a finding. `stayed`: events that may
    not, by ground. `duties`: what the law asks of whoever sends these on. `counts`: field → what became of its values → how many.
    `release`: the id of the batch in the ledger."""

    release: str
    events: list[dict[str, Any]]
    stayed: dict[str, int]
    duties: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    held: tuple[Held, ...]


class Asking:
    """Over one cell's context."""

    def __init__(self, context: Context, contracts: Mapping[str, Contract], settings: EgressSettings | None) -> None:
        """Raises SettingsError for keys that cannot be read, and where a scanner that is wanted is not installed."""
        self._context = context
        self._contracts = contracts
        self._root: Secret[bytes] | None = None if settings is None else settings.root()
        self._joins = {} if settings is None else settings.joins()
        self._scan = None if settings is None else settings.scanner()
        self._treaters: dict[tuple[str, str, str, RulesDigest, datetime.date], Treater] = {}

    async def answer(self, service: ServiceId, aim: Aim, events: Sequence[Given]) -> EgressAnswer:
        """What of a batch may leave; recorded when it returns. Raises ProblemError."""
        context = self._context
        contract, rules = self.checked(service, aim)
        made = self._treater(contract, aim, rules)
        columns = columns_of(contract, events)
        people = await self._people(contract, columns.values, aim.purpose)
        treated = made.treat(Batch(people, columns.values, unnamed=columns.unnamed, plain=columns.plain))
        kinds = {id(one): one for one in people if one is not None}.values()
        went = [plan for one in kinds if (plan := made.plan_of(one)).goes]
        answer = _answer(treated, tuple(dict.fromkeys(owed for plan in went for owed in plan.owed)))
        await context.event_shard().record([_event(answer, aim, service, rules.digest, context.clock.unix_s())])
        return answer

    def reader(self, service: ServiceId, aim: Aim) -> Read:
        """Of the events of a stream. Raises ProblemError for what the service may not read, or nobody declared."""
        contract, _ = self.checked(service, aim)
        return RowReader(contract)

    def checked(self, service: ServiceId, aim: Aim) -> tuple[Contract, Rules]:
        """Raises ProblemError for what the service may not read, or nobody declared."""
        contract = self._contract(aim.contract, service)
        return contract, self._aimed(aim)

    def planned(self, aim: Aim, person: Person) -> tuple[TablePlan, dict[str, str]]:
        """What each field would become for somebody, and those that cannot be made. Raises ProblemError."""
        contract = self._contracts.get(aim.contract)
        if contract is None:
            raise refuse(Code.NOT_FOUND, "no contract has that name")
        made = self._treater(contract, aim, self._aimed(aim))
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

    def _treater(self, contract: Contract, aim: Aim, rules: Rules) -> Treater:
        context, root = self._context, self._root
        day = datetime.datetime.fromtimestamp(context.clock.unix_s(), datetime.UTC).date()
        key = (contract.table, aim.to, aim.purpose, rules.digest, day)
        held = self._treaters.get(key)
        if held is None:
            if root is None:
                raise refuse(Code.NOT_READY, "this cell's settings have no [egress]: nothing leaves it")
            if len(self._treaters) >= TREATERS_MAX:
                self._treaters.clear()
            means = Means(day, keys_for(root, context.cell, aim.purpose, self._joins), contract.hierarchies)
            release = Release(cell=context.cell, destination=DestinationId(aim.to), purpose=aim.purpose)
            held = Treater(contract, release, rules, day, means=means, readers=OF_JSON, scan=self._scan)
            self._treaters[key] = held
        return held

    async def _people(
        self, contract: Contract, columns: Mapping[str, Sequence[Any]], purpose: str
    ) -> list[Person | None]:
        """Of each event, by whose law it goes, and what its owner said. None where the subject is not active here, or the directory does
        not say so, and where the event does not say who the owner is. Raises ProblemError."""
        subjects = _subjects(columns[contract.placed_by])
        owners = subjects if contract.owner == contract.placed_by else _subjects(columns[contract.owner])
        active = self._active(subjects)
        try:
            facts = await DirectoryOrigins(self._context.directory, self._context.cell).facts(list(active))
        except DirectoryUnavailable as exc:
            raise refuse(
                Code.NOT_READY, "the directory does not say whose law these persons are under", retry_after_s=1
            ) from exc
        pairs = {
            (subject, owner): facts[subject]
            for subject, owner in zip(subjects, owners, strict=True)
            if subject in facts and subject is not None and owner is not None
        }
        asked: dict[ShardId, dict[SubjectId, None]] = {}
        for subject, owner in pairs:
            asked.setdefault(active[subject], {})[owner] = None
        said = await self._said(asked, purpose)
        people = {pair: Person(one, said.get(pair[1], Consent.UNSAID)) for pair, one in pairs.items()}
        same = {one: one for one in people.values()}  # of whom the same is known, one object
        known: dict[Any, Person] = {pair: same[one] for pair, one in people.items()}
        return [known.get(pair) for pair in zip(subjects, owners, strict=True)]

    def _active(self, subjects: Sequence[SubjectId | None]) -> dict[SubjectId, ShardId]:
        """Those who are active here, and on which shard. Raises ProblemError."""
        known = (one for one in dict.fromkeys(subjects) if one is not None)
        homes = {subject: self._context.known(subject) for subject in known}
        return {
            subject: home.shard for subject, home in homes.items() if home is not None and home.state is State.ACTIVE
        }

    async def _said(self, asked: Mapping[ShardId, Iterable[SubjectId]], purpose: str) -> dict[SubjectId, Consent]:
        """What these people said to the purpose, where the rows lie of which they are owners. Raises ProblemError where that cannot be
        read."""
        said: dict[SubjectId, Consent] = {}
        for contract in self._contracts.values():
            sql = consent_statement(contract)
            if sql is None:
                continue
            for shard, own in asked.items():
                try:
                    rows = await self._context.shards[shard].fetch(
                        sql, (list(own), purpose), table=contract.table, verb=Verb.READ
                    )
                except asyncpg.PostgresError as exc:
                    raise refuse(
                        Code.NOT_READY, "what people said to purposes cannot be read", retry_after_s=1
                    ) from exc
                said = merged(said, {SubjectId(str(row["person"])): row["given"] for row in rows})
        return said


def _subjects(stated: Sequence[Any]) -> list[SubjectId | None]:
    """None for what is no subject id."""
    texts = dict.fromkeys(one for one in stated if isinstance(one, str))
    known = {one: _subject(one) for one in texts}
    return [known[one] if isinstance(one, str) else None for one in stated]


def _subject(text: str) -> SubjectId | None:
    try:
        return parse_subject_id(text)
    except MalformedWord:
        return None


def _answer(treated: Treated, duties: tuple[str, ...]) -> EgressAnswer:
    names = list(treated.columns)
    rows = zip(*treated.columns.values(), strict=True) if treated.rows else ()
    return EgressAnswer(
        release=EVENT_PREFIX + secrets.token_hex(16),
        events=[dict(zip(names, row, strict=True)) for row in rows],
        stayed=treated.stayed,
        duties=duties if treated.rows else (),
        counts=treated.counts,
        held=treated.held,
    )


def _event(answer: EgressAnswer, aim: Aim, service: ServiceId, rules: RulesDigest, at: float) -> Event:
    details = {
        "contract": aim.contract,
        "destination": aim.to,
        "purpose": aim.purpose,
        "events": len(answer.events),
        "stayed": sum(answer.stayed.values()),
        "held": len(answer.held),
        "payload": f"sha256:{hashlib.sha256(msgspec.json.encode(answer.events)).hexdigest()}",
        "rules": rules,
    }
    return Event(id=answer.release, at=at, kind=Kind.RELEASE, actor=f"service:{service}", details=details)
