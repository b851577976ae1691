"""A log's cosignatures: gathered, waited for, missed in time; beside witnesses that are away, slow, wrong or forgetful."""

import asyncio
import gzip
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.lowlevel
import httpx
import pytest
from msgspec.structs import replace

from foundation.ledger import checkpoints, metrics, payloads
from foundation.ledger.checkpoints import CHECKPOINT
from foundation.ledger.draining import drain
from foundation.ledger.log import Log
from foundation.ledger.reading import LogReader, of_folder, published
from foundation.ledger.settings import LedgerSettings
from foundation.ledger.tiles import ENTRIES, levels_of, tiles_of
from foundation.ledger.witness import cosignatures, gathering, requests, rounds
from foundation.ledger.witness.gathering import Cosigned, Gathering, Plan
from foundation.ledger.witness.held import file_of
from foundation.ledger.witness.quorum import Quorum, Reach
from foundation.settings import SettingsError
from foundation.tasks import Backoff
from tests.stands.ledger import SIGNER, Outbox, checkpoint_of, kept_by, reader, rows, unsynced
from tests.stands.waiting import eventually
from tests.stands.witnesses import NAMES, NEAR, WIDE, Answer, Network, cosigned_by, cosigner, network, plan, witness

pytestmark = pytest.mark.anyio
BOTH = plan(NEAR, WIDE)
S_MAX = 10.0


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)
    monkeypatch.setattr(gathering, "PAUSE_S", {Reach.NEAR: 0.01, Reach.WIDE: 0.01})
    monkeypatch.setattr(gathering, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(gathering, "RETRY_S_MAX", 0.05)
    monkeypatch.setattr(gathering, "LOOK_S", 0.01)
    monkeypatch.setattr(rounds, "GRACE_S", S_MAX)  # who answers at all is waited for; the tests of slow ones say less


class Kept:
    """A log that is open, and the gathering beside it."""

    def __init__(self, log: Log, folder: Path, gathered: Gathering) -> None:
        self.log, self.folder, self.gathered = log, folder, gathered

    def grow(self, count: int = 3) -> int:
        """So many entries more, signed; the index of the last."""
        self.log.append({"s1": rows(self.log.seen("s1").position + 1, count)})
        self.gathered.signed(self.log.publish())
        return self.log.size - 1

    async def until(self, index: int, reach: Reach) -> Cosigned:
        found = await self.gathered.until(index, reach, within_s=S_MAX)
        assert found is not None, f"{reach} never came"
        return found


@asynccontextmanager
async def keeping(folder: Path, net: Network, stated: Plan = BOTH) -> AsyncIterator[Kept]:
    async with (
        net.client() as http,
        running(Gathering(stated, folder, SIGNER.verifier, http, net.clock), folder) as kept,
    ):
        yield kept


@asynccontextmanager
async def running(gathered: Gathering, folder: Path) -> AsyncIterator[Kept]:
    with Log(folder, SIGNER) as log:
        async with asyncio.TaskGroup() as group:
            work = group.create_task(gathered.run(log))
            await anyio.lowlevel.checkpoint()  # the work begins before the log grows, as beside a drain
            yield Kept(log, folder, gathered)
            work.cancel()


def names_in(note: bytes) -> set[str]:
    keys = [cosigner(name).verifier for name in NAMES]
    return {name.rpartition("/")[2] for name in cosignatures.verified(note, keys)}


def gauge(name: str, **labels: str) -> float:
    from prometheus_client import REGISTRY

    return REGISTRY.get_sample_value(f"domicile_ledger_{name}", labels) or 0.0


# --- what is gathered ------------------------------------------------------------------------------------------------------------


async def test_the_near_quorum_and_then_the_wide_one_cosign_what_the_log_gives_out(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with network(tmp_path) as net:
        async with keeping(folder, net) as kept:
            for count in (1, 300, 7):
                index = kept.grow(count)
                near, wide = await kept.until(index, Reach.NEAR), await kept.until(index, Reach.WIDE)
                assert "eu" in names_in(near.note)
                assert names_in(wide.note) == set(NAMES)
                assert checkpoints.opened(wide.note, SIGNER.verifier) == kept.log.checkpoint
                await eventually(lambda: names_in((folder / CHECKPOINT).read_bytes()) == set(NAMES))
                assert (folder / "cosigned/wide").read_bytes() == wide.note
                assert gauge("quorum_entries", quorum="wide") == index + 1
    assert reader(folder).verify(folder=folder).payloads == 308


async def test_only_hashes_checkpoints_and_cosignatures_leave_for_witnesses(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with network(tmp_path) as net:
        async with keeping(folder, net) as kept:
            for count in (1, 300, 40):
                await kept.until(kept.grow(count), Reach.WIDE)
    held = [one for found in reader(folder).newest() for one in (found.raw, payloads.read(folder, found.index) or b"-")]
    assert len(net.sent) >= 9
    for url, headers, body in net.sent:
        asked = requests.parse(body)
        assert asked.render() == body, "nothing stands in a request but these"
        checkpoints.opened(asked.note, SIGNER.verifier)
        everything = f"{url}{headers}".encode() + body
        assert not any(one in everything for one in held)
        assert b"event:" not in everything


async def test_a_witness_behind_what_packs_whatever_may_be_packed_is_understood(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with network(tmp_path) as net:

        def packing(request: httpx.Request) -> httpx.Response:
            line = net.there["eu"].add(request.content)
            assert isinstance(line, bytes)
            if "gzip" not in request.headers["accept-encoding"]:
                return httpx.Response(200, stream=httpx.ByteStream(line))
            packed = httpx.ByteStream(gzip.compress(line))
            return httpx.Response(200, stream=packed, headers={"content-encoding": "gzip"})

        net.says["eu"] = packing
        async with keeping(folder, net) as kept:
            await kept.until(kept.grow(1), Reach.NEAR)


async def test_a_log_that_grows_without_pause_is_covered_as_it_grows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with network(tmp_path) as net:
        async with keeping(tmp_path / "log", net) as kept:
            with anyio.fail_after(S_MAX):
                while (covered := kept.gathered.cosigned(Reach.WIDE)) is None or covered.size < 100:
                    kept.grow(5)
                    await anyio.lowlevel.checkpoint()
            await kept.until(kept.log.size - 1, Reach.WIDE)
    assert "ledger_witness_away" not in [record.message for record in caplog.records]


async def test_waiting_for_an_entry_ends_with_its_quorum_or_with_its_time(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        net.away |= {"us", "in"}
        async with keeping(tmp_path / "log", net) as kept:
            index = kept.grow()
            assert (await kept.until(index, Reach.NEAR)).size > index
            assert await kept.gathered.until(index + 1, Reach.NEAR, within_s=0.05) is None
            assert await kept.gathered.until(index, Reach.WIDE, within_s=0.05) is None
            async with asyncio.TaskGroup() as group:
                later = group.create_task(kept.until(index + 3, Reach.NEAR))
                await asyncio.sleep(0)
                assert not later.done()
                kept.grow()
            assert later.result().size == index + 4
    only_near = Gathering(plan(NEAR, None), tmp_path / "log", SIGNER.verifier, Network(tmp_path).client(), net.clock)
    with pytest.raises(ValueError, match="no wide quorum"):
        await only_near.until(0, Reach.WIDE, within_s=0.01)


async def test_what_was_gathered_is_known_again_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        async with keeping(tmp_path / "log", net) as kept:
            await kept.until(kept.grow(), Reach.WIDE)
        net.asked.clear()
        async with keeping(tmp_path / "log", net) as kept:
            assert (await kept.until(2, Reach.WIDE)).size == 3
            assert net.asked == []
            await kept.until(kept.grow(), Reach.WIDE)
            assert sorted(net.asked) == sorted(NAMES)  # each once: their sizes were known
        (tmp_path / "log/cosigned/wide").write_bytes(b"garbage")
        (tmp_path / "log/cosigned/near").unlink()
        async with keeping(tmp_path / "log", net) as kept:
            await kept.until(5, Reach.WIDE)


async def test_a_log_of_one_quorum_alone_is_cosigned_by_it(tmp_path: Path) -> None:
    for reach, stated in ((Reach.NEAR, plan(NEAR, None)), (Reach.WIDE, plan(None, WIDE))):
        with network(tmp_path / reach.value) as net:
            async with keeping(tmp_path / reach.value / "log", net, stated) as kept:
                assert (await kept.until(kept.grow(), reach)).size == 3


# --- witnesses that fail ---------------------------------------------------------------------------------------------------------


async def test_a_wide_quorum_that_is_missing_alarms_and_holds_the_near_one_up_by_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with network(tmp_path) as net, caplog.at_level("INFO", logger="foundation"):
        net.away |= {"us", "in"}
        async with keeping(tmp_path / "log", net) as kept:
            await kept.until(kept.grow(), Reach.NEAR)
            net.clock.advance(59.0)  # type: ignore[attr-defined]
            await eventually(lambda: gauge("quorum_age_seconds", quorum="wide") == 59.0)
            assert gauge("quorum_overdue", quorum="wide") == 0
            net.clock.advance(2.0)  # type: ignore[attr-defined]
            await eventually(lambda: gauge("quorum_overdue", quorum="wide") == 1)
            assert (gauge("quorum_overdue", quorum="near"), gauge("quorum_age_seconds", quorum="near")) == (0, 0)
            assert [gauge("witness_up", witness=name) for name in NAMES] == [1, 0, 0]
            await kept.until(kept.grow(), Reach.NEAR)
            net.away.clear()
            await kept.until(5, Reach.WIDE)
            await eventually(lambda: gauge("quorum_overdue", quorum="wide") == 0)
            await eventually(lambda: [gauge("witness_up", witness=name) for name in NAMES] == [1, 1, 1])
    said = [record.message for record in caplog.records]
    assert said.count("ledger_quorum_overdue") == said.count("ledger_quorum_back") == 1


async def test_what_waited_before_the_process_began_waits_since_then(tmp_path: Path) -> None:
    """Else a process that is started again more often than a quorum may take would never alarm."""
    with network(tmp_path) as net:
        net.away |= {"us", "in"}
        async with keeping(tmp_path / "log", net) as kept:
            await kept.until(kept.grow(), Reach.NEAR)
            net.clock.advance(40.0)  # type: ignore[attr-defined]
        for left_s, then_s in ((25.0, 65.0), (5_000.0, 5_065.0)):
            metrics.QUORUM_AGE.labels("wide").set(0.0)
            async with keeping(tmp_path / "log", net):
                await eventually(lambda: gauge("quorum_age_seconds", quorum="wide") > 39.0)
                assert gauge("quorum_overdue", quorum="wide") == 0, "it has a moment to make up for it"
                net.clock.advance(left_s)  # type: ignore[attr-defined]
                await eventually(lambda: gauge("quorum_overdue", quorum="wide") == 1)
                assert gauge("quorum_age_seconds", quorum="wide") <= then_s
            assert (gauge("quorum_overdue", quorum="near"), gauge("quorum_age_seconds", quorum="near")) == (0, 0)


async def test_a_near_witness_that_is_away_does_not_keep_the_wide_ones_from_their_quorum(tmp_path: Path) -> None:
    with network(tmp_path) as net:
        net.away.add("eu")
        async with keeping(tmp_path / "log", net) as kept:
            assert names_in((await kept.until(kept.grow(), Reach.WIDE)).note) == {"us", "in"}
            assert kept.gathered.cosigned(Reach.NEAR) is None
            net.away.clear()
            await kept.until(2, Reach.NEAR)
            await kept.until(kept.grow(), Reach.NEAR)


async def test_a_near_witness_that_hangs_is_asked_one_thing_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ROUND_S_MAX", 0.05)
    with network(tmp_path) as net:
        net.slow["eu"] = asyncio.Event()
        async with keeping(tmp_path / "log", net) as kept:
            for _ in range(3):
                assert names_in((await kept.until(kept.grow(), Reach.WIDE)).note) == {"us", "in"}
            await eventually(lambda: net.asked.count("eu") > 3)
            assert net.at_once["eu"] == 1
            assert kept.gathered.cosigned(Reach.NEAR) is None


async def test_a_slow_witness_is_not_waited_for_where_others_suffice_and_counts_again_once_it_is_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ROUND_S_MAX", 3_600.0)
    monkeypatch.setattr(rounds, "GRACE_S", 0.05)
    with network(tmp_path) as net:
        net.slow["in"] = asyncio.Event()
        async with keeping(tmp_path / "log", net) as kept:
            assert names_in((await kept.until(kept.grow(), Reach.WIDE)).note) == {"eu", "us"}
            await eventually(lambda: gauge("witness_up", witness="in") == 0)
            # It has cosigned all the same, and will say so: the size that it is thought to hold is an old one.
            net.slow.clear()
            monkeypatch.setattr(rounds, "GRACE_S", S_MAX)
            assert names_in((await kept.until(kept.grow(), Reach.WIDE)).note) == set(NAMES)


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: httpx.Response(status, headers=named, stream=httpx.ByteStream(body))


def echo(request: httpx.Request) -> httpx.Response:
    size = request.content.partition(b"\n")[0].removeprefix(b"old ")
    return answer(409, size + b"\n", content_type=requests.SIZE_TYPE)(request)


GARBAGE: dict[str, Answer] = {
    "an error": answer(500, b"x"),
    "nothing": answer(200),
    "no text": answer(200, b"\xff\xfe\x00"),
    "a page": answer(200, b"<html>\n\n</html>\n"),
    "what unpacks to far more": answer(200, gzip.compress(bytes(30 << 20)), content_encoding="gzip"),
    "too much": answer(200, b"x" * (1 << 18)),
    "a size that is none": answer(409, b"x\n", content_type=requests.SIZE_TYPE),
    "the size that was sent": echo,
    "a size beyond the log": answer(409, b"1000000\n", content_type=requests.SIZE_TYPE),
    "another type": answer(409, b"0\n"),
    "a signature over nothing": answer(200, cosigner("us").cosign("us\n1\nAAAA\n", 1).encode()),
}


@pytest.mark.parametrize("what", GARBAGE)
async def test_a_witness_that_answers_garbage_adds_nothing_and_costs_the_others_nothing(
    tmp_path: Path, what: str
) -> None:
    with network(tmp_path) as net:
        net.says["us"] = GARBAGE[what]
        async with keeping(tmp_path / "log", net) as kept:
            assert names_in((await kept.until(kept.grow(), Reach.WIDE)).note) == {"eu", "in"}
            assert b"witness.test/us" not in (tmp_path / "log" / CHECKPOINT).read_bytes()
            del net.says["us"]
            if what != "a size beyond the log":
                assert "us" in names_in((await kept.until(kept.grow(), Reach.WIDE)).note)


async def test_a_witness_under_another_key_than_settings_say_adds_nothing(tmp_path: Path) -> None:
    others = {**BOTH.witnesses, "us": replace(BOTH.witnesses["us"], key=cosigner("elsewhere").verifier)}
    with network(tmp_path) as net:
        async with keeping(tmp_path / "log", net, Plan(others, BOTH.quorums)) as kept:
            note = (await kept.until(kept.grow(), Reach.WIDE)).note
            assert names_in(note) == {"eu", "in"}
            assert b"witness.test/us" not in note
            assert gauge("witness_up", witness="us") == 0


async def test_a_witness_put_back_to_an_older_state_is_told_of_and_cosigns_on_from_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with network(tmp_path) as net:
        async with keeping(tmp_path / "log", net) as kept:
            await kept.until(kept.grow(), Reach.WIDE)
            shutil.copytree(tmp_path / "us", tmp_path / "backup")
            await kept.until(kept.grow(), Reach.WIDE)
            before = gauge("witness_forgot_total", witness="us")
            net.there["us"].close()
            shutil.rmtree(tmp_path / "us")
            shutil.copytree(tmp_path / "backup", tmp_path / "us")
            net.there["us"] = witness(tmp_path, "us", clock=net.clock)
            index = kept.grow()
            assert "us" in names_in((await kept.until(index, Reach.WIDE)).note)
            assert gauge("witness_forgot_total", witness="us") == before + 1
    assert "ledger_witness_forgot" in [record.message for record in caplog.records]


async def test_two_publishers_of_one_log_get_no_two_histories_and_take_nothing_back(tmp_path: Path) -> None:
    """As two processes would for a moment, of which one has lost the log without knowing it."""
    folder = tmp_path / "log"
    with network(tmp_path) as net:
        async with keeping(folder, net) as kept, net.client() as http:
            second = Gathering(BOTH, folder, SIGNER.verifier, http, net.clock)
            async with asyncio.TaskGroup() as group:
                beside = group.create_task(second.run(kept.log))
                sizes, index = list[int](), 0
                for _ in range(20):
                    index = kept.grow()
                    second.signed(kept.log.checkpoint)
                    both = await asyncio.gather(
                        kept.until(index, Reach.NEAR), second.until(index, Reach.NEAR, within_s=S_MAX)
                    )
                    assert all(found is not None and found.size > index for found in both)
                    sizes.append(held_size(tmp_path, "eu"))
                await kept.until(index, Reach.WIDE)
                assert await second.until(index, Reach.WIDE, within_s=S_MAX) is not None
                beside.cancel()
    assert sizes == sorted(sizes)
    assert reader(folder).verify(folder=folder).size == 60


def held_size(folder: Path, name: str) -> int:
    note = (folder / name / file_of(SIGNER.verifier.name)).read_bytes()
    return checkpoints.opened(note, SIGNER.verifier).size


async def test_of_two_histories_that_a_log_signs_only_one_gets_a_quorum(tmp_path: Path) -> None:
    """Shown to different witnesses first, and then to all of them: quorums are majorities, so they share a witness that has seen both."""
    with network(tmp_path) as net:
        async with keeping(tmp_path / "one", net) as one:
            net.away |= {"in"}
            index = one.grow(10)
            await one.until(index, Reach.WIDE)
        net.away.clear()
        async with keeping(tmp_path / "two", net) as two:
            two.grow(10)
            two.grow(5)
            assert await two.gathered.until(0, Reach.NEAR, within_s=0.3) is None
            assert await two.gathered.until(0, Reach.WIDE, within_s=0.3) is None
            assert two.log.checkpoint.root != one.log.checkpoint.root
        async with keeping(tmp_path / "one", net) as one:
            assert names_in((await one.until(one.grow(), Reach.WIDE)).note) >= {"eu", "us"}


async def test_a_log_that_was_put_back_gets_no_cosignature_and_so_alarms(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with network(tmp_path) as net:
        async with keeping(folder, net) as kept:
            await kept.until(kept.grow(), Reach.WIDE)
        shutil.copytree(folder, tmp_path / "backup")
        async with keeping(folder, net) as kept:
            await kept.until(kept.grow(), Reach.WIDE)
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "backup", folder)
        async with keeping(folder, net) as kept:
            index = kept.grow(1)
            assert await kept.gathered.until(index, Reach.NEAR, within_s=0.3) is None
            net.clock.advance(61.0)  # type: ignore[attr-defined]
            await eventually(lambda: gauge("quorum_overdue", quorum="near") == 1)
            assert gauge("quorum_overdue", quorum="wide") == 1


async def test_the_drain_has_cosignatures_gathered_while_the_log_is_open_and_again_once_it_was_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.01)
    folder, outbox = tmp_path / "log", Outbox(rows(1, 3))
    with network(tmp_path) as net:
        async with net.client() as http:
            gathered = Gathering(BOTH, folder, SIGNER.verifier, http, net.clock)
            async with asyncio.TaskGroup() as group:
                work = group.create_task(drain(folder, SIGNER, lambda: {"s1": outbox}, gathered))
                assert await gathered.until(2, Reach.WIDE, within_s=S_MAX) is not None
                opened = gauge("entries")
                with monkeypatch.context() as patch:
                    patch.setattr(Log, "append", full)
                    outbox.held += rows(4, 3)
                    await eventually(lambda: gauge("writable") == 0)
                assert opened == 3
                assert await gathered.until(5, Reach.WIDE, within_s=S_MAX) is not None
                assert gauge("writable") == 1
                work.cancel()
    assert reader(folder).verify(folder=folder).size == 6


def full(*_: object) -> range:
    raise OSError(28, "No space left on device")


async def test_a_fault_of_gathering_that_nobody_foresaw_ends_the_drain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with network(tmp_path) as net:
        async with net.client() as http:
            gathered = Gathering(BOTH, tmp_path / "log", SIGNER.verifier, http, net.clock)

            async def broken(_: Log) -> None:
                raise ZeroDivisionError

            monkeypatch.setattr(gathered, "run", broken)
            with pytest.raises(ExceptionGroup) as fault:
                await drain(tmp_path / "log", SIGNER, lambda: {"s1": Outbox(rows(1, 3))}, gathered)
    assert fault.group_contains(ZeroDivisionError)


async def test_a_log_that_is_shorter_once_it_is_opened_anew_is_offered_again_and_alarms(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with network(tmp_path) as net:
        async with net.client() as http:
            gathered = Gathering(BOTH, folder, SIGNER.verifier, http, net.clock)
            for count in (3, 3):
                async with running(gathered, folder) as kept:
                    await kept.until(kept.grow(count), Reach.WIDE)
                if not (tmp_path / "backup").exists():
                    shutil.copytree(folder, tmp_path / "backup")
            shutil.rmtree(folder)
            shutil.copytree(tmp_path / "backup", folder)
            async with running(gathered, folder) as kept:
                index = kept.grow(1)
                assert await kept.gathered.until(index, Reach.NEAR, within_s=0.3) is None
                net.clock.advance(61.0)  # type: ignore[attr-defined]
                await eventually(lambda: gauge("quorum_overdue", quorum="wide") == 1)


# --- the writer's part, and what readers find ------------------------------------------------------------------------------------


def test_a_note_is_put_in_place_of_what_was_signed_last_and_of_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with Log(folder, SIGNER) as log:
        log.append({"s1": rows(1, 3)})
        log.publish()
        first = (folder / CHECKPOINT).read_bytes()
        more = first + cosigner("eu").cosign(log.checkpoint.text, 5).encode()
        assert log.attach(more)
        assert (folder / CHECKPOINT).read_bytes() == more
        log.append({"s1": rows(4, 3)})
        log.publish()
        assert not log.attach(more)
        assert checkpoint_of(folder).size == 6
    with Log(folder, SIGNER) as log:
        newest = (folder / CHECKPOINT).read_bytes() + cosigner("eu").cosign(log.checkpoint.text, 5).encode()
        assert log.attach(newest)
    with Log(folder, SIGNER):
        assert (folder / CHECKPOINT).read_bytes() == newest


def drop_older_partials(folder: Path, size: int) -> None:
    """As a power cut may leave it: of partial tiles only those of the newest tree are sure to be there."""
    there = {folder / tile.path for level in (ENTRIES, *levels_of(size)) for tile in tiles_of(size, level)}
    for path in folder.glob("tile/**/*.p/*"):
        if path not in there:
            path.unlink()


async def test_entries_are_proved_from_an_older_cosigned_checkpoint_while_the_log_grows_on(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with network(tmp_path) as net:
        async with keeping(folder, net) as kept:
            for count in (5, 250, 30, 300):
                index = kept.grow(count)
                note = (await kept.until(index, Reach.WIDE)).note
                kept.grow(3)
                whole = reader(folder)
                drop_older_partials(folder, whole.checkpoint.size)
                older = LogReader(of_folder(folder), SIGNER.verifier, note)
                assert older.checkpoint.size == index + 1
                assert whole.checkpoint.size > older.checkpoint.size
                for found in (next(older.newest()), *list(older.newest())[::97]):
                    proof = older.prove(found)
                    assert proof.verify(SIGNER.verifier).size == index + 1
                    assert names_in(proof.checkpoint) == set(NAMES)
        assert [len(names_in(one)) for one in published(of_folder(folder))][:1] == [3]


# --- settings --------------------------------------------------------------------------------------------------------------------


def test_settings_that_could_not_find_a_split_view_are_refused(tmp_path: Path) -> None:
    good = cosigned_by(kept_by(tmp_path), tmp_path, {name: f"http://{name}.test/" for name in NAMES})
    stated = good.plan()
    assert stated is not None
    assert [at.url for at in stated.witnesses.values()] == [f"http://{name}.test" for name in NAMES]
    assert kept_by(tmp_path).plan() is None
    assert good.near is not None
    assert good.wide is not None
    (tmp_path / "same.vkey").write_text((tmp_path / "eu.vkey").read_text())
    same = good.witnesses | {"us": replace(good.witnesses["us"], key_file=str(tmp_path / "same.vkey"))}
    mistakes: list[tuple[LedgerSettings, str]] = [
        (replace(good, near=None, wide=None), "go with a quorum"),
        (replace(good, witnesses={}), "a quorum with witnesses"),
        (replace(good, near=Quorum(of=("fr",), needed=1, within_s=1.0)), "near names fr"),
        (replace(good, wide=replace(good.wide, needed=1)), "more than half"),
        (replace(good, near=replace(good.near, within_s=0.0)), "within_s"),
        *(
            (
                replace(good, witnesses=good.witnesses | {"us": replace(good.witnesses["us"], url=url)}),
                "witnesses.us: url",
            )
            for url in ("us.test", "ftp://us.test", "http://", "http://us.test:port", "http://us.test/?a", "")
        ),
        (replace(good, witnesses=same), "a key of its own"),
        (
            replace(good, witnesses=good.witnesses | {"us": replace(good.witnesses["us"], key_file="/nowhere")}),
            "cannot be read",
        ),
    ]
    for settings, says in mistakes:
        with pytest.raises(SettingsError, match=says):
            settings.plan()
    (tmp_path / "us.vkey").write_text(SIGNER.verifier.text)
    with pytest.raises(SettingsError, match="no public key of a witness"):
        good.plan()
