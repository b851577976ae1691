"""Every line of every worker, the windows of faults, and the sweep, into one set of findings. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from load_tests.faults.window import Cut, Window, excused
from load_tests.oracle.crossings import Crossings
from load_tests.oracle.cuts import Cuts
from load_tests.oracle.ledger import Answered, Line, Sending, SignedUp
from load_tests.oracle.proven import Proven
from load_tests.oracle.violations import Kind, Violation
from load_tests.oracle.writes import Writes, signed_up
from load_tests.report.findings import Errors, Findings, Latency, Second
from load_tests.report.histogram import Histogram
from load_tests.sweep import core
from load_tests.sweep.found import Found

_EXCUSABLE = {
    Kind.WRONG_VERDICT: ("rules",),
    Kind.BODY_BEFORE_VERDICT: ("stop", "kill", "freeze", "late"),
    Kind.CROSSING_DOUBLED: ("stop", "kill"),
    Kind.CROSSING_THOUGH_REFUSED: ("rules",),
    Kind.CROSSING_WITHOUT_GROUND: ("rules",),
}
"""What other rules, or a gateway that stands still, may bring about without a promise being broken. One that ends after it has booked a
read has it sent, and booked, once more."""
_OF_BOTH_REGIONS = frozenset({Kind.CROSSING_DOUBLED})
"""What a fault of the home region brings about as well as one where the request came in."""

SETTLING = frozenset({"preview", "sign_up"})


class Judge:
    """Takes lines in any order; `findings` says what they come to."""

    def __init__(
        self,
        windows: Sequence[Window],
        cuts: Iterable[Cut],
        allowed: Mapping[str, frozenset[str]],
        grounds: Mapping[str, str] | None = None,
    ) -> None:
        """`allowed`: cells by country of residence, as the rules say; `grounds`: on which people are carried (`crossings.key`)."""
        self._windows = windows
        self._cuts = Cuts(cuts)
        self._allowed = allowed
        self._grounds = grounds or {}
        self._writes = Writes()
        self._subjects: dict[str, SignedUp] = {}
        self._crossings = Crossings()
        self._violations: list[Violation] = []
        self._latency: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self._actions: dict[str, Histogram] = defaultdict(Histogram)
        self._seconds: dict[int, Counter[str]] = defaultdict(Counter)
        self._second_ms: dict[int, Histogram] = defaultdict(Histogram)
        self._errors: dict[tuple[str, str | None], Errors] = {}
        self._jurisdictions: dict[str, str] = {}
        self.proven = Proven()

    def take(self, line: Line) -> None:
        match line:
            case SignedUp():
                self._signed_up(line)
            case Sending():
                self._writes.sending(line)
                self._crossings.sending(line)
            case Answered():
                self._answered(line)

    def _signed_up(self, line: SignedUp) -> None:
        self._subjects.setdefault(line.subject, line)
        self._jurisdictions.setdefault(line.country, line.jurisdiction)
        self.proven.signed_up(line)
        allowed = self._allowed.get(line.country)
        if allowed is not None and line.cell not in allowed:
            self._violations.append(
                Violation(kind=Kind.HOME_NOT_ALLOWED, words=f"{line.subject} of {line.country} in {line.cell}")
            )

    def _answered(self, line: Answered) -> None:
        second = int(line.at)
        where = (line.asked, line.home)
        self._violations += [one for one in line.violations if not self._excusable(one, line)]
        self._violations += self._cuts.broken(line)
        self._writes.answered(line)
        self._crossings.answered(line)
        self.proven.answered(line)
        fine = line.expected or 200 <= line.status < 300
        reason = None if fine else excused(line.code, line.at, line.ms, where, self._windows)
        self._seconds[second]["served" if fine else "excused" if reason else "errors"] += 1
        self._second_ms[second].add(line.ms)
        verdict = line.verdict or ("none" if line.status else "no answer")
        self._latency[line.country, verdict].add(line.ms)
        self._actions[line.action].add(line.ms)
        if not fine:
            code = line.code or str(line.status)
            held = self._errors.setdefault((code, reason), Errors(code=code, status=line.status, excused_by=reason))
            held.add(line.action, line.detail)

    def _excusable(self, violation: Violation, line: Answered) -> bool:
        kinds = _EXCUSABLE.get(violation.kind, ())
        where = {line.asked, line.home} if violation.kind in _OF_BOTH_REGIONS else {line.asked}
        return any(
            window.kind in kinds
            and window.touches(line.at, line.ms)
            and (not window.regions or not where.isdisjoint(window.regions))
            for window in self._windows
        )

    def open_loop(self) -> Latency:
        """Everything but signing up, together."""
        whole = Histogram()
        for action, each in self._actions.items():
            if action not in SETTLING:
                whole.join(each)
        return Latency.of("open loop", whole)

    def _by_jurisdiction(self) -> list[Latency]:
        """Countries are of one jurisdiction or another only once somebody there was told so."""
        whole: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        for (country, verdict), each in self._latency.items():
            whole[self._jurisdictions.get(country, country), verdict].join(each)
        return [Latency.of(f"{name} {verdict}", each) for (name, verdict), each in sorted(whole.items())]

    def findings(self, found: Found | None) -> Findings:
        """`found` is None where nobody could sweep."""
        violations = [*self._violations, *self._writes.twice()]
        grounds: Counter[tuple[str, str, str, str]] = Counter()
        if found is not None:
            violations += core.homes(found, self._subjects)
            violations += self._writes.swept(found.rows, self._subjects)
            violations += signed_up(found.rows, self._subjects)
            violations += [
                broken
                for broken, answer in self._crossings.swept(found.crossings, self._subjects, self._grounds)
                if answer is None or not self._excusable(broken, answer)
            ]
            for one in found.crossings:
                if one.subject in self._subjects:
                    grounds[one.from_region, one.cell, one.verb, one.ground] += 1
        return Findings(
            violations=violations,
            people=dict(Counter(f"{one.country} {one.cell}" for one in self._subjects.values())),
            latency=self._by_jurisdiction(),
            actions=[Latency.of(name, each) for name, each in sorted(self._actions.items())],
            seconds=[
                Second(
                    at=second, served=count["served"], excused=count["excused"], errors=count["errors"],
                    p50_ms=self._second_ms[second].quantile(0.5), p99_ms=self._second_ms[second].quantile(0.99),
                )
                for second, count in sorted(self._seconds.items())
            ],
            errors=sorted(self._errors.values(), key=lambda one: -one.count),
            writes={
                "tried": len(self._writes.known),
                "acknowledged": sum(one.stands for one in self._writes.known.values()),
                "refused": sum(one.tries > 0 and one.refused == one.tries for one in self._writes.known.values()),
            },
            crossings=[
                {"from": a, "to": b, "verb": c, "ground": d, "count": n} for (a, b, c, d), n in sorted(grounds.items())
            ],
            crossings_seen=self._crossings.seen,
            windows=list(self._windows),
            cuts=0,
            swept=found is not None,
        )  # fmt: skip
