"""Claims as this cell makes them: written down, claimed, committed here, confirmed there; in this order, so that a fault between any two
leaves what settles it (`cells.aliases.worker`)."""

import hashlib
import uuid
from collections.abc import Callable, Mapping

import msgspec

from cells.aliases import store
from cells.aliases.client import AliasDirectory
from cells.aliases.sealing import Sealer
from cells.aliases.store import Alias, State
from cells.shards.shard import Shard
from directory.aliases.answers import LEASE_S, ClaimAnswer, ClaimRequest, SettleRequest
from directory.client.remote import DirectoryUnavailable
from directory.placement.answers import ClaimedKey
from foundation.blinding import Blinder
from foundation.identifiers import Identifier
from foundation.problems import Code, Problem, ProblemError, refuse
from foundation.words import CellId, ShardId, SubjectId

_GONE = (Code.NOT_FOUND, Code.SUBJECT_GONE)


class Aliases:
    """Of one cell. `blinder` is of the live blinding keys, None where this cell holds none."""

    def __init__(
        self,
        *,
        cell: CellId,
        directory: AliasDirectory,
        blinder: Callable[[], Blinder | None],
        sealer: Sealer,
        shards: Mapping[ShardId, Shard],
    ) -> None:
        self.cell = cell
        self.directory = directory
        self.sealer = sealer
        self.shards = shards
        self._blinder = blinder

    def blinder(self) -> Blinder:
        """Raises ProblemError."""
        found = self._blinder()
        if found is None:
            raise refuse(Code.NOT_READY, "this cell holds no blinding key; name a blinding_keyring in its settings")
        return found

    async def claim(
        self, shard: Shard, claim_id: str, identifier: Identifier, *, subject: SubjectId | None, lease_s: int = LEASE_S
    ) -> tuple[Alias, ClaimAnswer]:
        """Raises ProblemError; after `key_taken` nothing is kept."""
        blinder = self.blinder()
        sealed = self.sealer.seal(claim_id, identifier)
        alias = Alias(claim_id=claim_id, subject_id=subject, state=State.WANTED, sealed=sealed, kids=blinder.kids)
        await store.want(shard, alias)
        kind = identifier.kind.value
        keys = zip(blinder.alias(identifier), blinder.kids, strict=True)
        asked = ClaimRequest(
            claim_id=claim_id,
            cell=self.cell,
            keys=tuple(ClaimedKey(kind=kind, key=key, kid=kid) for key, kid in keys),
            reason="claimed by the cell",
            subject_id=subject,
            lease_s=lease_s,
        )
        try:
            answer = await self.directory.claim(asked)
        except DirectoryUnavailable as exc:
            raise refuse(Code.HOME_UNKNOWN, "the directory cannot be asked just now", retry_after_s=1) from exc
        if isinstance(answer, Problem):
            if answer.code is not Code.IDEMPOTENCY_MISMATCH:  # then the row is another claim's
                await store.forget(shard, claim_id)
            raise ProblemError(answer)
        return alias, answer

    async def confirm(self, shard: Shard, alias: Alias, subject: SubjectId) -> ClaimAnswer:
        """Committed here first: from then on it will be confirmed. Raises ProblemError."""
        await store.commit(shard, alias, subject)
        asked = SettleRequest(claim_id=alias.claim_id, reason="control proven", subject_id=subject)
        try:
            answer = await self.directory.confirm(asked)
        except DirectoryUnavailable as exc:
            raise refuse(
                Code.HOME_UNKNOWN,
                "committed here; the directory hears of it when it can be asked again",
                retry_after_s=1,
            ) from exc
        if isinstance(answer, Problem):
            if answer.code in (*_GONE, Code.CONFLICT):
                await store.forget(shard, alias.claim_id)
            raise ProblemError(answer)
        return answer

    async def release(self, shard: Shard, claim_id: str, *, reason: str) -> None:
        """Not wanted here first, then given back. Raises ProblemError, DirectoryUnavailable: then the worker goes on."""
        await store.unwant(shard, claim_id)
        answer = await self.directory.release(SettleRequest(claim_id=claim_id, reason=reason))
        if isinstance(answer, Problem) and answer.code not in _GONE:
            raise ProblemError(answer)
        await store.forget(shard, claim_id)


def claim_id_of(decision: str, number: int) -> str:
    """The claim of the `number`th alias of a sign-up: the same for a repeat of the same decision. Pure."""
    digest = hashlib.blake2b(msgspec.json.encode([decision, number]), digest_size=16, person=b"domicile-claim").digest()
    return str(uuid.UUID(bytes=digest))
