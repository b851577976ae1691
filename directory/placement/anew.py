"""Placing a subject anew where it is: for further services, by the rules of today."""

import datetime

from directory.placement import store
from directory.placement.answers import SERVICES_MAX
from directory.placement.asked import refused
from directory.placement.core import Placement
from directory.placement.outcomes import Anew, Done, RulesMoved
from directory.placement.placing import RULES_TRIES_MAX, today
from directory.placement.provenance import Basis, Provenance, facts_kept, provenance
from directory.placement.transitions import Action, Request, outcome
from directory.services import Services
from foundation.problems import Code, Problem
from foundation.words import Epoch, ServiceId, SubjectId
from routing_rules.facts import PlaceFacts
from routing_rules.place import place
from routing_rules.rules import Rules
from routing_rules.verdicts import NoCell


def decide(
    current: Placement, add: frozenset[ServiceId], known: Provenance | None, rules: Rules, at: datetime.date
) -> Anew | Problem:
    """The placement for all its services and the new ones, where the rules of that day still allow its cell; else why not. Pure.

    `known`: why it is there, None where the version that placed it kept no such thing: then it was placed by what was declared.
    """
    services = tuple(sorted(add.union(current.services)))
    if len(services) > SERVICES_MAX:
        return Problem(code=Code.BAD_REQUEST, detail=f"a subject is placed for {SERVICES_MAX} services at most")
    declared = None if known is None else known.declared
    facts = PlaceFacts(subject=current.facts.subject, services=services, declared=declared)
    allowed = place(facts, rules, at)
    if isinstance(allowed, NoCell):
        return refused(allowed)
    if current.cell not in allowed.cells:
        return Problem(
            code=Code.RESIDENCY_REFUSED,
            detail="the rules allow these services in other cells only; the subject would have to move first",
            extra={"ground": allowed.ground, "cells": list(allowed.cells)},
        )
    basis = Basis.DECLARED if known is None else known.basis
    why = provenance(facts, basis, allowed, rules, at)
    return Anew(services=services, facts=facts_kept(facts, allowed), provenance=why, under=rules.digest)


class PlacingAnew:
    """The use case; everything it stores goes through `Changes.place_anew`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def add(
        self, subject_id: SubjectId, add: frozenset[ServiceId], *, held: Epoch, actor: str, reason: str
    ) -> Done | Problem:
        """Compare-and-set by the epoch held; nothing is done where the subject is placed for all of them. Raises DatabaseUnavailable."""
        services = self._services
        request = Request(action=Action.ADD_SERVICES, epoch=held)
        for _ in range(RULES_TRIES_MAX):
            found = await store.subject(services.pool, subject_id)
            possible = outcome(None if found is None else found.placement, request)
            if isinstance(possible, Problem):
                return possible
            if found is None:
                raise RuntimeError("a subject that is not there may not be changed")
            if add.issubset(found.placement.services):
                return Done(found.as_of, found.placement)
            rules = await services.rules.current()
            if isinstance(rules, Problem):
                return rules
            known = await store.provenance(services.pool, subject_id)
            anew = decide(found.placement, add, known, rules, today(services))
            if isinstance(anew, Problem):
                return anew
            done = await services.changes.place_anew(subject_id, request, anew, actor=actor, reason=reason)
            if not isinstance(done, RulesMoved):
                return done
        return Problem(code=Code.NOT_READY, detail="the rules change just now; repeat the request", retry_after_s=1)
