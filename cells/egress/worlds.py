"""The ports of a release for real: the cell's shards, the directory, the outbox."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import msgspec

from cells.egress.ports import World
from cells.egress.reading import LAST, Page, Standing, merged, page, standing
from cells.records.contracts import Contract
from cells.shards.store import OUTBOX
from directory.client.remote import HttpDirectory
from directory.placement.core import RESOLVE_BATCH_MAX, State
from directory.rules.client import verified
from foundation.clock import Clock
from foundation.ledger.notes import Signer
from foundation.ledger.port import Event
from foundation.mute import Secret
from foundation.postgres import Connection, connect
from foundation.words import CellId, ShardId, SubjectId
from routing_rules.facts import SubjectFacts
from routing_rules.release import Consent
from routing_rules.rules import Rules

RESOLVE_S_MAX = 10.0


class ShardSource:
    """Pages of one table, over one connection a shard as domicile_records."""

    def __init__(
        self,
        connections: Mapping[ShardId, Connection],
        contract: Contract,
        contracts: Mapping[str, Contract],
        purpose: str,
    ) -> None:
        self.shards: Sequence[ShardId] = tuple(connections)
        self._connections = connections
        self._contract = contract
        self._consents = [one for one in contracts.values() if one.consent is not None]
        self._elsewhere = any(one.owner != one.placed_by for one in (contract, *self._consents))
        self._purpose = purpose

    async def page(self, shard: ShardId, after: tuple[str, str], until: tuple[str, str] = LAST) -> Page:
        connection, purpose = self._connections[shard], self._purpose
        found = await page(connection, self._contract, self._consents, purpose=purpose, after=after, until=until)
        stated = zip(found.owners, found.consents, strict=True)
        here = {one: answer for one, answer in stated if one is not None and answer is not Consent.UNSAID}
        said = await self._said_elsewhere(shard, here, [one for one in dict.fromkeys(found.owners) if one is not None])
        consents = [Consent.UNSAID if one is None else said.get(one, Consent.UNSAID) for one in found.owners]
        return msgspec.structs.replace(found, consents=consents)

    async def standing(self, shard: ShardId, subjects: Sequence[SubjectId], owners: Sequence[str]) -> Standing:
        connection = self._connections[shard]
        found = await standing(connection, self._consents, subjects=subjects, owners=owners, purpose=self._purpose)
        return Standing(found.active, await self._said_elsewhere(shard, found.consents, owners))

    async def _said_elsewhere(
        self, shard: ShardId, said: Mapping[str, Consent], owners: Sequence[str]
    ) -> Mapping[str, Consent]:
        """With what they say on the cell's other shards: of an owner who is placed by themselves nothing lies where a tenant's row does,
        and what lies with a tenant may lie anywhere."""
        if not owners or not self._elsewhere:
            return said
        for connection in (one for other, one in self._connections.items() if other != shard):
            there = await standing(connection, self._consents, subjects=(), owners=owners, purpose=self._purpose)
            said = merged(said, {one: answer is Consent.GIVEN for one, answer in there.consents.items()})
        return said


class DirectoryOrigins:
    """Facts as the directory has them now, of subjects that are active in this cell."""

    def __init__(self, directory: HttpDirectory, cell: CellId) -> None:
        self._directory = directory
        self._cell = cell

    async def placed(self, subjects: Sequence[SubjectId]) -> set[SubjectId]:
        """Those who have a home, in whichever cell. Raises DirectoryUnavailable."""
        found = set[SubjectId]()
        for start in range(0, len(subjects), RESOLVE_BATCH_MAX):
            found |= (
                await self._directory.resolve_subjects(list(subjects[start : start + RESOLVE_BATCH_MAX]))
            ).found.keys()
        return found

    async def facts(self, subjects: Sequence[SubjectId]) -> dict[SubjectId, SubjectFacts]:
        """Raises DirectoryUnavailable."""
        asked = list(dict.fromkeys(subjects))
        found: dict[SubjectId, SubjectFacts] = {}
        for start in range(0, len(asked), RESOLVE_BATCH_MAX):
            answer = await self._directory.resolve_subjects(asked[start : start + RESOLVE_BATCH_MAX])
            found |= {
                subject: one.facts.subject
                for subject, one in answer.found.items()
                if one.cell == self._cell and one.state is State.ACTIVE
            }
        return found


class ShardLedger:
    """The outbox of the cell's first shard, as domicile_cell."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection

    async def record(self, event: Event) -> None:
        async with self._connection.transaction():
            await OUTBOX.append(self._connection, event)


@asynccontextmanager
async def opened(
    *,
    cell: CellId,
    contract: Contract,
    contracts: Mapping[str, Contract],
    purpose: str,
    records: Mapping[ShardId, Secret[str]],
    first: Secret[str],
    directory: HttpDirectory,
    rules: Rules,
    clock: Clock,
    signer: Signer,
    actor: str,
) -> AsyncIterator[World]:
    """`records`: DSNs of role domicile_records by shard; `first`: that of domicile_cell on the first. `rules`: those that hold when it
    begins. Raises OSError, asyncpg errors."""
    async with AsyncExitStack() as stack:
        connections: dict[ShardId, Connection] = {}
        for shard, dsn in sorted(records.items()):
            connections[shard] = await stack.enter_async_context(connect(dsn, application_name="domicile-egress"))
        ledger = await stack.enter_async_context(connect(first, application_name="domicile-egress"))
        yield World(
            source=ShardSource(connections, contract, contracts, purpose),
            origins=DirectoryOrigins(directory, cell),
            ledger=ShardLedger(ledger),
            rules=lambda: rules_of(directory, rules),
            now=clock.unix_s,
            signer=signer,
            actor=actor,
        )


async def rules_of(directory: HttpDirectory, held: Rules | None = None) -> Rules:
    """The rules that hold; `held` themselves where they still do, so that they are read and kept once.

    Raises DirectoryUnavailable, RulesRefused.
    """
    document = await directory.rules()
    return held if held is not None and document.digest == held.digest else verified(document, None)


def new_release_id() -> str:
    return f"rel-{secrets.token_hex(8)}"
