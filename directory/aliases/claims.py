"""Claims as use cases: each change is one transaction over subject, claim, keys, history, outbox and, last, the feed."""

from directory.aliases import store
from directory.aliases.answers import ClaimAnswer, ClaimRequest
from directory.aliases.core import Action, Claim, ClaimState, Request, Step, Unchanged, outcome
from directory.database import session, transaction
from directory.feed import store as feed
from directory.placement.core import KeysChange, Placement, State
from foundation.clock import Clock
from foundation.ledger.outbox import PostgresOutbox
from foundation.ledger.port import Event, Kind
from foundation.postgres import Connection, Pool
from foundation.problems import Code, Problem
from foundation.words import FeedSeq, LookupKey, SubjectId

EXPIRY_ACTOR = "service:directory"
TRIES_MAX = 3
_LIVING = (State.ACTIVE, State.FROZEN)
_BORN = (*_LIVING, State.RESERVED)


class _RollBack(Exception):
    """Leaves a transaction without its effects, with the refusal to give."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code.value)
        self.problem = problem


class _OtherSubject(Exception):
    """The claim's subject is not the one that was locked: begin again."""


class Claims:
    """The writer of claims."""

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._outbox = PostgresOutbox("directory")

    async def claim(self, asked: ClaimRequest, *, actor: str) -> ClaimAnswer | Problem:
        """Takes all keys or none. A repeat gets the claim as it stands. Raises DatabaseUnavailable."""
        try:
            async with transaction(self._pool) as tx:
                return await self._claim(tx, asked, actor=actor)
        except _RollBack as stop:
            return stop.problem

    async def _claim(self, tx: Connection, asked: ClaimRequest, *, actor: str) -> ClaimAnswer | Problem:
        if asked.subject_id is not None:
            placement = await store.lock_subject(tx, SubjectId(asked.subject_id))
            refused = _not_at_home(placement, asked.cell, _LIVING)
            if refused is not None:
                return refused
        claim = await store.add(tx, asked, actor=actor)
        if claim is None:
            return await self._repeated(tx, asked)
        taken = await store.take(tx, asked)
        if taken:
            raise _RollBack(key_taken(taken))
        await self._record(tx, claim, None, actor=actor, reason=asked.reason, number=1)
        return ClaimAnswer(as_of=await feed.head(tx), claim=claim)

    async def _repeated(self, tx: Connection, asked: ClaimRequest) -> ClaimAnswer | Problem:
        found = await store.read(tx, asked.claim_id)
        if found is None or found[1] != store.digest(asked):
            return Problem(
                code=Code.IDEMPOTENCY_MISMATCH, detail="this claim id was used for another claim; take a new one"
            )
        return ClaimAnswer(as_of=await feed.head(tx), claim=found[0])

    async def settle(self, claim_id: str, request: Request, *, actor: str, reason: str) -> ClaimAnswer | Problem:
        """Confirms or releases. Raises DatabaseUnavailable."""
        for _ in range(TRIES_MAX):
            async with session(self._pool) as connection:
                found = await store.read(connection, claim_id)
            of = None if found is None else found[0].subject_id or request.subject_id
            try:
                async with transaction(self._pool) as tx:
                    return await self._settle(tx, claim_id, of, request, actor=actor, reason=reason)
            except _OtherSubject:
                continue
        return Problem(code=Code.NOT_READY, detail="the claim changes just now; repeat the request", retry_after_s=1)

    async def _settle(
        self, tx: Connection, claim_id: str, of: SubjectId | None, request: Request, *, actor: str, reason: str
    ) -> ClaimAnswer | Problem:
        """`of`: whose keys change; the subject is locked before the claim, as everywhere."""
        placement = None if of is None else await store.lock_subject(tx, of)
        claim = await store.lock(tx, claim_id)
        if claim is not None and (claim.subject_id or request.subject_id) != of:
            raise _OtherSubject
        decided = outcome(claim, request)
        if isinstance(decided, Problem):
            return decided
        if claim is None:
            raise RuntimeError("a claim that is not there may not be settled")
        if isinstance(decided, Unchanged):
            return ClaimAnswer(as_of=await feed.head(tx), claim=claim)
        if decided.state is ClaimState.CONFIRMED:
            refused = _not_at_home(placement, claim.cell, _BORN)
            if refused is not None:
                return refused
        return await self._step(tx, claim, decided, placement, actor=actor, reason=reason)

    async def expire_one(self) -> ClaimAnswer | None:
        """Leaves the claim whose lease ran out first unresolved; None when none has. Raises DatabaseUnavailable."""
        async with transaction(self._pool) as tx:
            claim = await store.lock_expired(tx)
            if claim is None:
                return None
            decided = outcome(claim, Request(action=Action.EXPIRE))
            if not isinstance(decided, Step):
                raise RuntimeError("a lease that ran out cannot run out")
            return await self._step(tx, claim, decided, None, actor=EXPIRY_ACTOR, reason="its lease ran out")

    async def _step(
        self, tx: Connection, before: Claim, to: Step, placement: Placement | None, *, actor: str, reason: str
    ) -> ClaimAnswer:
        claim, keys, number = await store.step(tx, before, to, actor=actor, reason=reason)
        await self._record(tx, claim, before.state, actor=actor, reason=reason, number=number)
        return ClaimAnswer(as_of=await _told(tx, before, claim, keys, placement), claim=claim)

    async def _record(
        self, tx: Connection, claim: Claim, before: ClaimState | None, *, actor: str, reason: str, number: int
    ) -> None:
        details = {
            "claim": claim.claim_id,
            "cell": claim.cell,
            "kinds": list(claim.kinds),
            "from": None if before is None else before.value,
            "to": claim.state.value,
            "reason": reason,
        }
        event = Event(
            id=f"alias/{claim.claim_id}/{number}",
            at=self._clock.unix_s(),
            kind=Kind.ALIAS,
            actor=actor,
            subject_id=claim.subject_id,
            details=details,
        )
        await self._outbox.append(tx, event)


