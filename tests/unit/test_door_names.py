"""What the door makes of texts that may change what others mean: names, settings, the encoding."""

import pytest

from cells.breakglass.door import frames, naming
from cells.breakglass.door.answering import SETTING_BYTES_MAX
from cells.breakglass.door.asking import Intend, Send
from cells.breakglass.door.frames import Malformed
from cells.breakglass.door.refusing import HOLD_REFUSED, refusal
from tests.stands.door_talk import DESCRIBED, DONE, EXECUTE, READY, Talk, bind, parse


@pytest.mark.parametrize(
    "text",
    [
        *(
            "select 1 where 'notify' = 'x' ;\n",
            "select hold from notify_me",
            "declare c cursor for select 1",
            "listen c",
        ),
        *(
            "declare c cursor without hold for select 1",
            "select hold from a -- declare",
            "declare c cursor for select hold from a",
        ),
        "declare c cursor for with a as (select 1 as hold) select hold from a -- with a note",
    ],
)
def test_what_only_looks_like_what_is_refused_is_not(text: str) -> None:
    Talk().run(text)


@pytest.mark.parametrize(
    "between",
    [" ", "\t\r\n", "/**/", " /* a /* b */ */ ", "-- a\n", " --\r\n\n \f", "/* */ -- a\r -- /* b\n", "-- a\n/* -- */"],
)
@pytest.mark.parametrize("before", ["", "select 1; ", "/* with */ ", "select 'with /*'; ", "select '-- with'; "])
def test_a_cursor_with_hold_is_refused_whatever_stands_between_and_before(before: str, between: str) -> None:
    text = f"{before}Declare c CURSOR/**/With{between}Hold FOR SELECT 1"
    assert refusal(text) is HOLD_REFUSED


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


# --- texts that are made to be read for long ---------------------------------------------------------------------------------

MANY = 250_000
"""Characters; a message may have a million. What reads them twice over for each is at it for minutes."""
WORDS = ["", "DEALLOCATE ALL", "DECLARE c CURSOR WITH"]
FILLINGS = [" ", "\t\r\n", "-", "--\n", "/*", "/**/", "with/*", "*/ "]


@pytest.mark.parametrize("filling", FILLINGS)
@pytest.mark.parametrize("word", WORDS)
def test_no_text_is_read_for_long(word: str, filling: str) -> None:
    """Each is read before anything else of the whole cell goes on."""
    many = filling * (MANY // len(filling))
    for text in (f"{word}{many}--", f"declare notify {word};{many}hold_"):
        refusal(text)
        naming.may_recode(text)
        naming.may_drop_statements(text)
        for tag in ("DEALLOCATE", "DEALLOCATE ALL"):
            assert naming.dropped_statements(tag, text) == ""


@pytest.mark.parametrize("word", ["DEALLOCATE ALL", "deallocate prepare", "DEALLOCATE a", 'DEALLOCATE "a"'])
def test_blanks_behind_what_was_taken_away_are_not_read_for_long(word: str) -> None:
    for tag in ("DEALLOCATE", "DEALLOCATE ALL"):
        assert naming.dropped_statements(tag, f"{word}{' ' * 1_000_000}--") == ""


def test_a_text_of_many_commands_is_not_read_anew_whenever_one_of_them_ends() -> None:
    text = f"DEALLOCATE a{' ' * 1_000_000}; DEALLOCATE b"
    assert {naming.dropped_statements("DEALLOCATE", text) for _ in range(200_000)} == {""}
