"""Sign-in hints while the directory comes and goes: what happens to an answer says nothing of whom it is about."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import msgspec
import pytest

from deploy.local.valkey import ValkeyServer
from foundation.mute import Secret
from foundation.words import mint_subject_id
from tests.stands.blind_gateway import ONE, Stand, gateway
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

EACH = 8
"""Members and strangers whom the gateway knows from before, and as many whom it never was asked about."""
OUTAGES = 2
OFTEN = 60_000


class Asked(msgspec.Struct, frozen=True):
    member: bool
    before: bool
    """Asked about before the first outage."""
    email: str


ALL = [
    Asked(member, before, f"{'m' if member else 's'}{'k' if before else 'u'}{n}@example.org")
    for member in (True, False)
    for before in (True, False)
    for n in range(EACH)
]


class Observer:
    """Asks, and remembers what each address was told."""

    def __init__(self, stand: Stand) -> None:
        self._stand = stand
        self.told: dict[str, set[bytes]] = {one.email: set() for one in ALL}
        self.answered: Counter[str] = Counter()
        self.forms: set[tuple[object, ...]] = set()
        """Of refusals: all that can be seen of one."""

    async def look(self, whom: Sequence[Asked] = ALL) -> set[int]:
        answers = await asyncio.gather(*(self._stand.hint(one.email) for one in whom))
        for one, answer in zip(whom, answers, strict=True):
            if answer.status_code == 200:
                self.told[one.email].add(answer.content)
                self.answered[one.email] += 1
            else:
                self.forms.add(_form(answer))
        return {answer.status_code for answer in answers}

    async def served(self, whom: Sequence[Asked] = ALL) -> None:
        """Asks until each of them was told something: on a busy machine some questions take too long."""
        before = {one.email: self.answered[one.email] for one in whom}

        async def check() -> bool:
            left = [one for one in whom if self.answered[one.email] == before[one.email]]
            await self.look(left)
            return not left

        await eventually(check, s_max=60)


def _form(answer: httpx.Response) -> tuple[object, ...]:
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "traceparent")}
    return answer.status_code, answer.json()["code"], tuple(sorted(headers.items())), len(answer.content)


async def test_no_answer_ever_changes_and_while_the_directory_is_gone_nobody_gets_one(
    database: Secret[str], tmp_path: Path, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Decoys stay while the shares do: the new ones are not asked for meanwhile.
    monkeypatch.setattr("gateway.hints.population.EVERY_S", 3_600.0)
    limits = {"per_key_minute": OFTEN, "per_address_minute": OFTEN}
    async with gateway(database, tmp_path, valkey_server, **limits) as stand:
        for number, one in enumerate(one for one in ALL if one.member):
            await stand.settle(one.email, one.email, ("DE", "US")[number % 2])
        known = [one for one in ALL if one.before]
        observer = Observer(stand)
        await observer.served(known)
        for _ in range(OUTAGES):
            await stand.wire.cut()
            assert await observer.look() == {503}  # the very first to ask, too
            assert await observer.look(known) == {503}
            async with asyncio.TaskGroup() as group:
                flickering = group.create_task(_flicker(stand))
                while not flickering.done():
                    await observer.look()
            await observer.served()
        assert {len(contents) for contents in observer.told.values()} == {1}
        assert len(observer.forms) == 1
        homes = {one: observer.told[one.email] for one in ALL if one.member}
        regions = [b"us" in content for one in homes for content in homes[one]]
        assert regions == [number % 2 == 1 for number in range(len(homes))]
        assert len({content for one in ALL if not one.member for content in observer.told[one.email]}) == 2


async def _flicker(stand: Stand) -> None:
    """There, gone again while questions are under way, and there."""
    for _ in range(3):
        await stand.wire.mend()
        assert (await stand.hint("somebody@example.org")).status_code in (200, 503)
        await stand.wire.cut()
    await stand.wire.mend()


async def test_an_address_that_is_claimed_and_not_settled_is_a_strangers(
    database: Secret[str], tmp_path: Path, valkey_server: ValkeyServer
) -> None:
    async with gateway(database, tmp_path, valkey_server, per_key_minute=OFTEN, per_address_minute=OFTEN) as stand:
        told: set[bytes] = set()

        async def hinted() -> bool:
            answer = await stand.hint("soon@example.org")
            told.update([answer.content] * (answer.status_code == 200))
            return answer.status_code == 200

        await eventually(hinted, s_max=60)
        keys = [{"kind": "email", "key": ONE.email("soon@example.org")[0], "kid": "k1"}]
        claim = {"claim_id": str(mint_subject_id()), "cell": "eu-de", "keys": keys, "reason": "test", "lease_s": 1}
        assert (await stand.calls.cell.post("/v1/aliases/claim", claim)).status_code == 201
        await eventually(hinted, s_max=60)

        async def unresolved() -> bool:
            found = await stand.calls.operator.get(f"/v1/aliases/claims/{claim['claim_id']}")
            return bool(found.json()["claim"]["state"] == "unresolved")

        await eventually(unresolved, s_max=60)
        await eventually(hinted, s_max=60)
        assert len(told) == 1
