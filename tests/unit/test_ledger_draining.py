"""Outboxes flow into the log in order and once, whatever is away for a time, restored from older days, or broken off."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from foundation.ledger import draining, segments
from foundation.ledger.draining import Drain, SourceUnavailable, drain
from foundation.ledger.log import Log
from foundation.tasks import Backoff
from tests.stands.ledger import SIGNER, Outbox, reader, rows, unsynced
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


def told(folder: Path) -> list[tuple[str, int]]:
    """Source and position of every entry, in the log's order."""
    return [(found.entry.source, found.entry.position) for found in reader(folder).newest()][::-1]


async def all_of(log: Log, folder: Path, **sources: Outbox) -> None:
    drained = Drain(log, folder)
    while await drained.once(sources):
        pass


async def test_every_row_of_every_source_is_taken_in_once_and_in_its_order(folder: Path) -> None:
    one, two = Outbox(rows(1, 1_203)), Outbox(rows(5, 10, tag="other"))
    with Log(folder, SIGNER) as log:
        await all_of(log, folder, s1=one, s2=two)
        await all_of(log, folder, s1=one, s2=two)
        one.held += rows(2_000, 2)
        await all_of(log, folder, s1=one, s2=two)
    with Log(folder, SIGNER) as log:
        await all_of(log, folder, s1=one, s2=two)
    entries = told(folder)
    assert [position for source, position in entries if source == "s1"] == [*range(1, 1_204), 2_000, 2_001]
    assert [position for source, position in entries if source == "s2"] == list(range(5, 15))


async def test_rows_too_long_for_one_record_are_taken_in_by_several(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "BATCH_BYTES_MAX", 20)
    long = [msgspec.structs.replace(row, details=msgspec.Raw(b'"' + b"x" * 30 + b'"')) for row in rows(4, 2)]
    with Log(folder, SIGNER) as log:
        await all_of(log, folder, s1=Outbox([*rows(1, 3), *long, *rows(6, 1)]))
    assert [position for _, position in told(folder)] == [1, 2, 3, 4, 5, 6]
    assert reader(folder).verify(folder=folder).payloads == 6


async def test_a_checkpoint_follows_after_some_batches_and_at_once_when_nothing_more_waits(folder: Path) -> None:
    outbox, signed = Outbox(rows(1, 7 * draining.BATCH_MAX)), list[int]()
    with Log(folder, SIGNER) as log:
        drained, more = Drain(log, folder), True
        while more:
            more = await drained.once({"s1": outbox})
            signed.append(reader(folder).checkpoint.size)
        assert signed == [0, 0, 0, 0, 2_500, 2_500, 2_500, 3_500]
        outbox.held += rows(3_501, 2 * draining.BATCH_MAX)
        await drained.once({"s1": outbox})
        outbox.away = True
        assert reader(folder).checkpoint.size == 3_500
        await drained.once({"s1": outbox})
        assert reader(folder).checkpoint.size == 4_000


async def test_a_source_that_is_away_holds_no_other_up_and_is_gone_on_with(folder: Path) -> None:
    one, two = Outbox(rows(1, 3)), Outbox(rows(1, 3, tag="other"))
    two.away = True
    with Log(folder, SIGNER) as log:
        await all_of(log, folder, s1=one, s2=two)
        assert log.size == 3
        two.away = False
        await all_of(log, folder, s1=one, s2=two)
        assert log.size == 6


async def test_a_write_that_broke_off_after_it_was_durable_is_not_repeated(folder: Path) -> None:
    outbox = Outbox(rows(1, 3))
    log = Log(folder, SIGNER)
    log.open()
    log.append({"s1": outbox.held})
    log.close()  # before anything but the write-ahead file heard of it
    outbox.held += rows(4, 2)
    with Log(folder, SIGNER) as again:
        await all_of(again, folder, s1=outbox)
    assert told(folder) == [("s1", position) for position in range(1, 6)]


@pytest.mark.parametrize("kept", [0, 1, 4, 600, 1_199])
async def test_a_source_restored_from_older_days_is_gone_on_with_after_what_both_have(folder: Path, kept: int) -> None:
    outbox, other = Outbox(rows(1, 1_200)), Outbox(rows(1, 700, tag="other"))
    with Log(folder, SIGNER) as log:
        await all_of(log, folder, s1=outbox, s2=other)
        # The numbers that were given after the backup are given again, to other events.
        outbox.held = [*outbox.held[:kept], *rows(kept + 1, 50, tag="anew")]
        await all_of(log, folder, s1=outbox, s2=other)
        await all_of(log, folder, s1=outbox, s2=other)
        assert log.size == 1_950
    entries = told(folder)
    assert [position for source, position in entries[1_900:] if source == "s1"] == list(range(kept + 1, kept + 51))
    assert reader(folder).verify(folder=folder).payloads == 1_950


async def test_a_source_restored_amid_a_backlog_is_compared_with_what_is_not_signed_for_too(folder: Path) -> None:
    outbox = Outbox(rows(1, 3 * draining.BATCH_MAX))
    with Log(folder, SIGNER) as log:
        drained = Drain(log, folder)
        await drained.once({"s1": outbox})
        assert reader(folder).checkpoint.size == 0
        outbox.held = [*outbox.held[:480], *rows(481, 5, tag="anew")]
        while await drained.once({"s1": outbox}):
            pass
        await drained.once({"s1": outbox})
    assert [position for _, position in told(folder)] == [*range(1, 501), *range(481, 486)]


async def test_a_source_that_goes_away_while_it_is_compared_is_compared_again(folder: Path) -> None:
    class Going(Outbox):
        async def ids_at(self, positions: Sequence[int]) -> Mapping[int, str]:
            if self.asked < 6:
                self.asked += 1
                raise SourceUnavailable("gone")
            return await super().ids_at(positions)

    outbox = Going(rows(1, 10))
    with Log(folder, SIGNER) as log:
        await all_of(log, folder, s1=outbox)
        outbox.held = [*outbox.held[:5], *rows(6, 2, tag="anew")]
        for _ in range(8):
            await all_of(log, folder, s1=outbox)
        assert log.size == 12


async def test_the_worker_waits_for_a_log_that_another_writes_and_for_one_that_is_damaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = list[None]()

    def soon(_: object) -> float:
        waits.append(None)
        return 0.01

    monkeypatch.setattr(Backoff, "next_s", soon)
    outbox = Outbox(rows(1, 3))
    with Log(folder, SIGNER):
        async with asyncio.TaskGroup() as group:
            task = group.create_task(drain(folder, SIGNER, lambda: {"s1": outbox}))
            await eventually(lambda: len(waits) > 2)
            assert outbox.asked == 0
            task.cancel()
    (kept,) = segments.segments_in(folder)
    whole = kept.read_bytes()
    kept.unlink()
    waits.clear()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(drain(folder, SIGNER, lambda: {"s1": outbox}))
        await eventually(lambda: len(waits) > 2)
        assert outbox.asked == 0
        kept.write_bytes(whole)
        await eventually(lambda: reader(folder).checkpoint.size == 3)
        task.cancel()
    with Log(folder, SIGNER) as log:
        assert log.size == 3
