"""The client against the real directory service on a real database."""

import asyncio
from pathlib import Path

import pytest

from directory.client.client import ClientLimits, DirectoryClient, Known
from directory.client.remote import DirectoryUnavailable, HttpDirectory
from directory.client.table import ABSENT
from directory.feed.client import FeedFollower
from directory.placement.core import State
from foundation.clock import SystemClock
from foundation.http import client as http_client
from foundation.mute import Secret
from tests.stands.directory import lookup_key, running_directory
from tests.stands.servers import serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_placements_and_changes_of_the_real_directory_are_seen(database: Secret[str], folder: Path) -> None:
    tokens = ServiceIssuer(folder)
    token = tokens.token_file(folder / "gateway.jwt", "gateway:eu", ["resolver"])
    stranger = tokens.token_file(folder / "stranger.jwt", "cell:eu-de", ["cell:eu-de"])
    async with (
        running_directory(database, tokens) as running,
        serving(running.directory.app) as port,
        http_client(f"http://127.0.0.1:{port}", token=token) as http,
        http_client(f"http://127.0.0.1:{port}", token=stranger) as forbidden,
        asyncio.TaskGroup() as group,
    ):
        assert (await running.callers.publisher.publish()).status_code == 201
        ada = await running.callers.active("ada")
        directory, clock = HttpDirectory(http), SystemClock()
        follower = FeedFollower(directory, clock)
        client = DirectoryClient(directory, follower, clock, limits=ClientLimits(stale_s_max=60.0))
        following = group.create_task(follower.run())
        await eventually(lambda: client.problem() is None)

        known = await client.resolve(lookup_key("ada"))
        assert isinstance(known, Known)
        assert known.placement.subject_id == ada["subject_id"]
        assert known.placement.state is State.ACTIVE
        assert await client.resolve(lookup_key("bob")) is ABSENT
        assert await client.subject(known.placement.subject_id) == known

        bob = await running.callers.active("bob")
        await eventually(
            lambda: (found := client.lookup(lookup_key("bob"))) and found is not ABSENT and found.epoch >= bob["epoch"]
        )
        frozen = await running.callers.operator.post(
            f"/v1/subjects/{ada['subject_id']}/freeze", {"epoch": ada["epoch"], "reason": "test"}
        )
        assert frozen.status_code == 200
        newer = await client.refresh(known.placement.subject_id, newer_than=known.placement.epoch)
        assert isinstance(newer, Known)
        assert newer.placement.state is State.FROZEN
        await eventually(lambda: client.lookup(lookup_key("ada")) == newer.placement)

        rules = await directory.rules()
        assert await directory.rules(rules.digest) == rules
        with pytest.raises(DirectoryUnavailable, match="status-403"):
            await HttpDirectory(forbidden).resolve([lookup_key("ada")])
        following.cancel()
        await client.aclose()