def key_taken(kinds: tuple[str, ...]) -> Problem:
    return Problem(
        code=Code.KEY_TAKEN,
        detail="an identifier of this request is another person's, or claimed for one just now",
        extra={"kinds": list(kinds)},
    )


def _not_at_home(placement: Placement | None, cell: str, states: tuple[State, ...]) -> Problem | None:
    """None when the subject lives in the claiming cell. One of another cell is refused in the same words as nobody."""
    if placement is None or placement.cell != cell:
        return Problem(code=Code.NOT_FOUND, detail="no subject of this cell has this id")
    if placement.state not in states:
        return Problem(
            code=Code.CONFLICT,
            detail=f"no alias is claimed while the subject is {placement.state.value}",
            extra={"state": placement.state.value},
        )
    return None


async def _told(
    tx: Connection, before: Claim, claim: Claim, keys: tuple[LookupKey, ...], placement: Placement | None
) -> FeedSeq:
    """The feed event by which caches follow a step; what was claimed and given back was never to be seen."""
    match claim.state:
        case ClaimState.CONFIRMED if placement is not None:
            seq = await feed.append_placement(tx, placement, keys_added=keys)
        case ClaimState.RELEASED if before.state is ClaimState.CONFIRMED and placement is not None:
            seq = await feed.append_placement(tx, placement, keys_removed=keys)
        case ClaimState.UNRESOLVED:
            seq = await feed.append_keys(tx, KeysChange.UNRESOLVED, keys)
        case ClaimState.RELEASED if before.state is ClaimState.UNRESOLVED:
            seq = await feed.append_keys(tx, KeysChange.FREED, keys)
        case ClaimState.RELEASED:
            return await feed.head(tx)
        case _:
            raise RuntimeError("a claim was confirmed for nobody")
    if seq is None:
        raise RuntimeError("the feed's counter row is missing")
    return seq
