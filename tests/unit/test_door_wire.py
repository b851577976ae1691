"""The door's reading of Postgres' protocol: first packets, messages, names in texts, rows and budgets, SCRAM."""

import base64
import hashlib
import hmac
import random
import ssl
import struct
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from cells.breakglass.door import frames, naming, runs, startup
from cells.breakglass.door.answering import SETTING_BYTES_MAX, Answering
from cells.breakglass.door.answers import LONG_ROW_BYTES, Answers, Budget
from cells.breakglass.door.asking import LEAVE, NOTHING, Asking, Intend, Limits, Send, Wait
from cells.breakglass.door.frames import Malformed, Splitter
from cells.breakglass.door.ports import Column, Outcome
from cells.breakglass.door.runs import SKIPPED
from cells.breakglass.door.scram import PLAIN, PLUS, Scram, ScramRefused, bound, end_point
from cells.breakglass.door.startup import CancelRequest, GssRequest, SslRequest, Startup
from cells.breakglass.door.state import Lost, State
from cells.breakglass.door.upstream import Target, UpstreamRefused
from foundation.mute import Secret
from tests.stands.certificates import SINCE, UNTIL, Authority

READY = frames.message(b"Z", b"I")


def packet(code: int, body: bytes = b"") -> bytes:
    return struct.pack("!ii", len(body) + 8, code) + body


def asked(code: int = 196_608, /, **given: str) -> Startup:
    body = b"".join(frames.text(key.replace("pq_", "_pq_."), value) for key, value in given.items()) + b"\0"
    found = startup.read(packet(code, body))
    assert isinstance(found, Startup)
    return found


# --- first packets -----------------------------------------------------------------------------------------------------------


def test_requests_before_a_session_are_told_apart() -> None:
    assert startup.read(packet(startup.SSL_REQUEST)) == SslRequest()
    assert startup.read(packet(startup.GSS_REQUEST)) == GssRequest()
    assert startup.read(startup.cancel_request(7, b"abcd")) == CancelRequest(7, b"abcd")


def test_a_startup_keeps_the_settings_that_are_not_the_doors_own() -> None:
    found = asked(user="ann", database="s1", application_name="psql", client_encoding="LATIN1", TimeZone="UTC")
    assert (found.database, found.newer, found.unknown) == ("s1", False, ())
    assert found.settings == (("TimeZone", "UTC"),)


def test_a_later_protocol_and_unknown_options_are_negotiated_down() -> None:
    found = asked(196_610, user="ann", pq_shiny="1")
    told = startup.welcome(found, 1, b"abcd", [])
    assert told.startswith(frames.message(b"v", struct.pack("!ii", 196_608, 1) + b"_pq_.shiny\0") + b"R")
    assert startup.welcome(asked(user="ann"), 1, b"abcd", [])[:1] == b"R"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"replication": "database"}, "0A000"),
        ({"replication": "true"}, "0A000"),
        ({"options": "-c role=postgres"}, "0A000"),
    ],
)
def test_replication_and_startup_options_are_refused(given: dict[str, str], code: str) -> None:
    with pytest.raises(Malformed) as found:
        asked(196_608, user="ann", **given)
    assert found.value.error.code == code


@pytest.mark.parametrize(
    "raw",
    [
        packet(131_072, b"user\0ann\0\0"),
        packet(196_608, b"user\0ann\0"),
        packet(196_608, b"user\0\0"),
        packet(196_608, b"user\0\xff\0\0"),
        packet(196_608),
        packet(startup.CANCEL_REQUEST, b"\0" * 4),
    ],
)
def test_a_first_packet_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed):
        startup.read(raw)


@pytest.mark.parametrize("size", [-1, 0, 7, 10_001, 2**31 - 1])
def test_a_first_packet_beyond_its_bounds_is_refused_before_it_is_read(size: int) -> None:
    with pytest.raises(Malformed):
        startup.packet_bytes(struct.pack("!i", size))


# --- messages ----------------------------------------------------------------------------------------------------------------


def test_messages_are_whole_however_the_stream_is_cut() -> None:
    sent = [frames.message(b"Q", b"select 1\0"), frames.FLUSH, frames.message(b"S"), frames.TERMINATE]
    stream = b"".join(sent)
    for size in range(1, len(stream) + 1):
        splitter = Splitter(100)
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [raw for piece in pieces for raw in splitter.feed(piece)] == sent


@pytest.mark.parametrize("size", [-1, 0, 3, 100, 2**31 - 1])
def test_a_message_beyond_its_bounds_is_refused_by_its_head(size: int) -> None:
    with pytest.raises(Malformed):
        Splitter(100).feed(b"Q" + struct.pack("!i", size))


