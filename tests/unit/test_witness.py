"""A witness on its disk: one history of each log, on the disk before anybody hears of it, over restarts and faults."""

import asyncio
import contextlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from foundation.clock import ManualClock
from foundation.http import HttpClient
from foundation.ledger import checkpoints, files, notes
from foundation.ledger.checkpoints import Checkpoint
from foundation.ledger.files import Files, LogBusy
from foundation.ledger.log import Log
from foundation.ledger.notes import Signer
from foundation.ledger.witness import api, cosignatures, requests
from foundation.ledger.witness.api import witness_application
from foundation.ledger.witness.core import Refused, Why, judge
from foundation.ledger.witness.cosignatures import Cosigner
from foundation.ledger.witness.held import HeldDamaged, file_of
from foundation.ledger.witness.requests import Submission
from foundation.ledger.witness.witness import Witness
from foundation.mute import Secret
from tests.stands.ledger import SIGNER, checkpoint_of, rows, unsynced, written
from tests.stands.waiting import eventually
from tests.stands.witnesses import Network, cosigner, submission, witness

pytestmark = pytest.mark.anyio
KEY = cosigner("eu").verifier


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    unsynced(monkeypatch)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 300 entries, after checkpoints over 0, 5 and 260 of them."""
    folder = tmp_path / "log"
    (tmp_path / "notes").mkdir()
    for number, note in enumerate(written(folder, 5, 255, 40)):
        (tmp_path / "notes" / str(number)).write_bytes(note)
    return folder


def note(log: Path, number: int) -> bytes:
    return (log.parent / "notes" / str(number)).read_bytes()


def held(tmp_path: Path) -> bytes:
    """What the witness `eu` has on its disk of the log."""
    return (tmp_path / "eu" / file_of(SIGNER.verifier.name)).read_bytes()


def refused(answer: bytes | Refused) -> tuple[Why, int | None]:
    assert isinstance(answer, Refused), answer
    return answer.why, answer.held


def at_s(answer: bytes | Refused, text: str) -> int:
    """The time of a cosignature over that text."""
    assert isinstance(answer, bytes), answer
    said = KEY.cosignature(text, notes.lines_in(answer)[0])
    assert said is not None
    return said.at_s


# --- one history ---------------------------------------------------------------------------------------------------------------


def test_each_checkpoint_of_a_log_that_grows_is_cosigned_and_lies_on_the_disk(log: Path, tmp_path: Path) -> None:
    one = witness(tmp_path)
    for number, old in ((0, 0), (1, 0), (2, 5), (3, 260), (3, 300)):
        answer = one.add(submission(log, old, note=note(log, number)))
        assert isinstance(answer, bytes)
        assert list(cosignatures.verified(note(log, number) + answer, [KEY])) == [KEY.name]
        assert held(tmp_path) == note(log, number) + answer
    one.close()


def test_never_backwards_and_never_another_history_over_restarts(log: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    written(other, 5, 255, 50)
    for _ in range(3):
        one = witness(tmp_path)
        one.add(submission(log, 0, note=note(log, 2)))
        assert refused(one.add(submission(log, 0))) == (Why.OTHER_SIZE, 260)
        assert refused(one.add(submission(log, 0, note=note(log, 1)))) == (Why.OTHER_SIZE, 260)
        assert refused(one.add(submission(log, 5, note=note(log, 1)))) == (Why.OTHER_SIZE, 260)
        smaller = Submission(260, (), note(log, 1)).render()
        assert refused(one.add(smaller)) == (Why.MALFORMED, None)
        assert refused(one.add(submission(other, 260))) == (Why.NO_PROOF, None)
        one.close()
    assert checkpoints.opened(held(tmp_path), SIGNER.verifier).size == 260


def test_of_two_histories_under_one_key_one_is_cosigned_and_the_other_is_kept_as_proof(
    log: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    forked = written(other, 300)[-1]
    one = witness(tmp_path)
    assert isinstance(one.add(submission(log, 0)), bytes)
    assert refused(one.add(submission(other, 0))) == (Why.OTHER_SIZE, 300)
    assert refused(one.add(submission(other, 300))) == (Why.FORK, None)
    kept = (tmp_path / "eu" / f"fork-{file_of(SIGNER.verifier.name)}").read_bytes()
    two = checkpoints.opened(kept, SIGNER.verifier), checkpoints.opened(held(tmp_path), SIGNER.verifier)
    assert kept == forked
    assert two[0].size == two[1].size
    assert two[0].root != two[1].root
    assert isinstance(one.add(submission(log, 300)), bytes)
    one.close()


async def test_of_two_that_submit_at_once_one_is_judged_after_the_other_is_on_the_disk(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were both judged by what was held before, the later answer would take the larger tree back."""
    one, meeting = witness(tmp_path), threading.Barrier(2)

    def meet(asked: Submission, signed: Checkpoint, last: Checkpoint | None) -> Refused | None:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(timeout=0.2)
        return judge(asked, signed, last)

    monkeypatch.setattr("foundation.ledger.witness.witness.judge", meet)
    bodies = [submission(log, 0, note=note(log, number)) for number in (1, 3)]
    answers = await asyncio.gather(*(asyncio.to_thread(one.add, body) for body in bodies))
    assert sum(isinstance(answer, bytes) for answer in answers) == 1
    (why,) = (refused(answer) for answer in answers if isinstance(answer, Refused))
    assert why == (Why.OTHER_SIZE, checkpoints.opened(held(tmp_path), SIGNER.verifier).size)
    one.close()


