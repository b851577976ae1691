"""Every answer is judged: an action that meets a broken promise writes its name down, and none where it is kept."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from load_tests.oracle.ledger import Answered, Line
from load_tests.scenarios import actions
from load_tests.scenarios.at_home import MANY_ROWS
from load_tests.scenarios.person import Written
from load_tests.scenarios.shape import Acting
from load_tests.scenarios.signing_up import sign_up
from load_tests.scenarios.steps import Answer, Ask
from tests.stands.load_person import SUBJECT, answer, kinds, person, play, refusal

OTHER = "11111111-52b1-4c59-9a35-0a2f6a1d3c77"


def orders(*rows: tuple[str, str], **more: Any) -> Answer:
    return answer(200, {"orders": [{"subject_id": subject, "id": one} for subject, one in rows]}, **more)


def last(lines: list[Line]) -> Answered:
    found = lines[-1]
    assert isinstance(found, Answered)
    return found


@pytest.mark.parametrize(
    ("reply", "broken"),
    [
        (orders((SUBJECT, "a")), []),
        (orders((SUBJECT, "a"), cell="us-va"), ["wrong_cell"]),
        (orders((SUBJECT, "a"), cell=None), ["wrong_cell"]),
        (orders((SUBJECT, "a"), epoch=6), ["epoch_went_back"]),
        (orders((SUBJECT, "a"), epoch=None), ["epoch_went_back"]),
        (orders((SUBJECT, "a"), verdict=None), ["verdict_misstated"]),
        (orders((SUBJECT, "a"), verdict="hairpin"), ["verdict_misstated"]),
        (orders((SUBJECT, "a"), (OTHER, "b")), ["foreign_row"]),
        (orders((SUBJECT, "a"), (SUBJECT, "never written")), ["foreign_row"]),
        (orders(), ["unseen_write"]),
        (answer(200, "no list"), ["foreign_row"]),
        (refusal(503, "cell_unreachable"), []),
        (answer(404, {"code": "not_found"}, verdict=None), ["verdict_misstated"]),
        (answer(503, {"code": "cell_unreachable"}, cell="us-va"), ["wrong_cell"]),
    ],
)
def test_a_read_shows_ones_own_rows_from_home_and_no_others(reply: Answer, broken: list[str]) -> None:
    me, lines = person()
    me.orders["a"], me.orders_sent = Written(number=1, stands=True), 1
    play(actions.read_orders(me, 0.0), lambda ask: reply)
    assert kinds(lines) == broken


def test_a_write_of_unknown_outcome_is_repeated_under_its_id() -> None:
    me, lines = person()
    sent: list[str] = []
    script = [
        Answer(at=1.0, ms=1.0, status=0, whole=False),
        answer(503, {"code": "not_ready"}),
        refusal(409, "conflict"),
    ]

    def reply(ask: Ask) -> Answer:
        sent.append(ask.json["id"])
        return script[len(sent) - 1]

    play(actions.write_order(me, 0.0), reply)
    assert len(sent) == 3
    assert len(set(sent)) == 1
    assert [line.outcome for line in lines if isinstance(line, Answered)] == ["maybe", "maybe", "repeated"]
    assert me.orders[sent[0]].stands
    assert kinds(lines) == []


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        (lambda rows: rows, []),
        (lambda rows: rows[1:], ["unseen_write"]),
        (lambda rows: [*rows, rows[0]], ["broken_stream"]),
        (lambda rows: [*rows, {"subject_id": OTHER, "id": "b", "title": "theirs"}], ["foreign_row"]),
        (lambda rows: "no list", ["foreign_row", "broken_stream"]),
    ],
)
def test_of_many_rows_each_one_that_stood_comes_once(changed: Callable[[Any], Any], broken: list[str]) -> None:
    me, lines = person()
    stored: list[dict[str, str]] = []

    def reply(ask: Ask) -> Answer:
        if ask.method == "GET":
            return answer(200, changed(stored))
        stored.extend({"subject_id": SUBJECT, "id": row["id"], "title": row["title"]} for row in ask.json)
        return answer(201)

    play(actions.read_many(me, 0.0), reply)
    play(actions.read_many(me, 0.0), reply)
    assert len(stored) == len({row["id"] for row in stored}) == MANY_ROWS, "stored once"
    assert [one.action for one in lines if isinstance(one, Answered)] == ["write_many", "read_many", "read_many"]
    assert kinds(lines) == broken * 2


def test_a_refused_write_is_not_repeated_and_does_not_stand() -> None:
    me, lines = person()
    play(actions.write_order(me, 0.0), lambda ask: refusal(451, "residency_refused", ground="g"))
    assert [line.outcome for line in lines if isinstance(line, Answered)] == ["refused"]
    assert not any(one.stands for one in me.orders.values())


@pytest.mark.parametrize(
    ("stated", "reply", "broken"),
    [
        ("home", refusal(421, "home_elsewhere", home="http://eu.test"), []),
        ("home", refusal(421, "home_elsewhere", home="http://in.test"), ["refusal_without_ground"]),
        ("home", refusal(451, "residency_refused", ground="g"), ["wrong_verdict"]),
        ("refuse", refusal(451, "residency_refused", ground="g"), []),
        ("refuse", refusal(451, "residency_refused"), ["refusal_without_ground"]),
        ("hairpin", orders(verdict="hairpin"), []),
        ("hairpin", orders(verdict="serve"), ["verdict_misstated"]),
        ("hairpin", answer(404, {"code": "not_found"}, verdict="serve"), ["verdict_misstated"]),
        (
            "home",
            structs.replace(refusal(421, "home_elsewhere", home="http://eu.test"), headers={}),
            ["verdict_misstated"],
        ),
        ("refuse", structs.replace(refusal(451, "residency_refused", ground="g"), headers={}), ["verdict_misstated"]),
        ("hairpin", orders(verdict="hairpin", cell="in-mum"), ["wrong_cell"]),
        ("refuse", orders(verdict="hairpin"), ["wrong_verdict"]),
        ("refuse", refusal(503, "home_unknown"), []),
    ],
)
def test_travellers_meet_the_way_that_is_stated_with_home_or_ground(
    stated: Any, reply: Answer, broken: list[str]
) -> None:
    me, lines = person(ways={"eu->in": stated})
    me.chance.random = lambda: 0.1  # type: ignore[method-assign]
    play(actions.travel(me, 0.0), lambda ask: reply)
    assert kinds(lines) == broken
    assert last(lines).asked == "in"


@pytest.mark.parametrize(
    ("reply", "broken"),
    [
        (refusal(451, "residency_refused", ground="g"), []),
        (Answer(at=1.0, ms=8000.0, status=0, whole=True), ["body_before_verdict"]),
        (structs.replace(refusal(451, "residency_refused", ground="g"), body_asked=True), ["body_before_verdict"]),
        (Answer(at=1.0, ms=1.0, status=0, whole=False), []),
    ],
)
def test_a_verdict_that_waits_for_the_body_or_asks_for_it_is_found_and_a_broken_connection_is_not_one(
    reply: Answer, broken: list[str]
) -> None:
    me, lines = person(ways={"eu->in": "refuse"})
    play(actions.travel_head(me, 0.0), lambda ask: reply)
    assert kinds(lines) == broken


@pytest.mark.parametrize(
    ("action", "reply", "broken", "expected"),
    [
        (actions.stranger, refusal(404, "no_home"), [], True),
        (actions.stranger, refusal(503, "home_unknown"), [], False),
        (actions.stranger, orders(), ["served_without_home"], False),
        (actions.stranger, answer(503, {"code": "cell_unreachable"}), ["served_without_home"], False),
        (actions.nowhere, refusal(451, "no_cell_allowed"), [], True),
        (actions.nowhere, answer(201, {}), ["placed_without_ground"], False),
        (actions.nowhere, refusal(421, "home_elsewhere", home="x"), ["placed_without_ground"], False),
        (actions.expiry, refusal(401, "unauthenticated"), [], True),
        (actions.expiry, orders(), ["expired_token_served"], False),
        (actions.read_profile, answer(200, [{"subject_id": SUBJECT, "display_name": "?"}]), ["foreign_row"], False),
        (actions.stream, answer(200, None), ["broken_stream"], False),
    ],
)  # fmt: skip
def test_those_without_a_home_without_a_token_and_without_a_cell_are_refused(
    action: Any, reply: Answer, broken: list[str], expected: bool
) -> None:
    me, lines = person()
    play(action(me, 0.0), lambda ask: reply)
    assert kinds(lines) == broken
    assert last(lines).expected is expected


@pytest.mark.parametrize(
    ("countries", "reply", "broken", "expected"),
    [
        (("DE", "FR"), orders((SUBJECT, "a")), [], False),
        (("DE", "FR"), orders((OTHER, "b")), ["foreign_row"], False),
        (("FR",), orders((SUBJECT, "a")), ["acted_beyond_bounds"], False),
        (("FR",), orders(), ["acted_beyond_bounds"], False),
        (("FR",), refusal(403, "forbidden"), [], True),
        (("FR",), refusal(451, "residency_refused", ground="g"), [], True),
        (("DE", "FR"), refusal(403, "forbidden"), [], False),
    ],
)
def test_a_service_acts_for_those_only_whom_policy_lets_it(
    countries: tuple[str, ...], reply: Answer, broken: list[str], *, expected: bool
) -> None:
    me, lines = person(acting=Acting(token="support-desk", countries=countries), secrets="/run/secrets")
    me.orders["a"], me.orders_sent = Written(number=1, stands=True), 1
    asked: list[Ask] = []

    def answered(ask: Ask) -> Answer:
        asked.append(ask)
        return reply

    play(actions.acting(me, 0.0), answered)
    assert kinds(lines) == broken
    assert last(lines).expected is expected
    assert [(one.headers["domicile-for"], one.token_file) for one in asked] == [
        (SUBJECT, "/run/secrets/support-desk.jwt")
    ]


def test_a_column_that_no_contract_classifies_is_found() -> None:
    me, lines = person()
    row = {"subject_id": SUBJECT, "display_name": me.name, "internal_score": 0}
    play(actions.read_profile(me, 0.0), lambda ask: answer(200, [row]))
    assert kinds(lines) == ["unclassified_column"]


@pytest.mark.parametrize(("verdict", "broken"), [("serve", []), (None, ["verdict_misstated"])])
def test_a_sign_up_states_its_verdict(verdict: str | None, broken: list[str]) -> None:
    me, lines = person()
    placed = {"subject_id": SUBJECT, "cell": "eu-de", "epoch": 7}
    play(sign_up(me, 0.0), lambda ask: answer(201, placed, epoch=None, verdict=verdict))
    assert kinds(lines) == broken


@pytest.mark.parametrize(("winners", "broken"), [(0, []), (1, []), (2, ["alias_taken_twice"])])
def test_of_those_who_race_for_an_alias_at_most_one_gets_it(winners: int, broken: list[str]) -> None:
    me, lines = person()
    told = iter(range(9))

    def reply(ask: Ask) -> Answer:
        if "preview" in ask.url:
            return answer(200, {"home": "http://eu.test", "jurisdiction": "eu"})
        number = next(told)
        return (
            answer(201, {"subject_id": f"s{number}", "cell": "eu-de", "epoch": 7})
            if number < winners
            else refusal(409, "key_taken")
        )

    play(actions.aliases(me, 0.0), reply)
    assert kinds(lines) == broken
