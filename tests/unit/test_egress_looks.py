"""Just before a release gets its name everybody in it is looked at again: who said no or is not active here by then is not in it."""

import errno
import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.egress import release
from cells.egress.formats import Format
from cells.egress.manifest import MANIFEST
from cells.egress.release import ReleaseRefused
from cells.egress.runs import Journal, journals, taken_up
from cells.egress.sinks import sink_of
from cells.egress.sinks.folder import FolderSink
from cells.egress.sinks.port import Sink, SinkFailed
from cells.egress.treating import Treater
from cells.egress.verify import verify
from foundation.words import ShardId
from routing_rules.release import Consent
from tests.stands.egress import (
    SIGNER,
    Found,
    MemorySink,
    MemoryWorld,
    journal_of,
    row,
    rules,
    run_of,
    treater,
)

pytestmark = pytest.mark.anyio
RULES = rules()
SHARD = ShardId("s1")
LAKE = "memory://lake/in"


def world(rows: int = 45) -> MemoryWorld:
    made = [row(number, item=f"item {number}") for number in range(1, rows + 1)]
    return MemoryWorld({SHARD: made[:20], ShardId("s2"): made[20:]}, held=RULES)


def subject(number: int) -> str:
    return str(row(number)["subject_id"])


def journal(folder: Path, out: str | None = None) -> Journal:
    held = Journal(folder / "runs" / "rel-1")
    return held if held.folder.exists() else journal_of(folder, run_of(folder, held=RULES, out=out))


async def ran(
    folder: Path, made: MemoryWorld, sink: Sink | None = None, *, out: str | None = None, treats: Treater | None = None
) -> str:
    held = journal(folder, out)
    used = sink or sink_of(held.run.out, {})
    return await release.run(held, treats or treater(held=RULES), made.world(), used, part_rows=10)


def items(parts: dict[str, bytes]) -> list[int]:
    """Which rows, of all that a release names, by number; what it does not name is not read."""
    named = [one["name"] for one in json.loads(parts[MANIFEST])["payload"]["parts"]]
    lines = [json.loads(line) for name in named for line in parts[name].splitlines()]
    return sorted(int(one["item"].removeprefix("item ")) for one in lines)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without(*numbers: int) -> list[int]:
    return [number for number in range(1, 46) if number not in numbers]


def says_no(made: MemoryWorld, number: int) -> None:
    made.said[subject(number)] = Consent.WITHHELD


def is_frozen(made: MemoryWorld, number: int) -> None:
    made.away.add(subject(number))


def has_no_known_home(made: MemoryWorld, number: int) -> None:
    made.homes[subject(number)] = ""


def moved_to_where_the_law_refuses(made: MemoryWorld, number: int) -> None:
    made.homes[subject(number)] = "GB"


CHANGES = [says_no, is_frozen, has_no_known_home, moved_to_where_the_law_refuses]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("number", [1, 45])
async def test_who_is_not_to_leave_any_more_is_in_no_release_that_was_under_way(
    folder: Path, change: Callable[[MemoryWorld, int], None], number: int
) -> None:
    made = world()
    made.meanwhile = lambda: change(made, number)
    path = Path(await ran(folder, made))
    assert items(files_in(path)) == without(number)
    found = verify(path, SIGNER.verifier)
    assert found.rows == found.document["rows"]["released"] == 44
    assert len(made.recorded) == 1


async def test_who_says_no_while_the_part_of_somebody_else_is_made_anew_is_not_in_it_either(folder: Path) -> None:
    made = world()

    def again() -> None:
        says_no(made, 1)

    def first() -> None:
        says_no(made, 45)
        made.meanwhile = again

    made.meanwhile = first
    assert items(files_in(Path(await ran(folder, made)))) == without(1, 45)


async def test_a_whole_part_of_people_who_are_gone_is_no_part_any_more(folder: Path) -> None:
    made = world()
    made.meanwhile = lambda: made.away.update(subject(number) for number in range(11, 21))
    path = Path(await ran(folder, made))
    assert items(files_in(path)) == without(*range(11, 21))
    assert verify(path, SIGNER.verifier).parts == 4


