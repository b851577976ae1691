"""Verifies a log of domicile from its files alone: python verify.py log FOLDER --key FILE [--since CHECKPOINT] [--save CHECKPOINT]
and python verify.py proof FILE --key FILE [--payload FILE], both with [--witness FILE]... [--cosigned COUNT].

A second implementation of the formats, in one file, on the standard library and `cryptography`: RFC 6962 (trees), C2SP signed-note,
tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof. It imports nothing of the product: who audits a log reads this file alone.

`log` reads every entry and every tile, computes the tree anew, and holds it against the signed checkpoint; with --since also against a
checkpoint that was believed before: without one, a log that was rewritten and signed anew by its own key looks as good as the true one.
With --witness it must also go on from a checkpoint that COUNT of these public keys, or all, have cosigned; a proof must have such a one.
Payloads that lie beside the log are held against the entries that commit to them, records under an entry against its root; one that was
erased or is not there is counted. `proof` takes the proof of such a record, too. Exit status 0: all holds; 1: not all; 2: wrong usage.
"""

import argparse
import base64
import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TILE, SALT, HEX = 256, 32, set("0123456789abcdef")
MEMBERS, NUMBERS = {"at_us", "commitment", "event", "kind", "position", "source"}, {"at_us", "count", "position"}
PROOF, RECORD = b"c2sp.org/tlog-proof@v1", b"domicile/record-proof@v1"


class Refused(Exception):
    """Something does not hold."""


class Key(NamedTuple):
    name: str
    key_id: bytes
    public: bytes


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes


def unbase64(text: str) -> bytes:
    with suppress(ValueError):
        raw = base64.b64decode(text, validate=True)
        if base64.b64encode(raw).decode() == text:
            return raw
    raise Refused(f"{text[:60]!r} is no base64, or has bits that say nothing")


def decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 19 or text != str(int(text)) or int(text) >> 63:
        raise Refused(f"{text[:60]!r} is no decimal number")
    return int(text)


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise Refused(f"{path} cannot be read: {exc.strerror}") from exc


def utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise Refused(f"{what} is no UTF-8") from exc


def key_in(path: Path, kind: int = 1) -> Key:
    """<name>+<8 hex digits>+<base64 of one byte, 0x01 of a log and 0x04 of a witness, and 32 bytes>."""
    name, key_id, encoded = [*utf8(read(path), str(path)).strip().split("+", 2), "", ""][:3]
    raw = unbase64(encoded) if len(encoded) == 44 else b""  # a private key is longer here, and is not shown to say so
    expected = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
    if len(raw) != 33 or raw[0] != kind or not name or key_id != expected.hex():
        raise Refused(f"{path} holds no Ed25519 key of a {'log' if kind == 1 else 'witness'}, or one under another id")
    return Key(name, expected, raw[1:])


def lines_of(note: bytes, key: Key, what: str) -> tuple[str, list[bytes]]:
    """A note's text, and what lines of `key` hold."""
    whole = utf8(note, what) if len(note) <= 1 << 17 else ""
    body, blank, signatures = whole.rpartition("\n\n")
    if not blank or not signatures.endswith("\n") or any(char < " " and char != "\n" for char in whole):
        raise Refused(f"{what} is no signed note")
    lines = [line.split(" ") for line in signatures[:-1].split("\n")]
    if any(len(words) != 3 or words[0] != "—" or "+" in words[1] or words[1].split() != [words[1]] for words in lines):
        raise Refused(f"{what} has a line that is no signature")
    held = [(name, unbase64(encoded)) for _, name, encoded in lines]
    return body + "\n", [raw[4:] for name, raw in held if name == key.name and raw[:4] == key.key_id]


def hold(key: Key, message: str, signature: bytes, what: str) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(key.public).verify(signature, message.encode())
    except InvalidSignature as exc:
        raise Refused(f"{what}: the signature of {key.name} is not one over this text") from exc


def cosigners(note: bytes, witnesses: list[Key], what: str) -> list[str]:
    """Which witnesses have cosigned a note. A line of another key says nothing; a bad one of theirs spoils the note."""
    found = []
    for key in witnesses:
        text, lines = lines_of(note, key, what)
        for raw in lines:
            if raw[:1] > b"\x7f":
                raise Refused(f"{what}: the cosignature of {key.name} states a time beyond 63 bits")
            hold(key, f"cosignature/v1\ntime {int.from_bytes(raw[:8], 'big')}\n{text}", raw[8:], what)
        found += [key.name] if lines else []
    return found


