"""The bounds of a service that acts for somebody: what policy's `[actors]` and its own token leave it. Pure, total."""

import msgspec

from directory.placement.core import Placement
from foundation.problems import Code, Problem
from foundation.words import SubjectId, Verb
from gateway.edge.outcome import Carried, Outcome, Refused, denied
from gateway.edge.target import Route, Target
from gateway.identity.actors import Actor
from routing_rules.policy import Policy
from routing_rules.verdicts import Elsewhere, Hairpin, Refuse


def beyond(actor: Actor, target: Target, verb: Verb, policy: Policy) -> str | None:
    """What the actor may not do whoever it is for, or None."""
    entry = policy.actors.get(actor.name)
    if entry is None:
        return f"policy: no actor {actor.name}"
    if target.route is not Route.ORDINARY:
        return "nobody acts for a subject on this route"
    narrowed = actor.narrowed
    if target.service not in entry.services or (
        narrowed.services is not None and target.service not in narrowed.services
    ):
        return f"policy: actors.{actor.name}.services, or the token, leaves out {target.service}"
    if verb not in entry.verbs or (narrowed.verbs is not None and verb not in narrowed.verbs):
        return f"policy: actors.{actor.name}.verbs, or the token, leaves out {verb.value}"
    return None


def stranger(actor: Actor, placement: Placement, policy: Policy) -> str | None:
    """Why this subject is none that the actor may act for, or None: one of its regimes must stand in policy's list and in the token's."""
    entry = policy.actors[actor.name]
    regimes = set(placement.facts.regimes)
    narrowed = actor.narrowed.jurisdictions
    if regimes.isdisjoint(entry.jurisdictions) or (narrowed is not None and regimes.isdisjoint(narrowed)):
        return nobody(actor)
    return None


def nobody(actor: Actor) -> str:
    """Nobody's id or key is refused in the same words as a stranger's: whether there is such a subject is not for those to learn who may
    not act for it."""
    return f"policy: actors.{actor.name}.jurisdictions, or the token, holds none of this subject's regimes"


def out_of_bounds(actor: Actor, why: str, subject: SubjectId | None) -> Refused:
    problem = Problem(
        code=Code.FORBIDDEN, detail="this service may not do that for this subject", extra={"ground": why}
    )
    return Refused(problem=problem, recorded=True, subject=subject, ground=why, actor=actor.id)


def not_across(verdict: Hairpin | Elsewhere | Refuse, subject: SubjectId, acting: Actor) -> Refused:
    """Traveller verdicts are a person's own; a service is at home with the subject or refused."""
    if isinstance(verdict, Refuse):
        return msgspec.structs.replace(denied(verdict, subject), actor=acting.id)
    problem = Problem(
        code=Code.RESIDENCY_REFUSED,
        detail="a service acts for a subject in its home region only; across a border data goes through egress",
        extra={"ground": verdict.ground},
    )
    return Refused(
        problem=problem, recorded=True, subject=subject, digest=verdict.digest, ground=verdict.ground, actor=acting.id
    )


def acted(outcome: Outcome, acting: Actor) -> Outcome:
    return outcome if isinstance(outcome, Carried) else msgspec.structs.replace(outcome, actor=acting.id)
