"""Settles claims that a fault left open, by what stands in this cell's own rows, and adds keys under new blinding keys."""

import asyncio

from prometheus_client import Counter, Gauge

from cells.aliases import store
from cells.aliases.claims import Aliases
from cells.aliases.store import Alias, State
from cells.shards.shard import Shard
from directory.aliases.answers import LEASE_S_MAX, SettleRequest, TwinKey, Twins
from directory.aliases.core import Claim
from directory.client.remote import DirectoryUnavailable
from foundation import logs
from foundation.blinding import Blinder
from foundation.problems import Code, Problem, ProblemError
from foundation.tasks import Backoff

log = logs.get(__name__)

EVERY_S = 5.0
BATCH = 100
SETTLED = Counter("domicile_cell_claims_settled_total", "Claims settled after a fault", ["outcome"])
UNKNOWN_CLAIMS = Gauge(
    "domicile_cell_claims_unknown", "Unresolved claims of which no shard knows; an operator releases them"
)
BLINDED = Counter("domicile_cell_aliases_blinded_total", "Aliases told under a new blinding key", ["outcome"])


async def keep(aliases: Aliases, *, every_s: float = EVERY_S) -> None:
    """Runs for the process's life. Absences are waited out; anything else raises, which ends the process."""
    backoff = Backoff(first_s=every_s, max_s=max(every_s, 30.0))
    while True:
        wait_s = every_s
        try:
            await settle(aliases)
            await blind_anew(aliases)
            backoff.reset()
        except (DirectoryUnavailable, ProblemError) as exc:
            wait_s = backoff.next_s()
            log.warning("aliases_postponed", error=str(exc), wait_s=wait_s)
        await asyncio.sleep(wait_s)


async def settle(aliases: Aliases) -> None:
    """Every unresolved claim that all shards could be asked about. Raises DirectoryUnavailable, ProblemError."""
    if not aliases.shards or any(shard.up is None for shard in aliases.shards.values()):
        return
    cursor, unknown = None, 0
    while True:
        page = await aliases.directory.unresolved(aliases.cell, cursor)
        for claim in page.claims:
            unknown += not await _settled(aliases, claim)
        if page.next is None:
            break
        cursor = page.next
    UNKNOWN_CLAIMS.set(unknown)
    for shard in aliases.shards.values():
        for alias in await store.left(shard, older_s=2 * LEASE_S_MAX, limit=BATCH):
            await _given_up(aliases, shard, alias)


async def _settled(aliases: Aliases, claim: Claim) -> bool:
    """By the row that says committed, else by the one that says it is not; False where there is none: that decides nothing."""
    rows = [(shard, await store.read(shard, claim.claim_id)) for shard in aliases.shards.values()]
    found = [(shard, row) for shard, row in rows if row is not None]
    committed = next((row for _, row in found if row.state is State.COMMITTED), None)
    if committed is not None:
        asked = SettleRequest(
            claim_id=claim.claim_id, reason="committed before its lease ran out", subject_id=committed.subject_id
        )
        answer = await aliases.directory.confirm(asked)
        if isinstance(answer, Problem) and answer.code is not Code.CONFLICT:
            raise ProblemError(answer)
        SETTLED.labels("confirmed").inc()
        log.warning("claim_settled", claim=claim.claim_id, state="confirmed")
        return True
    for shard, _ in found:
        await aliases.release(shard, claim.claim_id, reason="not committed")
        SETTLED.labels("released").inc()
        log.warning("claim_settled", claim=claim.claim_id, state="released")
    return bool(found)


async def _given_up(aliases: Aliases, shard: Shard, alias: Alias) -> None:
    """A wish, older than any lease. Where another shard has it committed, the row is what a sign-up left behind."""
    elsewhere = [one for one in aliases.shards.values() if one is not shard]
    rows = [await store.read(one, alias.claim_id) for one in elsewhere]
    if any(row is not None and row.state is State.COMMITTED for row in rows):
        await store.forget(shard, alias.claim_id)
    else:
        await aliases.release(shard, alias.claim_id, reason="not committed")


async def blind_anew(aliases: Aliases) -> None:
    """Raises DirectoryUnavailable, ProblemError."""
    try:
        blinder = aliases.blinder()
    except ProblemError:
        return
    for shard in list(aliases.shards.values()):
        after = store.FIRST
        while shard.up is not None:
            batch = await store.behind(shard, blinder.kids, after=after, limit=BATCH)
            for alias in batch:
                await _blinded(aliases, shard, alias, blinder)
            if len(batch) < BATCH:
                break
            after = batch[-1].claim_id


async def _blinded(aliases: Aliases, shard: Shard, alias: Alias, blinder: Blinder) -> None:
    """A live key that the directory has leads to the others."""
    identifier = aliases.sealer.open(alias.claim_id, alias.sealed)
    common = next((kid for kid in blinder.kids if kid in alias.kids), None)
    if identifier is None or common is None:
        BLINDED.labels("impossible").inc()
        return
    keys = dict(zip(blinder.kids, blinder.alias(identifier), strict=True))
    new = tuple(TwinKey(kid=kid, key=key) for kid, key in keys.items() if kid not in alias.kids)
    answer = await aliases.directory.twins((Twins(known=keys[common], keys=new),))
    if isinstance(answer, Problem):
        raise ProblemError(answer)
    if answer.refused:  # a claim that is being settled, or of somebody who is gone: looked at again next time
        BLINDED.labels("refused").inc()
        return
    await store.known(shard, alias.claim_id, blinder.kids)
    BLINDED.labels("added").inc()
