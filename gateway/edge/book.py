"""The rules that hold here: verdicts remembered by their few facts, admissions by person, decision headers signed for the region's
cells."""

import datetime
from typing import Final

import msgspec

from directory.placement.core import Placement
from directory.registry.client import HeldRegistry
from directory.registry.core import addresses, takes
from foundation.clock import Clock
from foundation.decision import Decision, RootKey
from foundation.decision_header import Minter, cell_root, claims_of, new_decision_id
from foundation.mute import Secret
from foundation.words import VIEWS, ActorId, CellId, FeedSeq, RegionId, ServiceId, SubjectId, Verb
from gateway.edge.answers import stated
from gateway.edge.outcome import Admitted
from gateway.edge.target import CONTROL_PATHS, ORDINARY, Target
from routing_rules.decide import decide
from routing_rules.facts import PlaceFacts, RequestFacts, ViewFacts
from routing_rules.place import place
from routing_rules.rules import Rules
from routing_rules.verdicts import Allowed, NoCell, Verdict
from routing_rules.views import view

VERDICTS_MAX = 16_384
KEPT_MAX = 32_768
"""Admissions kept, of some 900 bytes each."""
CUT_FROM_S = 1.0
"""Decisions that live as long may expire a tenth of a second earlier, which is what writing their expiry out for many takes."""
_SECONDS_A_DAY: Final = 86_400
_EPOCH_DAY: Final = datetime.date(1970, 1, 1).toordinal()


