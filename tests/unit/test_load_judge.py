"""Lines, faults and what stands in the databases come to findings: each broken promise by its name, each refusal with what excuses it."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from load_tests.conductor.resources import Member, Resources, Sample, grown
from load_tests.faults.window import CUT_LOOKS_BACK_S, GRACE_S, Cut, Window, excused
from load_tests.oracle.judge import Judge
from load_tests.oracle.ledger import Answered, Line, Sending, SignedUp, Writer, lines
from load_tests.report import page, terminal
from load_tests.report.findings import Findings
from load_tests.report.histogram import Histogram
from load_tests.sweep.found import Crossing, Fence, Found, Placed, Row

HOME = SignedUp(at=1.0, subject="s", cell="eu-de", epoch=7, country="DE", region="eu", jurisdiction="eu")


PROFILE = Row("profiles", "s", "s", "eu-de", "s1")
ORDER = Row("orders", "s", "w", "eu-de", "s1")
DOWN = Window(kind="stop", target="cell-eu-de", began=90.0, ended=95.0, regions=("eu",))


def answered(**changes: Any) -> Answered:
    plain = Answered(
        at=100.0, ms=5.0, action="write_order", country="DE", asked="eu", home="eu", status=201, subject="s", cell="eu-de",
        epoch=7, verdict="serve", write="w", outcome="acknowledged", fenced=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def found(**changes: Any) -> Found:
    """A sweep that finds everything as it must be."""
    plain = Found(
        rows=[PROFILE, ORDER],
        fences=[Fence("s", 7, "active", "eu-de", "s1")],
        placed=[Placed("s", "eu-de", "s1", 7, "active")],
    )
    return msgspec.structs.replace(plain, **changes)


def judged(*more: Any, sweep: Found | None = None, windows: Any = (), cuts: Any = (), allowed: Any = None) -> Findings:
    judge = Judge(windows, cuts, allowed or {})
    for line in (HOME, Sending(subject="s", write="w", table="orders"), *(more or (answered(),))):
        judge.take(line)
    return judge.findings(sweep or found())


def kinds(findings: Findings) -> list[str]:
    return sorted(findings.by_kind())


def test_nothing_is_found_where_every_promise_was_kept() -> None:
    findings = judged()
    assert findings.violations == []
    assert findings.held
    assert findings.writes == {"tried": 1, "acknowledged": 1, "refused": 0}


@pytest.mark.parametrize(
    ("sweep", "broken"),
    [
        (found(rows=[PROFILE]), ["lost_write"]),
        (found(rows=[ORDER]), ["lost_write"]),
        (found(rows=[PROFILE, ORDER, ORDER]), ["doubled_write"]),
        (found(rows=[PROFILE, ORDER, Row("profiles", "s", "x", "eu-de", "s1")]), ["doubled_write"]),
        (found(rows=[PROFILE, Row("orders", "s", "w", "eu-de", "s2")]), ["row_abroad"]),
        (found(rows=[Row("profiles", "s", "s", "us-va", "s1"), ORDER]), ["row_abroad"]),
        (found(rows=[*found().rows, Row("orders", "s", "x", "eu-de", "s1")]), ["never_sent"]),
        (found(rows=[*found().rows, Row("orders", "somebody else", "x", "us-va", "s1")]), []),
        (found(fences=[]), ["fence_differs"]),
        (found(fences=[Fence("s", 6, "active", "eu-de", "s1")]), ["fence_differs"]),
        (found(fences=[*found().fences, Fence("s", 7, "active", "us-va", "s1")]), ["fence_differs"]),
        (found(fences=[*found().fences, Fence("s", 6, "moved", "us-va", "s1")]), []),
        (found(placed=[]), ["row_abroad", "wrong_cell"]),
        (found(closing=[("s", "eu-de/s1")]), ["cut_not_ended"]),
        (found(crossings=[Crossing("s", "t", "g", "us", "read", "eu-de", "s1")]), ["crossing_not_seen"]),
    ],
)
def test_the_sweep_names_what_does_not_stand_as_it_was_promised(sweep: Found, broken: list[str]) -> None:
    assert kinds(judged(sweep=sweep)) == broken


@pytest.mark.parametrize(
    ("answers", "rows", "broken"),
    [
        ([answered(status=451, outcome="refused")], found().rows, ["refused_but_stored"]),
        ([answered(status=451, outcome="refused")], [PROFILE], []),
        ([answered(status=0, outcome="maybe")], found().rows, []),
        ([answered(status=0, outcome="maybe")], [PROFILE], []),
        ([answered(), answered()], found().rows, ["acknowledged_twice"]),
        ([answered(status=409, outcome="repeated")], [PROFILE], ["lost_write"]),
    ],
)
def test_of_a_write_whose_outcome_is_unknown_both_are_right(answers: Any, rows: Any, broken: list[str]) -> None:
    assert kinds(judged(*answers, sweep=found(rows=rows))) == broken


SENT = Sending(subject="s", trace="t", asked="us", verb="read")
CARRIED = answered(action="travel_read", verdict="hairpin", status=200, asked="us", trace="t", write=None, outcome=None)
CROSSING = Crossing("s", "t", "scc", "us", "read", "eu-de", "s1")
GROUNDS = {"DE eu-de us": "scc"}


def crossed(
    answer: Answered | None, *records: Crossing, sent: Sending = SENT, windows: Any = (), grounds: Any = GROUNDS
) -> list[str]:
    judge = Judge(windows, (), {}, grounds)
    told: list[Line] = [HOME, sent, *([] if answer is None else [answer])]
    for line in told:
        judge.take(line)
    return kinds(judge.findings(found(rows=[PROFILE], crossings=list(records))))


def other(**changes: Any) -> Crossing:
    return msgspec.structs.replace(CROSSING, **changes)


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        (("w", "v"), []),
        (("w",), ["lost_write"]),
        (("w", "v", "v"), ["doubled_write"]),
        (("w", "v", "u"), ["never_sent"]),
    ],
)
def test_every_write_of_one_request_is_held_to_its_answer(rows: tuple[str, ...], broken: list[str]) -> None:
    judge = Judge((), (), {})
    for line in (HOME, Sending(subject="s", write="w", also=("v",), table="notes"), answered(also=("v",))):
        judge.take(line)
    stored = [Row("notes", "s", row, "eu-de", "s1") for row in rows]
    assert kinds(judge.findings(found(rows=[PROFILE, *stored]))) == broken


@pytest.mark.parametrize(
    ("answer", "must", "may"),
    [
        (CARRIED, True, True),
        (msgspec.structs.replace(CARRIED, status=404, code="not_found"), True, True),
        (msgspec.structs.replace(CARRIED, status=403, code="forbidden"), True, True),  # the service's own word
        (msgspec.structs.replace(CARRIED, status=421, code="home_elsewhere", verdict="redirect"), False, False),
        (msgspec.structs.replace(CARRIED, status=451, code="residency_refused", verdict="refuse"), False, False),
        (msgspec.structs.replace(CARRIED, status=401, code="unauthenticated", verdict="refuse"), False, False),
        (msgspec.structs.replace(CARRIED, status=409, code="subject_frozen", verdict="refuse"), False, True),
        (msgspec.structs.replace(CARRIED, status=502, code="upstream_broken", verdict="refuse"), False, True),
        (msgspec.structs.replace(CARRIED, status=0, code="no_answer", verdict=None), False, True),
        (None, False, True),
    ],
)
def test_crossings_recorded_are_crossings_seen(answer: Answered | None, *, must: bool, may: bool) -> None:
    assert crossed(answer) == (["crossing_not_recorded"] if must else [])
    assert crossed(answer, CROSSING) == ([] if may else ["crossing_though_refused"])


@pytest.mark.parametrize(
    ("record", "broken"),
    [
        (other(from_region="in"), ["crossing_differs", "crossing_without_ground"]),
        (other(verb="write"), ["crossing_differs"]),
        (other(subject="somebody else"), ["crossing_differs"]),
        (other(cell="us-va"), ["crossing_differs", "crossing_without_ground"]),
        (other(ground="another"), ["crossing_without_ground"]),
        (other(ground=""), ["crossing_without_ground"]),
        (other(trace="another"), ["crossing_not_recorded", "crossing_not_seen"]),
    ],
)
def test_a_crossing_is_recorded_as_it_was_sent_on_the_ground_that_the_rules_state(
    record: Crossing, broken: list[str]
) -> None:
    assert crossed(CARRIED, record) == broken


def test_a_crossing_of_a_request_that_was_sent_at_home_was_seen_by_nobody() -> None:
    at_home = msgspec.structs.replace(CARRIED, asked="eu", verdict="serve")
    assert crossed(at_home, CROSSING, sent=Sending(subject="s", trace="t")) == ["crossing_not_seen"]


def test_where_nobody_knows_the_rules_a_ground_must_be_there_whichever_it_is() -> None:
    assert crossed(CARRIED, other(ground="another"), grounds={}) == []
    assert crossed(CARRIED, other(ground=""), grounds={}) == ["crossing_without_ground"]


def test_a_request_is_recorded_once_but_for_a_read_that_a_gateway_which_died_left_behind() -> None:
    died = [Window(kind="kill", target="gateway-eu", began=95.0, ended=99.9, regions=("eu",))]
    write, written = msgspec.structs.replace(SENT, verb="write"), other(verb="write")
    assert crossed(CARRIED, CROSSING, CROSSING) == ["crossing_doubled"]
    assert crossed(CARRIED, CROSSING, CROSSING, windows=died) == []
    assert crossed(CARRIED, CROSSING, CROSSING, CROSSING, windows=died) == ["crossing_doubled"]
    assert crossed(CARRIED, written, written, sent=write, windows=died) == ["crossing_doubled"]


def test_only_other_rules_excuse_another_ground_or_a_verdict_that_changed_meanwhile() -> None:
    rules = [Window(kind="rules", target="", began=95.0, ended=99.9)]
    assert crossed(CARRIED, other(ground="another"), windows=rules) == []
    assert crossed(CARRIED, other(verb="write"), windows=rules) == ["crossing_differs"]
    refused = msgspec.structs.replace(CARRIED, status=451, code="residency_refused", verdict="refuse")
    assert crossed(refused, CROSSING, windows=rules) == []
    assert crossed(refused, CROSSING, windows=[DOWN]) == ["crossing_though_refused"]
    assert crossed(CARRIED, other(ground="another"), windows=[DOWN]) == ["crossing_without_ground"]


@pytest.mark.parametrize(
    ("cut", "broken"),
    [
        (Cut(subject="s", epoch=8, at=99.0, stored=frozenset("w")), ["stale_epoch_served"]),
        (Cut(subject="s", epoch=8, at=101.0, stored=frozenset("w")), []),
        (Cut(subject="s", epoch=8, at=101.0), ["late_write"]),
        (Cut(subject="s", epoch=8, at=101.0 + CUT_LOOKS_BACK_S), []),
        (Cut(subject="s", epoch=7, at=99.0, frozen=True), ["written_while_frozen"]),
        (Cut(subject="s", epoch=7, at=99.0), []),
        (Cut(subject="t", epoch=8, at=99.0), []),
    ],
)
def test_nothing_comes_under_an_older_epoch_after_a_cut(cut: Cut, broken: list[str]) -> None:
    assert kinds(judged(cuts=[cut])) == broken


def test_a_home_that_the_rules_do_not_allow_is_found() -> None:
    assert kinds(judged(allowed={"DE": frozenset({"us-va"})})) == ["home_not_allowed"]


@pytest.mark.parametrize(
    ("code", "at", "where", "excuse"),
    [
        ("cell_unreachable", 92.0, ("eu", "eu"), "stop cell-eu-de"),
        ("cell_unreachable", 92.0, ("us", "eu"), "stop cell-eu-de"),
        ("cell_busy", 92.0, ("eu", "eu"), "stop cell-eu-de"),
        ("cell_busy", 80.0, ("eu", "eu"), None),
        ("cell_unreachable", 92.0, ("us", "us"), None),
        ("cell_unreachable", 80.0, ("eu", "eu"), None),
        ("cell_unreachable", 95.0 + GRACE_S + 1, ("eu", "eu"), None),
        ("internal", 92.0, ("eu", "eu"), None),
        ("no_home", 92.0, ("eu", "eu"), None),
    ],
)
def test_a_fault_excuses_its_own_refusals_in_its_own_time_and_place_only(
    code: str, at: float, where: tuple[str, str], excuse: str | None
) -> None:
    assert excused(code, at, 5.0, where, [DOWN]) == excuse


def test_a_database_that_stands_still_excuses_statements_that_ran_out_of_time_and_a_cell_that_does_does_not() -> None:
    frozen = Window(kind="freeze", target="postgres-us-va", began=90.0, ended=93.0, regions=("us",))
    assert excused("57014", 92.0, 5.0, ("us", "us"), [frozen]) == "freeze postgres-us-va"
    assert excused("57014", 92.0, 5.0, ("eu", "eu"), [DOWN]) is None


def test_what_the_directorys_database_excuses_is_no_more_than_what_the_directory_does() -> None:
    down = Window(kind="kill", target="postgres-directory", began=90.0, ended=95.0)
    assert excused("home_unknown", 92.0, 5.0, ("eu", "eu"), [down]) == "kill postgres-directory"
    assert excused("cell_unreachable", 92.0, 5.0, ("eu", "eu"), [down]) is None


@pytest.mark.parametrize(("code", "excuse"), [("upstream_timeout", "slow cell-eu-de"), ("cell_unreachable", None)])
def test_what_is_slow_excuses_waits_and_nothing_that_only_a_dead_one_brings_about(
    code: str, excuse: str | None
) -> None:
    slow = Window(kind="slow", target="cell-eu-de", began=90.0, ended=95.0, regions=("eu",))
    assert excused(code, 92.0, 5.0, ("eu", "eu"), [slow]) == excuse


def test_an_error_that_nothing_explains_is_told_with_its_own_words() -> None:
    refused = answered(status=503, code="not_ready", detail="no lease", outcome="maybe")
    findings = judged(answered(), refused, refused)
    assert findings.errors[0].details == {"no lease": 2}
    assert "2 x no lease" in terminal.summary(findings)
    assert "no lease" in page.html(findings)


def test_a_violation_is_never_excused_by_a_fault_that_cannot_bring_it_about() -> None:
    line = msgspec.convert({"kind": "foreign_row", "words": "x"}, type=Any)
    broken = msgspec.convert([line], tuple[Any, ...])
    given = msgspec.convert({**msgspec.to_builtins(answered()), "violations": broken}, Answered)
    everything_down = [Window(kind="stop", target="*", began=0.0, ended=1000.0)]
    assert kinds(judged(given, windows=everything_down)) == ["foreign_row"]


def test_lines_are_judged_in_whatever_order_they_are_read() -> None:
    def findings(*given: Any) -> Findings:
        judge = Judge((), (), {})
        for line in given:
            judge.take(line)
        return judge.findings(found())

    given = (HOME, Sending(subject="s", write="w", table="orders"), answered())
    told = [(one.writes, kinds(one)) for one in (findings(*given), findings(*reversed(given)))]
    assert told == [({"tried": 1, "acknowledged": 1, "refused": 0}, [])] * 2


def test_a_worker_that_was_killed_loses_no_whole_line(tmp_path: Path) -> None:
    Writer(tmp_path).write(HOME)
    with next(tmp_path.glob("answers-*")).open("ab") as file:
        file.write(b'{"type":"answer","at":1')
    assert list(lines(tmp_path)) == [HOME]


def test_quantiles_lie_within_three_per_cent() -> None:
    counted = Histogram()
    for number in range(1, 20_001):
        counted.add(number / 10)
    for share in (0.5, 0.9, 0.99, 0.999):
        assert counted.quantile(share) == pytest.approx(2000 * share, rel=0.032)
    assert counted.quantile(1.0) == counted.highest_ms == 2000
    assert Histogram().quantile(0.5) == 0.0


def test_what_grows_is_not_flat() -> None:
    flat = grown("gateway", [Sample(100 + number % 3, 40) for number in range(40)])
    leaking = grown("gateway", [Sample(100 + number, 40) for number in range(40)])
    holding = grown("gateway", [Sample(100, 40 + number) for number in range(40)])
    assert flat is not None
    assert leaking is not None
    assert holding is not None
    assert (flat.flat, leaking.flat, holding.flat) == (True, False, False)


@pytest.mark.parametrize(
    ("memory_mb", "descriptors", "flat"),
    [
        (lambda at: 1.7 + 0.05 * (at % 2), lambda at: 11 + at % 3, True),
        (lambda at: 1.7 + 1.7 * at / 40, lambda at: 11, False),  # doubles
        (lambda at: 1.7 + at / 125, lambda at: 11, False),  # by 0.17 MB in between, a tenth of it
        (lambda at: 1.7, lambda at: 11 + at * 14 // 40, False),  # a descriptor now and then
    ],
)
def test_a_small_process_is_held_to_little_more_than_five_per_cent(
    memory_mb: Callable[[int], float], descriptors: Callable[[int], int], *, flat: bool
) -> None:
    judged = grown("valkey", [Sample(memory_mb(at), descriptors(at)) for at in range(40)])
    assert judged is not None
    assert judged.flat is flat


@pytest.mark.parametrize(
    ("sessions", "each_mb", "flat"),
    [
        (lambda at: 20 + at // 39, lambda at: 3.0, True),  # a pool opened one more
        (lambda at: 20, lambda at: 3.0 + at / 40, False),  # each of them grows
        (lambda at: 20 + at // 10, lambda at: 3.0, False),  # they are opened, and each holds its memory
        (lambda at: 20 + at, lambda at: 60.0 / (20 + at), False),  # they are never closed, however little they hold
        (lambda at: 20, lambda at: 3.0 - at / 100, False),  # and nothing else may change either
    ],
)
def test_what_all_sessions_hold_together_stays_the_same_and_so_does_their_number(
    sessions: Callable[[int], int], each_mb: Callable[[int], float], *, flat: bool
) -> None:
    samples = [Sample(sessions(at) * each_mb(at), 40 * sessions(at), processes=sessions(at)) for at in range(40)]
    judged = grown("postgres", samples)
    assert judged is not None
    assert judged.flat is flat


Life = tuple[int, int, float, float]
"""From which sample to which, and what it holds then and there (MB)."""


def of_members(lives: Sequence[Life]) -> list[Sample]:
    """Forty samples of such processes."""
    samples = []
    for at in range(40):
        alive = {
            str(which): Member(first_mb + (last_mb - first_mb) * (at - born) / (ends - born), 30)
            for which, (born, ends, first_mb, last_mb) in enumerate(lives)
            if born <= at < ends
        }
        samples.append(
            Sample(sum(one.memory_mb for one in alive.values()), 30 * len(alive), processes=len(alive), members=alive)
        )
    return samples


STEADY: list[Life] = [(0, 40, 3.0, 3.0)] * 10


@pytest.mark.parametrize(
    ("lives", "alone", "change", "flat"),
    [
        (STEADY, 10, 0.0, True),
        ([*STEADY, (0, 40, 3.0, 4.0)], 11, 0.149, True),  # all together grow by 1.4 %
        ([*STEADY, (0, 40, 3.0, 2.5)], 11, -0.087, True),
        ([*STEADY, (0, 40, 3.0, 9.0)], 11, 0.58, False),
        ([*STEADY, (0, 20, 9.0, 9.0), (20, 40, 1.0, 1.0)], 12, 0.0, False),  # a small one came for a large one
        ([*STEADY, (8, 12, 3.0, 9.0)], 10, 0.0, True),  # not old enough, and gone
        ([(born, born + 8, 3.0, 3.0) for born in range(0, 40, 8)] * 10, 0, 0.0, True),  # none is old enough
        ([(born, born + 8, 3.0 + born, 3.0 + born) for born in range(0, 40, 8)] * 10, 0, 0.0, False),
    ],
)
def test_what_each_session_that_lives_long_enough_changed_by_is_told(
    lives: Sequence[Life], alone: int, change: float, *, flat: bool
) -> None:
    judged = grown("postgres", of_members(lives))
    assert judged is not None
    assert (judged.alone, judged.flat) == (alone, flat)
    assert judged.alone_change == pytest.approx(change, abs=0.003)


def test_what_a_process_uses_is_written_down_as_it_is_taken(tmp_path: Path) -> None:
    resources = Resources(tmp_path / "processes.ndjson")
    for at in range(12):
        resources.take({"own": {"pid": os.getpid()}, "gone": {"pid": None}}, float(at))
    taken = [msgspec.json.decode(line) for line in (tmp_path / "processes.ndjson").read_bytes().splitlines()]
    assert [one["at"] for one in taken] == list(range(12))
    assert all(one["process"] == "own" and one["resident_mb"] >= one["memory_mb"] > 1 for one in taken)
    # The servers of other tests may be this process's children.
    assert all(abs(sum(held for held, _ in one["members"].values()) - one["memory_mb"]) < 0.01 for one in taken)
    assert [one.process for one in resources.judged()] == ["own"]


def test_the_page_stands_alone_and_escapes_what_it_tells() -> None:
    judge_found = judged(answered(action="<script>"), sweep=found(rows=[]), windows=[DOWN])
    judge_found.scenario = "a <b> & c"
    text = page.html(judge_found)
    assert "lost_write" in text
    assert "<script" not in text
    assert "a &lt;b&gt; &amp; c" in text
    assert not any(word in text for word in ("http:", "https:", "@import", " src=", "url("))
    assert "BROKEN lost_write" in terminal.summary(judge_found)
