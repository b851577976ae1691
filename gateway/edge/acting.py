"""The bounds of a service that acts for somebody: what policy's `[actors]` and its own token leave it. Pure, total."""

from directory.placement.core import Placement
from foundation.words import Verb
from gateway.edge.target import Route, Target
from gateway.identity.actors import Actor
from routing_rules.policy import Policy


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