@pytest.mark.parametrize(
    ("read", "body"),
    [
        (frames.query, b"select 1"),
        (frames.query, b"select 1\0more"),
        (frames.query, b"\xff\0"),
        (frames.parse, b"s\0select 1\0\0\1"),
        (frames.parse, b"s" * 64 + b"\0select 1\0\0\0"),
        (frames.bind, b"\0\0\0\1\0\2\0\0\0\0"),
        (frames.bind, b"\0\0\0\2\0\0\0\0\0\1\0\0\0\0\0\0"),
        (frames.bind, b"\0\0\0\0\0\1\0\0\0\5abc\0\0"),
        (frames.bind, b"\0\0\0\0\0\1\xff\xff\xff\xfe\0\0"),
        (frames.named, b"X\0"),
        (frames.executed, b"p\0\0\0"),
        (frames.executed, b"p: x\0\0\0\0\0"),
    ],
)
def test_a_message_that_does_not_hold_what_it_says_is_refused(read: object, body: bytes) -> None:
    with pytest.raises(Malformed):
        read(frames.message(b"?", body))  # type: ignore[operator]


def test_a_bind_tells_parameters_and_their_formats() -> None:
    body = b"p\0s\0" + b"\0\1\0\1" + b"\0\2" + b"\0\0\0\2ab" + b"\xff\xff\xff\xff" + b"\0\0"
    assert frames.bind(frames.message(b"B", body)) == frames.Bind("p", "s", (1,), (b"ab", None))


# --- texts -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("select 1", "SELECT"),
        ("  -- a\n /* b /* c */ d */ ((Select 1))", "SELECT"),
        (";;copy t to stdout", "COPY"),
        ("/* never ends select", ""),
        ("--only\r\ncopy x", "COPY"),
        ("", ""),
        ("1", ""),
        ("\u017felect 1", ""),
    ],
)
def test_the_first_word_is_found_behind_blanks_comments_and_brackets(text: str, word: str) -> None:
    assert naming.first_word(text) == word


@pytest.mark.parametrize(
    "text", ["prepare a as select 1", "deallocate a", "do $$ $$", "declare c cursor for select 1", "x"]
)
def test_what_may_change_names_is_not_taken_for_harmless(text: str) -> None:
    assert not naming.keeps_names(text)


@pytest.mark.parametrize(
    ("tag", "text", "dropped"),
    [
        ("DEALLOCATE", "deallocate  Prepare S1 ;", "s1"),
        ("DEALLOCATE", 'DEALLOCATE "S""1"', 'S"1'),
        ("DEALLOCATE", "select 1; deallocate s1", ""),
        ("DEALLOCATE", "/* */ deallocate s1", ""),
        ("DEALLOCATE ALL", "deallocate all", ""),
        ("DISCARD ALL", "discard all", ""),
        ("DO", "do $$ $$", ""),
        ("SELECT 1", "select 1", None),
        ("DISCARD PLANS", "discard plans", None),
    ],
)
def test_a_tag_says_which_names_are_gone(tag: str, text: str, dropped: str | None) -> None:
    assert naming.dropped_statements(tag, text) == dropped


# --- rows, budgets, refusals -------------------------------------------------------------------------------------------------


def parse(text: str, name: str = "") -> bytes:
    return frames.message(b"P", frames.text(name, text) + b"\0\0")


def bind(statement: str = "", portal: str = "", *parameters: bytes) -> bytes:
    given = b"".join(struct.pack("!i", len(one)) + one for one in parameters)
    return frames.message(
        b"B", frames.text(portal, statement) + b"\0\0" + struct.pack("!H", len(parameters)) + given + b"\0\0"
    )


EXECUTE = frames.message(b"E", b"\0" * 5)


class Talk:
    """A session's core without a connection."""

    def __init__(self, rows: int = 100, size: int = 10**9) -> None:
        self.state = State()
        self.asking = Asking(
            "s", self.state, Limits(statements_max=2, texts_max=100, portals_max=2, pending_max=8), "nobody"
        )
        self.answers = Answers(Answering(self.state), Budget(rows, size))

    def extended(self, text: str) -> None:
        """Parse, Bind and Execute, none of them answered."""
        assert isinstance(self.asking.take(parse(text)), Send)
        assert isinstance(self.asking.take(bind()), Intend)
        assert isinstance(self.asking.recorded(), Send)
        assert isinstance(self.asking.take(EXECUTE), Send)

    def named(self, name: str, text: str) -> None:
        """A statement that holds by its name."""
        assert isinstance(self.asking.take(parse(text, name)), Intend)
        assert isinstance(self.asking.recorded(), Send)
        self.heard(frames.message(b"1"))
        self.told()

    def run(self, text: str) -> None:
        assert isinstance(self.asking.take(frames.message(b"Q", frames.text(text))), Intend)
        assert isinstance(self.asking.recorded(), Send)

    def heard(self, *pieces: bytes) -> bytes:
        out: list[bytes] = []
        for piece in pieces:
            self.answers.feed(piece, out)
        return b"".join(out)

    def told(self) -> Outcome:
        (found,) = self.state.outcomes()
        return found


