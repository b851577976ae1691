"""What the routes of a cell service share, and the questions every one of them asks first."""

import msgspec
from starlette.requests import Request

from cells.service.core import service_of
from cells.service.directory import CellDirectory
from cells.shards.core import Home
from cells.shards.homes import Homes
from cells.shards.shard import Shard, unreachable
from directory.rules.client import HeldRules
from foundation.clock import Clock
from foundation.decision import Decision
from foundation.decision_header import CellVerifier, DecisionRefused, Minter
from foundation.http import ServiceAuth
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import CellId, ServiceId, ShardId, SubjectId


class Context(msgspec.Struct, kw_only=True):
    """One cell service. `shards` fills when the first rules have come."""

    cell: CellId
    clock: Clock
    auth: ServiceAuth
    verifier: CellVerifier
    minter: Minter
    rules: HeldRules
    homes: Homes
    directory: CellDirectory
    shards: dict[ShardId, Shard]

    async def product_service(self, request: Request) -> ServiceId:
        """The product service whose token the request bears. Raises ProblemError."""
        found = service_of(await self.auth.caller(request), self.cell)
        if isinstance(found, Problem):
            raise ProblemError(found)
        return found

    def known_service(self, authorization: str) -> ServiceId | None:
        """The same of such a header, where the token was verified a moment ago; None: ask. Raises ProblemError."""
        caller = self.auth.known(authorization)
        if caller is None:
            return None
        found = service_of(caller, self.cell)
        if isinstance(found, Problem):
            raise ProblemError(found)
        return found

    def decision(self, header: str | None, service: ServiceId) -> Decision:
        """The decision in a request's header, made for `service` under rules that count here. Raises ProblemError."""
        if header is None:
            raise refuse(Code.UNAUTHENTICATED, "only decided requests are served here: Domicile-Decision is missing")
        try:
            decision = self.verifier.verify(header, self.clock.unix_s(), service=service)
        except DecisionRefused as exc:
            raise refuse(Code.FORBIDDEN, f"the decision is refused: {exc.reason}", reason=exc.reason) from exc
        held = self.rules.require().digest
        if decision.rules != held and not self.rules.accepts(decision.rules, self.clock.monotonic_s()):
            raise refuse(Code.CELL_BEHIND, "decided under rules that do not hold here", retry_after_s=1)
        return decision

    def shard_of(self, home: Home) -> Shard:
        """The shard of a home. Raises ProblemError."""
        shard = self.shards.get(home.shard)
        if shard is None:
            raise unreachable(home.shard)
        return shard

    def known(self, subject: SubjectId) -> Home | None:
        """The subject's home, None when it has none here. Raises ProblemError while a shard that may know it is not up."""
        home = self.homes.get(subject)
        if home is None and (not self.shards or any(shard.up is None for shard in self.shards.values())):
            raise refuse(Code.CELL_BEHIND, "not every shard of this cell has been heard", retry_after_s=1)
        return home

    def event_shard(self) -> Shard:
        """Where events are kept that speak of no home: always the first shard, so that repeating one records it once."""
        if not self.shards:
            raise refuse(Code.NOT_READY, "no shard is known yet", retry_after_s=1)
        return self.shards[min(self.shards)]
