"""A release held against its manifest, the manifest against the cell's key, both against the ledger: no network, no database."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from cells.egress import manifest
from cells.egress.manifest import MANIFEST, SIGNATURE, ManifestRefused, PartFile
from foundation.ledger import entries, proofs
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.merkle import ProofRefused
from foundation.ledger.notes import NoteRefused, Verifier


class Verified(msgspec.Struct, frozen=True):
    """What holds. `logged`: the index of the release's entry, where a proof was shown."""

    document: dict[str, Any]
    parts: int
    rows: int
    bytes: int
    logged: int | None = None


class Shown(msgspec.Struct, frozen=True):
    """A proof that the ledger gave, what its entry commits to, and the log's key."""

    proof: bytes
    payload: bytes
    log: Verifier


def folder_of(target: Path) -> Path:
    """The release's folder, of whichever of its files. Raises ManifestRefused."""
    folder = target if target.is_dir() else target.parent
    if not (folder / MANIFEST).is_file():
        raise ManifestRefused(f"there is no {MANIFEST} beside {target}")
    return folder


def verify(target: Path, verifier: Verifier, shown: Shown | None = None) -> Verified:
    """Raises ManifestRefused naming the first thing that does not hold, OSError."""
    folder = folder_of(target)
    raw = (folder / MANIFEST).read_bytes()
    try:
        note = (folder / SIGNATURE).read_bytes()
    except FileNotFoundError as exc:
        raise ManifestRefused(f"there is no {SIGNATURE}") from exc
    document = manifest.verified(raw, note, verifier)
    try:
        parts = msgspec.convert(document["payload"]["parts"], tuple[PartFile, ...])
        stated = str(document["payload"]["sha256"])
    except (KeyError, TypeError, msgspec.ValidationError) as exc:
        raise ManifestRefused("the manifest names no payload") from exc
    _check_parts(folder, parts)
    if manifest.payload_digest(parts) != stated:
        raise ManifestRefused("the payload's digest is not that of its parts")
    logged = None if shown is None else _logged(document, raw, shown)
    return Verified(document, len(parts), sum(one.rows for one in parts), sum(one.bytes for one in parts), logged)


def _check_parts(folder: Path, parts: Sequence[PartFile]) -> None:
    beside = {path.name for path in folder.iterdir()} - {MANIFEST, SIGNATURE} - {part.name for part in parts}
    if beside:
        raise ManifestRefused(f"{min(beside)} is no part of this release")
    for part in parts:
        path = folder / part.name
        if Path(part.name).name != part.name or not path.is_file():
            raise ManifestRefused(f"part {part.name} is missing")
        with path.open("rb") as read:
            found = hashlib.file_digest(read, "sha256").hexdigest()
        if found != part.sha256 or path.stat().st_size != part.bytes:
            raise ManifestRefused(f"part {part.name} is not what was released")


def _logged(document: dict[str, Any], raw: bytes, shown: Shown) -> int:
    try:
        proof = proofs.parse(shown.proof)
        proof.verify(shown.log)
        payload = entries.opened(entries.parse(proof.entry), shown.payload)
        details = msgspec.json.decode(payload.details, type=dict[str, Any])
    except (ProofRefused, NoteRefused, MalformedEntry, msgspec.MsgspecError) as exc:
        raise ManifestRefused(f"the proof: {exc}") from exc
    if payload.id != document["event"] or details.get("manifest") != manifest.digest(raw):
        raise ManifestRefused("the ledger's entry is of another release")
    return proof.index
