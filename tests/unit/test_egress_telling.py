"""What a cell tells of its runs: how far, what stayed and why, what is in quarantine; and keys of rows to nobody by HTTP."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from cells.egress import release
from cells.egress.release import ReleaseRefused
from cells.egress.runs import Journal
from cells.egress.sinks import sink_of
from cells.egress.telling import RunTold, newest, one_run
from foundation.words import ShardId
from tests.stands.egress import Found, Killed, MemoryWorld, journal_of, row, rules, run_of, treater

pytestmark = pytest.mark.anyio
PLANTED = "planted-7f3a@leak.example"
RULES = rules()


def naive_scan(strings: Any, _name: str) -> list[list[Found]]:
    return [[Found("email", 0, len(one))] if "@" in one else [] for one in strings]


def world(*dirty: int, rows: int = 30, **more: Any) -> MemoryWorld:
    """`dirty`: rows that hold an address where the contract says that there is none. Ten rows are a batch."""
    made = [row(number, **({"item": PLANTED} if number in dirty else {})) for number in range(1, rows + 1)]
    return MemoryWorld({ShardId("s1"): made}, held=RULES, **more)


async def ran(journal: Journal, made: MemoryWorld) -> str:
    treats = treater(held=RULES, scan=naive_scan)
    return await release.run(journal, treats, made.world(), sink_of(journal.run.out, {}), part_rows=10)


def asked(folder: Path, run_id: str = "rel-1") -> RunTold:
    found = one_run(folder / "runs", run_id)
    assert found is not None
    return found


async def test_a_run_is_told_with_its_owners_report_while_it_goes_on_and_once_it_is_released(folder: Path) -> None:
    made = world(12, pages_until_death=2)
    journal = journal_of(folder, run_of(folder, held=RULES))
    with pytest.raises(Killed):
        await ran(journal, made)
    before = asked(folder)
    assert (before.state, before.rows, before.held) == ("unfinished", 10, 10)
    made.pages_until_death = None
    place = await ran(Journal(journal.folder), made)
    after = asked(folder)
    assert (after.state, after.rows, after.held, after.folder) == ("released", 20, 10, place)
    assert after.report is not None
    assert [(one.shard, one.rows, one.found) for one in after.report.held] == [("s1", 10, {"item": {"email": 1}})]
    assert after.report.fields["shadow"] == {"dropped:unclassified": 20}
    assert after.report.fields["illness"] == {"dropped:law": 20}


async def test_what_is_told_by_http_has_neither_a_value_nor_a_key_of_a_row(folder: Path) -> None:
    made = world(12)
    await ran(journal_of(folder, run_of(folder, held=RULES)), made)
    told = msgspec.json.encode(asked(folder)).decode()
    assert "email" in told
    assert PLANTED not in told
    assert not [one["subject_id"] for one in made.shards[ShardId("s1")] if str(one["subject_id"]) in told]


async def test_runs_are_told_newest_first_and_no_more_than_asked_for(folder: Path) -> None:
    for number in range(1, 4):
        stated = msgspec.structs.replace(run_of(folder, run_id=f"rel-{number}", held=RULES), begun_at=float(number))
        journal_of(folder, stated)
    assert [one.id for one in newest(folder / "runs", 2).runs] == ["rel-3", "rel-2"]
    assert one_run(folder / "runs", "rel-4") is None


async def test_where_every_batch_is_in_quarantine_the_owner_is_told_where_and_for_what(folder: Path) -> None:
    made = world(3, 15, rows=20)
    with pytest.raises(ReleaseRefused) as refused:
        await ran(journal_of(folder, run_of(folder, held=RULES)), made)
    first = made.shards[ShardId("s1")][0]["subject_id"]
    assert f"no row may go: 10 rows of s1 from {first} {first} on are in quarantine: email in item; " in str(
        refused.value
    )
    assert PLANTED not in str(refused.value)
    assert not (folder / "out" / "rel-1").exists()
