"""`decide`: what becomes of this request, which came in here, for a person whose home is there? Pure and total."""

import datetime

import msgspec

from foundation.problems import Code
from foundation.words import RECORDS, VIEWS, Verb
from routing_rules.facts import RequestFacts
from routing_rules.hints import shown
from routing_rules.home import (
    Handling,
    earliest,
    hosting,
    may_carry,
    may_hold,
    regimes_of,
    serves,
    unmet,
    within,
    within_terms,
)
from routing_rules.law.questions import Finding, Location, Regimes
from routing_rules.policy import Actor, Policy, Travel
from routing_rules.rules import Rules
from routing_rules.verdicts import Elsewhere, Hairpin, Refuse, Serve, Verdict

_LAW_REFUSES = "The rules do not let this person's data be handled there; `domicile rules explain` shows the rows"
_STRICTEST_FIRST: tuple[Travel, ...] = ("refuse", "home", "hairpin")


class _Why(msgspec.Struct, frozen=True):
    code: Code
    detail: str
    ground: str


def decide(facts: RequestFacts, rules: Rules, at: datetime.date) -> Verdict:
    """The verdict on day `at`. Never raises; whatever the rules do not know is refused."""
    why = _unmet_by_policy(facts, rules)
    if why is not None:
        return _refuse(why, rules, None)
    regimes = regimes_of(facts.subject, rules, at)
    why = _unserved(facts, regimes, rules)
    if why is not None:
        return _refuse(why, rules, regimes.valid_until)
    law = held(facts, regimes, rules, at)
    changes = earliest((regimes.valid_until, law.valid_until))
    if not law.answer.allows:
        return _refuse(_Why(Code.RESIDENCY_REFUSED, _LAW_REFUSES, ground_of(law)), rules, changes)
    ground = f"{regimes.owner} is served by cell {facts.cell}: {ground_of(law)}"
    home = rules.policy.cells[facts.cell].region
    if facts.actor is not None:
        unfit = unfit_actor(facts, regimes, rules)
        if unfit is not None:
            return _refuse(_Why(Code.RESIDENCY_REFUSED, _ACTOR_REFUSED, unfit), rules, changes)
        ground = f"actors.{facts.actor} acts from the same jurisdiction; {ground}"
    elif home != facts.ingress:
        return _away(facts, regimes, changes, rules, at)
    purpose = rules.policy.services[facts.service].purpose
    return Serve(cell=facts.cell, region=home, purpose=purpose, ground=ground, valid_until=changes, digest=rules.digest)


def held(facts: RequestFacts, regimes: Regimes, rules: Rules, at: datetime.date) -> Finding:
    """What the law says of the home itself, and of access from where the actor is."""
    actor = rules.policy.actors.get(facts.actor) if facts.actor is not None else None
    accessed = () if actor is None else (actor_location(actor, rules),)
    handling = Handling(services=(facts.service,), accessed=accessed)
    return may_hold(facts.subject, regimes, facts.cell, handling, rules, at)


def carried(facts: RequestFacts, regimes: Regimes, rules: Rules, at: datetime.date) -> Finding:
    """What the law says of the ingress region's handling the request in flight: processing there, nothing left."""
    return may_carry(facts.subject, regimes, facts.cell, facts.ingress, facts.service, rules, at)


def _away(
    facts: RequestFacts, regimes: Regimes, changes: datetime.date | None, rules: Rules, at: datetime.date
) -> Verdict:
    """A person away from home: carried home, sent home or refused, as policy says; carried only where the law allows it too."""
    key, travel = travel_of(facts, regimes, rules.policy)
    region = rules.policy.cells[facts.cell].region
    origin = rules.policy.regions[region].origin
    stated = f"policy: travellers.{key} = {travel}" if key else "policy states no travellers"
    if travel == "refuse":
        detail = "This product does not serve people of this home from here"
        return _refuse(_Why(Code.RESIDENCY_REFUSED, detail, stated), rules, changes)
    ground = f"{stated}; home is region {region}"
    if travel == "hairpin" and facts.verb is not Verb.SIGNUP:
        law = carried(facts, regimes, rules, at)
        changes = earliest((changes, law.valid_until))
        if law.answer.allows:
            return Hairpin(
                cell=facts.cell,
                region=region,
                home=origin,
                purpose=rules.policy.services[facts.service].purpose,
                basis=ground_of(law),
                ground=f"{ground}; {ground_of(law)}",
                valid_until=changes,
                digest=rules.digest,
            )
        ground = f"{ground}; not carried there, for {ground_of(law)}"
    return Elsewhere(home=origin, region=region, ground=ground, valid_until=changes, digest=rules.digest)


def travel_of(facts: RequestFacts, regimes: Regimes, policy: Policy) -> tuple[str, Travel]:
    """The key of policy that says what becomes of this person away from home, and what it says; ("", home) where none does.

    The tenant's terms come first; then `regime->ingress`, then `regime`, parts before the whole, the strictest of equals; then `default`.
    """
    terms = policy.terms.get(facts.subject.terms) if facts.subject.terms is not None else None
    if terms is not None and terms.travellers is not None:
        return f"terms.{facts.subject.terms}", terms.travellers
    for level in (regimes.stated, regimes.assumed, (regimes.owner,)):
        for keys in ([f"{one}->{facts.ingress}" for one in level], list(level)):
            found = {policy.travellers[key]: key for key in keys if key in policy.travellers}
            for travel in _STRICTEST_FIRST:
                if travel in found:
                    return found[travel], travel
    return ("default", policy.travellers["default"]) if "default" in policy.travellers else ("", "home")


