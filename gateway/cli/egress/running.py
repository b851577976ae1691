"""Releases of one command: each table of each cell a run of its own, begun together and ended one after the other."""

import datetime
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from cells.egress.formats import Format
from cells.egress.keys import check_of
from cells.egress.runs import Journal, Part, Run, discard, journals, taken_up
from cells.egress.sinks import sink_of
from cells.egress.sinks.port import Sink, is_remote
from cells.records.contracts import Contract
from foundation.clock import SystemClock
from foundation.settings import SettingsError
from foundation.words import DestinationId
from gateway.cli.egress.means import contract_digest, keys, today, treater
from gateway.cli.egress.which import Which, checked, told
from routing_rules.rules import Rules


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a command was asked for. `out`: an absolute folder, or a URL."""

    tables: tuple[str, ...]
    to: DestinationId
    purpose: str
    format: Format
    out: str
    part_rows: int


class Wanted(msgspec.Struct, frozen=True):
    """One of its releases, before anything is begun. `rules`: those that held then."""

    which: Which
    rules: Rules
    contract: Contract
    run: Run
    sink: Sink

    @property
    def held(self) -> list[Journal]:
        """Runs that were asked for alike."""
        return [one for one in journals(Path(self.which.egress.folder)) if one.run.same_request(self.run)]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one. `failed`: why it was not released, None where it was; `said` is what it released then."""

    cell: str
    table: str
    failed: str | None = None
    said: dict[str, Any] | None = None


async def ran(cells: Sequence[Which], request: Request, *, anew: bool) -> list[Outcome]:
    """Each release, whatever became of the others. What cannot be begun at all begins nothing. Raises SettingsError."""
    async with told():
        wanted: list[Wanted] = []
        for which in cells:
            wanted += await _wanted(which, request, wanted[-1].rules if wanted else None)
        if anew:
            for one in wanted:
                await _discarded(one)
        begun = [(one, await _begun(one, together)) for together in (_together(wanted),) for one in wanted]
    found = []
    for one, journal in begun:
        try:
            async with told():
                found.append(await _released(one, journal, request.part_rows))
        except SettingsError as exc:
            found.append(Outcome(cell=one.run.cell, table=one.run.table, failed=str(exc)))
    return found


async def _wanted(which: Which, request: Request, held: Rules | None) -> list[Wanted]:
    from cells.egress.worlds import new_release_id, rules_of

    now_s = SystemClock().unix_s()
    async with which.directory() as directory:
        rules = await rules_of(directory, held)
    to = checked(request.to, request.purpose, rules)
    if is_remote(request.out) and not to.takes(request.out):
        raise SettingsError(f"destinations.{request.to} of policy has no sink that {request.out} is, or lies below")
    sink = sink_of(request.out, which.egress.sink_token_files)
    return [
        Wanted(
            which,
            rules,
            contract,
            Run(
                id=new_release_id(),
                cell=which.settings.cell,
                table=contract.table,
                destination=request.to,
                purpose=request.purpose,
                format=request.format,
                out=request.out,
                day=today(now_s).isoformat(),
                contract=contract_digest(contract),
                rules=rules.digest,
                keys=check_of(keys(which, request.purpose)),
                begun_at=now_s,
            ),
            sink,
        )
        for contract in map(which.contract, request.tables)
    ]


def _together(wanted: Sequence[Wanted]) -> str:
    """What runs of this command have in common: of an earlier one of which something is unfinished, else a new word."""
    unfinished = (journal.run.together for one in wanted for journal in one.held if not journal.released)
    return next(unfinished, secrets.token_hex(8))


async def _begun(one: Wanted, together: str) -> Journal:
    """The run to go on with, or one that is released already while others of its command were not.

    Raises SettingsError, SinkFailed, OSError.
    """
    for journal in one.held:
        if journal.released and journal.run.together == together:
            return journal
    wanted = msgspec.structs.replace(one.run, together=together)
    journal, goes_on = await taken_up(Path(one.which.egress.folder), wanted, wanted.day, one.sink)
    if goes_on:
        sys.stderr.write(f"{journal.run.id} goes on after {len(journal.parts())} parts\n")
    return journal


async def _discarded(one: Wanted) -> None:
    for journal in one.held:
        if not journal.released:
            with journal.locked():
                await discard(journal, one.sink)


async def _released(one: Wanted, journal: Journal, part_rows: int) -> Outcome:
    from cells.egress import release
    from cells.egress.worlds import rules_of

    which, stated, clock = one.which, journal.run, SystemClock()
    if journal.released:
        return Outcome(cell=stated.cell, table=stated.table, said=_said(journal, stated.place))
    with journal.locked():
        async with which.directory() as directory:
            rules = await rules_of(directory, one.rules)
            day = datetime.date.fromisoformat(stated.day)
            made = treater(which, one.contract, stated.destination, stated.purpose, rules, day)
            async with which.world(directory, rules, one.contract, stated.purpose, clock) as world:
                place = await release.run(journal, made, world, one.sink, part_rows=part_rows, told=_progress)
    return Outcome(cell=stated.cell, table=stated.table, said=_said(journal, place))


def _progress(part: Part) -> None:
    held = f", {len(part.held)} batches in quarantine" if part.held else ""
    sys.stderr.write(f"part {part.number} of {part.shard}: {part.rows:,} of {part.read:,} rows{held}\n")


def _said(journal: Journal, place: str) -> dict[str, Any]:
    report = journal.report()
    if report is None:
        raise SettingsError(f"{journal.folder} has no report")
    stayed = [f"{count:,} rows: {ground}" for ground, count in report["stayed"].items()]
    stayed += [f"{name}: {why}" for name, why in report["unmade"].items()]
    stayed += [f"{one['rows']:,} rows in quarantine, {one['found']}" for one in report["held"]]
    return {
        "id": journal.run.id,
        "cell": journal.run.cell,
        "table": journal.run.table,
        "folder": place,
        "rows": report["rows"],
        "stayed": stayed,
        "fields": report["fields"],
        "looked_s": report["looked_s"],
    }
