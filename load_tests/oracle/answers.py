"""What one answer must be, from what is known of the person who asked."""

from typing import Any

from load_tests.oracle.violations import Kind, Violation, broken
from load_tests.scenarios.person import ORDERS_READ, Person
from load_tests.scenarios.shape import Way
from load_tests.scenarios.steps import Answer

UNCLASSIFIED = "internal_score"
"""The sample product's column that no contract names."""
CONFLICTS = frozenset({"conflict", "23505"})
SERVED, CARRIED = "serve", "hairpin"
"""`Domicile-Verdict` of an answer that came from the home cell: at home, and by way of another region."""


def at_home(me: Person, answer: Answer, *, epoch_before: int, verdict: str = SERVED) -> tuple[Violation, ...]:
    """Cell, epoch and verdict of an answer about `me`. A refusal that names a cell came from there, so it is held to them, too."""
    found: tuple[Violation, ...] = ()
    if answer.cell not in (me.cell, None) or (answer.ok and answer.cell is None):
        found += broken(Kind.WRONG_CELL, f"{me.subject} of {me.cell} answered by {answer.cell} ({answer.status})")
    if answer.ok and (answer.epoch is None or answer.epoch < epoch_before):
        found += broken(Kind.EPOCH_WENT_BACK, f"{me.subject}: {answer.epoch} after {epoch_before}")
    return found + stated(me, answer, verdict)


def stated(me: Person, answer: Answer, verdict: str) -> tuple[Violation, ...]:
    """What came from a cell says under which verdict. What a gateway refuses by itself names no cell."""
    if (not answer.ok and answer.cell is None) or answer.verdict == verdict:
        return ()
    words = (
        f"{me.subject or me.country} answered by {answer.cell} ({answer.status}) under {answer.verdict}, not {verdict}"
    )
    return broken(Kind.VERDICT_MISSTATED, words)


def orders(me: Person, answer: Answer, *, sent_before: int, stood: frozenset[str]) -> tuple[Violation, ...]:
    """Rows of `GET /orders`: all one's own, and every write that stood before the request among the newest.

    `stood`: writes known to stand when the request was sent; `sent_before`: orders sent until then.
    """
    document = answer.json()
    rows = document.get("orders") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        return broken(Kind.FOREIGN_ROW, f"{me.subject}: the answer is no list of orders")
    found: tuple[Violation, ...] = ()
    for row in rows:
        if row.get("subject_id") != me.subject or row.get("id") not in me.orders:
            found += broken(Kind.FOREIGN_ROW, f"{me.subject} read order {row.get('id')} of {row.get('subject_id')}")
    seen = {row.get("id") for row in rows}
    sent = max(sent_before, me.orders_sent)  # those sent meanwhile may push older ones out
    for write in stood - seen:
        if sent - me.orders[write].number < ORDERS_READ:
            found += broken(Kind.UNSEEN_WRITE, f"{me.subject}: order {write} was acknowledged and is not read")
    return found


def profile(me: Person, answer: Answer) -> tuple[Violation, ...]:
    """Rows of `GET /records/profiles?select=*`: one's own, and nothing that no contract classifies."""
    rows = answer.json()
    if not isinstance(rows, list):
        return broken(Kind.FOREIGN_ROW, f"{me.subject}: the answer is no list of profiles")
    found: tuple[Violation, ...] = ()
    if [(row.get("subject_id"), row.get("display_name")) for row in rows] != [(me.subject, me.name)]:
        found += broken(Kind.FOREIGN_ROW, f"{me.subject} read {len(rows)} profiles, not exactly their own")
    if any(UNCLASSIFIED in row for row in rows):
        found += broken(Kind.UNCLASSIFIED_COLUMN, f"{me.subject} read the column {UNCLASSIFIED}")
    return found


def notes(me: Person, answer: Answer) -> tuple[Violation, ...]:
    rows: Any = answer.json()
    if not isinstance(rows, list):
        return broken(Kind.FOREIGN_ROW, f"{me.subject}: the answer is no list of notes")
    strange = [row for row in rows if row.get("subject_id") != me.subject or row.get("title") not in me.titles]
    return broken(Kind.FOREIGN_ROW, f"{me.subject} read {len(strange)} notes that are not theirs") if strange else ()


def many(me: Person, answer: Answer, stood: frozenset[str]) -> tuple[Violation, ...]:
    """A whole answer of many notes: each once, and every one of `stood`, which stood before the request."""
    rows: Any = answer.json()
    if not isinstance(rows, list):
        return broken(Kind.BROKEN_STREAM, f"{me.subject}: the answer is no list of notes")
    seen = [row.get("id") for row in rows]
    found: tuple[Violation, ...] = ()
    if len(set(seen)) != len(seen):
        found += broken(Kind.BROKEN_STREAM, f"{me.subject} read {len(seen) - len(set(seen))} notes twice")
    if missing := stood.difference(seen):
        found += broken(
            Kind.UNSEEN_WRITE, f"{me.subject}: {len(missing)} of {len(stood)} acknowledged notes are not read"
        )
    return found


def way(answer: Answer) -> Way | None:
    """Which of the three ways a traveller met; None where the answer is about something else."""
    if answer.ok:
        return "hairpin"
    return {(421, "home_elsewhere"): "home", (451, "residency_refused"): "refuse"}.get(  # type: ignore[return-value]
        (answer.status, answer.code or "")
    )


def travelled(me: Person, answer: Answer, to: str, *, epoch_before: int) -> tuple[Violation, ...]:
    """An answer of another region's gateway: the way that is stated, with home or ground, and a carried one from home."""
    met, stated = way(answer), me.world.ways.get(f"{me.jurisdiction}->{to}")
    found: tuple[Violation, ...] = ()
    if met is not None and stated is not None and met != stated:
        found += broken(Kind.WRONG_VERDICT, f"{me.jurisdiction}->{to}: {met} instead of {stated}")
    document = answer.json() if met in ("home", "refuse") else None
    turned = {"home": "redirect", "refuse": "refuse"}.get(met or "")
    if turned is not None and answer.verdict != turned:
        words = f"{me.jurisdiction}->{to}: {answer.status} under {answer.verdict}, not {turned}"
        found += broken(Kind.VERDICT_MISSTATED, words)
    if met == "hairpin" or answer.cell is not None:
        found += at_home(me, answer, epoch_before=epoch_before, verdict=CARRIED)
    elif met == "home" and (document or {}).get("home") != me.gateway(me.region):
        found += broken(Kind.REFUSAL_WITHOUT_GROUND, f"{me.jurisdiction}->{to}: sent to {(document or {}).get('home')}")
    elif met == "refuse" and not (document or {}).get("ground"):
        found += broken(Kind.REFUSAL_WITHOUT_GROUND, f"{me.jurisdiction}->{to}: refused without ground")
    return found


def outcome(answer: Answer, *, tries: int) -> str:
    """What is known of a write. A refusal says that nothing was stored; anything broken says nothing."""
    if answer.status in (200, 201):
        return "acknowledged"
    if answer.status == 409 and answer.code in CONFLICTS:
        return "repeated" if tries else "maybe"
    return "refused" if 400 <= answer.status < 500 else "maybe"
