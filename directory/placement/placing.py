"""Placing a new subject: rules → decision → reservation → the cell's acknowledgement."""

import asyncio
import datetime
import hashlib
from contextlib import suppress
from typing import assert_never

import msgspec

from directory.metrics import CHANGES, REPLAYS
from directory.placement import store
from directory.placement.answers import PlacedAnswer, PlacementAnswer, PlaceRequest
from directory.placement.asked import facts_of, refused
from directory.placement.core import State
from directory.placement.outcomes import Done, NewSubject, Repeat, Repeated, RulesMoved, Taken
from directory.placement.provenance import Basis, facts_kept, provenance
from directory.registry.core import EMPTY, Registry, shares
from directory.services import Services
from foundation import logs
from foundation.problems import Code, Problem
from foundation.words import CellId, SubjectId, mint_subject_id
from routing_rules.choose import Shares, choose
from routing_rules.place import place
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, NoCell

log = logs.get(__name__)

RULES_TRIES_MAX = 3
DRAINED_RETRY_S = 30
RECHECK_S = 0.5
"""A waiter asks the database this often even when no hint came."""


def decide(
    asked: PlaceRequest,
    subject_id: SubjectId,
    rules: Rules,
    at: datetime.date,
    *,
    actor: str,
    among: frozenset[CellId] | None,
    registry: Registry = EMPTY,
) -> NewSubject | Problem:
    """Cell and shard for a new subject by the rules, within what the registry has open, or the refusal. `among`: the cells that the
    caller may place in. Pure."""
    facts = facts_of(asked, rules)
    if isinstance(facts, Problem):
        return facts
    allowed = place(facts, rules, at)
    if isinstance(allowed, NoCell):
        return refused(allowed)
    weights = shares(registry, rules.policy, facts.services)
    home = choose(subject_id, allowed, rules, among=among, shares=weights)
    if home is None:
        return _elsewhere(subject_id, allowed, rules, weights)
    cell, shard = home
    basis = Basis.DECLARED if asked.verified_residence is None else Basis.VERIFIED
    return NewSubject(
        subject_id=subject_id,
        cell=cell,
        shard=shard,
        services=facts.services,
        facts=facts_kept(facts, allowed),
        provenance=provenance(facts, basis, allowed, rules, at),
        keys=asked.keys,
        under=rules.digest,
        registry=registry.seq,
        actor=actor,
        reason=asked.reason,
    )


def _elsewhere(subject_id: SubjectId, allowed: Allowed, rules: Rules, weights: Shares) -> Problem:
    elsewhere = choose(subject_id, allowed, rules, shares=weights)
    if elsewhere is None:
        return Problem(
            code=Code.NOT_READY,
            detail="the cells that may hold this person take nobody new just now: they are drained",
            extra={"cells": list(allowed.cells)},
            retry_after_s=DRAINED_RETRY_S,
        )
    return Problem(
        code=Code.HOME_ELSEWHERE,
        detail="this cell is not among those that may hold this person, or takes nobody new just now",
        extra={"ground": allowed.ground, "home": rules.policy.regions[rules.policy.cells[elsewhere[0]].region].origin},
    )


class Placed(msgspec.Struct, frozen=True):
    """`replayed`: an earlier request with the same Idempotency-Key did it."""

    answer: PlacedAnswer
    replayed: bool


