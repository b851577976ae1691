"""What is remembered of reads: nothing of anybody's, for a time, and a bounded number."""

import pytest

from cells.records import familiar
from cells.records.familiar import HEAD_BYTES_MAX, KEPT_S, Came, Familiar, came
from cells.records.texts import ITEMS_MAX
from foundation.wire.head import RequestHead, request_head
from tests.property.test_records_familiar import DECIDED, read, sent

SECRET = "somebody@example.org"
LINES = (
    "Host: cell",
    "domicile-decision: v1.of-somebody",
    "traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01",
    "x-forwarded-for: 192.0.2.7",
)


def learned(known: Familiar, now_s: float, query: str, *lines: str) -> Came:
    data = sent(query, *(lines or LINES))
    one, head, strict = came(data), request_head(data), read(query)
    assert one is not None
    assert strict is not None
    assert isinstance(head, RequestHead)
    known.head_of(one, now_s)
    known.learn(one, head.fields, *strict)
    return one


def test_what_is_each_persons_own_is_not_kept() -> None:
    known = Familiar()
    learned(known, 0.0, f"body=eq.{SECRET}&rank=gt.4711")
    assert len(known) == 1
    kept = repr((known._heads, known._plans))
    for own in (SECRET, "4711", "of-somebody", "aaaa", "192.0.2.7", str(DECIDED.subject)):
        assert own not in kept


def test_a_read_is_forgotten_after_a_time_whether_or_not_it_comes() -> None:
    known = Familiar()
    one = learned(known, 1.0, "rank=eq.1")
    assert known.head_of(one, 1.0 + KEPT_S) is not None
    assert known.head_of(one, 1.1 + KEPT_S) is None
    assert len(known) == 0


def test_heads_and_plans_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(familiar, "HEADS_MAX", 3)
    monkeypatch.setattr(familiar, "PLANS_MAX", 5)
    known = Familiar()
    for number in range(20):
        learned(known, 1.0, "rank=eq.1", f"user-agent: {number}", "domicile-decision: v1.d")
        one = learned(known, 1.0, f"limit={number}")
        assert known.head_of(one, 1.0) is not None
        assert len(known._heads) <= 3
        assert len(known) <= 5


def test_of_a_query_of_very_many_items_nothing_is_kept() -> None:
    """Its text is not remembered either: each of thousands would take a hundred kilobytes."""
    known = Familiar()
    for count, kept in ((ITEMS_MAX, 1), (ITEMS_MAX + 1, 1)):
        items = ",".join(f"a{number}:rank" for number in range(count))
        learned(known, 0.0, f"select={items}")
        assert len(known) == kept


def test_a_number_is_never_given_to_other_fields() -> None:
    known, given = Familiar(), set()
    for now_s in (1.0, KEPT_S + 2, 2 * KEPT_S + 3):
        given.add(known.head_of(learned(known, now_s, "rank=eq.1"), now_s))
    assert len(given) == 3


@pytest.mark.parametrize(
    "data",
    [
        sent("rank=eq.1", "Host: cell"),  # undecided
        sent("rank=eq.1", "domicile-decision:  v1.d"),
        sent("rank=eq.1", "domicile-decision: v1.d "),
        sent("rank=eq.1", "domicile-decision: v1.d\n"),
        sent("rank=eq.1", "domicile-decision: v1.\x00"),
        sent("rank=eq.1", "domicile-decision:"),
        sent("rank=eq.1", "domicile-decision: v1.d").replace(b"GET", b"HEAD"),
        sent("rank=eq.%31", "domicile-decision: v1.d"),
        sent("rank=eq.1#x", "domicile-decision: v1.d"),
        sent("rank=eq.1", "domicile-decision: v1.d") + b"x",
        sent("rank=eq.1", "domicile-decision: v1.d") * 2,
        sent("rank=eq.1", "domicile-decision: v1.d")[:-2],
        sent("rank=eq.1", "domicile-decision: v1.d").replace(b"/records/", b"/records//"),
        sent("rank=eq.1", "domicile-decision: v1.d").replace(b"HTTP/1.1", b"HTTP/1.0"),
        sent("rank=eq.1", "domicile-decision: v1.d", "x: " + "a" * HEAD_BYTES_MAX),
    ],
)
def test_what_is_no_one_whole_decided_read_is_read_as_any_other(data: bytes) -> None:
    assert came(data) is None