class Book:
    """One set of rules, in force from feed position `seq`. A new set is a new book, so nothing remembered outlives its rules."""

    def __init__(
        self,
        rules: Rules,
        seq: FeedSeq,
        *,
        region: RegionId,
        root: tuple[str, Secret[bytes]],
        clock: Clock,
        registry: HeldRegistry | None = None,
    ) -> None:
        """`root`: (kid, key) of the region's current root key. `registry`: what operators choose within policy, None: nothing."""
        self.rules = rules
        self.policy = rules.policy
        self.seq = seq
        self._unix_s = clock.unix_s
        self._decision_s = rules.policy.product.decision_s
        self._day = 0
        self._day_begins = self._day_ends = 0.0
        self._date = datetime.date(1970, 1, 1)
        self._verdicts: dict[RequestFacts, Verdict] = {}
        self._views: dict[ViewFacts, Verdict] = {}
        self._placings: dict[PlaceFacts, Allowed | NoCell] = {}
        self._registry = registry or HeldRegistry()
        self._hosts_as_of = self._registry.current
        self._hosts: dict[tuple[ServiceId, CellId], tuple[str, ...]] = {}
        kid, key = root
        self._kept: dict[tuple[SubjectId, ServiceId, Verb], tuple[Placement, Admitted]] = {}
        self._ordinary = {
            service.encode("ascii"): (
                Target(service, ORDINARY),
                CONTROL_PATHS.union(path.encode("latin-1") for path in (*stated.anonymous, *stated.signup)),
            )
            for service, stated in rules.policy.services.items()
            if service != VIEWS
        }
        self._minters = {
            cell: Minter(cell, RootKey(kid, Secret(cell_root(key.reveal(), cell))))
            for cell, stated in rules.policy.cells.items()
            if stated.region == region
        }

    def decide(self, facts: RequestFacts) -> Verdict:
        """`routing_rules.decide` as of today (UTC); remembered until the day ends, which covers every `valid_until`."""
        self._turn()
        verdict = self._verdicts.get(facts)
        if verdict is None:
            verdict = decide(facts, self.rules, self._date)
            if len(self._verdicts) >= VERDICTS_MAX:
                self._verdicts.clear()
            self._verdicts[facts] = verdict
        return verdict

    def view(self, facts: ViewFacts) -> Verdict:
        """`routing_rules.view` as of today (UTC), remembered likewise."""
        self._turn()
        verdict = self._views.get(facts)
        if verdict is None:
            verdict = view(facts, self.rules, self._date)
            if len(self._views) >= VERDICTS_MAX:
                self._views.clear()
            self._views[facts] = verdict
        return verdict

    def ordinary(self, service: bytes, path: bytes) -> Target | None:
        """The target of a plain `path` (`gateway.edge.familiar`) whose first segment is `service`; None: `target_of` says what it is."""
        known = self._ordinary.get(service)
        return None if known is None or path in known[1] else known[0]

    def again(self, placement: Placement, service: ServiceId, verb: Verb) -> Admitted | None:
        """The admission of somebody's own request at home, if it was given before and nothing that it rests on has changed: placement,
        rules, day, and what the registry chose."""
        unix_s = self._unix_s
        if not self._day_begins <= unix_s() < self._day_ends:
            self._turn()
        if self._hosts_as_of is not self._registry.current:
            self._follow()
        kept = self._kept.get((placement.subject_id, service, verb))
        if kept is None:
            return None
        as_of, admitted = kept
        return admitted if as_of is placement or as_of == placement else None

    def keep(self, placement: Placement, admitted: Admitted) -> Admitted:
        """For the next request like it; what decisions and answers say of it is written out once."""
        if len(self._kept) >= KEPT_MAX:
            self._kept.clear()
        lasts = self._decision_s >= CUT_FROM_S
        claims = claims_of(self._decision(admitted)) if lasts else b""
        told = tuple(stated(admitted))
        lines = b"".join([b"%b: %b\r\n" % line for line in told])
        kept = msgspec.structs.replace(admitted, claims=claims, told=told, told_lines=lines)
        self._kept[placement.subject_id, admitted.service, admitted.verb] = placement, kept
        return kept

    def place(self, facts: PlaceFacts) -> Allowed | NoCell:
        """`routing_rules.place` as of today (UTC), remembered likewise."""
        self._turn()
        answer = self._placings.get(facts)
        if answer is None:
            answer = place(facts, self.rules, self._date)
            if len(self._placings) >= VERDICTS_MAX:
                self._placings.clear()
            self._placings[facts] = answer
        return answer

    def hosts(self, service: ServiceId, cell: CellId) -> tuple[str, ...]:
        """What the registry chose of policy's addresses; remembered until the registry says something else."""
        self._follow()
        found = self._hosts.get((service, cell))
        if found is None:
            found = self._hosts[service, cell] = addresses(self._hosts_as_of, self.policy, service, cell)
        return found

    def takes(self, cell: CellId, service: ServiceId) -> bool:
        """Whether a new person may be placed there, as far as drains go; the directory has the last word."""
        return takes(self._registry.current, self.policy, cell, (service,))

    def _follow(self) -> None:
        if self._hosts_as_of is not self._registry.current:
            self._hosts_as_of = self._registry.current
            self._hosts.clear()
            self._kept.clear()

    def _turn(self) -> None:
        day = int(self._unix_s()) // _SECONDS_A_DAY
        if day != self._day:
            self._day = day
            self._day_begins = float(day * _SECONDS_A_DAY)
            self._day_ends = self._day_begins + _SECONDS_A_DAY
            self._date = datetime.date.fromordinal(_EPOCH_DAY + day)
            self._verdicts.clear()
            self._views.clear()
            self._placings.clear()
            self._kept.clear()

    def mint(self, admitted: Admitted) -> bytes:
        """The `Domicile-Decision` header of an admission that has a digest. Raises KeyError for a cell of another region."""
        minter = self._minters[admitted.cell]
        if admitted.claims:
            unix_s = self._unix_s
            return minter.sign(admitted.service, admitted.claims, unix_s() + self._decision_s)
        return minter.mint(self._decision(admitted)).encode("ascii")

    def _decision(self, admitted: Admitted) -> Decision:
        decision = Decision(
            cell=admitted.cell,
            service=admitted.service,
            subject=admitted.subject,
            actor=_actor(admitted),
            epoch=admitted.epoch,
            verb=admitted.verb,
            purpose=admitted.purpose,
            rules=admitted.digest or self.rules.digest,
            expires=self._unix_s() + self._decision_s,
            id=new_decision_id(),
        )
        declared = admitted.declared
        if declared is not None:
            decision = msgspec.structs.replace(
                decision,
                keys=admitted.keys,
                residence=declared.residence,
                subdivision=declared.subdivision,
                citizenships=declared.citizenships,
                observed=admitted.observed,
            )
        return decision


def _actor(admitted: Admitted) -> ActorId | None:
    """Who does it: a service that acts, a reader of somebody's view, else the subject itself; None where nobody is known."""
    person = admitted.viewer or admitted.subject
    return admitted.actor or (None if person is None else ActorId(person))