class Placing:
    """The use case. Everything it decides comes from `decide`; everything it stores goes through `Changes.place`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def place(
        self,
        asked: PlaceRequest,
        *,
        actor: str,
        among: frozenset[CellId] | None,
        idempotency_key: str | None,
        wait_s: float,
    ) -> Placed | Problem:
        """Raises DatabaseUnavailable; then a repeat with the same idempotency key tells what became of it."""
        repeat = Repeat(idempotency_key, _digest(asked)) if idempotency_key else None
        if repeat is not None:
            earlier = await self._services.changes.earlier(actor, repeat)
            if earlier is not None:
                return await self._replayed(earlier, repeat, wait_s)
        for _ in range(RULES_TRIES_MAX):
            rules = await self._services.rules.current()
            if isinstance(rules, Problem):
                return rules
            registry = await self._services.registry.current()
            at = today(self._services)
            new = decide(asked, mint_subject_id(), rules, at, actor=actor, among=among, registry=registry)
            if isinstance(new, Problem):
                return new
            stored = await self._stored(new, repeat, wait_s)
            if not isinstance(stored, RulesMoved):
                return stored
        return Problem(code=Code.NOT_READY, detail="the rules change just now; repeat the request", retry_after_s=1)

    async def _stored(self, new: NewSubject, repeat: Repeat | None, wait_s: float) -> Placed | Problem | RulesMoved:
        services = self._services
        # Watched from before the commit on: an acknowledgement may come at once.
        with services.commits.watch(new.subject_id) as changed:
            stored = await services.changes.place(new, repeat)
            match stored:
                case Done():
                    CHANGES.labels("place").inc()
                    services.commits.committed(stored.seq)
                    log.info("subject_placed", cell=new.cell, shard=new.shard, seq=stored.seq, actor=new.actor)
                    known = PlacementAnswer(as_of=stored.seq, placement=stored.placement)
                    questions = new.provenance.questions
                    return _told(await self._acknowledged(known, changed, wait_s), questions, replayed=False)
                case Taken():
                    return Problem(
                        code=Code.KEY_TAKEN,
                        detail="a lookup key of this request belongs to another subject",
                        extra={"kinds": list(stored.kinds)},
                    )
                case Repeated():
                    return await self._replayed(stored, repeat, wait_s)
                case RulesMoved():
                    return stored
                case _:
                    assert_never(stored)

    async def _replayed(self, earlier: Repeated, repeat: Repeat | None, wait_s: float) -> Placed | Problem:
        """The effect is the earlier one; the answer is the placement as it stands by now."""
        if repeat is None or earlier.body != repeat.body:
            return Problem(
                code=Code.IDEMPOTENCY_MISMATCH,
                detail="this Idempotency-Key was used for another request; take a new one for a new request",
            )
        REPLAYS.inc()
        with self._services.commits.watch(earlier.subject_id) as changed:
            known = await store.subject(self._services.pool, earlier.subject_id)
            if known is None:
                raise RuntimeError("an idempotency key leads to no subject")
            answer = await self._acknowledged(known, changed, wait_s)
        why = await store.provenance(self._services.pool, earlier.subject_id)
        return _told(answer, () if why is None else why.questions, replayed=True)

    async def _acknowledged(self, known: PlacementAnswer, changed: asyncio.Event, wait_s: float) -> PlacementAnswer:
        """Waits until the reservation is one no more, at most `wait_s`; what is known then."""
        services = self._services
        deadline = services.clock.monotonic_s() + wait_s
        while known.placement.state is State.RESERVED and not services.drain.begun:
            left = deadline - services.clock.monotonic_s()
            if left <= 0:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, RECHECK_S)):
                    await changed.wait()
            changed.clear()
            known = await store.subject(services.pool, known.placement.subject_id) or known
        return known


def today(services: Services) -> datetime.date:
    """The day (UTC) that rules are asked for."""
    return datetime.datetime.fromtimestamp(services.clock.unix_s(), datetime.UTC).date()


def _told(answer: PlacementAnswer, questions: tuple[str, ...], *, replayed: bool) -> Placed | Problem:
    if answer.placement.state is State.ERASED:
        return Problem(
            code=Code.CONFLICT,
            detail="what this request placed is erased by now; place anew, under a new Idempotency-Key",
            extra={"state": State.ERASED.value},
        )
    told = PlacedAnswer(as_of=answer.as_of, placement=answer.placement, questions=questions)
    return Placed(told, replayed=replayed)


def _digest(asked: PlaceRequest) -> bytes:
    return hashlib.sha256(msgspec.json.encode(asked)).digest()