async def test_rows_that_were_written_since_are_no_reason_to_look_for_and_come_with_the_next_release(
    folder: Path,
) -> None:
    made = world()
    made.meanwhile = lambda: made.shards[SHARD].append(row(4711, item="item 4711"))
    assert items(files_in(Path(await ran(folder, made)))) == without()


async def test_a_run_that_ended_after_it_was_sealed_looks_again_before_it_is_released(folder: Path) -> None:
    made = world()
    made.ledger_is_away = True
    with pytest.raises(ConnectionError):
        await ran(folder, made)
    made.ledger_is_away = False
    says_no(made, 7)
    path = Path(await ran(folder, made))
    assert items(files_in(path)) == without(7)
    document = verify(path, SIGNER.verifier).document
    # The manifest that was never released is not what stands in the ledger under the released one's event.
    assert [one.id for one in made.recorded] == [document["event"]] == ["release:rel-1.2"]


async def test_a_run_that_ended_between_a_look_and_its_sealing_is_sealed_anew(folder: Path) -> None:
    made = world()
    made.ledger_is_away = True
    with pytest.raises(ConnectionError):
        await ran(folder, made)
    says_no(made, 7)
    made.directory_is_away = True
    with pytest.raises(ConnectionError):
        await ran(folder, made)
    made.ledger_is_away = made.directory_is_away = False
    path = Path(await ran(folder, made))
    assert items(files_in(path)) == without(7)
    assert verify(path, SIGNER.verifier).rows == 44


async def test_nothing_of_a_release_is_put_before_its_manifest_is_recorded(folder: Path) -> None:
    made, sink = world(), MemorySink()
    made.ledger_is_away = True
    with pytest.raises(ConnectionError):
        await ran(folder, made, sink, out=LAKE)
    assert sink.files == {}
    made.ledger_is_away = False
    assert await ran(folder, made, sink, out=LAKE) == f"{LAKE}/rel-1"
    assert items(sink.files) == without()


@pytest.mark.parametrize("after", [0, 1, 4, 5, 6])
async def test_who_says_no_while_parts_are_put_is_not_in_the_release_and_their_part_is_taken_back(
    folder: Path, after: int
) -> None:
    made = world()
    sink = MemorySink(meanwhile={after: lambda: says_no(made, 7)})
    await ran(folder, made, sink, out=LAKE)
    document = json.loads(sink.files[MANIFEST])
    # Seven files: five parts, signature and manifest. After the signature was put nobody is asked any more.
    assert items(sink.files) == (without(7) if after < 5 else without())
    assert document["event"] in [one.id for one in made.recorded]
    assert len(sink.files) == 7


@pytest.mark.parametrize("after", [0, 1, 4, 5, 6])
async def test_a_sink_that_dies_half_way_has_no_release_and_the_run_goes_on_without_putting_anything_twice(
    folder: Path, after: int
) -> None:
    made, sink = world(), MemorySink(dies_after=after)
    with pytest.raises(SinkFailed, match="the sink died"):
        await ran(folder, made, sink, out=LAKE)
    assert MANIFEST not in sink.files
    sink.dies_after = None
    await ran(folder, made, sink, out=LAKE)
    assert items(sink.files) == without()
    parts = [name for name in sink.put_names if name.startswith("part-")]
    assert len(parts) == len(set(parts)) == 5
    assert len(made.recorded) == 1


async def test_a_run_that_is_refused_takes_back_what_lies_at_its_sink(folder: Path) -> None:
    made = world()
    sink = MemorySink(meanwhile={2: lambda: setattr(made, "held", rules("\n# another policy\n"))})
    with pytest.raises(ReleaseRefused, match="the rules have changed"):
        await ran(folder, made, sink, out=LAKE)
    assert sink.files == {}
    assert journals(folder / "runs") == []


async def test_a_refused_run_whose_sink_is_dead_says_what_lies_there_and_takes_it_back_with_the_next(
    folder: Path,
) -> None:
    made = world()
    sink = MemorySink(dies_after=2)

    def dies() -> None:
        made.held = rules("\n# another policy\n")
        sink.removes = False

    sink.meanwhile = {2: dies}
    with pytest.raises(SinkFailed):
        await ran(folder, made, sink, out=LAKE)
    with pytest.raises(ReleaseRefused, match=f"the rules have changed.*parts without a manifest lie at {LAKE}/rel-1"):
        await ran(folder, made, sink, out=LAKE)
    assert len(sink.files) == 2
    sink.removes = True
    with pytest.raises(ReleaseRefused, match="the rules have changed"):
        await ran(folder, made, sink, out=LAKE)
    assert sink.files == {}


