"""The ledger's formats against what others have published: RFC 6962 trees, C2SP tiles, notes, checkpoints and proofs, RFC 8785 JSON."""

import hashlib
import struct

import msgspec
import pytest

from foundation.ledger import checkpoints, encoding, entries, merkle, notes, proofs, tiles
from foundation.ledger.canonical import canonical
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.entries import MalformedEntry, Recorded
from foundation.ledger.merkle import Frontier, ProofRefused, leaf_hash
from foundation.ledger.notes import MalformedKey, NoteRefused, Signer, Verifier
from foundation.ledger.tiles import ENTRIES, MalformedTile, Tile
from foundation.mute import Secret
from tests.stands.ledger import bundle_of, naive_root, subtrees_of

# --- trees: the vectors of Certificate Transparency's reference implementation ------------------------------------------------

LEAVES = [
    bytes.fromhex(one)
    for one in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
A = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
B = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
INCLUSIONS = {
    (0, 1): [],
    (0, 8): ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7", A, C],
    (5, 8): [B, D, ROOTS[4]],
    (2, 3): [ROOTS[2]],
}
CONSISTENCIES = {
    (1, 1): [],
    (6, 8): ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", D, ROOTS[4]],
    (2, 5): [A, B],
    (2, 8): [A, C],
}


def unhex(path: list[str]) -> list[bytes]:
    return [bytes.fromhex(one) for one in path]


@pytest.mark.parametrize("size", range(9))
def test_a_tree_has_the_published_root(size: int) -> None:
    frontier = Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf_hash(leaf))
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert frontier.root().hex() == ROOTS[size]
    assert merkle.root_of(size, subtrees_of(hashes)).hex() == ROOTS[size]
    assert naive_root(LEAVES[:size]).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSIONS)
def test_an_inclusion_proof_is_the_published_one(index: int, size: int) -> None:
    hashes = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    path = merkle.inclusion(index, size, subtrees_of(hashes))
    assert path == unhex(INCLUSIONS[index, size])
    root = bytes.fromhex(ROOTS[size])
    merkle.verify_inclusion(leaf=hashes[index], index=index, size=size, path=path, root=root)


@pytest.mark.parametrize(("old", "new"), CONSISTENCIES)
def test_a_consistency_proof_is_the_published_one(old: int, new: int) -> None:
    path = merkle.consistency(old, new, subtrees_of([leaf_hash(leaf) for leaf in LEAVES]))
    assert path == unhex(CONSISTENCIES[old, new])
    roots = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
    merkle.verify_consistency(old=old, old_root=roots[0], new=new, new_root=roots[1], path=path)


def test_proofs_of_what_no_tree_has_are_not_made() -> None:
    subtrees = subtrees_of([leaf_hash(leaf) for leaf in LEAVES])
    for index, size in ((8, 8), (-1, 8), (0, 0)):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion(index, size, subtrees)
    with pytest.raises(ValueError, match="does not begin"):
        merkle.consistency(5, 4, subtrees)
    with pytest.raises(ValueError, match="complete subtrees"):
        Frontier(3, [bytes(32)])


# --- tiles: https://c2sp.org/tlog-tiles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(1, 1234067), "tile/1/x001/x234/067"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(ENTRIES, 1000, 7), "tile/entries/x001/000.p/7"),
        (Tile(63, 999), "tile/63/999"),
    ],
)
def test_a_tile_is_called_what_the_specification_says(tile: Tile, path: str) -> None:
    assert tile.path == path
    assert tiles.parse(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/00/000", "tile/64/000", "tile/0/00", "tile/0/0000", "tile/0/x000/001", "tile/0/001/067", "tile/0/000.p/0",
        "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/../0/000", "tile/0/000\n", "tile/data/000", "/tile/0/000", "tile/0/x001/x234/x067",
        "tile/-1/000", "tile/0/" + "x001/" * 9 + "000",
    ],
)  # fmt: skip
def test_what_is_spelt_otherwise_names_no_tile(path: str) -> None:
    with pytest.raises(MalformedTile):
        tiles.parse(path)


def test_seventy_thousand_entries_lie_in_the_tiles_of_the_specifications_example() -> None:
    widths = {level: [tile.width for tile in tiles.tiles_of(70_000, level)] for level in tiles.levels_of(70_000)}
    assert widths == {0: [256] * 273 + [112], 1: [256, 17], 2: [1]}
    assert [tile.width for tile in tiles.tiles_of(256, 1)] == [1]
    assert list(tiles.levels_of(0)) == []


