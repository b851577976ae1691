"""What the gateway records of single requests: residency's refusals, accesses by acting services, hops that were not taken."""

from directory.placement.core import Placement
from foundation.clock import Clock
from foundation.decision_header import new_decision_id
from foundation.ledger.port import Event, Kind
from foundation.problems import Code
from foundation.words import ActorId, Country, RegionId
from gateway.edge.events import Recorder
from gateway.edge.outcome import Admitted, Carried, Gathered, Refused
from gateway.edge.request import Request
from gateway.identity.address import Address, Network, client_address
from gateway.identity.country import Countries


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
    ) -> None:
        self.recorder = recorder
        self._countries = countries
        self._proxies = proxies
        self._region = region
        self._clock = clock

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

    def access(self, request: Request, admitted: Admitted, actor: ActorId) -> bool:
        """A service's access for a subject; False when it cannot be remembered, and then it must not happen."""
        details = {
            "purpose": admitted.purpose,
            "rules": admitted.digest,
            "cell": admitted.cell,
            "epoch": admitted.epoch,
            **self._of(request),
        }
        return self.recorder.add(self._event(Kind.ACCESS, actor, admitted.subject, details))

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
            id=new_decision_id(), at=self._clock.unix_s(), kind=kind, actor=actor, subject_id=subject, details=details
        )