ROW = frames.message(b"D", b"\0\1\0\0\0\1x")
DESCRIBED = frames.message(b"T", b"\0\1" + b"name\0" + struct.pack("!ihihih", 7, 2, 25, -1, -1, 0))
DONE = frames.message(b"C", b"SELECT 3\0")


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


@pytest.mark.parametrize(
    "text",
    ["select 1 where 'notify' = 'x' ;\n", "select hold from notify_me", "declare c cursor for select 1", "listen c"],
)
def test_what_only_looks_like_what_is_refused_is_not(text: str) -> None:
    Talk().run(text)


RECODING = [
    "SET client_encoding = 'GBK'",
    "SELECT set_config('client_encoding', 'GBK', false)",
    'SELECT U&"set\\005Fconfig"(a, b, true) FROM c',
    "UPDATE pg_catalog.PG_SETTINGS SET setting = 'GBK'",
    "FETCH c",
    "EXECUTE s",
    "EXPLAIN (ANALYZE) EXECUTE s",
    "COMMIT",
    "ROLLBACK TO SAVEPOINT s",
    "DISCARD ALL",
    "",
]
EURO = "€"
"""In UTF-8; its last byte and a backslash are one character in GBK."""


@pytest.mark.parametrize("text", RECODING)
@pytest.mark.parametrize(
    "raw",
    [
        parse(f"SELECT E'{EURO}\\', name --'"),
        parse("SELECT 1", EURO),
        bind("", "", EURO.encode()),
        bind("", EURO),
        frames.message(b"E", frames.text(EURO) + b"\0" * 4),
        frames.message(b"D", b"S" + frames.text(EURO)),
        frames.message(b"C", b"P" + frames.text(EURO)),
        frames.message(b"Q", frames.text(f"SELECT E'{EURO}\\', name --'")),
    ],
    ids=["text", "name", "parameter", "portal", "executed", "described", "closed", "query"],
)
def test_behind_what_may_set_another_encoding_nothing_but_ascii_goes_out(text: str, raw: bytes) -> None:
    talk = Talk()
    talk.extended(text)
    sent = talk.asking.take(raw)
    assert isinstance(sent, Send)
    assert EURO.encode() not in sent.data
    said = talk.heard(*(frames.message(kind) for kind in (b"1", b"2", b"n")), DONE, frames.error("ERROR", NOBODY))
    assert b"C0A000\0" in said
    assert NOBODY.message.encode() not in said


NOBODY = frames.Error("26000", "there is nobody")


def test_ascii_goes_out_behind_it_and_everything_once_postgres_would_have_told_of_another_encoding() -> None:
    talk, evil = Talk(), parse(EURO)
    talk.extended("SET client_encoding = 'GBK'")
    assert talk.asking.take(parse("SELECT 1")) == Send(parse("SELECT 1"))
    assert isinstance(talk.asking.take(frames.message(b"S")), Send)
    talk.heard(*(frames.message(kind) for kind in (b"1", b"2", b"n")), DONE, frames.message(b"1"), READY)
    assert talk.asking.take(evil) == Send(evil)


@pytest.mark.parametrize("text", ["SELECT 1", "BEGIN", "WITH a AS (SELECT 1) SELECT * FROM a", "SAVEPOINT s"])
def test_behind_what_leaves_the_encoding_alone_everything_goes_out(text: str) -> None:
    talk = Talk()
    talk.extended(text)
    assert talk.asking.take(parse(EURO)) == Send(parse(EURO))


@pytest.mark.parametrize("text", ["SELECT 1; DEALLOCATE foo", "SELECT 1; EXECUTE s"])
def test_what_failed_may_have_taken_a_name_before(text: str) -> None:
    talk = Talk()
    talk.named("foo", "SELECT 1")
    talk.run(text)
    talk.heard(frames.error("ERROR", frames.Error("22012", "division by zero")), READY)
    assert isinstance(talk.asking.take(bind("foo")), Send), "refused"


FOLLOWING = ["EXECUTE s", "fetch all from c", "MOVE 1 IN c", "/* */ CALL p()"]


