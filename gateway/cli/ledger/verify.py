"""`domicile ledger verify`: a whole log, or one proof, held against the log's key."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import click
import msgspec

from foundation.ledger import checkpoints, entries, proofs, sheaves
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import Payload, Single
from foundation.ledger.merkle import ProofRefused
from foundation.ledger.notes import Verifier
from foundation.ledger.proofs import RecordProof
from foundation.ledger.reading import LogReader, published
from foundation.ledger.witness import standing
from foundation.ledger.witness.cosignatures import Cosignature, verified
from foundation.settings import SettingsError
from gateway.cli.ledger.which import Asked, Which, told, which_option
from gateway.cli.options import json_option, print_json, utc

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("target")
@click.option("--since", type=FILE, help="A checkpoint that was believed before: the log must go on from it.")
@click.option("--save", type=FILE, help="Write the checkpoint that was verified, for the next --since.")
@click.option("--payload", "payload_file", type=FILE, help="With a proof: what its entry commits to.")
@click.option(
    "--cosigned",
    type=click.IntRange(min=0),
    help="How many of the witnesses must have cosigned. Default: all that --witness names, none without it.",
)
@which_option
@json_option
def verify(
    target: str,
    since: Path | None,
    save: Path | None,
    payload_file: Path | None,
    cosigned: int | None,
    which: Asked,
    as_json: bool,
) -> None:
    """Verify TARGET: a log, or a .tlog-proof file.

    Of a log every entry, tile and payload is read, and the root computed anew. Without --since that says the log is whole, not that it
    is the one that was shown before. With --witness a checkpoint that so many of them have cosigned must be there, and the log go on from
    it; a proof's own checkpoint must be such. The proof of a record that stands with others under one entry has the record itself, which is
    shown. Exit status 1 where something does not hold.
    """
    proof_file = Path(target)
    with told():
        is_proof = proof_file.is_file()
    if is_proof:
        _verify_proof(proof_file, which, cosigned, payload_file, as_json)
        return
    chosen = which.log(target)
    with told():
        earlier = None if since is None else _checkpoint_in(since, chosen.verifier)
        reader = chosen.reader()
        found = reader.verify(earlier, chosen.folder)
        seen = _seen(chosen, reader, _needed(cosigned, which, len(chosen.witnesses)))
    chosen.state_reading("verify", 0, found.size, payloads=chosen.folder is not None)
    if save is not None:
        try:
            save.write_bytes(reader.signed)
        except OSError as exc:
            raise SettingsError(f"{save} cannot be written ({exc.strerror})") from exc
    if as_json:
        print_json({**msgspec.structs.asdict(found), "cosigned": _as_json(seen)})
        return
    before = "held against no earlier checkpoint" if earlier is None else f"goes on from {earlier.size:,} entries"
    beside = "" if chosen.folder is None else f", {found.payloads:,} payloads fit, {found.without:,} are not here"
    click.echo(f"{found.origin}: {found.size:,} entries, root {found.root}; {before}{beside}")
    if seen is not None:
        click.echo(f"{seen[0].size:,} entries cosigned by {_by(seen[1])}")


Seen: TypeAlias = tuple[Checkpoint, Mapping[str, Cosignature]]
"""A checkpoint that witnesses have cosigned, and what they say."""


def _needed(cosigned: int | None, which: Asked, known: int) -> int:
    """How many cosignatures are asked for. Raises SettingsError where so many witnesses are not known."""
    needed = len(which.witnesses) if cosigned is None else cosigned
    if needed > known:
        raise SettingsError(
            f"--cosigned {needed} goes with the keys of so many witnesses (--witness), and {known} are known"
        )
    return needed


def _seen(chosen: Which, reader: LogReader, needed: int) -> Seen | None:
    """The largest checkpoint that the log gives out with so many cosignatures, from which it does go on. Raises what reading raises, and
    ProofRefused where there is none such, or it is of another history."""
    found = standing.cosigned(published(chosen.fetch), chosen.verifier, chosen.witnesses, max(needed, 1))
    if found is None:
        if needed:
            raise ProofRefused(f"no checkpoint of the log bears {needed} cosignatures of these witnesses")
        return None
    reader.goes_on_from(found[0])
    return found


def _by(by: Mapping[str, Cosignature]) -> str:
    return ", ".join(f"{name} ({utc(said.at_s)} UTC)" for name, said in by.items())


def _as_json(seen: Seen | None) -> dict[str, Any] | None:
    return None if seen is None else {"size": seen[0].size, "by": {name: said.at_s for name, said in seen[1].items()}}


def _verify_proof(file: Path, which: Asked, cosigned: int | None, payload_file: Path | None, as_json: bool) -> None:
    verifier, witnesses = which.verifier(), which.witness_keys()
    needed = _needed(cosigned, which, len(witnesses))
    with told():
        shown = proofs.parse_any(file.read_bytes())
        checkpoint = shown.verify(verifier)
        proof, record = (shown.proof, sheaves.read(shown.record)) if isinstance(shown, RecordProof) else (shown, None)
        by = verified(proof.checkpoint, witnesses)
        if len(by) < needed:
            raise ProofRefused(
                f"the checkpoint bears {len(by)} cosignatures of these witnesses, and {needed} are asked for"
            )
        entry = entries.parse(proof.entry)
        payload = None if payload_file is None else entries.opened(entry, payload_file.read_bytes())
        told_of: dict[str, Any] = {
            "origin": checkpoint.origin,
            "size": checkpoint.size,
            "index": proof.index,
            "cosigned_by": {name: said.at_s for name, said in by.items()},
            "entry": msgspec.to_builtins(entry),
            "payload": _plain(payload),
            "record": _plain(record),
        }
    if as_json:
        print_json(told_of)
        return
    click.echo(
        f"entry {proof.index} of {checkpoint.size:,} in {checkpoint.origin}: {entry.kind}, {utc(entry.at_us / 1e6)} UTC"
    )
    if by:
        click.echo(f"cosigned by {_by(by)}")
    if record is not None:
        click.echo(f"under it {record.kind}, {utc(record.at_us / 1e6)} UTC")
    for one in (payload, record):
        if one is not None:
            click.echo(f"{one.id} by {one.actor}, of {one.subject_id}: {bytes(one.details).decode()}")


def _plain(shown: Payload | Single | None) -> Any:
    return None if shown is None else msgspec.json.decode(msgspec.json.encode(shown))


def _checkpoint_in(file: Path, verifier: Verifier) -> Checkpoint:
    return checkpoints.opened(file.read_bytes(), verifier)
