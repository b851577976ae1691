"""`domicile ledger prove`: a file by which somebody who knows the log's key sees that an event stands in it."""

from pathlib import Path

import click

from foundation.ledger import payloads
from foundation.ledger.entries import committed
from foundation.ledger.files import LogDamaged
from foundation.ledger.proofs import Proof, RecordProof
from foundation.ledger.reading import Found, LogReader, published
from foundation.ledger.records import FoundRecord, record_of, records_of
from foundation.ledger.witness.cosignatures import verified
from foundation.settings import SettingsError
from gateway.cli.ledger.which import Asked, Which, told, which_option
from gateway.cli.options import json_option, print_json


@click.command()
@click.argument("log")
@click.argument("event")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Default: entry-<index>.tlog-proof, here.")
@click.option(
    "--payload",
    "payload_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what the entry commits to besides: salt and payload, for those who may see it.",
)
@which_option
@json_option
def prove(log: str, event: str, out: Path | None, payload_file: Path | None, which: Asked, as_json: bool) -> None:
    """Write the proof that EVENT, by its id, stands in LOG.

    The file has the entry, its place, the hashes up to the root and a signed checkpoint (https://c2sp.org/tlog-proof): the newest one that
    the wide quorum has cosigned, where the entry stands under it, else that of the near quorum, else the log's newest. The log is read from
    its end, so an old event takes longer to find than a new one.

    A record that stands with others under one entry is found in the log's own folder alone. Its proof has the record itself, whole, and the
    hashes up to the root that the entry has, before the entry's own proof.
    """
    chosen = which.log(log)
    with told():
        reader = chosen.reader()
        found, record = _found(chosen, reader, event)
        proof = _best(chosen, found)
        shown: Proof | RecordProof = proof if record is None else record.prove(proof)
        checkpoint = shown.verify(chosen.verifier)
        by = list(verified(proof.checkpoint, chosen.witnesses))
        opening = None if chosen.folder is None else payloads.read(chosen.folder, found.index)
    if payload_file is not None and opening is None:
        raise SettingsError(f"the payload of entry {found.index} is not here")
    chosen.state_reading("prove", found.index, 1, payloads=payload_file is not None or record is not None)
    number = "" if record is None else f"-record-{record.number}"
    target = out or Path(f"entry-{found.index}{number}.tlog-proof")
    _write(target, shown.render())
    if payload_file is not None and opening is not None:
        _write(payload_file, committed(opening))
    if as_json:
        place = {"origin": checkpoint.origin, "size": checkpoint.size, "index": found.index}
        under = {} if record is None else {"record": record.number, "of": len(record.under)}
        print_json({**place, **under, "file": str(target), "cosigned_by": by})
        return
    cosigned = f", cosigned by {', '.join(by)}" if by else ""
    under_it = "" if record is None else f"record {record.number} of {len(record.under):,} under "
    click.echo(f"{under_it}entry {found.index} of {checkpoint.size:,} in {checkpoint.origin}{cosigned}: {target}")


def _found(chosen: Which, reader: LogReader, event: str) -> tuple[Found, FoundRecord | None]:
    """The entry of an event, or that under which its record stands, and the record then. Raises what reading a log raises,
    SettingsError."""
    found = reader.find(event)
    if found is not None:  # a sheaf is found by the event of its last record, which stands under it
        under = () if chosen.folder is None else records_of(chosen.folder, found)
        return found, next((one for one in under if one.single.id == event), None)
    record = None if chosen.folder is None else record_of(reader, chosen.folder, event)
    if record is None:
        where = "" if chosen.folder is not None else "; records under an entry are found in the log's own folder"
        raise SettingsError(f"no entry of {reader.checkpoint.origin} is of event {event}{where}")
    return record.found, record


def _best(chosen: Which, found: Found) -> Proof:
    """Under the checkpoint that most witnesses stand behind. Raises what reading a log raises."""
    for note in published(chosen.fetch):
        reader = chosen.reader(note)
        if reader.checkpoint.size > found.index:
            return reader.prove(found)
    raise LogDamaged(f"the log's newest checkpoint does not have entry {found.index}")


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as exc:
        raise SettingsError(f"{path} cannot be written ({exc.strerror})") from exc
