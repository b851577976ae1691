"""The door's reading of Postgres' protocol: first packets, messages, names in texts."""

import struct
from collections.abc import Callable

import pytest

from cells.breakglass.door import frames, naming, startup
from cells.breakglass.door.frames import Malformed, Splitter
from cells.breakglass.door.startup import CancelRequest, GssRequest, SslRequest, Startup


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


_HEAD = b"p\0s\0" + b"\0\1\0\1"
_BINDS = [
    _HEAD + b"\0\1\0\0\0\2ab\0\0",
    _HEAD + b"\0\1\0\0\0\3abc\0\0",
    _HEAD + b"\0\0\0\0",
    _HEAD + b"\0\2\xff\xff\xff\xff\0\0\0\0\0\0",
    _HEAD + b"\0\1\0\0\0\2ab\0\1\0\1",
    _HEAD + b"\0\1\0\0\0\2ab\0\1",
    _HEAD + b"\0\1\0\0\0\2ab\0\0more",
    _HEAD + b"\0\1\0\0\0\5ab\0\0",
    _HEAD + b"\0\1\xff\xff\xff\xfe\0\0",
    _HEAD + b"\0",
    _HEAD,
    b"p\0s\0\0\0\0\2\0\0\0\1x\0\0\0\1y\0\0",
    b"p\0s\0\0\2\0\1\0\0\0\2\0\0\0\1x\0\0\0\1y\0\0",
    b"p\0s\0\0\2\0\1\0\0\0\1\0\0\0\1x\0\0",
    b"p\0s\0\0\1\0\2\0\0\0\0",
    b"p\0ss\0\0\1\0\1\0\0\0\0",
    b"p: x\0s\0\0\0\0\0\0\0",
    b"\0\0" + b"\1\1" + b"\0\1" * 257 + b"\1\1" + b"\0\0\0\1x" * 257 + b"\0\0",
]


@pytest.mark.parametrize("before", _BINDS)
def test_a_bind_is_read_alike_whatever_was_bound_before(before: bytes) -> None:
    for body in _BINDS:
        reader = frames.BindReader()
        for one in (before, body, before, body):
            assert _read(reader.read, one) == _read(frames.bind, one)


def _read(read: Callable[[bytes], frames.Bind], body: bytes) -> frames.Bind | frames.Error:
    try:
        return read(frames.message(b"B", body))
    except Malformed as exc:
        return exc.error


def test_an_execute_names_its_portal_however_many_rows_it_asks_for() -> None:
    for name, rows in (("", 0), ("", 5), ("p", 0)):
        assert frames.executed(frames.message(b"E", frames.text(name) + struct.pack("!i", rows))) == name


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
    assert dropped is None or tag.startswith(naming.CHANGING)
