"""What the gateway records of single requests: residency's refusals, accesses, hops that were not taken."""

from collections.abc import Sequence

from directory.placement.core import Placement
from foundation.clock import Clock
from foundation.decision_header import new_decision_id
from foundation.ledger.port import Event, Kind
from foundation.problems import Code
from foundation.trace import Trace
from foundation.words import ActorId, Country, RegionId, Verb
from gateway.edge.accesses import Alike
from gateway.edge.events import Recorder
from gateway.edge.outcome import Admitted, Carried, Gathered, Refused
from gateway.edge.request import Request
from gateway.identity.address import Address, Network, client_address
from gateway.identity.country import Countries

SEEN_MAX = 4_096
"""Addresses whose country is remembered."""
FORWARDED_BYTES_MAX = 256
"""Longer chains of addresses are looked at anew each time."""
_IS_READ = Verb.READ  # a member of an enum is looked up anew each time that it is named
_READ, _WRITE = Verb.READ.value, Verb.WRITE.value


class Records:
    """One per gateway. Addresses of clients serve to find the country that they point at and are not recorded."""

    def __init__(
        self,
        recorder: Recorder,
        countries: Countries,
        proxies: tuple[Network, ...],
        *,
        region: RegionId,
        clock: Clock,
        own: bool = False,
    ) -> None:
        """`own`: a person's own requests go on record, too."""
        self.recorder = recorder
        self._add = recorder.accesses.add
        self._countries = countries
        self._proxies = proxies
        self._region = region
        self._unix_s = clock.unix_s
        self.own = own
        self._seen: dict[object, Country | None] = {}

    def refusal(self, request: Request, gathered: Gathered, refused: Refused) -> bool:
        """False when it cannot be remembered."""
        details = {
            "code": refused.problem.code.value,
            "ground": refused.ground,
            "rules": refused.digest,
            "cell": gathered.home.cell if isinstance(gathered.home, Placement) else None,
            **self._of(request),
        }
        actor = refused.actor or refused.subject or f"gateway:{self._region}"
        return self.recorder.add(self._event(Kind.REFUSAL, actor, refused.subject, details))

    def keeps(self, admitted: Admitted) -> bool:
        """Whether an access goes on record: a service's for a subject, and a subject's own where settings say so."""
        return self.own or admitted.actor is not None

    def access(self, request: Request, admitted: Admitted) -> bool:
        """An access to what is a subject's; False when it cannot be remembered, and then it must not happen. Of anonymous routes and
        sign-ups there is nothing to remember."""
        hop = request.hop
        if hop is None:
            ingress, country = self._region, self._observed(request.peer, request.fields.forwarded_for)
        else:
            ingress, country = hop.origin, hop.country
        actor = admitted.actor
        if admitted.viewer is not None:  # who reads somebody else's is named at home alone
            actor = ActorId(admitted.viewer if hop is None else f"gateway:{hop.origin}")
        return self._access(admitted, actor, request.verb, ingress, country, request.trace)

    def own_access(self, admitted: Admitted, peer: str, forwarded_for: Sequence[bytes], trace: Trace) -> bool:
        """The same of a subject's own request that nobody carried here."""
        country = self._observed(peer, forwarded_for)
        return self._access(admitted, None, admitted.verb, self._region, country, trace)

    def _access(
        self,
        admitted: Admitted,
        actor: ActorId | None,
        verb: Verb,
        ingress: RegionId,
        country: Country | None,
        trace: Trace,
    ) -> bool:
        subject, epoch = admitted.subject, admitted.epoch
        if subject is None or epoch is None:
            return True
        alike: Alike = (
            actor,
            admitted.service,
            _READ if verb is _IS_READ else _WRITE,
            admitted.purpose,
            admitted.digest,
            admitted.cell,
            self._region,
            ingress,
            country,
        )
        return self._add(alike, int(self._unix_s() * 1_000_000), subject, epoch, trace.trace_id)

    def asked_abroad(self, request: Request, carried: Carried) -> bool:
        """A person of this region asks another region for what somebody shows: whose it is, that region knows by the trace. False when it
        cannot be remembered, and then it must not happen."""
        verdict = carried.verdict
        details = {
            "purpose": verdict.purpose,
            "rules": verdict.digest,
            "cell": verdict.cell,
            "ground": verdict.ground,
            **self._of(request),
        }
        return self.recorder.add(self._event(Kind.ACCESS, carried.subject, carried.subject, details))

    def hop_refused(self, request: Request, reason: str) -> None:
        """Anybody can send a bad hop, so this never takes the room that records of known people need."""
        details = {"code": Code.FORBIDDEN.value, "ground": f"hop: {reason}", **self._of(request)}
        self.recorder.add_if_roomy(self._event(Kind.REFUSAL, f"gateway:{self._region}", None, details))

    def client_of(self, request: Request) -> Address | None:
        return client_address(request.peer, request.fields.forwarded_for, self._proxies)

    def country_of(self, address: Address | None) -> Country | None:
        return None if address is None else self._countries.of(address)

    def _observed(self, peer: str, forwarded: Sequence[bytes]) -> Country | None:
        """Remembered for a while: most requests come by addresses that others came by."""
        whence: object = peer
        if forwarded:
            if sum(map(len, forwarded)) > FORWARDED_BYTES_MAX:  # anybody may send it, and as much as a head holds
                return self.country_of(client_address(peer, forwarded, self._proxies))
            whence = (peer, *forwarded)
        try:
            return self._seen[whence]
        except KeyError:
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            found = self._seen[whence] = self.country_of(client_address(peer, forwarded, self._proxies))
            return found

    def _of(self, request: Request) -> dict[str, object]:
        hop = request.hop
        return {
            "service": request.target.service,
            "verb": request.verb.value,
            "region": self._region,
            "ingress": self._region if hop is None else hop.origin,
            "observed_country": self.country_of(self.client_of(request)) if hop is None else hop.country,
            "trace_id": request.trace.trace_id,
        }

    def _event(self, kind: Kind, actor: str, subject: str | None, details: dict[str, object]) -> Event:
        return Event(
            id=new_decision_id(), at=self._unix_s(), kind=kind, actor=actor, subject_id=subject, details=details
        )
