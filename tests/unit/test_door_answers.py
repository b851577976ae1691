"""What the door lets through to Postgres and back: rows that are counted and bounded, what is refused and comes back in its own words."""

import random

import pytest

from cells.breakglass.door import frames, runs
from cells.breakglass.door.answers import LONG_ROW_BYTES
from cells.breakglass.door.asking import LEAVE, NOTHING, Intend, Send, Wait
from cells.breakglass.door.frames import Malformed
from cells.breakglass.door.ports import Column, Outcome
from cells.breakglass.door.runs import SKIPPED
from cells.breakglass.door.state import Lost
from tests.stands.door_talk import DESCRIBED, DONE, READY, ROW, Talk


@pytest.mark.parametrize("size", [1, 2, 5, 11, 64, 1_000])
def test_rows_bytes_and_columns_are_counted_however_answers_are_cut(size: int) -> None:
    talk = Talk()
    talk.run("select name from t")
    stream = DESCRIBED + ROW * 3 + DONE + READY
    assert talk.heard(*(stream[at : at + size] for at in range(0, len(stream), size))) == stream
    column = Column(name="name", table=7, attribute=2)
    assert talk.told() == Outcome(session="s", number=1, tag="SELECT 3", rows=3, bytes=3 * len(ROW), columns=(column,))


def test_a_long_row_is_let_through_before_it_is_whole_and_counted_once() -> None:
    talk = Talk()
    talk.run("select")
    row = frames.message(b"D", b"x" * (2 * LONG_ROW_BYTES))
    assert talk.heard(row[:100]) == row[:100]
    assert not talk.answers.between
    assert talk.heard(row[100:], DONE, READY) == row[100:] + DONE + READY
    assert talk.answers.between
    assert (talk.told().rows, talk.state.pending) == (1, talk.state.pending.__class__())


