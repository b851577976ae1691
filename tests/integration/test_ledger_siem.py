"""Events on their way to a SIEM's collector over HTTP: each arrives whatever it does, and what it does holds up nobody else."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from foundation.clock import SystemClock
from foundation.ledger import metrics
from foundation.ledger.export import sinks
from foundation.ledger.export.settings import ExportSettings
from foundation.ledger.export.worker import export
from foundation.ledger.log import Log
from foundation.problems import Code, refuse
from foundation.tasks import Backoff
from gateway.cli.main import cli
from tests.stands.collector import Collector, collecting
from tests.stands.ledger import SIGNER, rows, unsynced, written
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

SIZE = 700
"""Entries: two batches and a part of one."""


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits are short, and the disk's own pace is not what is looked at."""
    unsynced(monkeypatch)
    monkeypatch.setattr(Backoff, "next_s", lambda _: 0.01)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as made:
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Path:
    written(tmp_path / "log", SIZE)
    return tmp_path / "log"


class Announced:
    """What was said of exports that begin; it cannot be recorded as often as `away` says."""

    def __init__(self, away: int) -> None:
        self.told: list[dict[str, Any]] = []
        self.refused = 0
        self._away = away

    async def __call__(self, details: dict[str, Any]) -> None:
        if self.refused < self._away:
            self.refused += 1
            raise refuse(Code.NOT_READY, "away")
        self.told.append(details)


@asynccontextmanager
async def exporting(log: Path, *exports: ExportSettings, away: int = 0) -> AsyncIterator[Announced]:
    announced = Announced(away)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(export(log, SIGNER.verifier, exports, announced, SystemClock()))
        yield announced
        task.cancel()


def to(collector: Collector, **more: object) -> ExportSettings:
    return ExportSettings(name="siem", url=collector.url, **more)  # type: ignore[arg-type]


def value(metric: object, sink: str) -> float:
    return float(metric.labels(sink)._value.get())  # type: ignore[attr-defined]


