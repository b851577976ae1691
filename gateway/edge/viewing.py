"""The verdict on a request for what somebody else shows. Pure, total.

Each region judges its own: the reader's, whether its person may ask there (`routing_rules.views`); that of whoever is read, whether their
cell may be asked. What may leave is for that cell to say, which alone knows contract and consent (docs/decisions/0021-views.md). A reader
learns nothing of the other's home: not where it is, nor on which ground it shows nothing.
"""

from typing import assert_never

import msgspec

from directory.placement.core import Placement, State, refusal
from foundation.problems import Code, Problem
from foundation.words import RECORDS, VIEWS, ActorId, RegionId, Verb
from gateway.edge.outcome import (
    CONTRADICTION,
    RETRY_AFTER_S,
    UNKNOWN_HOME,
    Admitted,
    Carried,
    Gathered,
    Outcome,
    Refused,
    denied,
    no,
)
from gateway.edge.ports import Homeless, Ruling
from routing_rules.facts import RequestFacts, ViewFacts
from routing_rules.verdicts import Elsewhere, Hairpin, Refuse, Serve, Verdict

NOTHING_SHOWN = Problem(
    code=Code.RESIDENCY_REFUSED, detail="what this person shows, if anything, does not leave for where you are"
)
_NOBODY = no(Code.NOT_FOUND, "nobody with a home has this id")
_ONLY_READ = no(Code.METHOD_NOT_ALLOWED, "what somebody shows is read, by GET")


def judge_view(facts: Gathered, reader: Placement, ruling: Ruling, region: RegionId) -> Outcome:
    """`reader`: the placement of whoever asks."""
    if facts.verb is not Verb.READ:
        return _ONLY_READ
    code = refusal(reader.state, Verb.READ)
    if code is not None:
        return Refused(
            problem=Problem(code=code, detail=f"the placement is {reader.state}", retry_after_s=RETRY_AFTER_S)
        )
    match facts.viewed:
        case None | Homeless.UNKNOWN:
            return UNKNOWN_HOME
        case Homeless.NONE:
            return _NOBODY
        case Placement() as viewed:
            return _read(facts, reader, viewed, ruling, region)
        case _:
            assert_never(facts.viewed)


def _read(facts: Gathered, reader: Placement, viewed: Placement, ruling: Ruling, region: RegionId) -> Outcome:
    asked = RequestFacts(
        service=RECORDS,
        verb=Verb.READ,
        ingress=facts.ingress or region,
        cell=reader.cell,
        subject=reader.facts.subject,
        services=reader.services,
    )
    verdict = ruling.view(ViewFacts(reader=asked, to=viewed.cell))
    match verdict:
        case Elsewhere() | Refuse():
            refused = _turned_away(verdict, ruling.decide(asked), reader)
            # Of a reader from elsewhere nothing is kept here: the region that sent them on decided the same.
            return refused if facts.ingress is None else msgspec.structs.replace(refused, recorded=False)
        case Hairpin() if facts.ingress is None:
            return CONTRADICTION if verdict.region == region else Carried(verdict, reader.subject_id)
        case Hairpin() | Serve():
            if verdict.region != region or isinstance(verdict, Serve) != (facts.ingress is None):
                return CONTRADICTION
            return _at_home(reader, viewed, ruling, region)
        case _:
            assert_never(verdict)


def _turned_away(verdict: Elsewhere | Refuse, own: Verdict, reader: Placement) -> Refused:
    """What lies in the reader's own home is told with its ground; that the way to the other's is closed is told without."""
    refused = denied(verdict, reader.subject_id)
    told = isinstance(verdict, Elsewhere) or isinstance(own, Refuse)
    return refused if told else msgspec.structs.replace(refused, problem=NOTHING_SHOWN)


def _at_home(reader: Placement, viewed: Placement, ruling: Ruling, region: RegionId) -> Admitted | Refused:
    """In the region of whoever is read: their cell is asked, if it might serve them."""
    if viewed.state in (State.MOVED, State.ERASED):
        return _NOBODY
    code = refusal(viewed.state, Verb.READ)
    if code is not None:
        return Refused(problem=Problem(code=code, detail="the home is not settled yet", retry_after_s=RETRY_AFTER_S))
    verdict = ruling.decide(
        RequestFacts(
            service=VIEWS,
            verb=Verb.READ,
            ingress=region,
            cell=viewed.cell,
            subject=viewed.facts.subject,
            services=viewed.services,
        )
    )
    hosts = ruling.hosts(VIEWS, viewed.cell)
    if not isinstance(verdict, Serve) or not hosts:
        return Refused(
            problem=NOTHING_SHOWN,
            recorded=True,
            subject=viewed.subject_id,
            digest=verdict.digest,
            ground=verdict.ground,
            actor=ActorId(f"cell:{reader.cell}"),
        )
    return Admitted(
        cell=viewed.cell,
        service=VIEWS,
        hosts=hosts,
        verb=Verb.READ,
        purpose=verdict.purpose,
        subject=viewed.subject_id,
        epoch=viewed.epoch,
        digest=verdict.digest,
        viewer=reader.subject_id,
    )