def test_what_a_long_row_holds_is_never_read_as_messages_however_many_pieces_it_comes_in() -> None:
    """An engineer may choose what a computed column holds."""
    forged = frames.message(b"S", b"\0" * 996) + DONE + READY + frames.message(b"2", b"")
    held = (forged * (3 * LONG_ROW_BYTES // len(forged) + 1)) + b"."
    stream = frames.message(b"D", held) + ROW * 2 + DONE + READY
    for size in (1_000, 4_096, LONG_ROW_BYTES - 1, LONG_ROW_BYTES):
        talk = Talk()
        talk.run("select")
        assert talk.heard(*(stream[at : at + size] for at in range(0, len(stream), size))) == stream
        told = talk.told()
        assert (told.rows, told.bytes) == (3, len(stream) - len(DONE + READY))


def test_rows_beyond_the_budget_are_not_shown() -> None:
    talk = Talk(rows=4)
    talk.run("select")
    assert talk.heard(ROW * 3) == ROW * 3
    out: list[bytes] = []
    with pytest.raises(Malformed) as found:
        talk.answers.feed(ROW * 2, out)
    assert (found.value.error.code, b"".join(out)) == ("53400", b"")


@pytest.mark.parametrize("seed", range(40))
def test_rows_are_counted_whatever_their_lengths_and_what_they_hold_however_they_are_cut(seed: int) -> None:
    """Runs of one length are counted together: so many of these, and rows that hold what looks like others."""
    chance = random.Random(seed)
    rows = list[bytes]()
    while len(rows) < 300:
        held = chance.choice((b"", b"D\0\0\0\4", b"D\0\0\0\x0dx", b"x" * chance.randrange(60)))
        rows += [frames.message(b"D", held)] * chance.choice((1, 1, 2, 15, 16, 17, 90))
    shown, talk = b"".join(rows), Talk(rows=10**6)
    talk.run("select")
    stream, at, heard = DESCRIBED + shown + DONE + READY, 0, b""
    while at < len(stream):
        size = chance.choice((1, 7, 300, 5_000, len(stream)))
        heard += talk.heard(stream[at : at + size])
        at += size
    told = talk.told()
    assert (heard, told.rows, told.bytes) == (stream, len(rows), len(shown))


@pytest.mark.parametrize("most", [1, 15, 16, 63, 64, 100])
def test_of_rows_alike_none_beyond_the_budget_is_shown_and_all_within_it_are(most: int) -> None:
    talk = Talk(rows=most)
    talk.run("select")
    assert talk.heard(ROW * most) == ROW * most
    talk = Talk(rows=most)
    talk.run("select")
    out: list[bytes] = []
    with pytest.raises(Malformed):
        talk.answers.feed(ROW * (most + 1), out)
    assert b"".join(out) == b""


def test_a_row_shorter_than_its_own_length_is_lost_also_behind_rows_alike() -> None:
    talk = Talk()
    talk.run("select")
    with pytest.raises(Lost):
        talk.heard(ROW * 40 + b"D\0\0\0\3")


def test_bytes_beyond_the_budget_are_not_shown_neither_of_a_row_that_is_not_whole() -> None:
    talk = Talk(size=LONG_ROW_BYTES)
    talk.run("select")
    out: list[bytes] = []
    with pytest.raises(Malformed):
        talk.answers.feed(frames.message(b"D", b"x" * (2 * LONG_ROW_BYTES))[:100], out)
    assert b"".join(out) == b""


@pytest.mark.parametrize("begun", [b"G", b"H", b"W"])
def test_a_copy_that_began_ends_the_session(begun: bytes) -> None:
    talk = Talk()
    talk.run("select 1; copy t to stdout")
    with pytest.raises(Malformed) as found:
        talk.heard(frames.message(begun, b"\0\0\0"))
    assert found.value.error.code == "0A000"


def test_what_errors_tell_counts_against_the_bytes_that_may_be_shown() -> None:
    talk = Talk(size=300)
    talk.run("select 'x'::int")
    talk.heard(frames.error("ERROR", frames.Error("22P02", "x" * 100)), READY)
    talk.run("select 'x'::int")
    with pytest.raises(Malformed) as found:
        talk.heard(frames.error("ERROR", frames.Error("22P02", "x" * 200)), READY)
    assert found.value.error.code == "53400"


def test_a_name_that_a_message_gives_is_given_once_its_text_is_on_the_record() -> None:
    talk = Talk()
    step = talk.asking.take(frames.message(b"P", b"s\0select 1\0\0\0"))
    assert isinstance(step, Intend)
    assert (step.statement.text, step.statement.kind) == ("select 1", "prepared")
    assert isinstance(talk.asking.recorded(), Send)
    talk.heard(frames.message(b"1"))
    assert talk.told().withheld == "prepared"


@pytest.mark.parametrize("kind", [b"d", b"c", b"f"])
def test_messages_of_copy_go_nowhere_also_before_their_sender_has_heard_of_the_refusal(kind: bytes) -> None:
    talk = Talk()
    assert talk.asking.take(frames.message(kind, b"a row")) is NOTHING
    refused = talk.asking.take(frames.message(b"Q", b"COPY notes FROM STDIN\0"))
    assert isinstance(refused, Send)
    assert b"COPY" not in refused.data
    assert talk.asking.take(frames.message(kind, b"a row")) is NOTHING


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (frames.message(b"Q", b"copy t from stdin\0"), b"C0A000\0"),
        (frames.message(b"P", b"\0copy t to stdout\0\0\0"), b"C0A000\0"),
        (frames.message(b"F", b"\0\0\3\xb8" + b"\0\0" * 3), b"C0A000\0"),
        (frames.message(b"B", b"\0s9\0" + b"\0\0" * 3), b"C26000\0"),
        (frames.message(b"E", b"c9\0" + b"\0" * 4), b"C34000\0"),
        (frames.message(b"Q", b"/* */ Notify c, 'x'\0"), b"C0A000\0"),
        (frames.message(b"Q", b"select 1; notify c;\0"), b"C0A000\0"),
        (frames.message(b"P", b'\0NOTIFY"c"\0\0\0'), b"C0A000\0"),
        (frames.message(b"Q", b"DECLARE c CURSOR WITH/**/HOLD FOR SELECT 1\0"), b"C0A000\0"),
        (frames.message(b"P", b"long\0" + b"x" * 101 + b"\0\0\0"), b"C54000\0"),
    ],
)
def test_what_is_refused_reaches_postgres_as_what_it_refuses_itself_and_comes_back_in_our_words(
    raw: bytes, code: bytes
) -> None:
    talk = Talk()
    sent = talk.asking.take(raw)
    assert isinstance(sent, Send)
    assert sent.data != raw
    said = talk.heard(frames.error("ERROR", frames.Error("42601", "syntax error")))
    assert code in said
    assert b"syntax" not in said


