"""The promises that a load watches, by the name under which a report tells that one was broken."""

import enum
from typing import Any

import msgspec


class Kind(enum.StrEnum):
    """Stable names; `PROMISES` says what each means."""

    WRONG_CELL = "wrong_cell"
    HOME_NOT_ALLOWED = "home_not_allowed"
    EPOCH_WENT_BACK = "epoch_went_back"
    STALE_EPOCH_SERVED = "stale_epoch_served"
    LATE_WRITE = "late_write"
    WRITTEN_WHILE_FROZEN = "written_while_frozen"
    FOREIGN_ROW = "foreign_row"
    UNCLASSIFIED_COLUMN = "unclassified_column"
    UNSEEN_WRITE = "unseen_write"
    SERVED_WITHOUT_HOME = "served_without_home"
    PLACED_WITHOUT_GROUND = "placed_without_ground"
    WRONG_VERDICT = "wrong_verdict"
    VERDICT_MISSTATED = "verdict_misstated"
    REFUSAL_WITHOUT_GROUND = "refusal_without_ground"
    BODY_BEFORE_VERDICT = "body_before_verdict"
    ALIAS_TAKEN_TWICE = "alias_taken_twice"
    EXPIRED_TOKEN_SERVED = "expired_token_served"  # noqa: S105 - a name, no token
    ACTED_BEYOND_BOUNDS = "acted_beyond_bounds"
    BROKEN_STREAM = "broken_stream"
    LOST_WRITE = "lost_write"
    DOUBLED_WRITE = "doubled_write"
    ACKNOWLEDGED_TWICE = "acknowledged_twice"
    REFUSED_BUT_STORED = "refused_but_stored"
    NEVER_SENT = "never_sent"
    ROW_ABROAD = "row_abroad"
    FENCE_DIFFERS = "fence_differs"
    CUT_NOT_ENDED = "cut_not_ended"
    CROSSING_NOT_RECORDED = "crossing_not_recorded"
    CROSSING_NOT_SEEN = "crossing_not_seen"
    CROSSING_DOUBLED = "crossing_doubled"
    CROSSING_DIFFERS = "crossing_differs"
    CROSSING_THOUGH_REFUSED = "crossing_though_refused"
    CROSSING_WITHOUT_GROUND = "crossing_without_ground"


PROMISES: dict[Kind, str] = {
    Kind.WRONG_CELL: "an answer came from another cell than the subject's home",
    Kind.HOME_NOT_ALLOWED: "a subject stands in a cell that the rules do not allow",
    Kind.EPOCH_WENT_BACK: "an answer carried an older epoch than one before it",
    Kind.STALE_EPOCH_SERVED: "a request sent after a cut was served under the epoch of before",
    Kind.LATE_WRITE: "a write under the epoch of before was stored after the cut",
    Kind.WRITTEN_WHILE_FROZEN: "a write was acknowledged under the epoch of a freeze",
    Kind.FOREIGN_ROW: "an answer held a row of somebody else, or one that nobody wrote",
    Kind.UNCLASSIFIED_COLUMN: "an answer held a column that no contract classifies",
    Kind.UNSEEN_WRITE: "a read did not show a write acknowledged before it was sent",
    Kind.SERVED_WITHOUT_HOME: "a person without a home was served, or named a cell",
    Kind.PLACED_WITHOUT_GROUND: "a residence that no cell serves was given a home",
    Kind.WRONG_VERDICT: "a traveller met another verdict than the one stated",
    Kind.VERDICT_MISSTATED: "an answer stated no verdict, or another than the one that it came under",
    Kind.REFUSAL_WITHOUT_GROUND: "a refusal named no ground, or no home",
    Kind.BODY_BEFORE_VERDICT: "a refused request was not answered before its body came",
    Kind.ALIAS_TAKEN_TWICE: "two people hold the same alias",
    Kind.EXPIRED_TOKEN_SERVED: "a token that had run out was served",
    Kind.ACTED_BEYOND_BOUNDS: "a service acted for somebody whom policy leaves out",
    Kind.BROKEN_STREAM: "a long answer ended early and said it was whole",
    Kind.LOST_WRITE: "an acknowledged write is not in the home cell's Postgres",
    Kind.DOUBLED_WRITE: "one write is stored more than once",
    Kind.ACKNOWLEDGED_TWICE: "one write was acknowledged as new more than once",
    Kind.REFUSED_BUT_STORED: "a write that was refused is stored",
    Kind.NEVER_SENT: "a stored row was never sent",
    Kind.ROW_ABROAD: "a row lies outside its subject's home",
    Kind.FENCE_DIFFERS: "a fence and the directory do not agree",
    Kind.CUT_NOT_ENDED: "a cut was begun and never ended",
    Kind.CROSSING_NOT_RECORDED: "a request was carried across a border without a recorded crossing",
    Kind.CROSSING_NOT_SEEN: "a crossing is recorded that nobody sent",
    Kind.CROSSING_DOUBLED: "one request has more than one recorded crossing",
    Kind.CROSSING_DIFFERS: "a recorded crossing is not what was sent: another subject, region, verb or home",
    Kind.CROSSING_THOUGH_REFUSED: "a request that was turned away has a recorded crossing",
    Kind.CROSSING_WITHOUT_GROUND: "a recorded crossing has no ground, or not the one that the rules state",
}


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One broken promise: which, and what was seen. `words` hold ids and numbers, no personal data."""

    kind: Kind
    words: str


def broken(kind: Kind, words: str) -> tuple[Violation, ...]:
    return (Violation(kind=kind, words=words),)


def told(found: Any) -> str:
    """One line a kind for a terminal."""
    return "; ".join(f"{one.kind.value}: {one.words}" for one in found)