def test_a_bundle_is_read_as_it_was_written_and_not_where_it_breaks_off() -> None:
    raw = bundle_of([b"", b"one", b"x" * 65_535])
    assert raw[:2] == b"\x00\x00"
    assert raw[2:7] == b"\x00\x03one"
    assert tiles.entries_in(raw, 3) == [b"", b"one", b"x" * 65_535]
    for broken, width in ((raw[:-1], 3), (raw + b"\x00", 3), (raw, 2), (raw, 4)):
        with pytest.raises(MalformedTile):
            tiles.entries_in(broken, width)
    with pytest.raises(ValueError, match="65535"):
        bundle_of([b"x" * 65_536])


# --- notes: the vectors of golang.org/x/mod/sumdb/note ---------------------------------------------------------------------------

VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
SIGNER = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
NOTE = f"{TEXT}\n{SIGNATURE}"


def test_a_note_is_signed_and_opened_as_published() -> None:
    signer = Signer.parse(Secret(SIGNER))
    assert signer.sign(TEXT) == NOTE
    assert signer.verifier.text == VERIFIER
    assert signer.text.reveal() == SIGNER
    assert notes.opened(NOTE.encode(), Verifier.parse(VERIFIER)) == TEXT


def test_every_mangling_of_a_key_is_refused() -> None:
    raw = VERIFIER.encode()
    mangled = [
        raw[low:high] for low in range(len(raw)) for high in range(low + 1, len(raw) + 1) if high - low < len(raw)
    ]
    mangled += [raw[:at] + bytes([raw[at] + 1]) + raw[at + 1 :] for at in range(len(raw))]
    mangled += [b"PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="]
    mangled += [b"PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"]
    for one in mangled:
        with pytest.raises(MalformedKey):
            Verifier.parse(one.decode("latin-1"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PRIVATE+KEY+",
        SIGNER[1:],
        SIGNER.replace("c74f20a3", "c74f20a4"),
        SIGNER.replace("AYEK", "AYEL"),
        "x" + SIGNER,
    ],
)
def test_every_mangling_of_a_private_key_is_refused_without_its_words(text: str) -> None:
    with pytest.raises(MalformedKey) as refused:
        Signer.parse(Secret(text))
    assert "AYE" not in str(refused.value)


@pytest.mark.parametrize(
    "note",
    [
        TEXT, NOTE[:-1], NOTE.replace("\n\n", "\n"), NOTE.replace("—", "-"), NOTE.replace("answer", "question"),
        NOTE.replace("x08go", "x08gp"), NOTE.replace("AM=\n", "AN=\n"), f"{TEXT}\n", f"{TEXT}\n{SIGNATURE}\n",
        f"{TEXT}\n— other{SIGNATURE[14:]}",
        NOTE.replace("think", "th\tink"), f"{TEXT}\n{SIGNATURE * 65}", f"{'x' * 140_000}\n\n{SIGNATURE}",
        f"{TEXT}\n{SIGNATURE}— a+b AAAAAAE=\n", f"{TEXT}\n{SIGNATURE}— a\u00a0b AAAAAAE=\n",
    ],
)  # fmt: skip
def test_a_note_that_its_key_has_not_signed_so_is_refused(note: str) -> None:
    with pytest.raises(NoteRefused):
        notes.opened(note.encode(), Verifier.parse(VERIFIER))


def test_sixteen_signatures_of_the_largest_kinds_are_room_enough() -> None:
    strangers = "".join(f"— other.example/{at} {encoding.text_of(bytes([at]) * (4 + 4_627))}\n" for at in range(15))
    note = f"{TEXT}\n{strangers}{SIGNATURE}".encode()
    assert notes.opened(note, Verifier.parse(VERIFIER)) == TEXT


def test_signatures_of_strangers_say_nothing_and_a_bad_one_of_the_key_spoils_the_note() -> None:
    verifier = Verifier.parse(VERIFIER)
    stranger = Signer("stranger.example", Secret(b"s" * 32)).sign(TEXT).rpartition("\n\n")[2]
    assert notes.opened(f"{TEXT}\n{stranger}{SIGNATURE}".encode(), verifier) == TEXT
    with pytest.raises(NoteRefused, match="no signature"):
        notes.opened(f"{TEXT}\n{stranger}".encode(), verifier)
    forged = SIGNATURE.replace("JkuB", "JkuC")
    with pytest.raises(NoteRefused, match="not one over this text"):
        notes.opened(f"{TEXT}\n{SIGNATURE}{forged}".encode(), verifier)


