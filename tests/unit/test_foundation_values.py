"""Promises of foundation's values: mute types, logs, settings, keyrings, problems, trace context, words."""

import copy
import io
import json
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from foundation import logs, trace
from foundation.mute import Mute, Personal, Secret
from foundation.problems import Code, Problem, ProblemError, refuse, status_of, title_of
from foundation.settings import SettingsError, convert, load, read_keyring, read_secret, secret_from_env
from foundation.words import MalformedWord, parse_country

# --- mute --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Mute, Secret, Personal])
@pytest.mark.parametrize(
    "speak",
    [str, "{}".format, lambda v: f"{v}", lambda v: f"{v:>9}", "%s".__mod__, sorted,
     pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, hash],
)  # fmt: skip
def test_a_mute_value_does_not_leave_by_accident(kind: type[Mute[str]], speak: Any) -> None:
    with pytest.raises(TypeError) as caught:
        speak(kind("anna@example.de"))
    assert "anna" not in str(caught.value)


def test_a_mute_value_shows_its_type_only() -> None:
    assert repr([Personal("anna")]) == "[<Personal>]"
    assert f"{Personal('anna')!r}" == "<Personal>"
    assert Personal("anna").reveal() == "anna"


def test_mute_values_are_equal_by_type_and_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != Personal("a")
    assert Secret("a") != "a"


# --- logs --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    text = io.StringIO()
    logs.configure("test", stream=text)
    yield text
    root.handlers[:] = before
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_an_event_and_listed_fields(stream: io.StringIO) -> None:
    logs.get("foundation.test").bind(cell="eu-de").info("served", code="ok", count=3)
    (line,) = lines(stream)
    assert {"event": "served", "cell": "eu-de", "code": "ok", "count": 3, "process": "test"}.items() <= line.items()


@pytest.mark.parametrize(
    "fields", [{"email": "x"}, {"reason": Personal("x")}, {"reason": Secret("x")}, {"reason": ["x"]}]
)
def test_unlisted_fields_and_mute_values_are_refused_even_where_nothing_is_written(fields: dict[str, Any]) -> None:
    log = logs.get("foundation.test")
    for speak in (log.debug, log.info, log.error, log.bind):
        with pytest.raises(TypeError):
            speak("event", **fields) if speak != log.bind else log.bind(**fields)


def test_a_fault_is_logged_without_its_text(stream: io.StringIO) -> None:
    try:
        raise ValueError("anna@example.de is no number")
    except ValueError as exc:
        logs.get("foundation.test").fault("broke", exc)
    (line,) = lines(stream)
    assert line["error"] == "ValueError"
    assert line["file"].startswith("unit/test_foundation_values.py:")
    assert "anna" not in stream.getvalue()


def test_a_librarys_line_is_kept_without_what_it_quotes(stream: io.StringIO) -> None:
    library = logging.getLogger("asyncio")
    library.error("Task exception was never retrieved\nfuture: <Task exception=ValueError('anna@example.de')>")
    library.error("cannot send %s", "anna@example.de")
    library.error("Unhandled error: anna@example.de")
    try:
        raise ValueError("anna@example.de")
    except ValueError:
        library.exception("failed")
    assert [line["reason"] for line in lines(stream)] == [
        "Task exception was never retrieved", "cannot send ", "Unhandled error", "failed",
    ]  # fmt: skip
    assert "anna" not in stream.getvalue()


# --- settings ----------------------------------------------------------------------------------------------------------------


class Inner(msgspec.Struct, frozen=True, kw_only=True):
    size_max: int = 1
    words: dict[str, Any] = {}


class Circle(msgspec.Struct, tag="circle", tag_field="kind"):
    radius: int = 0


class Square(msgspec.Struct, tag="square", tag_field="kind"):
    side: int = 0


class Outer(msgspec.Struct, frozen=True, kw_only=True):
    host: str = ""
    inner: Inner | None = None
    named: dict[str, Inner] = {}
    listed: tuple[Inner, ...] = ()
    pair: tuple[Inner, Circle] | None = None
    bounded: Annotated[list[Inner], msgspec.Meta(max_length=9)] = []
    figure: Circle | Square | None = None
    read: Literal["*"] | tuple[str, ...] = ()
    renamed: int = msgspec.field(default=0, name="class")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"hots": "x"}, "unknown key hots; did you mean host?"),
        ({"zzz": 1}, "unknown key zzz; the keys here are "),
        ({"renamed": 1}, "unknown key renamed; did you mean named"),
        ({"inner": {"size_mx": 1}}, "unknown key inner.size_mx; did you mean size_max?"),
        ({"named": {"a": {"size_mx": 1}}}, "unknown key named.a.size_mx"),
        ({"listed": [{}, {"size_mx": 1}]}, "unknown key listed[1].size_mx"),
        ({"bounded": [{"size_mx": 1}]}, "unknown key bounded[0].size_mx"),
        ({"pair": [{}, {"kind": "circle", "side": 1}]}, "unknown key pair[1].side"),
        ({"figure": {"kind": "circle", "edge": 1}}, "unknown key figure.edge"),
        ({"inner": {"size_max": "1"}}, "Expected `int`, got `str`"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_nearest_key(document: Any, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        convert(document, Outer, where="policy.toml")
    assert str(caught.value).startswith("policy.toml: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        {}, {"inner": {"words": {"anything": {"goes": 1}}}}, {"inner": None}, {"figure": {"kind": "square", "side": 1}},
        {"read": "*"}, {"read": ["a"]}, {"class": 1}, {"pair": [{}, {"kind": "circle"}]}, {"named": {"any-name": {}}},
    ],
)  # fmt: skip
def test_what_fits_is_taken(document: Any) -> None:
    assert isinstance(convert(document, Outer, where="x"), Outer)


def test_a_settings_file_that_is_missing_or_no_toml_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "none.toml", Outer)
    (tmp_path / "bad.toml").write_text("host = ")
    with pytest.raises(SettingsError, match="not TOML"):
        load(tmp_path / "bad.toml", Outer)
    (tmp_path / "good.toml").write_text('host = "x"')
    assert load(tmp_path / "good.toml", Outer).host == "x"