def test_what_was_to_be_refused_and_was_not_is_lost() -> None:
    talk = Talk()
    talk.asking.take(frames.message(b"Q", b"copy t from stdin\0"))
    with pytest.raises(Lost):
        talk.heard(READY)


def test_a_statement_that_cannot_be_recorded_does_not_reach_postgres() -> None:
    talk = Talk()
    assert isinstance(talk.asking.take(frames.message(b"Q", b"select 1\0")), Intend)
    sent = talk.asking.refused(frames.Error("58030", "not now"))
    assert isinstance(sent, Send)
    assert b"select" not in sent.data
    assert b"C58030" in talk.heard(frames.error("ERROR", frames.Error("42601", "syntax error")), READY)
    assert talk.state.outcomes() == []


def test_nothing_goes_out_behind_a_query_before_it_is_answered_and_goodbye_waits_too() -> None:
    talk = Talk()
    talk.run("select 1")
    assert isinstance(talk.asking.take(frames.message(b"S")), Wait)
    assert isinstance(talk.asking.take(frames.TERMINATE), Wait)
    talk.heard(DONE, READY)
    assert talk.asking.take(frames.TERMINATE) is LEAVE


def test_a_bind_behind_a_failure_is_told_as_skipped() -> None:
    talk = Talk()
    talk.asking.take(frames.message(b"P", b"\0select 1\0\0\0"))
    assert isinstance(talk.asking.take(frames.message(b"B", b"\0\0" + b"\0\0" * 3)), Intend)
    talk.heard(frames.error("ERROR", frames.Error("42601", "syntax error")))
    talk.asking.recorded()
    assert talk.told().withheld == SKIPPED


@pytest.mark.parametrize(
    "answer",
    [
        READY,
        frames.message(b"1"),
        frames.message(b"2"),
        ROW,
        frames.message(b"s"),
        frames.message(b"V"),
        b"D\0\0\0\1",
        b"C\0\0\0\0",
    ],
)
def test_an_answer_to_nothing_is_lost(answer: bytes) -> None:
    with pytest.raises(Lost):
        Talk().heard(answer)


def test_what_other_sessions_notify_of_is_not_shown_and_another_encoding_ends_the_session() -> None:
    talk = Talk()
    assert talk.heard(
        frames.message(b"A", b"\0\0\0\1ch\0secret\0"), frames.message(b"N", b"SNOTICE\0\0")
    ) == frames.message(b"N", b"SNOTICE\0\0")
    with pytest.raises(Malformed):
        talk.heard(frames.message(b"S", b"client_encoding\0LATIN1\0"))


def test_what_is_pending_is_bounded() -> None:
    talk = Talk()
    for _ in range(8):
        assert isinstance(talk.asking.take(frames.message(b"D", b"S\0")), Send)
    assert talk.asking.take(frames.message(b"D", b"S\0")) == Wait(flush=True)
    assert talk.asking.take(frames.message(b"D", b"S\0")) == Wait(flush=False)


def test_fields_of_errors_are_read_by_their_letters() -> None:
    raw = frames.error("FATAL", frames.Error("57P01", "over", "go home"))
    assert runs.fields(raw[5:]) == {"S": "FATAL", "V": "FATAL", "C": "57P01", "M": "over", "H": "go home"}