def test_a_text_that_can_be_no_note_is_not_signed() -> None:
    signer = Signer.parse(Secret(SIGNER))
    for text in ("no newline", "a\ttab\n"):
        with pytest.raises(ValueError, match="newline"):
            signer.sign(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\nb"])
def test_a_name_that_a_note_cannot_bear_is_refused(name: str) -> None:
    with pytest.raises(MalformedKey):
        Signer(name, Secret(b"s" * 32))


# --- checkpoints and proofs: https://c2sp.org/tlog-checkpoint, /tlog-proof -------------------------------------------------------

LOG = Signer("example.com/log", Secret(b"k" * 32))


def test_a_checkpoint_reads_as_the_specification_says() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    checkpoint = checkpoints.parse(text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20_852_163)
    assert checkpoint.text == text
    assert checkpoints.parse(f"{text}extension\n") == checkpoint


@pytest.mark.parametrize("size", ["-1", "01", "", "1 ", "٣", "9223372036854775808", "1e3"])
def test_a_size_that_is_spelt_otherwise_is_refused(size: str) -> None:
    with pytest.raises(NoteRefused):
        checkpoints.parse(f"a\n{size}\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n")


def test_a_checkpoint_counts_under_its_own_logs_key_alone() -> None:
    checkpoint = Checkpoint("example.com/log", 3, bytes(32))
    note = checkpoints.signed(checkpoint, LOG)
    assert checkpoints.opened(note, LOG.verifier) == checkpoint
    with pytest.raises(NoteRefused):
        checkpoints.opened(note, Verifier.parse(VERIFIER))
    with pytest.raises(NoteRefused, match=r"of other\.example"):
        checkpoints.opened(LOG.sign(Checkpoint("other.example", 3, bytes(32)).text).encode(), LOG.verifier)
    with pytest.raises(ValueError, match="own name"):
        checkpoints.signed(Checkpoint("other.example", 3, bytes(32)), LOG)
    for root in ("AAAA", "no base64"):
        with pytest.raises(NoteRefused):
            checkpoints.parse(f"a\n1\n{root}\n")


def proof_of(index: int) -> proofs.Proof:
    hashes = [leaf_hash(leaf) for leaf in LEAVES]
    note = checkpoints.signed(Checkpoint("example.com/log", 8, bytes.fromhex(ROOTS[8])), LOG)
    return proofs.Proof(index, tuple(merkle.inclusion(index, 8, subtrees_of(hashes))), note, LEAVES[index])


def test_a_proof_has_the_specifications_lines_and_proves_its_entry() -> None:
    proof = proof_of(5)
    lines = proof.render().decode().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra QEFCQw==", "index 5"]
    assert lines[6:10] == ["", "example.com/log", "8", "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg="]
    assert proofs.parse(proof.render()) == proof
    assert proof.verify(LOG.verifier).size == 8
    with pytest.raises(ProofRefused):
        msgspec.structs.replace(proof, entry=b"another").verify(LOG.verifier)
    with pytest.raises(ProofRefused):
        msgspec.structs.replace(proof, index=4).verify(LOG.verifier)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"), ("index 5", "index 05"), ("index 5", "place 5"), ("extra ", ""), ("QEFCQw==", "QEFCQx=="), ("\n\n", "\n"),
        ("index 5\n", "index 5\nAAAA\n"), ("index 5\n", "index 5\n" + "A" * 43 + "=\n"), ("index 5\n", "index 5\né\n"),
    ],
)  # fmt: skip
def test_a_mangled_proof_is_refused(old: str, new: str) -> None:
    raw = proof_of(5).render().decode().replace(old, new, 1).encode()
    with pytest.raises(ProofRefused):
        proofs.parse(raw).verify(LOG.verifier)


# --- canonical JSON: RFC 8785 ----------------------------------------------------------------------------------------------------

NUMBERS = {
    "0000000000000000": "0", "8000000000000000": "0", "0000000000000001": "5e-324", "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308", "ffefffffffffffff": "-1.7976931348623157e+308", "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992", "4430000000000000": "295147905179352830000", "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23", "44b52d02c7e14af7": "1.0000000000000001e+23", "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000", "444b1ae4d6e2ef50": "1e+21", "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001", "41b3de4355555553": "333333333.3333332", "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333", "41b3de4355555556": "333333333.3333334", "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333", "43143ff3c1cb0959": "1424953923781206.2",
}  # fmt: skip


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_a_number_is_written_as_appendix_b_says(bits: str, text: str) -> None:
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(value).decode() == text