def test_a_secret_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"s")
    for mode in (0o640, 0o604, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(SettingsError, match="chmod 600"):
            read_secret(path)
    path.chmod(0o600)
    assert read_secret(path).reveal() == b"s"


def test_a_secret_that_the_environment_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOMICILE_TEST", "")
    with pytest.raises(SettingsError, match="DOMICILE_TEST"):
        secret_from_env("DOMICILE_TEST")


def test_a_keyring_puts_the_current_key_first(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    path.write_text(json.dumps({"current": "k2", "keys": {"k1": "YQ", "k2": "Yg=="}}))
    path.chmod(0o600)
    assert [(kid, key.reveal()) for kid, key in read_keyring(path)] == [("k2", b"b"), ("k1", b"a")]


@pytest.mark.parametrize(
    "content", ["", "{}", '{"current": "k1", "keys": {}}', '{"current": "a", "keys": {"a": "é"}}', "[1]"]
)
def test_what_is_no_keyring_is_refused_without_showing_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ring"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(SettingsError, match="secret file"):
        read_keyring(path)


# --- problems ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_status_and_a_title(code: Code) -> None:
    assert 400 <= status_of(code) < 600
    assert title_of(code)
    document = json.loads(Problem(code=code, detail="d").encode())
    assert document["code"] == code.value
    assert document["status"] == status_of(code)
    assert document["type"] == f"urn:domicile:problem:{code.value}"


def test_a_refusal_carries_its_problem() -> None:
    raised = refuse(Code.HOME_ELSEWHERE, "go home", home="https://eu.example", retry_after_s=2)
    assert isinstance(raised, ProblemError)
    assert raised.problem.document()["home"] == "https://eu.example"
    assert raised.problem.headers()["retry-after"] == "2"


def test_a_dialects_own_code_stands_instead_and_the_status_stays() -> None:
    problem = Problem(code=Code.CONFLICT, detail="d", extra={"code": "23505", "hint": None})
    assert (problem.document()["status"], problem.document()["code"], problem.document()["hint"]) == (
        409,
        "23505",
        None,
    )


# --- trace context -----------------------------------------------------------------------------------------------------------

ID, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "header",
    [f"00-{ID}-{SPAN}-01", f"00-{ID}-{SPAN}-00", f"cc-{ID}-{SPAN}-01", f"cc-{ID}-{SPAN}-01-what-the-future-holds"],
)
def test_a_valid_trace_is_continued_under_a_new_span(header: str) -> None:
    found = trace.continue_or_start(header)
    assert found.trace_id == ID
    assert found.span_id != SPAN
    assert found.header().startswith(f"00-{ID}-")


@pytest.mark.parametrize(
    "header",
    [
        None, "", "00", f"00-{ID}-{SPAN}", f"00-{ID}-{SPAN}-01-more", f"ff-{ID}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01",
        f"00-{ID}-{'0' * 16}-01", f"00-{ID.upper()}-{SPAN}-01", f"00-{ID[:-1]}-{SPAN}-01", f"00-{ID}-{SPAN}-0g",
        f" 00-{ID}-{SPAN}-01", f"00-{ID}-{SPAN}-01 ", f"00-{ID}-{SPAN}-01\n", f"cc-{ID}-{SPAN}-01.x", f"cc-{ID}-{SPAN}-01-" + "x" * 300,
    ],
)  # fmt: skip
def test_a_malformed_trace_starts_a_new_one(header: str | None) -> None:
    found = trace.continue_or_start(header)
    assert found.trace_id != ID
    assert trace.continue_or_start(found.header()).trace_id == found.trace_id


def test_headers_of_new_traces_are_written_ahead_and_each_is_given_out_once() -> None:
    headers = [trace.new_header() for _ in range(300)]
    traces = [trace.as_written(header) for header in headers]
    assert [one.header().encode() for one in traces] == headers
    assert len({one.trace_id for one in traces}) == len({one.span_id for one in traces}) == 300
    assert [trace.continue_or_start(header.decode()).trace_id for header in headers] == [one.trace_id for one in traces]


@pytest.mark.parametrize("text", ["", "D", "DEU", "ß", "\ufb01", "D\u00c9", "DE\n", "1A", "DE, US"])
def test_a_country_is_two_plain_letters_before_and_after_upper_case(text: str) -> None:
    assert parse_country("de") == "DE"
    with pytest.raises(MalformedWord):
        parse_country(text)