def test_an_unknown_log_another_key_and_no_request_at_all_are_refused(log: Path, tmp_path: Path) -> None:
    one = witness(tmp_path)
    stranger, impostor = Signer("stranger.test/log", Secret(b"s" * 32)), Signer(SIGNER.verifier.name, Secret(b"i" * 32))
    for signer, why in ((stranger, Why.UNKNOWN_LOG), (impostor, Why.UNSIGNED)):
        folder = tmp_path / signer.verifier.name.replace("/", "-") / why
        written(folder, 3, signer=signer)
        assert refused(one.add(submission(folder, 0, signer))) == (why, None)
    body = submission(log, 0)
    for mangled in (
        b"",
        b"old 0\n\n",
        body[:-1],
        body.replace(b"old 0", b"old x"),
        b"\xff",
        body.replace(b"\n300\n", b"\nx\n"),
    ):
        assert refused(one.add(mangled)) == (Why.MALFORMED, None)
    assert not (tmp_path / "eu" / file_of(SIGNER.verifier.name)).exists()
    one.close()


def test_signatures_of_strangers_are_not_kept_and_cost_nothing(log: Path, tmp_path: Path) -> None:
    one = witness(tmp_path)
    stranger = Signer("stranger.test/log", Secret(b"s" * 32)).sign(checkpoint_of(log).text).rpartition("\n\n")[2]
    answer = one.add(submission(log, 0) + stranger.encode())
    assert isinstance(answer, bytes)
    assert b"stranger" not in held(tmp_path)
    one.close()


# --- the disk --------------------------------------------------------------------------------------------------------------------