async def test_every_entry_arrives_and_new_ones_follow(log: Path, collector: Collector, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("letmein\n")
    async with exporting(log, to(collector, token_file=str(token))):
        await eventually(lambda: len(collector.taken) == SIZE)
        with Log(log, SIGNER) as writer:
            writer.append({"s1": rows(SIZE + 1, 5)})
            writer.publish()
        await eventually(lambda: len(collector.taken) == SIZE + 5)
        await eventually(lambda: value(metrics.EXPORT_BEHIND, "siem") == 0)
        assert value(metrics.EXPORTED, "siem") == SIZE + 5
    assert collector.sequence == list(range(SIZE + 5))
    assert len(set(collector.ids)) == SIZE + 5
    assert collector.authorizations == {"Bearer letmein"}
    assert "operator:test" not in json.dumps(collector.taken)
    assert collector.keys == [f"ledger.test/log/{a}-{b}" for a, b in [(0, 256), (256, 512), (512, 700), (700, 705)]]


@pytest.mark.parametrize("fault", [500, 503, 429, 401, 404, 302, 400, "lost"])
async def test_a_collector_that_fails_is_given_the_same_batch_until_it_has_it(
    log: Path, collector: Collector, fault: int | str
) -> None:
    collector.script = [200, fault, fault, fault]
    failures = value(metrics.EXPORT_FAILURES, "siem")
    async with exporting(log, to(collector)):
        await eventually(lambda: len(set(collector.ids)) == SIZE)
    assert collector.sequence == list(range(SIZE))
    assert value(metrics.EXPORT_FAILURES, "siem") == failures + 3
    assert [key.rsplit("/")[-1] for key in collector.keys] == ["0-256", *["256-512"] * 4, "512-700"]
    assert len(collector.ids) == SIZE + (3 * 256 if fault == "lost" else 0)


async def test_a_collector_that_is_not_there_gets_everything_when_it_is(log: Path, collector: Collector) -> None:
    port, collector.port = collector.port, 1
    failures = value(metrics.EXPORT_FAILURES, "siem")
    async with exporting(log, to(collector)):
        await eventually(lambda: value(metrics.EXPORT_FAILURES, "siem") > failures + 2)
        assert value(metrics.EXPORT_BEHIND, "siem") == SIZE
    collector.port = port
    async with exporting(log, to(collector)):
        await eventually(lambda: len(collector.taken) == SIZE)


async def test_a_collector_that_stalls_holds_up_neither_another_sink_nor_the_log(
    log: Path, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector.script = ["stalled"] * 10_000
    out = tmp_path / "out"
    async with exporting(log, to(collector), ExportSettings(name="beside", file=str(out))):
        await eventually(lambda: out.exists() and len(out.read_bytes().splitlines()) == SIZE)
        with Log(log, SIGNER) as writer:
            writer.append({"s1": rows(SIZE + 1, 5)})
            writer.publish()
        await eventually(lambda: len(out.read_bytes().splitlines()) == SIZE + 5)
        await eventually(lambda: collector.stalled)
        assert collector.taken == []
        assert value(metrics.EXPORT_BEHIND, "siem") > 0
        collector.script.clear()
        collector.released.set()
        await eventually(lambda: len(collector.taken) == SIZE + 5)
    assert collector.sequence == list(range(SIZE + 5))


async def test_no_answer_in_time_is_no_answer(log: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "POST_S_MAX", 0.05)
    collector.script = ["stalled"] * 3
    async with exporting(log, to(collector)):
        await eventually(lambda: collector.stalled == 3)
        monkeypatch.setattr(sinks, "POST_S_MAX", 15.0)
        await eventually(lambda: len(collector.taken) == SIZE)


async def test_what_is_too_large_comes_in_parts(log: Path, collector: Collector) -> None:
    collector.bytes_max = 20_000
    async with exporting(log, to(collector)):
        await eventually(lambda: len(set(collector.ids)) == SIZE)
    assert collector.sequence == list(range(SIZE))
    assert len(collector.ids) == SIZE


async def test_another_process_goes_on_where_the_last_one_stood(log: Path, collector: Collector) -> None:
    async with exporting(log, to(collector)):
        await eventually(lambda: len(collector.taken) == SIZE)
        await eventually(
            lambda: (log / "export/siem.position").exists() and b":700" in (log / "export/siem.position").read_bytes()
        )
    with Log(log, SIGNER) as writer:
        writer.append({"s1": rows(SIZE + 1, 3)})
        writer.publish()
    async with exporting(log, to(collector)):
        await eventually(lambda: len(set(collector.ids)) == SIZE + 3)
    assert collector.keys[-1] == "ledger.test/log/700-703"
    assert len(collector.ids) == SIZE + 3


async def test_nothing_is_given_out_before_it_is_recorded_that_it_will_be(log: Path, collector: Collector) -> None:
    secret = to(collector, payloads=True, country="DE")
    secret = msgspec.structs.replace(secret, url=f"{collector.url}?token=secret")
    async with exporting(log, secret, away=1 << 30) as announced:
        await eventually(lambda: announced.refused > 5)
        assert (announced.told, collector.keys) == ([], [])
    async with exporting(log, secret, away=2) as announced:
        await eventually(lambda: len(collector.taken) == SIZE)
        assert announced.told == [{"export": "siem", "to": collector.url, "format": "ocsf", "payloads": True}]


async def command(*words: str | Path) -> tuple[int, str]:
    done = await asyncio.to_thread(CliRunner().invoke, cli, ["ledger", *map(str, words)])
    return done.exit_code, done.output


async def test_the_command_gives_out_to_a_url_and_says_where_to_go_on(
    log: Path, collector: Collector, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(SIGNER.verifier.text)
    words = ("export", log, "--key", tmp_path / "key", "--to", collector.url)
    collector.script = [200, *[503] * 5]
    status, text = await command(*words)
    assert (status, "go on with --since 256" in text, "status 503" in text) == (1, True, True), text
    status, text = await command(*words, "--since", "256")
    assert (status, "the next is 700" in text) == (0, True), text
    assert collector.sequence == list(range(SIZE))
    assert len(collector.ids) == SIZE
    assert (await command(*words, "--payloads"))[0] == 2
    assert (await command(*words, "--since", "701"))[0] == 1
