"""Sign-ups that race for the same addresses through two real cell services: one wins, and every other is told before anything is kept."""

import asyncio
import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.aliases import store
from cells.aliases.claims import Aliases, claim_id_of
from cells.aliases.store import Alias, State
from cells.shards.shard import Shard
from deploy.local.postgres import PostgresServer
from directory.aliases.answers import LEASE_S, ClaimAnswer
from foundation.decision import Decision
from foundation.identifiers import Identifier
from foundation.words import CellId, SubjectId, mint_subject_id
from tests.stands.two_cells import TwoCells, Written, two_cells, written

pytestmark = pytest.mark.anyio

ADDRESSES = 40
TRIES = 25
"""Of each address in each cell."""
AT_ONCE = 24
US = CellId("us-va")


class Told(msgspec.Struct, frozen=True):
    """What a sign-up was answered in the end. `kept`: whether its alias stood on a shard of its cell when that was a refusal."""

    cell: CellId
    email: str
    status: int
    code: str | None
    subject_id: str | None
    kept: bool


async def race(both: TwoCells, *, addresses: int = ADDRESSES, tries: int = TRIES) -> list[Told]:
    """Each address is wanted by `tries` people of each cell, all at the same time as far as `AT_ONCE` goes."""
    places = asyncio.Semaphore(AT_ONCE)

    async def attempt(cell: CellId, address: int, number: int) -> Told:
        async with places:
            return await _attempt(both, cell, f"a{address}@example.org", f"{cell}-{address}-{number}")

    wanted = [(cell, address, number) for address in range(addresses) for number in range(tries) for cell in both.cells]
    return list(await asyncio.gather(*(attempt(*one) for one in wanted)))


async def _attempt(both: TwoCells, cell: CellId, email: str, name: str) -> Told:
    headers = both.signing_up(cell, name)
    answer = await both.sign_up(cell, headers, email)
    document: dict[str, Any] = answer.json()
    kept = False
    if answer.status_code != 201:
        shard = both.cells[cell].cell.context.event_shard()  # where a sign-up writes down what it wants
        kept = await store.read(shard, claim_id_of(_decision(headers).id, 0)) is not None
    return Told(cell, email, answer.status_code, document.get("code"), document.get("subject_id"), kept)


def _decision(headers: dict[str, str]) -> Decision:
    payload = headers["domicile-decision"].split(".")[2]
    return msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=Decision)


def violations(told: Sequence[Told], found: Written) -> set[str]:
    """What is wrong, by name; nothing where each address has one winner, no loser left anything behind, and directory and shards agree."""
    winners = {one.subject_id: one for one in told if one.subject_id is not None}
    losers = [one for one in told if one.subject_id is None]
    won = Counter(one.email for one in winners.values())
    answered = {
        "not one winner of an address": any(won[email] != 1 for email in {one.email for one in told}),
        "a loser was told something else": any((one.status, one.code) != (409, "key_taken") for one in losers),
        "a loser's alias stood when it was told": any(one.kept for one in losers),
    }
    wrong = answered | _on_shards(winners, found) | _in_directory(winners, found)
    return {name for name, is_so in wrong.items() if is_so}


def _on_shards(winners: dict[str, Told], found: Written) -> dict[str, bool]:
    def of_loser(cell: CellId, row: dict[str, Any]) -> bool:
        winner = winners.get(row["subject_id"])
        return winner is None or winner.cell != cell

    aliases = [(cell, row) for (cell, _), rows in found.aliases.items() for row in rows]
    fences = [(cell, row) for (cell, _), rows in found.fences.items() for row in rows]
    notes = [(cell, row) for (cell, _), rows in found.notes.items() for row in rows]
    return {
        "an alias of a loser is kept": any(of_loser(*one) or one[1]["state"] != "committed" for one in aliases),
        "a winner has not one alias": Counter(row["subject_id"] for _, row in aliases) != Counter(list(winners)),
        "a loser has a fence": any(of_loser(*one) for one in fences),
        "the product keeps something of a loser": any(of_loser(*one) for one in notes),
        "the product keeps something else": Counter(row["body"] for _, row in notes)
        != Counter(one.email for one in winners.values()),
    }


def _in_directory(winners: dict[str, Told], found: Written) -> dict[str, bool]:
    fences = {
        (row["subject_id"], cell, shard, row["epoch"], row["state"])
        for (cell, shard), rows in found.fences.items()
        for row in rows
    }
    placed = {
        (one["subject_id"], one["cell"], one["shard"], one["epoch"], one["state"]) for one in found.placed.values()
    }
    confirmed = Counter((one.cell, "confirmed") for one in winners.values())
    return {
        "somebody else than the winners is placed": found.placed.keys() != winners.keys(),
        "an address leads to somebody else than its winner": Counter(found.keys.values()) != Counter(list(winners)),
        "a claim is open, or was given to a loser": found.claims != confirmed,
        "directory and fences differ": fences != placed,
        "somebody is not active": any(one["state"] != "active" for one in found.placed.values()),
    }


@pytest.mark.timeout(400)  # seconds of work for two cores of one's own; bounded where they are shared
async def test_of_thousands_of_sign_ups_in_two_cells_one_wins_each_address_and_the_losers_leave_nothing(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_cells(postgres_server, tmp_path, monkeypatch) as both:
        told = await race(both)
        assert len(told) >= 2_000
        assert violations(told, await written(both)) == set()
        assert {one.cell for one in told if one.subject_id} == set(both.cells), "one cell won every address: no race"


@pytest.mark.timeout(400)  # as above
async def test_of_two_thousand_sign_ups_for_one_address_in_two_cells_one_wins(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_cells(postgres_server, tmp_path, monkeypatch) as both:
        told = await race(both, addresses=1, tries=1_000)
        assert (len(told), len({one.email for one in told})) == (2_000, 1)
        assert violations(told, await written(both)) == set()


class KeepsFirst(Aliases):
    """A mistake: the alias is written down as somebody's before the directory was asked."""

    async def claim(
        self, shard: Shard, claim_id: str, identifier: Identifier, *, subject: SubjectId | None, lease_s: int = LEASE_S
    ) -> tuple[Alias, ClaimAnswer]:
        kept, whose = mint_subject_id(), mint_subject_id()
        sealed = self.sealer.seal(kept, identifier)
        row = Alias(claim_id=kept, subject_id=whose, state=State.WANTED, sealed=sealed, kids=self.blinder().kids)
        await store.commit(shard, row, whose)
        return await super().claim(shard, claim_id, identifier, subject=subject, lease_s=lease_s)


async def test_a_cell_that_keeps_before_it_claims_is_caught(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_cells(postgres_server, tmp_path, monkeypatch) as both:
        both.cells[US].cell.aliases.__class__ = KeepsFirst
        told = await race(both, addresses=2, tries=5)
        assert "an alias of a loser is kept" in violations(told, await written(both))


async def test_cells_that_blind_by_different_keys_are_caught_by_two_winners(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_cells(postgres_server, tmp_path, monkeypatch, keys={US: b"x" * 32}) as both:
        told = await race(both, addresses=2, tries=5)
        assert "not one winner of an address" in violations(told, await written(both))
