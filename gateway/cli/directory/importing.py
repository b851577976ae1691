"""`domicile directory import`: existing users out of a file, blinded here, placed in batches; resumable."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from deploy.local.layout import Paths
from directory.bulk.answers import BatchAnswer, Refused
from directory.bulk.packed import PACKED, PACKED_ROWS_MAX, PackedBatch, PackedCheck
from foundation.clock import SystemClock
from foundation.settings import SettingsError
from gateway.cli.client import Directory, addresses, blinder_of
from gateway.cli.directory.lines import Records
from gateway.cli.directory.progress import Progress, anew, digest_of, keep, options_of, refusals, taken_up, told_in
from gateway.cli.directory.rows import FIELDS, Malformed, Reader, Taken, batches, mapping, passed
from gateway.cli.directory.ticker import Ticker
from gateway.cli.options import json_option, print_json, print_table
from gateway.cli.reach import Reach, Stack, reach_option

BATCH_S_MAX = 60.0
AT_ONCE = 2
TRIES_MAX = 6
LOOK_S_MIN, LOOK_S_MAX = 0.05, 0.5
"""Between two looks at who waits: soon at first, since the last fences stand a moment after the last answer."""


class Batch(msgspec.Struct, frozen=True):
    """One on its way; `answer` is None where none of its rows could be sent."""

    taken: Taken
    answer: "Future[BatchAnswer] | None"


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="FIELD=COLUMN",
    help=f"Where a field comes from. Fields: {', '.join(FIELDS)}.",
)
@click.option(
    "--set",
    "constants",
    multiple=True,
    metavar="FIELD=VALUE",
    help="A field that is the same for every row, such as services=orders,records.",
)
@click.option(
    "--blinding-keyring",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --directory: the keyring that the gateways blind by.",
)
@click.option("--reason", default="bulk import", show_default=True, help="It stands in everybody's history.")
@click.option("--dry-run", is_flag=True, help="Only say what would become of the rows; nothing is stored.")
@click.option(
    "--errors",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where refused rows go (NDJSON); default: FILE.errors.ndjson. Those of a dry run go beside it, to ….dry-run.ndjson.",
)
@click.option(
    "--progress-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where a run that is broken off is taken up again; default: FILE.import.json.",
)
@click.option("--batch-rows", type=click.IntRange(1, PACKED_ROWS_MAX), default=PACKED_ROWS_MAX, show_default=True)
@click.option(
    "--wait-s",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    help="How long to wait for the cells to raise their fences.",
)
@reach_option
@json_option
def import_(
    file: Path, maps: tuple[str, ...], constants: tuple[str, ...], blinding_keyring: Path | None, reason: str, dry_run: bool,
    errors: Path | None, progress_file: Path | None, batch_rows: int, wait_s: float, reach: Reach, as_json: bool,
) -> None:  # fmt: skip
    """Place the existing users of FILE.

    FILE is .csv or .ndjson; each goes where the rules allow.

    Identifiers are blinded here: the directory sees lookup keys only. Who is placed already is counted and left as they are, so the
    command may be repeated; one that was broken off goes on where it was.
    """
    reader = _reader(reach, maps, constants, blinding_keyring)
    options = options_of((*maps, *constants, str(batch_rows)))
    kept = progress_file or file.with_name(f"{file.name}.import.json")
    progress = Progress(options) if dry_run else taken_up(kept, options)
    told = told_in(file, errors, dry_run=dry_run)
    records = Records(file)
    if progress.rows and passed(records, progress.rows) != progress.sent:
        raise SettingsError(
            f"some of the {progress.rows:,} rows that were sent are not the same any more; {anew(kept)}"
        )
    if not dry_run:
        _begun(progress, file, kept, reach, reason)
    clock = SystemClock()
    started, before = clock.monotonic_s(), progress.rows
    coming = batches(records, reader, batch_rows, first=progress.rows)
    with Ticker(clock) as ticker:
        with refusals(told, progress) as refused:
            for done in _sent(coming, progress, reach, dry_run=dry_run):
                answer = None if done.answer is None else done.answer.result()
                _write(refused, done.taken.malformed, answer)
                progress.take(done.taken, answer, refused.tell())
                if not dry_run:
                    keep(kept, progress)
                ticker.tell(_line(progress, before, clock.monotonic_s() - started))
        seconds = clock.monotonic_s() - started
        waiting = 0 if dry_run else _waited(reach, progress, wait_s, clock, ticker)
    _say(
        progress, told, seconds=seconds, waiting=waiting, dry_run=dry_run, rows=progress.rows - before, as_json=as_json
    )
    if waiting:
        raise SettingsError(
            f"{waiting} people wait for their cells still; `domicile directory list --in-state reserved` names them"
        )


def _reader(reach: Reach, maps: tuple[str, ...], constants: tuple[str, ...], keyring: Path | None) -> Reader:
    """Raises UsageError, SettingsError."""
    regions: dict[str, str] = {}
    if isinstance(reach, Stack):
        regions = {name: region["issuer"] for name, region in addresses(reach.state).regions.items()}
        keyring = keyring or Paths(reach.state.absolute()).keyring("blinding")
    if keyring is None:
        raise click.UsageError("identifiers are blinded here: --blinding-keyring FILE")
    try:
        return Reader(mapping(maps, constants, regions), blinder_of(keyring))
    except ValueError as exc:
        raise click.UsageError(str(exc)) from exc


def _begun(progress: Progress, file: Path, kept: Path, reach: Reach, reason: str) -> None:
    """A job for what is to be sent: the one before where the file is what it was, so that a batch that was sent has its effect once.
    Raises SettingsError."""
    found = digest_of(file)
    if not progress.jobs or progress.file != found:
        progress.file = found
        progress.begin(Directory(reach).post("/bulk", {"reason": reason})["job_id"])
        keep(kept, progress)


def _sent(coming: Iterator[Taken], progress: Progress, reach: Reach, *, dry_run: bool) -> Iterator[Batch]:
    """Batches in their order, a few on their way at a time. What stops the reading is raised after the last."""
    waiting: deque[Batch] = deque()
    number, stopped = progress.batches, None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for taken in coming:
                answer = None
                if taken.good is not None:
                    rows = taken.good
                    body: Any = PackedCheck(rows=rows) if dry_run else PackedBatch(number=number, rows=rows)
                    path = "/bulk/check" if dry_run else f"/bulk/{progress.jobs[-1]}/batches"
                    answer = pool.submit(_post, reach, path, msgspec.msgpack.encode(body))
                waiting.append(Batch(taken, answer))
                number += 1
                if len(waiting) > AT_ONCE:
                    yield waiting.popleft()
        except SettingsError as exc:
            stopped = exc
        yield from waiting
    if stopped is not None:
        raise stopped


def _post(reach: Reach, path: str, body: bytes) -> BatchAnswer:
    """Repeats what may succeed later: the same number with the same rows has one effect. Raises SettingsError."""
    for attempt in range(TRIES_MAX):
        try:
            answer = Directory(reach).post_bytes(path, body, PACKED, timeout_s=BATCH_S_MAX)
            return msgspec.convert(answer, BatchAnswer)
        except SettingsError as exc:
            if attempt + 1 == TRIES_MAX or not _may_pass(str(exc)):
                raise SettingsError(f"{exc} (run the same command again to go on)") from exc
            time.sleep(min(0.5 * 2**attempt, 5.0))
    raise SettingsError("a batch was never sent")


def _may_pass(refusal: str) -> bool:
    return refusal.startswith("503 ") or "does not answer" in refusal


def _write(errors: BinaryIO, malformed: list[Malformed], answer: BatchAnswer | None) -> None:
    refused = [Refused(row=one.row, code="malformed_row", detail=one.detail) for one in malformed]
    refused += answer.refused if answer is not None else ()
    errors.writelines(msgspec.json.encode(one) + b"\n" for one in sorted(refused, key=lambda one: one.row))
    errors.flush()


def _line(progress: Progress, before: int, seconds: float) -> str:
    rate = (progress.rows - before) / max(seconds, 1e-9)
    return f"{progress.rows:,} rows, {progress.placed:,} placed, {progress.refused:,} refused, {rate:,.0f} rows/s"


def _waited(reach: Reach, progress: Progress, wait_s: float, clock: SystemClock, ticker: Ticker) -> int:
    """How many still wait for their cells after at most `wait_s`."""
    deadline, pause_s = clock.monotonic_s() + wait_s, LOOK_S_MIN
    while True:
        waiting = sum(int(Directory(reach).get(f"/bulk/{job}")["waiting"]) for job in progress.jobs)
        if waiting == 0 or clock.monotonic_s() >= deadline:
            return waiting
        ticker.tell(f"{waiting:,} people wait for their cells")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LOOK_S_MAX)


def _say(
    progress: Progress, told: Path, *, seconds: float, waiting: int, dry_run: bool, rows: int, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "rows": progress.rows, "placed": progress.placed, "known": progress.known, "refused": progress.refused,
                "cells": progress.cells, "waiting": waiting, "job_id": progress.jobs[-1] if progress.jobs else None,
                "seconds": round(seconds, 3), "dry_run": dry_run, "errors": str(told),
            }
        )  # fmt: skip
        return
    verb = "would be placed" if dry_run else "placed"
    print_table(("cell", verb), list(progress.cells.items()))
    click.echo(
        f"{progress.rows:,} rows: {progress.placed:,} {verb}, {progress.known:,} known, {progress.refused:,} refused; "
        f"{rows / max(seconds, 1e-9):,.0f} rows/s"
    )
    if progress.refused:
        click.echo(f"refused rows are in {told}")