@pytest.mark.parametrize("text", FOLLOWING)
def test_what_runs_what_a_name_means_by_then_has_no_name_itself(text: str) -> None:
    for raw in (parse(text, "s"), bind("", "p")):
        talk = Talk()
        if raw[:1] == b"B":
            talk.asking.take(parse(text))
        sent = talk.asking.take(raw)
        assert isinstance(sent, Send), "to be recorded"
        assert sent.data != raw


BETWEEN = [
    *((bind("", "d"), frames.message(b"E", b"d\0" + b"\0" * 4)), (frames.message(b"C", b"Pc\0"),)),
    *((frames.message(b"C", b"Ss\0"),), (parse("SELECT 4000"), bind("", "c"))),
]


@pytest.mark.parametrize("between", [(), (frames.message(b"D", b"P\0"),), (frames.message(b"S"),), *BETWEEN])
@pytest.mark.parametrize("text", FOLLOWING)
def test_it_runs_right_behind_its_bind_and_again_behind_itself(text: str, between: tuple[bytes, ...]) -> None:
    """Whatever comes between may make the name another's, of other columns."""
    talk = Talk()

    def sent(raw: bytes) -> bytes:
        step = talk.asking.take(raw)
        step = talk.asking.recorded() if isinstance(step, Intend) else step
        assert isinstance(step, Send)
        return step.data

    for raw in (parse(text), bind(), *between):
        sent(raw)
    if between == (frames.message(b"S"),):
        talk.heard(frames.message(b"1"), frames.message(b"2"), frames.message(b"Z", b"T"))
    through = between not in BETWEEN
    for _ in range(2):
        assert sent(EXECUTE).endswith(EXECUTE) is through


@pytest.mark.parametrize(("text", "asked_again"), [("FETCH ALL FROM c", True), ("SELECT name FROM t", False)])
def test_columns_are_those_of_what_runs_and_not_of_what_a_name_meant_when_it_was_described(
    text: str, asked_again: bool
) -> None:
    talk = Talk()
    talk.asking.take(parse(text))
    talk.asking.take(frames.message(b"D", b"S\0"))
    talk.heard(frames.message(b"1"), frames.message(b"t", b"\0\0"), DESCRIBED)
    talk.asking.take(bind())
    talk.asking.recorded()
    sent = talk.asking.take(EXECUTE)
    assert sent == Send(frames.message(b"D", b"P\0") + EXECUTE if asked_again else EXECUTE)


def test_what_settings_tell_counts_against_the_bytes_that_may_be_shown_and_long_ones_are_not_told() -> None:
    talk = Talk(size=300)
    told = frames.message(b"S", b"TimeZone\0<" + b"x" * 200 + b">0\0")
    talk.run("select set_config('TimeZone', a, false) from t")
    assert talk.heard(told, DONE, READY) == told + DONE + READY
    assert talk.told().bytes == len(told)
    talk.run("select set_config('TimeZone', a, false) from t")
    with pytest.raises(Malformed) as found:
        talk.heard(told)
    assert found.value.error.code == "53400"
    assert Talk().heard(frames.message(b"S", b"search_path\0" + b"x" * SETTING_BYTES_MAX + b"\0")) == b""


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


# --- the way to a shard ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dsn", "place", "mode", "clear"),
    [
        ("postgresql://u:p%40ss@db.example.com:6000/s1", ("db.example.com", 6_000), "prefer", False),
        ("postgresql://u:p%40ss@db/s1?sslmode=disable", ("db", 5_432), "disable", True),
        ("postgresql://u:p%40ss@/s1?host=/run/pg&sslmode=require", ("/run/pg", 5_432), "require", True),
        ("postgresql://u:p%40ss@[::1]/s1?sslmode=verify-full", ("::1", 5_432), "verify-full", False),
    ],
)
def test_a_dsn_says_where_a_shard_is_and_whether_tls_is_asked_for(
    dsn: str, place: tuple[str, int], mode: str, clear: bool
) -> None:
    found = Target.of(Secret(dsn))
    assert (found.host, found.port) == place
    assert (found.user, found.password, found.database) == ("u", Secret("p@ss"), "s1")
    assert (found.mode, found.in_the_clear) == (mode, clear)