def checkpoint_of(note: bytes, key: Key, what: str) -> Checkpoint:
    """What `key` has signed. A line of another key says nothing; a bad one of this key spoils the note."""
    text, signatures = lines_of(note, key, what)
    for signature in signatures:
        hold(key, text, signature, what)
    if not signatures:
        raise Refused(f"{what} bears no signature of {key.name}")
    lines = text[:-1].split("\n")
    if len(lines) < 3 or "" in lines or lines[0] != key.name:
        raise Refused(f"{what} is no checkpoint of {key.name}")
    root = unbase64(lines[2])
    if len(root) != 32:
        raise Refused(f"{what}: a root has 32 bytes")
    return Checkpoint(lines[0], decimal(lines[1]), root)


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\0" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """A tree as it grows: (height, hash) of its complete subtrees from the left."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[tuple[int, bytes]] = []

    def grow(self, hashed: bytes) -> Iterator[tuple[int, bytes]]:
        """Takes a leaf hash; every subtree that is complete with it, from the leaf up."""
        self.size, height = self.size + 1, 0
        yield height, hashed
        while self._subtrees and self._subtrees[-1][0] == height:
            hashed = node(self._subtrees.pop()[1], hashed)
            height += 1
            yield height, hashed
        self._subtrees.append((height, hashed))

    def root(self) -> bytes:
        if not self._subtrees:
            return hashlib.sha256(b"").digest()
        *left, (_, root) = self._subtrees
        for _, one in reversed(left):
            root = node(one, root)
        return root


def root_by(path: list[bytes], entry: bytes, index: int, size: int) -> bytes:
    """Where an inclusion proof leads, from the leaf up: at each step the node is a right child, a left one with a sibling, or alone."""
    hashed, last, left = leaf(entry), size - 1, list(path)
    while last > 0:
        if index % 2 == 1 or index < last:
            if not left:
                raise Refused("the proof is too short")
            sibling = left.pop(0)
            hashed = node(sibling, hashed) if index % 2 == 1 else node(hashed, sibling)
        index, last = index // 2, last // 2
    if left:
        raise Refused("the proof is too long")
    return hashed