async def test_a_run_on_other_ground_takes_back_what_the_one_before_put(folder: Path) -> None:
    sink = MemorySink(dies_after=3)
    with pytest.raises(SinkFailed):
        await ran(folder, world(), sink, out=LAKE)
    assert len(sink.files) == 3
    first = journal(folder).run
    changed = msgspec.structs.replace(first, id="rel-2", keys="others")
    anew, goes_on = await taken_up(folder / "runs", changed, first.day, sink)
    assert (anew.run.id, goes_on, sink.files) == ("rel-2", False, {})


async def test_answers_that_change_for_ever_end_the_run_and_nothing_is_released(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "LOOKS_MAX", 5)
    made = world()
    flips = iter([Consent.GIVEN, Consent.UNSAID] * 100)

    def flip() -> None:
        made.said[subject(3)] = next(flips)

    sink = MemorySink(meanwhile=dict.fromkeys(range(100), flip))
    with pytest.raises(ReleaseRefused, match="changed each of the 5 times"):
        await ran(folder, made, sink, out=LAKE)
    assert sink.files == {}


@pytest.mark.parametrize("format_", list(Format))
async def test_a_part_is_made_anew_in_every_format(folder: Path, format_: Format) -> None:
    made = world()
    made.meanwhile = lambda: says_no(made, 7)
    journal_of(folder, run_of(folder, format_=format_, held=RULES))
    assert verify(Path(await ran(folder, made)), SIGNER.verifier).rows == 44


async def test_people_whose_batch_is_in_quarantine_are_not_looked_at(folder: Path) -> None:
    made = world()

    def scan(strings: Any, _name: str) -> list[list[Found]]:
        return [[Found("email", 0, len(one))] if one == "item 3" else [] for one in strings]

    made.meanwhile = lambda: says_no(made, 4)
    path = Path(await ran(folder, made, treats=treater(held=RULES, scan=scan)))
    assert items(files_in(path)) == without(*range(1, 11))
    assert verify(path, SIGNER.verifier).document["rows"]["stayed"] == {}


async def test_what_names_people_stays_in_the_cell_and_only_while_the_run_needs_it(folder: Path) -> None:
    path = Path(await ran(folder, world()))
    everything = b"".join(files_in(path).values())
    assert subject(7).encode() not in everything
    held = b"".join(one.read_bytes() for one in (folder / "runs").rglob("*") if one.is_file())
    assert subject(7).encode() not in held


@pytest.mark.parametrize("out", [None, LAKE])
async def test_a_disk_that_is_full_at_whatever_step_leaves_no_half_release_and_the_run_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, out: str | None
) -> None:
    """Every step ends with a sync, which is where it is full here."""
    steps, everybody = 0, [number for number in range(1, 13) if number != 7]
    while True:
        left, own = iter(range(steps)), folder / str(steps)

        def sync(_number: int, left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, "No space left on device")

        made, sink = world(12), MemorySink() if out else FolderSink(own / "out")
        made.shards = {SHARD: made.shards[SHARD]}
        made.meanwhile = functools.partial(says_no, made, 7)
        monkeypatch.setattr(os, "fsync", lambda _number: None)
        journal(own, out)
        monkeypatch.setattr(os, "fsync", sync)
        try:
            await ran(own, made, sink, out=out)
            break
        except OSError as exc:
            if exc.errno != errno.ENOSPC:
                raise
        monkeypatch.setattr(os, "fsync", lambda _number: None)
        assert named(own, sink) in ([], everybody)
        await ran(own, made, sink, out=out)
        assert named(own, sink) == everybody
        assert len(made.recorded) == 1
        steps += 1
    assert steps > 15


def named(folder: Path, sink: MemorySink | FolderSink) -> list[int]:
    """Rows of the release, none where there is none by its name."""
    place = folder / "out" / "rel-1"
    found = sink.files if isinstance(sink, MemorySink) else files_in(place) if place.exists() else {}
    return items(found) if MANIFEST in found else [0] * (isinstance(sink, FolderSink) and bool(found))