_ACTOR_REFUSED = "A service acts for people of its own jurisdiction only, as policy's [actors] bounds it"


def unfit_actor(facts: RequestFacts, regimes: Regimes, rules: Rules) -> str | None:
    """Why the service may not act for this person here: a ground, or None."""
    actor = rules.policy.actors.get(facts.actor) if facts.actor is not None else None
    name = f"actors.{shown(facts.actor)}"
    if actor is None:
        return f"policy: declares no {name}"
    if facts.service not in actor.services:
        return f"policy: {name}.services does not name {facts.service}"
    if facts.verb not in actor.verbs:
        return f"policy: {name}.verbs does not name {facts.verb}"
    if not {regimes.owner, *regimes.stated} & set(actor.jurisdictions):
        return f"policy: {name}.jurisdictions does not name {regimes.owner}"
    cell = rules.policy.cells[facts.cell]
    if cell.region != facts.ingress:
        return f"{name} must ask in region {cell.region}; nobody is carried for somebody else"
    place = actor_location(actor, rules)
    if not within(place, cell.jurisdiction, rules):
        return f"{name} acts from {place.id}, cell {facts.cell} is under {cell.jurisdiction}: across a border only by egress"
    return None


def actor_location(actor: Actor, rules: Rules) -> Location:
    return rules.law.location(actor.country, actor.subdivision)


def ground_of(law: Finding) -> str:
    return f"unknown: {law.ground}" if law.answer == "unknown" and not law.ground.startswith("unknown") else law.ground


def _refuse(why: _Why, rules: Rules, changes: datetime.date | None) -> Refuse:
    return Refuse(code=why.code, detail=why.detail, ground=why.ground, valid_until=changes, digest=rules.digest)


def _unserved(facts: RequestFacts, regimes: Regimes, rules: Rules) -> _Why | None:
    """The regimes must be known, and policy must let the cell serve them."""
    if regimes.unknown is not None:
        return _Why(Code.RESIDENCY_REFUSED, _LAW_REFUSES, f"unknown: {regimes.unknown.what}")
    if not serves(rules.policy.cells[facts.cell], regimes):
        ground = f"policy: cells.{facts.cell}.serves does not name {regimes.owner}"
        return _Why(Code.RESIDENCY_REFUSED, "Policy does not let this person's home cell serve them", ground)
    return None


def _unmet_by_policy(facts: RequestFacts, rules: Rules) -> _Why | None:
    """What policy itself lacks for this request, in the order that tells a stranger least; None if nothing."""
    policy = rules.policy
    service = policy.services.get(facts.service)
    if service is None:
        return _Why(
            Code.UNKNOWN_SERVICE, "Policy declares no such service", f"policy: no service {shown(facts.service)}"
        )
    if facts.ingress not in policy.regions:
        ground = f"unknown: policy declares no region {shown(facts.ingress)}"
        return _Why(Code.RESIDENCY_REFUSED, "The region that took this request is not declared in policy", ground)
    cell = policy.cells.get(facts.cell)
    if cell is None or cell.region not in policy.regions:
        ground = f"unknown: policy declares no cell {shown(facts.cell)}"
        return _Why(Code.RESIDENCY_REFUSED, "The cell of this placement is not declared in policy", ground)
    if facts.verb is Verb.SIGNUP and not service.signup:
        ground = f"policy: services.{facts.service} has no signup route"
        return _Why(Code.RESIDENCY_REFUSED, "This service signs nobody up", ground)
    if not placed_for(facts):
        listed = ", ".join(shown(one) for one in sorted(facts.services)[:10]) or "no service"
        return _Why(
            Code.NOT_PLACED_FOR_SERVICE,
            "Add the service to the placement first",
            f"the placement was made for {listed}",
        )
    if not hosting(facts.cell, (facts.service,), policy):
        ground = f"policy: services.{facts.service}.hosts has no address in cell {facts.cell}"
        return _Why(Code.RESIDENCY_REFUSED, "The service does not run in this person's home", ground)
    open_fact = unmet(facts.subject, rules)
    if open_fact is not None:
        return _Why(Code.RESIDENCY_REFUSED, "The placement states what the rules do not know", open_fact)
    if not within_terms(facts.cell, facts.subject, policy):
        ground = f"policy: terms.{facts.subject.terms}.cells does not name {facts.cell}"
        return _Why(Code.RESIDENCY_REFUSED, "The terms that bind this person do not allow this cell", ground)
    return None


def placed_for(facts: RequestFacts) -> bool:
    """A sign-up has no placement yet; records belongs to every placement, since it is where services keep their rows, and so do views of
    them."""
    return (
        facts.verb is Verb.SIGNUP
        or facts.service in facts.services
        or (facts.service in (RECORDS, VIEWS) and bool(facts.services))
    )
