"""Many records under one entry: each provable by itself, to both verifiers; one erased, the others' proofs hold; none lost or doubled."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from deploy.verify import verify
from foundation.ledger import entries, handed, payloads, proofs, sheaves
from foundation.ledger.beside import payload
from foundation.ledger.draining import Drain
from foundation.ledger.entries import MalformedEntry, Recorded
from foundation.ledger.erasing import Job, digest_of, step
from foundation.ledger.export.forms import Form, Format
from foundation.ledger.export.taking import batches, openings_in
from foundation.ledger.handed import Handed, Shared
from foundation.ledger.log import Log
from foundation.ledger.merkle import ProofRefused
from foundation.ledger.notes import NoteRefused
from foundation.ledger.port import Kind
from foundation.ledger.reading import Found
from foundation.ledger.records import FoundRecord, record_of, records_of
from foundation.ledger.sheaves import TOGETHER_MIN
from gateway.cli.main import cli
from tests.stands.ledger import SIGNER, Outbox, reader, rows, sources_in, unsynced
from tests.stands.ledger_judges import alone, product

pytestmark = pytest.mark.anyio

ADA = "aaaaaaaa-0000-4000-8000-00000000000a"
BEA = "bbbbbbbb-0000-4000-8000-00000000000b"
MANY = 40


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


def about(position: int, kind: Kind, subject: str = ADA) -> Recorded:
    return Recorded(
        position=position,
        id=f"{kind.value}-{position}",
        at_us=1_800_000_000_000_000 + position,
        kind=kind.value,
        actor=subject,
        subject_id=subject,
        details=msgspec.Raw(b'{"n":%d}' % position),
    )


def flood(first: int = 1, count: int = MANY) -> list[Recorded]:
    """Of the three kinds of which there can be many, every third one about Bea."""
    kinds = (Kind.CROSSING, Kind.REFUSAL, Kind.ACCESS, Kind.REFUSAL)
    return [about(at, kinds[at % 4], BEA if at % 3 == 0 else ADA) for at in range(first, first + count)]


def logged(folder: Path, given: Sequence[Recorded]) -> Path:
    """A closed log of these rows, and its key beside it."""
    with Log(folder / "log", SIGNER) as log:
        log.append({"s1": given})
        log.publish()
    (folder / "key").write_text(SIGNER.verifier.text)
    return folder / "log"


def oldest_first(log: Path) -> list[Found]:
    return list(reader(log).newest())[::-1]


def records(log: Path) -> list[FoundRecord]:
    return [record for found in oldest_first(log) for record in records_of(log, found)]


def together(position: int, given: Handed, event: str = "sheaf:one") -> Recorded:
    """A row of records that were handed over together."""
    row = about(position, Kind.SHEAF)
    return msgspec.structs.replace(
        row, id=event, actor="gateway:eu", subject_id=None, details=msgspec.Raw(msgspec.json.encode(given))
    )


def accesses(count: int, *, lost: int = 0) -> Handed:
    shared = (
        Shared(kind="access", actor="service:desk", details={"service": "orders", "verb": "read"}),
        Shared(kind="access", actor=None, details={"service": "orders", "verb": "write"}),
    )
    made = tuple(
        (at % 2, 1_800_000_000_000_000 + at, BEA if at % 3 == 0 else ADA, 7, f"{at:032x}") for at in range(count)
    )
    return Handed(shared=shared, rows=made, lost=lost)


# --- how they come to stand under one -----------------------------------------------------------------------------------------


def test_many_in_a_row_become_one_entry_and_few_do_not(tmp_path: Path) -> None:
    few = flood(1, TOGETHER_MIN - 1)
    fence = about(TOGETHER_MIN, Kind.FENCE)
    many = flood(TOGETHER_MIN + 1)
    log = logged(tmp_path, [*few, fence, *many])
    found = oldest_first(log)
    assert [one.entry.kind for one in found[:-1]] == [row.kind for row in [*few, fence]]
    last = found[-1].entry
    assert (last.kind, last.count, last.position) == ("sheaf", MANY, many[-1].position)
    assert [(one.single.id, one.single.kind, one.single.at_us, one.single.subject_id) for one in records(log)] == [
        (row.id, row.kind, row.at_us, row.subject_id) for row in many
    ]
    told = payload(log, found[-1])
    assert told is not None
    assert (told.actor, told.subject_id, json.loads(bytes(told.details))) == (
        "ledger",
        None,
        {"first": many[0].position},
    )


def test_a_run_that_is_too_long_for_one_entry_goes_on_in_the_next(tmp_path: Path) -> None:
    log = logged(tmp_path, flood(1, handed.RECORDS_MAX + 3))
    assert [one.entry.count for one in oldest_first(log)] == [handed.RECORDS_MAX, 3]
    assert [one.single.id for one in records(log)] == [row.id for row in flood(1, handed.RECORDS_MAX + 3)]


async def test_rows_that_stand_under_one_entry_are_taken_in_once(tmp_path: Path) -> None:
    source = Outbox(flood(1, 600))
    for _ in range(3):
        with Log(tmp_path, SIGNER) as log:
            drain = Drain(log, tmp_path)
            while await drain.once({"s1": source}):
                pass
    assert [one.single.id for one in records(tmp_path)] == [row.id for row in source.held]
    source.held += rows(601, 1)
    with Log(tmp_path, SIGNER) as log:
        await Drain(log, tmp_path).once({"s1": source})
    assert sources_in(tmp_path)[-1][1] == 601


async def test_a_source_that_was_put_back_into_the_middle_of_a_sheaf_is_gone_on_with(tmp_path: Path) -> None:
    source = Outbox([*rows(1, 5), *flood(6, 30)])
    with Log(tmp_path, SIGNER) as log:
        drain = Drain(log, tmp_path)
        await drain.once({"s1": source})
        source.held = [*source.held[:20], *rows(21, 4, tag="anew")]
        for _ in range(3):
            await drain.once({"s1": source})
    assert sources_in(tmp_path)[-1][:2] == ("s1", 24)
    assert {row.id for row in source.held[5:20]} <= {one.single.id for one in records(tmp_path)} | {
        told.id for told in (payload(tmp_path, one) for one in oldest_first(tmp_path)) if told is not None
    }


def test_records_handed_over_together_stand_there_each_whole(tmp_path: Path) -> None:
    log = logged(tmp_path, [together(1, accesses(100, lost=3))])
    (found,) = oldest_first(log)
    assert (found.entry.kind, found.entry.count) == ("sheaf", 100)
    told = payload(log, found)
    assert told is not None
    assert (told.id, told.actor, json.loads(bytes(told.details))) == ("sheaf:one", "gateway:eu", {"lost": 3})
    held = [one.single for one in records(log)]
    assert [one.id for one in held] == [f"sheaf:one/{at}" for at in range(100)]
    assert (held[2].actor, held[3].actor, held[2].subject_id) == ("service:desk", BEA, ADA)
    assert json.loads(bytes(held[3].details)) == {
        "service": "orders", "verb": "write", "epoch": 7, "trace_id": f"{3:032x}",
    }  # fmt: skip


@pytest.mark.parametrize(
    "details",
    [
        msgspec.json.encode(Handed(shared=(), rows=(), lost=12)),
        b'{"of":"another release"}',
        msgspec.json.encode(msgspec.structs.replace(accesses(3), shared=())),
    ],
)
def test_what_holds_no_records_that_this_release_can_read_is_an_entry_as_any(tmp_path: Path, details: bytes) -> None:
    row = msgspec.structs.replace(together(1, accesses(1)), details=msgspec.Raw(details))
    log = logged(tmp_path, [row])
    (found,) = oldest_first(log)
    assert not entries.is_sheaf(found.entry)
    told = payload(log, found)
    assert told is not None
    assert bytes(told.details) == details
    assert alone(log, tmp_path / "key", None) == 0


# --- proofs ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 15, 16, 31, 32, MANY - 1])
def test_one_record_is_proved_and_every_bit_of_its_proof_counts(
    tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    log = logged(tmp_path, [*rows(1, 300), *flood(301)])
    event = flood(301)[number].id
    record = record_of(reader(log), log, event)
    assert record is not None
    whole = record.prove(reader(log).prove(record.found)).render()
    shown = proofs.parse_any(whole)
    assert isinstance(shown, proofs.RecordProof)
    shown.verify(SIGNER.verifier)
    assert sheaves.read(shown.record).id == event
    file, words = tmp_path / "p", ["proof", str(tmp_path / "p"), "--key", str(tmp_path / "key")]
    file.write_bytes(whole)
    assert verify.main(words) == 0
    assert event in capsys.readouterr().out
    others = [row.id for row in flood(301) if row.id != event]
    assert not any(other.encode() in shown.record for other in others)
    chance = random.Random(number)
    for bit in chance.sample(range(len(whole) * 8), 100):
        raw = bytearray(whole)
        raw[bit // 8] ^= 1 << bit % 8
        file.write_bytes(raw)
        assert verify.main(words) == 1, (bit, capsys.readouterr())
        with pytest.raises((ProofRefused, NoteRefused, MalformedEntry)):
            proofs.parse_any(bytes(raw)).verify(SIGNER.verifier)


def test_the_proof_of_an_entry_with_nothing_under_it_proves_no_record(tmp_path: Path) -> None:
    log = logged(tmp_path, [*rows(1, 5), *flood(6)])
    record = record_of(reader(log), log, flood(6)[0].id)
    assert record is not None
    other = record.prove(reader(log).prove(oldest_first(log)[2]))
    with pytest.raises(ProofRefused, match="no records"):
        other.verify(SIGNER.verifier)
    (tmp_path / "p").write_bytes(other.render())
    assert verify.main(["proof", str(tmp_path / "p"), "--key", str(tmp_path / "key")]) == 1


def test_an_entry_has_both_a_count_and_a_root_or_neither(tmp_path: Path) -> None:
    whole = json.loads(oldest_first(logged(tmp_path, flood()))[0].raw)
    for name in ("count", "root"):
        other = {member: value for member, value in whole.items() if member != name}
        with pytest.raises(MalformedEntry, match="together"):
            entries.parse(json.dumps(other, separators=(",", ":"), sort_keys=True).encode())
        with pytest.raises(verify.Refused, match="members"):
            verify.entry_of(json.dumps(other, separators=(",", ":"), sort_keys=True).encode(), "the entry")


def run(*words: str | Path) -> str:
    done = CliRunner().invoke(cli, ["ledger", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_proves_shows_and_verifies_a_record(tmp_path: Path) -> None:
    log = logged(tmp_path, [*rows(1, 5), *flood(6)])
    key, proof = ("--key", tmp_path / "key"), tmp_path / "p"
    event = flood(6)[7].id
    told = json.loads(run("prove", log, event, *key, "--out", proof, "--json"))
    assert (told["index"], told["record"], told["of"]) == (5, 7, MANY)
    assert f"record 7 of {MANY} under entry 5 of 6" in run("prove", log, event, *key, "--out", proof)
    verified = json.loads(run("verify", proof, *key, "--json"))
    assert (verified["record"]["id"], verified["entry"]["count"]) == (event, MANY)
    assert f"{event} by {ADA}" in run("verify", proof, *key)
    last = flood(6)[-1].id
    assert json.loads(run("prove", log, last, *key, "--out", proof, "--json"))["record"] == MANY - 1
    run("prove", log, last, *key, "--out", proof, "--payload", tmp_path / "payload")
    assert ADA.encode() not in (tmp_path / "payload").read_bytes(), "the payload is not the records beside it"
    run("verify", proof, *key, "--payload", tmp_path / "payload")
    assert verify.main(["proof", str(proof), *map(str, key), "--payload", str(tmp_path / "payload")]) == 0
    shown = json.loads(run("show", log, *key, "--subject", BEA, "--json"))["entries"]
    assert [one["id"] for one in shown[0]["records"]] == [row.id for row in flood(6) if row.subject_id == BEA]
    table = run("show", log, *key, "--subject", BEA)
    assert flood(6)[3].id in table
    assert f"sheaf of {MANY}" in run("show", log, *key)
    refused = CliRunner().invoke(cli, ["ledger", "prove", str(log), "access-9999", *map(str, key)])
    assert (refused.exit_code, "no entry" in refused.output) == (1, True)


# --- erasing, tampering, giving out --------------------------------------------------------------------------------------------


def erased(log: Path, subject: str) -> Job:
    with Log(log, SIGNER) as opened:
        job = Job(id="job", subject=digest_of(subject), actor="operator:ann", through=opened.size)
        while not job.finished:
            job = step(opened, log, job)
    return job


def test_one_subjects_records_are_erased_and_the_others_proofs_hold(tmp_path: Path) -> None:
    log = logged(tmp_path, [*rows(1, 5), *flood(6), together(100, accesses(30))])
    before = {one.single.id: one for one in records(log)}
    assert erased(log, BEA).erased == 2
    assert not any(BEA.encode() in path.read_bytes() for path in log.rglob("*") if path.is_file())
    after = records(log)
    assert [one.single.id for one in after] == [name for name, one in before.items() if one.single.subject_id == ADA]
    for one in after:
        proof = one.prove(reader(log).prove(one.found))
        assert proof == before[one.single.id].prove(proof.proof)
        proof.verify(SIGNER.verifier)
    assert [judge(log, tmp_path / "key", None) for judge in (alone, product)] == [0, 0]
    assert reader(log).verify(folder=log).without == 0
    assert erased(log, BEA).erased == 0


def test_an_erasure_that_was_cut_short_inside_a_record_is_finished(tmp_path: Path) -> None:
    log = logged(tmp_path, flood())
    opening = payloads.read(log, 0)
    assert opening is not None
    held = sheaves.records_in(opening)[2]
    path = log / payloads.file_of(0)
    raw = bytearray(path.read_bytes())
    raw[4 + held.begin : 4 + held.begin + 60] = bytes(60)
    path.write_bytes(raw)
    assert alone(log, tmp_path / "key", None) == product(log, tmp_path / "key", None) == 1
    job = Job(id="job", subject=digest_of(BEA), actor="operator:ann", through=1, at_hand=(0,))
    with Log(log, SIGNER) as opened:
        step(opened, log, job)
    assert alone(log, tmp_path / "key", None) == product(log, tmp_path / "key", None) == 0
    assert BEA.encode() not in path.read_bytes()


def test_whatever_is_done_to_records_beside_the_log_is_found_by_both_verifiers(tmp_path: Path) -> None:
    log = logged(tmp_path, [*rows(1, 3), *flood(4)])
    path, key, chance = log / payloads.file_of(0), tmp_path / "key", random.Random(7)
    whole = path.read_bytes()
    opening = payloads.read(log, 3)
    assert opening is not None
    begin, held = whole.index(opening), sheaves.records_in(opening)
    frames = [opening[one.begin - 36 : one.end] for one in held]
    head = entries.committed(opening) + b"\x00"
    others = [head + b"".join(frames[:-1]), head + b"".join([frames[1], frames[0], *frames[2:]]), head, head[:-1]]
    for _ in range(200):
        raw = bytearray(opening)
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        others.append(bytes(raw))
    for other in others:
        path.write_bytes(whole[: begin - 4] + len(other).to_bytes(4, "big") + other + whole[begin + len(opening) :])
        assert (alone(log, key, None), product(log, key, None)) == (1, 1)
    path.write_bytes(whole)
    assert (alone(log, key, None), product(log, key, None)) == (0, 0)


@pytest.mark.parametrize("kind", [Format.OCSF, Format.ENTRIES])
def test_each_record_is_given_out_where_payloads_are(tmp_path: Path, kind: Format) -> None:
    log = logged(tmp_path, [*rows(1, 3), *flood(4), *rows(60, 2)])
    form = Form(kind, True, SIGNER.verifier.name, "0.1.0")

    def lines(form: Form) -> list[dict[str, Any]]:
        (batch,) = batches(reader(log), form, openings_in(log if form.payloads else None), 0)
        assert batch.following == 6
        return [json.loads(line) for line in b"".join(batch.lines).splitlines()]

    told = lines(form)
    assert len(told) == 6 + MANY
    given = told[4 : 4 + MANY]
    if kind is Format.OCSF:
        assert [one["unmapped"]["id"] for one in given] == [row.id for row in flood(4)]
        assert [one["metadata"]["uid"] for one in given] == [entries.event_digest(row.id) for row in flood(4)]
        assert {one["metadata"]["sequence"] for one in given} == {3}
        assert told[3]["unmapped"]["count"] == MANY
    else:
        assert [(one["record"], one["payload"]["id"]) for one in given] == [
            (n, row.id) for n, row in enumerate(flood(4))
        ]
        assert (told[3]["count"], told[3]["index"]) == (MANY, 3)
    assert len(lines(form._replace(payloads=False))) == 6
    erased(log, BEA)
    assert len(lines(form)) == 6 + sum(row.subject_id == ADA for row in flood(4))
