"""A log's cosignatures: gathered, waited for, attached, found again by readers, and as settings say them."""

import asyncio
import gzip
from pathlib import Path

import anyio.lowlevel
import httpx
import pytest
from msgspec.structs import replace

from foundation.ledger import checkpoints, payloads
from foundation.ledger.checkpoints import CHECKPOINT
from foundation.ledger.log import Log
from foundation.ledger.reading import LogReader, of_folder, published
from foundation.ledger.settings import LedgerSettings
from foundation.ledger.tiles import ENTRIES, levels_of, tiles_of
from foundation.ledger.witness import requests
from foundation.ledger.witness.gathering import Gathering
from foundation.ledger.witness.quorum import Quorum, Reach
from foundation.settings import SettingsError
from tests.stands.cosigned import S_MAX, gauge, keeping, names_in, quick
from tests.stands.ledger import SIGNER, checkpoint_of, kept_by, reader, rows
from tests.stands.waiting import eventually
from tests.stands.witnesses import NAMES, NEAR, WIDE, Network, cosigned_by, cosigner, network, plan

__all__ = ["quick"]
pytestmark = pytest.mark.anyio


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