def test_it_is_on_the_disk_and_synced_before_the_cosignature_leaves(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = witness(tmp_path)
    happened = list[str]()

    def told(what: str) -> Callable[[object], None]:
        return lambda _: happened.append(f"{what}, {(tmp_path / 'eu' / file_of(SIGNER.verifier.name)).exists()}")

    monkeypatch.setattr(files, "datasync", told("content"))
    monkeypatch.setattr("foundation.ledger.witness.held.sync_path", told("folder"))
    assert isinstance(one.add(submission(log, 0)), bytes)
    assert happened == ["content, False", "folder, True"]
    one.close()


def test_a_disk_that_does_not_take_it_gets_no_cosignature_and_is_gone_on_with(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = witness(tmp_path)
    assert isinstance(one.add(submission(log, 0, note=note(log, 1))), bytes)
    before = held(tmp_path)

    def full(self: Files, name: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Files, "write_durably", full)
        assert refused(one.add(submission(log, 5))) == (Why.NOT_READY, None)
    assert held(tmp_path) == before
    assert isinstance(one.add(submission(log, 5)), bytes)
    one.close()


@pytest.mark.parametrize("damage", [b"", b"garbage", b"half"])
def test_a_log_whose_file_is_damaged_is_refused_and_the_others_are_served(
    log: Path, tmp_path: Path, damage: bytes
) -> None:
    second = Signer("second.test/log", Secret(b"2" * 32))
    other = tmp_path / "second"
    written(other, 3, signer=second)
    known = (SIGNER.verifier, second.verifier)
    one = witness(tmp_path, known=known)
    assert isinstance(one.add(submission(log, 0)), bytes)
    one.close()
    whole = held(tmp_path)
    path = tmp_path / "eu" / file_of(SIGNER.verifier.name)
    path.write_bytes(whole[: len(whole) // 2] if damage == b"half" else damage)
    one = witness(tmp_path, known=known)
    for old in (0, 300):
        assert refused(one.add(submission(log, old))) == (Why.NOT_READY, None)
    assert isinstance(one.add(submission(other, 0, second)), bytes)
    path.write_bytes(whole.replace(b"witness.test/eu", b"witness.test/us"))
    assert refused(one.add(submission(log, 300))) == (Why.NOT_READY, None)
    path.write_bytes(whole)
    assert isinstance(one.add(submission(log, 300)), bytes)
    one.close()


def test_a_folder_has_one_witness_at_a_time_and_never_another_ones(log: Path, tmp_path: Path) -> None:
    one = witness(tmp_path)
    with pytest.raises(LogBusy):
        witness(tmp_path)
    one.close()
    again = witness(tmp_path)
    again.close()
    shutil.copytree(tmp_path / "eu", tmp_path / "us")
    with pytest.raises(HeldDamaged, match="another witness"):
        witness(tmp_path, "us")
    other_key = Cosigner(KEY.name, Secret(b"o" * 32))
    with pytest.raises(HeldDamaged, match="another key"):
        Witness(tmp_path / "eu", other_key, [SIGNER.verifier], ManualClock())
    witness(tmp_path).close()


def test_a_log_under_the_witnesss_own_key_is_not_witnessed(tmp_path: Path) -> None:
    same = Signer("some.test/log", Secret(b"eu".ljust(32, b"w")))
    with pytest.raises(ValueError, match="own key"):
        witness(tmp_path, known=(same.verifier,))


def test_times_do_not_go_back_when_the_clock_does(log: Path, tmp_path: Path) -> None:
    clock = ManualClock(unix_s=2_000.7)
    text = checkpoint_of(log).text
    one = witness(tmp_path, clock=clock)
    assert at_s(one.add(submission(log, 0)), text) == 2_000
    clock.advance(-500)
    assert at_s(one.add(submission(log, 300)), text) == 2_000
    one.close()
    one = witness(tmp_path, clock=clock)
    assert at_s(one.add(submission(log, 300)), text) == 2_000
    clock.advance(600)
    assert at_s(one.add(submission(log, 300)), text) == 2_100
    one.close()


def test_a_checkpoint_with_extension_lines_is_cosigned_with_them(log: Path, tmp_path: Path) -> None:
    text = Checkpoint(
        SIGNER.verifier.name, 0, checkpoints.parse(note(log, 0).decode().partition("\n\n")[0] + "\n").root
    ).text
    extended = f"{text}extension\n"
    one = witness(tmp_path)
    answer = one.add(Submission(0, (), SIGNER.sign(extended).encode()).render())
    assert at_s(answer, extended) > 0
    assert KEY.cosignature(text, notes.lines_in(held(tmp_path).rpartition(b"\n\n")[2])[1]) is None
    one.close()


# --- over HTTP -------------------------------------------------------------------------------------------------------------------


async def test_over_http_each_answer_has_the_protocols_status_and_type(log: Path, tmp_path: Path) -> None:
    stand = Network(tmp_path, "eu")
    other = tmp_path / "other"
    written(other, 300)
    stranger = Signer("stranger.test/log", Secret(b"s" * 32))
    written(tmp_path / "stranger", 3, signer=stranger)
    impostor = Signer(SIGNER.verifier.name, Secret(b"i" * 32))
    written(tmp_path / "impostor", 3, signer=impostor)
    async with stand.client() as http:

        async def post(body: bytes) -> httpx.Response:
            return await http.post(f"http://eu.test{requests.PATH}", content=body)

        done = await post(submission(log, 0))
        assert (done.status_code, done.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert done.content == held(tmp_path).removeprefix(note(log, 3))
        assert done.text.startswith("— witness.test/eu ")
        conflict = await post(submission(log, 0))
        assert (conflict.status_code, conflict.headers["content-type"], conflict.content) == (
            409,
            "text/x.tlog.size",
            b"300\n",
        )
        fork = await post(submission(other, 300))
        assert (fork.status_code, fork.headers["content-type"]) == (409, "text/plain; charset=utf-8")
        assert (await post(b"old")).status_code == 400
        assert (await post(submission(log, 300).replace(b"old 300", b"old 301"))).status_code == 400
        assert (await post(submission(tmp_path / "stranger", 0, stranger))).status_code == 404
        assert (await post(submission(tmp_path / "impostor", 0, impostor))).status_code == 403
        assert (await post(Submission(300, (bytes(32),), note(log, 3)).render())).status_code == 422
        assert (await post(b"x" * (requests.BODY_BYTES_MAX + 1))).status_code == 413
        assert (await http.get(f"http://eu.test{requests.PATH}")).status_code == 405
        assert (await http.get("http://eu.test/readyz")).status_code == 200
    stand.close()


async def test_more_submissions_than_may_wait_are_told_to_come_back(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PENDING_MAX", 2)
    one = witness(tmp_path)
    waiting = list[None]()

    def add(body: bytes) -> bytes | Refused:
        waiting.append(None)
        return Witness.add(one, body)

    monkeypatch.setattr(one, "add", add)
    transport = httpx.ASGITransport(app=witness_application(one, lambda: None))
    async with HttpClient(transport=transport) as http, asyncio.TaskGroup() as group:

        async def post() -> httpx.Response:
            return await http.post("http://eu.test/add-checkpoint", content=submission(log, 0))

        with one._mutex:
            two = [group.create_task(post()) for _ in range(2)]
            await eventually(lambda: len(waiting) == 2)
            turned_away = await post()
    assert (turned_away.status_code, turned_away.headers["retry-after"]) == (503, "1")
    assert sorted(task.result().status_code for task in two) == [200, 409]
    one.close()


def test_a_log_that_writes_on_is_cosigned_from_wherever_its_witness_stands(tmp_path: Path) -> None:
    one, cosigned = witness(tmp_path), 0
    with Log(tmp_path / "log", SIGNER) as log:
        for count in (1, 255, 1, 256, 300, 7):
            log.append({"s1": rows(log.seen("s1").position + 1, count)})
            log.publish()
            assert isinstance(one.add(submission(tmp_path / "log", cosigned)), bytes)
            cosigned = log.size
    one.close()
