"""`domicile ledger show`: the newest entries of a log."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec

from foundation.ledger.beside import payload, speaking_of
from foundation.ledger.entries import is_sheaf
from foundation.ledger.reading import Found
from foundation.ledger.records import FoundRecord, records_of
from foundation.settings import SettingsError
from gateway.cli.directory.subjects import parsed_subject
from gateway.cli.ledger import standing
from gateway.cli.ledger.which import Asked, Which, told, which_option
from gateway.cli.options import json_option, print_json, print_table, utc

SHOWN_USUAL = 20
SHOWN_MAX = 100_000


@click.command()
@click.argument("log")
@click.option(
    "--limit", type=click.IntRange(1, SHOWN_MAX), default=SHOWN_USUAL, show_default=True, help="How many entries."
)
@click.option("--subject", help="Only entries whose payload speaks of this subject id.")
@which_option
@json_option
def show(log: str, limit: int, subject: str | None, which: Asked, as_json: bool) -> None:
    """Show the newest entries of LOG, and how many of all stand under each quorum of its witnesses.

    Who did what to whom is in the payloads, which lie in the log's own folder and may have been erased; behind a URL there are none.
    Many records can stand under one entry (a sheaf); --json shows them, --subject those of the subject.
    Reading a log is recorded in it: by its service behind a URL, and for a running stack by the process that keeps the log.
    """
    chosen = which.log(log)
    with told():
        reader = chosen.reader()
        newest = reader.newest() if subject is None else speaking_of(reader, _own(chosen), parsed_subject(subject))
        found = [described(one, chosen.folder, subject) for one in islice(newest, limit)]
        quorums = standing.standings(chosen, reader)
    checkpoint = reader.checkpoint
    first = found[-1]["index"] if found else checkpoint.size
    chosen.state_reading("show", first, len(found), payloads=chosen.folder is not None)
    if as_json:
        print_json(
            {
                "origin": checkpoint.origin,
                "size": checkpoint.size,
                "root": checkpoint.root.hex(),
                "cosigned": standing.as_json(chosen, quorums),
                "entries": found,
            }
        )
        return
    click.echo(f"{checkpoint.origin}: {checkpoint.size:,} entries, root {checkpoint.root.hex()}")
    for line in standing.lines(chosen, quorums, checkpoint.size):
        click.echo(line)
    rows = [row for one in found for row in _rows(one, with_records=subject is not None)]
    print_table(("entry", "at (UTC)", "kind", "from", "event", "actor", "subject"), rows)


def _rows(one: dict[str, Any], *, with_records: bool) -> Iterator[tuple[object, ...]]:
    """Of the table: an entry's own, and those of the records under it."""
    kind = one["kind"] if one["count"] is None else f"{one['kind']} of {one['count']:,}"
    event = one["id"] or f"(event {one['event'][:16]}…)"
    whence = f"{one['source']} {one['position']}"
    yield one["index"], utc(one["at"]), kind, whence, event, one["actor"], one["subject_id"]
    for under in (one["records"] or ()) if with_records else ():
        number = f"{one['index']}/{under['number']}"
        yield number, utc(under["at"]), under["kind"], whence, under["id"], under["actor"], under["subject_id"]


def _own(chosen: Which) -> Path:
    """Raises SettingsError."""
    if chosen.folder is None:
        raise SettingsError("behind a URL there are no payloads, and nothing else says whom an entry is about")
    return chosen.folder


def described(found: Found, folder: Path | None, subject: str | None = None) -> dict[str, Any]:
    """As JSON has it; id, actor, subject and details are None where the payload is not here, `count` and `records` where it is no sheaf.
    `subject`: of records those that speak of them. Raises what `payload` raises."""
    entry = found.entry
    held = None if folder is None else payload(folder, found)
    records = () if folder is None else records_of(folder, found)
    return {
        "index": found.index,
        "at": entry.at_us / 1_000_000,
        "kind": entry.kind,
        "source": entry.source,
        "position": entry.position,
        "event": entry.event,
        "commitment": entry.commitment,
        "id": held.id if held else None,
        "actor": held.actor if held else None,
        "subject_id": held.subject_id if held else None,
        "details": msgspec.json.decode(held.details) if held else None,
        "count": entry.count or None,
        "root": entry.root or None,
        "records": [_record(one) for one in records if _speaks(one, subject)] if is_sheaf(entry) else None,
    }


def _record(one: FoundRecord) -> dict[str, Any]:
    single = one.single
    return {
        "number": one.number,
        "at": single.at_us / 1_000_000,
        "kind": single.kind,
        "id": single.id,
        "actor": single.actor,
        "subject_id": single.subject_id,
        "details": msgspec.json.decode(single.details),
    }


def _speaks(one: FoundRecord, subject: str | None) -> bool:
    return subject is None or subject.encode() in msgspec.json.encode(one.single)