def test_the_rfcs_examples_come_out_as_it_says() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
    }
    told = '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    assert canonical(value).decode() == told
    names = ["€", "\r", "\ufb33", "1", "\U0001f600", "\x80", "ö"]
    ordered = ["\\r", "1", "\x80", "ö", "€", "\U0001f600", "\ufb33"]
    assert canonical(dict.fromkeys(names, 0)).decode() == "{" + ",".join(f'"{name}":0' for name in ordered) + "}"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53 + 1, "\ud800", {1: 2}, {"a": b"b"}, object()])
def test_what_has_no_canonical_spelling_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        canonical(value)


# --- entries -------------------------------------------------------------------------------------------------------------------


def row(**more: object) -> Recorded:
    told = {
        "position": 7, "id": "fence:eu-de:s1:x:1:active", "at_us": 1_800_000_000_123_456, "kind": "fence", "actor": "cell:eu-de",
        "subject_id": "6f2b7a52-1111-4222-8333-444455556666", "details": msgspec.Raw(b'{"epoch": 9223372036854775807}'),
    }  # fmt: skip
    return Recorded(**(told | more))  # type: ignore[arg-type]


def test_an_entry_says_when_and_what_kind_and_commits_to_the_rest() -> None:
    raw, opening = entries.sealed(row(), "s1", b"s" * 32)
    entry = entries.parse(raw)
    assert (entry.at_us, entry.kind, entry.position, entry.source) == (1_800_000_000_123_456, "fence", 7, "s1")
    assert entry.commitment == hashlib.sha256(b"s" * 32 + opening[32:]).hexdigest()
    assert b"6f2b7a52" not in raw
    payload = entries.opened(entry, opening)
    assert (payload.id, payload.actor, bytes(payload.details)) == (
        row().id, "cell:eu-de", b'{"epoch": 9223372036854775807}',
    )  # fmt: skip


def test_two_entries_of_one_payload_do_not_show_that() -> None:
    first, second = (entries.parse(entries.sealed(row(), "s1", bytes([salt]) * 32)[0]) for salt in (1, 2))
    assert first.commitment != second.commitment


def test_an_entry_that_is_not_canonical_and_a_payload_of_another_are_refused() -> None:
    raw, opening = entries.sealed(row(), "s1", b"s" * 32)
    for other in (raw.replace(b":", b": ", 1), raw[:-1] + b',"x":1}', raw[:-1], b"\xff", b"[]"):
        with pytest.raises(MalformedEntry):
            entries.parse(other)
    entry = entries.parse(raw)
    with pytest.raises(MalformedEntry, match="commits to"):
        entries.opened(entry, opening[:-1] + b" ")
    with pytest.raises(MalformedEntry, match="another event"):
        entries.opened(msgspec.structs.replace(entry, event="0" * 64), opening)


@pytest.mark.parametrize("number", [1 << 53, -(1 << 53)])
def test_a_number_that_is_no_exact_double_is_in_no_entry(number: int) -> None:
    beyond = number + (1 if number > 0 else -1)
    entry = entries.parse(entries.sealed(row(at_us=number), "s1", b"s" * 32)[0])
    assert entry.at_us == number
    with pytest.raises(ValueError, match="double"):
        entries.sealed(row(at_us=beyond), "s1", b"s" * 32)
    with pytest.raises(MalformedEntry, match="double"):
        entries.parse(msgspec.json.encode(msgspec.structs.replace(entry, at_us=beyond)))


def test_an_entry_that_would_be_too_long_or_has_no_salt_is_not_made() -> None:
    with pytest.raises(ValueError, match="65535"):
        entries.sealed(row(kind="k" * 65_536), "s1", b"s" * 32)
    with pytest.raises(ValueError, match="salt"):
        entries.sealed(row(), "s1", b"")


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [(row(kind="k" * 65_536), "65535"), (row(at_us=1 << 54), "double"), (row(position=1 << 54), "double")],
)
def test_one_among_rows_that_can_be_no_entry_spoils_them_all(spoilt: Recorded, why: str) -> None:
    assert len(entries.sealed_each([row(), row()], "s1", b"s" * 64)[0]) == 2
    with pytest.raises(ValueError, match=why):
        entries.sealed_each([row(), spoilt], "s1", b"s" * 64)
    with pytest.raises(ValueError, match="salt"):
        entries.sealed_each([row(), row()], "s1", b"s" * 63)
