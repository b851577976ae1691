"""What witnesses and logs say to each other, held against the specifications: C2SP tlog-cosignature, tlog-witness."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from foundation.ledger import checkpoints, encoding, merkle, notes
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.merkle import EMPTY_ROOT, leaf_hash
from foundation.ledger.notes import Line, MalformedKey, NoteRefused, Signer, Verifier
from foundation.ledger.witness import cosignatures, requests
from foundation.ledger.witness.core import Refused, Why, judge
from foundation.ledger.witness.cosignatures import Cosignature, Cosigner, WitnessKey
from foundation.ledger.witness.quorum import SEEN_MAX, Quorum, Waiting
from foundation.ledger.witness.requests import MalformedRequest, Submission
from foundation.mute import Secret
from tests.stands.ledger import subtrees_of

SEED = b"w" * 32
COSIGNER = Cosigner("witness.example.com/w1", Secret(SEED))
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
PUBLISHED = f"""{TEXT}
— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
""".encode()
"""The example of tlog-cosignature; the keys are not published."""


# --- cosignatures ----------------------------------------------------------------------------------------------------------------


def test_a_cosignature_is_laid_out_as_the_specification_says() -> None:
    public = COSIGNER.verifier.public
    line = COSIGNER.cosign(TEXT, 1_679_315_147)
    dash, name, encoded = line.removesuffix("\n").split(" ")
    raw = encoding.bytes_of(encoded)
    assert (dash, name) == ("\u2014", "witness.example.com/w1")
    assert raw[:4] == hashlib.sha256(b"witness.example.com/w1\n\x04" + public).digest()[:4]
    assert raw[4:12] == (1_679_315_147).to_bytes(8, "big")
    signed = b"cosignature/v1\ntime 1679315147\n" + TEXT.encode()
    Ed25519PublicKey.from_public_bytes(public).verify(raw[12:], signed)
    assert len(raw) == 4 + 8 + 64


def test_the_specifications_example_has_that_layout_and_time() -> None:
    text, lines = notes.taken_apart(PUBLISHED)
    assert text == TEXT
    assert [(line.name, len(line.raw)) for line in lines] == [
        ("example.com/behind-the-sofa", 68), ("witness.example.com/w1", 76),
    ]  # fmt: skip
    assert int.from_bytes(lines[1].raw[4:12], "big") == 1_679_315_147
    assert "".join(line.text for line in lines).encode() == PUBLISHED.partition(b"\n\n")[2]


def test_a_witness_key_is_of_type_4_and_no_key_of_a_log() -> None:
    text = COSIGNER.verifier.text
    assert encoding.bytes_of(text.rpartition("+")[2])[0] == 4
    assert WitnessKey.parse(text).key_id == COSIGNER.verifier.key_id
    assert Cosigner.parse(COSIGNER.text).verifier.text == text
    of_log = Signer("witness.example.com/w1", Secret(SEED))
    for parse, other in ((Verifier.parse, text), (WitnessKey.parse, of_log.verifier.text)):
        with pytest.raises(MalformedKey, match="known here"):
            parse(other)
    with pytest.raises(MalformedKey):
        Cosigner.parse(of_log.text)


def test_a_cosignature_counts_over_its_text_by_its_key_and_at_its_time_alone() -> None:
    note = f"{TEXT}\n{COSIGNER.cosign(TEXT, 7)}{COSIGNER.cosign(TEXT, 9)}".encode()
    assert cosignatures.verified(note, [COSIGNER.verifier]) == {
        COSIGNER.verifier.name: Cosignature(COSIGNER.verifier.name, 9)
    }
    stranger = Cosigner("witness.example.com/w2", Secret(b"x" * 32)).verifier
    assert cosignatures.verified(note, [stranger]) == {}
    for other in (TEXT.replace("20852163", "20852164"), TEXT + "extension\n"):
        moved = note.replace(TEXT.encode(), other.encode())
        with pytest.raises(NoteRefused, match="not one over this text"):
            cosignatures.verified(moved, [COSIGNER.verifier])
        assert cosignatures.lines_of(moved, [COSIGNER.verifier]) == {}
    line = notes.lines_in(COSIGNER.cosign(TEXT, 7).encode())[0]
    for at in (4, 11, 12, 75):
        raw = bytearray(line.raw)
        raw[at] ^= 1
        assert COSIGNER.verifier.cosignature(TEXT, Line(line.name, bytes(raw))) is None
    for short in (line.raw[:4] + b"\0", line.raw[:12], line.raw[:-1], line.raw + b"\0"):
        assert COSIGNER.verifier.cosignature(TEXT, Line(line.name, short)) is None


def test_a_log_does_not_cosign_by_its_signature_nor_a_witness_sign_by_its_cosignature() -> None:
    log, same = Signer("example.com/log", Secret(SEED)), Cosigner("example.com/log", Secret(SEED))
    text = Checkpoint("example.com/log", 3, bytes(32)).text
    with pytest.raises(NoteRefused, match="no signature"):
        checkpoints.opened(f"{text}\n{same.cosign(text, 1)}".encode(), log.verifier)
    assert cosignatures.verified(log.sign(text).encode(), [same.verifier]) == {}


def test_a_time_is_one_of_63_bits() -> None:
    for at_s in (-1, 1 << 63):
        with pytest.raises(ValueError, match="time"):
            COSIGNER.cosign(TEXT, at_s)
    line = notes.lines_in(COSIGNER.cosign(TEXT, (1 << 63) - 1).encode())[0]
    assert COSIGNER.verifier.cosignature(TEXT, line) is not None


def test_a_line_that_a_note_has_is_not_put_in_again() -> None:
    line = notes.lines_in(COSIGNER.cosign(TEXT, 7).encode())[0]
    once = cosignatures.with_lines(PUBLISHED, [line])
    assert once == PUBLISHED + line.text.encode()
    assert cosignatures.with_lines(once, [line]) == once


# --- requests --------------------------------------------------------------------------------------------------------------------

BODY = (
    b"old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\n"
    + PUBLISHED
)


def test_a_request_reads_as_the_specification_says() -> None:
    asked = requests.parse(BODY)
    assert (asked.old, len(asked.path), asked.note) == (20_852_014, 2, PUBLISHED)
    assert asked.render() == BODY
    assert Submission(0, (), PUBLISHED).render() == b"old 0\n\n" + PUBLISHED
    assert requests.parse(b"old 0\n\n" + PUBLISHED).path == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"old ", b""), (b"old ", b"old  "), (b"old 2", b"old 02"), (b"old 2", b"old -2"), (b"old 2", b"Old 2"), (b"\n\n", b"\n"),
        (b"PlRN", b"PlR"), (b"kaw=", b"kaw"), (b"old 20852014\n", b"old 20852014\r\n"), (b"\n\n", b"\n" + b"A" * 43 + b"=\n" * 64 + b"\n"),
        (b"PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=", b"AAAA"), (b"old 20852014", b"old 9223372036854775808"), (b"old", b"\xffld"),
    ],
)  # fmt: skip
def test_a_mangled_request_is_refused(old: bytes, new: bytes) -> None:
    with pytest.raises(MalformedRequest):
        requests.parse(BODY.replace(old, new, 1))


def test_more_hashes_than_a_tree_is_high_are_refused() -> None:
    line = encoding.text_of(bytes(32)).encode() + b"\n"
    assert len(requests.parse(b"old 1\n" + line * 63 + b"\n" + PUBLISHED).path) == 63
    with pytest.raises(MalformedRequest, match="63"):
        requests.parse(b"old 1\n" + line * 64 + b"\n" + PUBLISHED)


def test_the_size_of_a_conflict_is_a_line() -> None:
    assert requests.size_in(requests.size_body(50)) == 50
    assert requests.size_in(b"0\n") == 0
    for other in (b"", b"\n", b"50", b"050\n", b"50\n\n", b"-1\n", b"5 0\n", b"\xff\n", b"9223372036854775808\n"):
        with pytest.raises(MalformedRequest):
            requests.size_in(other)


# --- judging ---------------------------------------------------------------------------------------------------------------------

HASHES = [leaf_hash(b"%d" % number) for number in range(20)]


def tree(size: int, hashes: list[bytes] = HASHES) -> Checkpoint:
    return Checkpoint("a", size, merkle.root_of(size, subtrees_of(hashes)))


def asked_of(old: int, new: int) -> Submission:
    return Submission(old, tuple(merkle.consistency(old, new, subtrees_of(HASHES))), b"")


def why(asked: Submission, signed: Checkpoint, held: Checkpoint | None) -> tuple[Why, int, int | None] | None:
    found = judge(asked, signed, held)
    return None if found is None else (found.why, found.status, found.held)


def test_every_tree_that_goes_on_from_what_was_cosigned_is_cosigned() -> None:
    for old in range(21):
        for new in range(old, 21):
            assert judge(asked_of(old, new), tree(new), tree(old)) is None
    for new in range(21):
        assert judge(asked_of(0, new), tree(new), None) is None


def test_every_other_one_is_refused_as_the_specification_says() -> None:
    other = tree(8, [leaf_hash(b"x"), *HASHES[1:]])
    assert why(asked_of(5, 8), tree(4), tree(5)) == (Why.MALFORMED, 400, None)
    assert why(asked_of(5, 8), tree(8), tree(6)) == (Why.OTHER_SIZE, 409, 6)
    assert why(asked_of(5, 8), tree(8), None) == (Why.OTHER_SIZE, 409, 0)
    assert why(asked_of(0, 8), tree(8), tree(8)) == (Why.OTHER_SIZE, 409, 8)
    assert why(asked_of(8, 8), other, tree(8)) == (Why.FORK, 409, None)
    assert why(asked_of(5, 8), other, tree(5)) == (Why.NO_PROOF, 422, None)
    assert why(asked_of(5, 9), tree(8), tree(5)) == (Why.NO_PROOF, 422, None)
    assert why(Submission(5, (), b""), tree(8), tree(5)) == (Why.NO_PROOF, 422, None)
    for old, new in ((0, 8), (8, 8)):
        assert why(Submission(old, (bytes(32),), b""), tree(new), tree(old)) == (Why.NO_PROOF, 422, None)
    assert why(asked_of(0, 0), Checkpoint("a", 0, bytes(32)), None) == (Why.NO_PROOF, 422, None)
    assert tree(0).root == EMPTY_ROOT


def test_a_smaller_tree_is_never_cosigned_whatever_is_asked() -> None:
    for held in range(1, 21):
        for size in range(held):
            for old in range(21):
                found = judge(Submission(old, (), b""), tree(size), tree(held))
                assert isinstance(found, Refused)


# --- quorums ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("of", "needed"), [("a", 1), ("ab", 2), ("abc", 2), ("abc", 3), ("abcd", 3)])
def test_a_quorum_is_more_than_half_so_that_two_of_them_share_a_witness(of: str, needed: int) -> None:
    quorum = Quorum(of=tuple(of), needed=needed, within_s=1.0)
    assert quorum.mistake() is None
    assert quorum.met(of[:needed])
    assert not quorum.met([*of[: needed - 1], "z"])
    assert not quorum.met([of[0]] * 5) or needed == 1
    assert 2 * needed > len(of)


@pytest.mark.parametrize(
    ("of", "needed", "within_s"),
    [
        ("", 0, 1.0), ("ab", 1, 1.0), ("abcd", 2, 1.0), ("ab", 3, 1.0), ("aa", 2, 1.0), ("a", 0, 1.0), ("a", 1, 0.0),
    ],
)  # fmt: skip
def test_another_one_is_a_mistake(of: str, needed: int, within_s: float) -> None:
    assert Quorum(of=tuple(of), needed=needed, within_s=within_s).mistake() is not None


def test_what_waits_is_as_old_as_its_oldest_entry() -> None:
    waiting = Waiting()
    assert waiting.age_s(100.0) == 0.0
    waiting.seen(5, 10.0)
    waiting.seen(5, 11.0)
    waiting.seen(9, 20.0)
    assert waiting.age_s(30.0) == 20.0
    waiting.cover(4)
    assert waiting.age_s(30.0) == 20.0
    waiting.cover(5)
    assert waiting.age_s(30.0) == 10.0
    waiting.cover(9)
    assert waiting.age_s(30.0) == 0.0
    waiting.seen(9, 40.0)
    assert waiting.age_s(50.0) == 0.0


def test_what_waited_before_it_was_seen_is_as_old_as_it_is_said_to_be_and_never_younger() -> None:
    waiting = Waiting()
    waiting.since(3.0)
    assert waiting.age_s(30.0) == 0.0
    waiting.seen(5, 10.0)
    waiting.seen(9, 20.0)
    for since_s, age_s in ((4.0, 26.0), (12.0, 26.0)):
        waiting.since(since_s)
        assert waiting.age_s(30.0) == age_s
    waiting.cover(5)
    assert waiting.age_s(30.0) == 10.0


def test_what_waits_for_long_takes_bounded_memory_and_is_never_called_younger() -> None:
    waiting, often = Waiting(), 3 * SEEN_MAX
    for number in range(1, often):
        waiting.seen(number, float(number))
    for covered in (1, SEEN_MAX - 2, SEEN_MAX, 2 * SEEN_MAX, often - 2):
        waiting.cover(covered)
        assert waiting.age_s(float(often)) >= often - (covered + 1)
    waiting.cover(often - 1)
    assert waiting.age_s(float(often)) == 0.0