@pytest.mark.parametrize(
    ("asked_for", "verified", "named"),
    [
        ("sslmode=prefer", False, False),
        ("sslmode=prefer&sslrootcert={}", False, False),
        ("sslmode=require", False, False),
        ("sslmode=require&sslrootcert={}", True, False),
        ("sslmode=verify-ca&sslrootcert={}", True, False),
        ("sslmode=verify-full&sslrootcert={}", True, True),
        ("sslmode=verify-full", True, True),
        ("sslmode=verify-full&sslrootcert=system", True, True),
    ],
)
def test_tls_is_verified_as_far_as_a_dsn_asks(asked_for: str, verified: bool, named: bool, folder: Path) -> None:
    authorities = Authority(folder, "shards").file
    made = Target.of(Secret(f"postgresql://u@db/s1?{asked_for.format(authorities)}")).tls()
    assert (made.verify_mode is ssl.CERT_REQUIRED, made.check_hostname) == (verified, named)


@pytest.mark.parametrize(
    "asked_for", ["sslmode=verify-fully", "sslmode=verify-ca", "sslmode=require&sslrootcert=system"]
)
def test_a_mode_that_nobody_knows_and_authorities_that_vouch_for_anybody_are_refused(asked_for: str) -> None:
    with pytest.raises(UpstreamRefused):
        Target.of(Secret(f"postgresql://u@db/s1?{asked_for}")).tls()


# --- SCRAM (the example of RFC 7677, section 3) ------------------------------------------------------------------------------

CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def scram() -> Scram:
    return Scram(Secret("pencil"), "rOprNGfwEbeRWgbNEkqO", "user")


def test_scram_says_what_the_standards_example_says() -> None:
    exchange = scram()
    assert exchange.first() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    proof = b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert exchange.final(CHALLENGE) == b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," + proof
    exchange.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize(
    "challenge",
    [
        CHALLENGE.replace(b"rOpr", b"xOpr"),
        b"r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        CHALLENGE.replace(b"4096", b"4096000000"),
        CHALLENGE.replace(b"4096", b"0"),
        CHALLENGE.replace(b"W22Z", b"!!!!"),
        b"m=x," + CHALLENGE,
        b"",
    ],
)
def test_a_challenge_of_somebody_else_is_refused(challenge: bytes) -> None:
    with pytest.raises(ScramRefused):
        scram().final(challenge)


def test_a_server_that_does_not_know_the_password_is_refused() -> None:
    exchange = scram()
    with pytest.raises(ScramRefused):
        exchange.verify(b"v=")
    exchange.final(CHALLENGE)
    with pytest.raises(ScramRefused):
        exchange.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=")


def test_inside_tls_the_exchange_is_bound_where_the_server_offers_it_and_says_that_it_could_be_where_not() -> None:
    both = [PLAIN, PLUS]
    assert bound(both, b"digest") == (PLUS, b"p=tls-server-end-point,,", b"digest")
    assert bound(both, b"digest", must=True) == bound(both, b"digest")
    assert bound([PLAIN], b"digest") == (PLAIN, b"y,,", b"")
    assert bound(both, None) == (PLAIN, b"n,,", b"")
    for offered, end in (([PLUS], None), ([b"SCRAM-SHA-1"], b"digest")):
        with pytest.raises(ScramRefused):
            bound(offered, end)


def test_a_bound_exchange_proves_the_password_over_the_servers_certificate() -> None:
    """As its server reads it: the key comes back out of the proof (RFC 5802 section 3), for the channel's data alone."""
    exchange = Scram(Secret("pencil"), "abc", binding=bound([PLUS], b"digest"))
    first = exchange.first()
    assert first == b"p=tls-server-end-point,,n=,r=abc"
    challenge = b"r=abcdef,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final = exchange.final(challenge)
    channel, _, proof = final.split(b",", 2)
    assert base64.b64decode(channel[2:]) == b"p=tls-server-end-point,,digest"
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    said = b",".join((first.partition(b",,")[2], challenge, final.rpartition(b",p=")[0]))
    signature = hmac.digest(hashlib.sha256(client_key).digest(), said, "sha256")
    given = base64.b64decode(proof[2:])
    assert bytes(one ^ other for one, other in zip(given, signature, strict=True)) == client_key


@pytest.mark.parametrize(
    ("signed_by", "digest"),
    [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512"), (None, "")],
)
def test_a_certificates_end_point_is_its_hash_by_its_signatures_algorithm(
    signed_by: hashes.HashAlgorithm | None, digest: str
) -> None:
    key = ed25519.Ed25519PrivateKey.generate() if signed_by is None else ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shard")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=7,
        not_valid_before=SINCE,
        not_valid_after=UNTIL,
    )
    shown = builder.sign(key, signed_by).public_bytes(serialization.Encoding.DER)  # type: ignore[arg-type]
    assert end_point(shown) == (hashlib.new(digest, shown).digest() if digest else None)
    assert end_point(b"no certificate") is None