def path_of(level: str, number: int, width: int) -> str:
    digits = str(number).zfill((len(str(number)) + 2) // 3 * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{name}" + (f".p/{width}" if width < TILE else "")


def tile(folder: Path, level: str, number: int, width: int) -> bytes:
    """The file, or where a partial one is gone as much of the whole one."""
    path = folder / path_of(level, number, width)
    if width == TILE or path.exists():
        return read(path)
    whole = read(folder / path_of(level, number, TILE))
    entries = frames(whole, 2, width, path.name) if level == "entries" else []
    return whole[: sum(2 + len(one) for one in entries) or 32 * width]


def frames(raw: bytes, size: int, width: int, what: str, *, exact: bool = False) -> list[bytes]:
    """The first `width` things that stand behind lengths of `size` bytes; `exact`: there are as many, and nothing behind them."""
    found, at = list[bytes](), 0
    while at < len(raw) and (exact or len(found) < width):
        end = at + size + int.from_bytes(raw[at : at + size], "big")
        if at + size > len(raw) or end > len(raw):
            raise Refused(f"{what} breaks off")
        found.append(raw[at + size : end])
        at = end
    if exact and len(found) != width:
        raise Refused(f"{what} has {len(found)} entries, not {width}")
    return found


def entry_of(raw: bytes, what: str) -> dict[str, object]:
    """An entry's members: text and whole numbers under ASCII names, of which sorted JSON without spaces is the canonical form."""
    try:
        members = json.loads(raw)
    except (ValueError, RecursionError) as exc:
        raise Refused(f"{what} is no JSON") from exc
    if not isinstance(members, dict) or set(members) not in (MEMBERS, MEMBERS | {"count", "root"}):
        raise Refused(f"{what} has other members than {', '.join(sorted(MEMBERS))}")
    for name, value in members.items():
        number = type(value) is int and (1 if name == "count" else -(1 << 53)) <= value <= 1 << 53
        text = type(value) is str and (name in {"kind", "source"} or (len(value) == 64 and not set(value) - HEX))
        if not (number if name in NUMBERS else text):
            raise Refused(f"{what} says of {name} what no entry says")
    if json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace") != raw:
        raise Refused(f"{what} is not canonical JSON")
    return members


def openings(folder: Path, number: int, width: int) -> list[bytes]:
    """What lies beside a bundle's first entries, in order: salt and payload of each; zeros where erased."""
    path = folder / path_of("x", number, TILE).replace("tile/x/", "payload/")
    return frames(read(path), 4, width, str(path)) if path.exists() else []


class Rows:
    """The hashes that the entries give for each level, held against its tiles as these fill."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: list[list[bytes]] = []
        self._numbers: list[int] = []

    def take(self, height: int, hashed: bytes) -> None:
        level, within = divmod(height, 8)
        if within:
            return
        if level == len(self._rows):
            self._rows.append([])
            self._numbers.append(0)
        self._rows[level].append(hashed)
        if len(self._rows[level]) == TILE:
            self._hold(level)

    def end(self) -> None:
        for level in (at for at, row in enumerate(self._rows) if row):
            self._hold(level)

    def _hold(self, level: int) -> None:
        row, number = self._rows[level], self._numbers[level]
        if tile(self._folder, str(level), number, len(row)) != b"".join(row):
            raise Refused(f"{path_of(str(level), number, len(row))} holds other hashes than the entries give")
        row.clear()
        self._numbers[level] += 1


def cosigned_in(folder: Path, key: Key, witnesses: list[Key], needed: int) -> tuple[Checkpoint, list[str]]:
    """The largest checkpoint that lies there and so many witnesses have cosigned, and who."""
    files = [folder / name for name in ("checkpoint", "cosigned/near", "cosigned/wide")]
    notes = [(read(path), str(path)) for path in files if path is files[0] or path.exists()]
    held = [(checkpoint_of(note, key, what), cosigners(note, witnesses, what)) for note, what in notes]
    enough = [one for one in held if len(one[1]) >= needed]
    if not enough:
        raise Refused(f"no checkpoint of the log bears {needed} cosignatures of these witnesses")
    return max(enough, key=lambda one: (one[0].size, len(one[1])))


def verify_log(folder: Path, note: bytes, key: Key, since: Path | None, seen: Checkpoint) -> str:
    signed = checkpoint_of(note, key, "the checkpoint")
    earlier = [seen] if since is None else [seen, checkpoint_of(read(since), key, str(since))]
    for one in earlier:
        if one.size > signed.size:
            raise Refused(f"the log has {signed.size} entries, and {one.size} were signed for before")
    tree, rows, there = Tree(), Rows(folder), 0

    def hold_earlier() -> None:
        if any(tree.size == one.size and tree.root() != one.root for one in earlier):
            raise Refused(f"the first {tree.size} entries are not those that were signed for before")

    hold_earlier()
    while tree.size < signed.size:
        number, width = tree.size // TILE, min(TILE, signed.size - tree.size)
        payloads, bundle = openings(folder, number, width), tile(folder, "entries", number, width)
        for at, raw in enumerate(frames(bundle, 2, width, f"bundle {number}", exact=True)):
            members = entry_of(raw, f"entry {tree.size}")
            there += fits(members, payloads[at] if at < len(payloads) else b"", f"entry {tree.size}")
            for height, hashed in tree.grow(leaf(raw)):
                rows.take(height, hashed)
            hold_earlier()
    rows.end()
    if tree.root() != signed.root:
        raise Refused("the entries are not those that the checkpoint was signed over")
    before = "no earlier checkpoint" if since is None else f"goes on from {earlier[1].size} entries"
    beside = f"{there} payloads fit, {signed.size - there} are not here"
    return f"{signed.origin}: {signed.size} entries, root {signed.root.hex()}; {before}; {beside}"


def fits(members: dict[str, object], opening: bytes, what: str, *, alone: bool = False) -> bool:
    """Whether the payload is here; one that is another than the entry commits to is refused. Behind it, unless it is shown `alone`, lie the
    records of an entry that has a root over some: leaf hash, salt and JSON of each, the last two zeros where erased."""
    if not opening[:SALT].strip(b"\0"):
        return False
    payload, records, there = opening[SALT:].partition(b"\0")
    if hashlib.sha256(opening[:SALT] + payload).hexdigest() != members["commitment"] or (records and not there):
        raise Refused(f"the payload of {what} is not the one that it commits to")
    tree = Tree()
    for one in frames(there, 4, len(there), what):
        if len(one) < 32 + SALT or (one[32:].strip(b"\0") and leaf(one[32:]) != one[:32]):
            raise Refused(f"a record of {what} is not the one that stands under its root")
        list(tree.grow(one[:32]))
    stated = (members.get("count", 0), members.get("root", Tree().root().hex()))
    if (records or not alone) and stated != (tree.size, tree.root().hex()):
        raise Refused(f"the records of {what} are not those that stand under its root")
    return True


def parts(raw: bytes, header: bytes, what: str) -> tuple[bytes, int, list[bytes], bytes]:
    """What a proof is of, its index, its hashes, and what comes behind them."""
    head, blank, rest = raw.partition(b"\n\n")
    lines = utf8(head, what).split("\n")
    if not blank or not head.startswith(header + b"\nextra ") or not "".join(lines[2:3]).startswith("index "):
        raise Refused(f"{what} is no {header.decode()} with `extra` and `index`")
    path = [unbase64(line) for line in lines[3:]]
    if any(len(one) != 32 for one in path):
        raise Refused(f"{what} has hashes of another length")
    return unbase64(lines[1].removeprefix("extra ")), decimal(lines[2].removeprefix("index ")), path, rest


def verify_proof(file: Path, key: Key, payload: Path | None, witnesses: list[Key], needed: int) -> str:
    raw = read(file)
    shown = parts(raw, RECORD, str(file)) if raw.startswith(RECORD) else None
    entry, index, path, note = parts(raw if shown is None else shown[3], PROOF, str(file))
    signed = checkpoint_of(note, key, "the checkpoint")
    if index >= signed.size or root_by(path, entry, index, signed.size) != signed.root:
        raise Refused("the proof is of no entry of this tree, or leads to another root than was signed")
    by, members = cosigners(note, witnesses, "the checkpoint"), entry_of(entry, "the entry")
    if len(by) < needed:
        raise Refused(f"the checkpoint bears {len(by)} cosignatures of these witnesses, and {needed} are asked for")
    told = f"entry {index} of {signed.size} in {signed.origin}: {entry.decode()}"
    if shown is not None:
        (record, number, branch, _), size = shown, decimal(str(members.get("count")))
        if number >= size or root_by(branch, record, number, size).hex() != members["root"]:
            raise Refused("the record does not stand under the entry")
        told += f"\nrecord {number} of {size} under it: {utf8(record[SALT:], 'the record')}"
    told += f"\ncosigned by {', '.join(by)}" if by else ""
    if payload is not None and not fits(members, read(payload), "the entry", alone=True):
        raise Refused("the payload is empty")
    return told if payload is None else f"{told}\n{utf8(read(payload)[SALT:], 'the payload')}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Verify a log of domicile, or a proof from one.")
    commands = parser.add_subparsers(dest="command", required=True)
    log = commands.add_parser("log", help="a whole log, from its folder")
    log.add_argument("folder", type=Path)
    log.add_argument("--since", type=Path, help="a checkpoint that was believed before")
    log.add_argument("--save", type=Path, help="where to keep the checkpoint, for the next --since")
    proof = commands.add_parser("proof", help="one .tlog-proof file")
    proof.add_argument("file", type=Path)
    proof.add_argument("--payload", type=Path, help="what the entry commits to: salt and payload")
    for command in (log, proof):
        command.add_argument("--key", type=Path, required=True, help="file with the log's public key")
        command.add_argument("--witness", type=Path, action="append", default=[], help="file with a witness's key")
        command.add_argument("--cosigned", type=int, help="how many of them must have cosigned; without it all")
    asked = parser.parse_args(arguments)
    try:
        key, witnesses = key_in(asked.key), [key_in(path, 4) for path in asked.witness]
        needed = len(witnesses) if asked.cosigned is None else asked.cosigned
        if needed < 0 or len({one.public for one in witnesses}) < len(witnesses):
            raise Refused("--cosigned is below 0, or --witness names one key twice")
        if asked.command == "proof":
            print(verify_proof(asked.file, key, asked.payload, witnesses, needed))
            return 0
        seen, by = cosigned_in(asked.folder, key, witnesses, needed)
        note = read(asked.folder / "checkpoint")
        told = f"\n{seen.size} entries cosigned by {', '.join(by)}" if by else ""
        print(verify_log(asked.folder, note, key, asked.since, seen) + told)
        if asked.save is not None:
            asked.save.write_bytes(note)
    except (Refused, OSError) as exc:
        print(f"{'does not hold' if isinstance(exc, Refused) else 'cannot be read or written'}: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
