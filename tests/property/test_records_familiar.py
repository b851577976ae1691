"""A read that is taken for one whose like came before asks for what a strict reading makes of it."""

from hypothesis import event, given
from hypothesis import strategies as st

from cells.records.asking import Asked
from cells.records.core import Bound, bind, grant
from cells.records.dialect import parse_query
from cells.records.familiar import Familiar, apart, arguments, came
from cells.records.media import Media
from cells.records.preferences import NONE
from cells.records.ranges import page
from cells.records.statements import Builder, Statement
from cells.records.texts import Texts
from cells.shards.homes import Homes
from cells.shards.shard import Dsns, Shard
from foundation.clock import ManualClock
from foundation.mute import Secret
from foundation.problems import Problem, ProblemError
from foundation.wire.framing import framing_of
from foundation.wire.head import Fields, RequestHead, request_head
from foundation.wire.targets import Asked as Target
from foundation.wire.targets import asked_of
from foundation.words import RECORDS, Verb
from tests.stands.shard import CELL, S1, notes
from tests.unit.test_records_core import decision

CONTRACT = notes()
NOWHERE = Secret("postgres://nobody@127.0.0.1/none")
SHARD = Shard(
    cell=CELL,
    shard=S1,
    dsns=Dsns(NOWHERE, NOWHERE, NOWHERE),
    contracts={"notes": CONTRACT},
    homes=Homes(started_unix_s=0.0),
    clock=ManualClock(),
)
DECIDED = decision(service=RECORDS)
KNOWN_AS = CONTRACT.table, RECORDS, "service"
GRANTED = grant(CONTRACT, *KNOWN_AS[1:])

NAMES = st.sampled_from(
    ["rank", "body", "rank", "id", "select", "order", "limit", "and", "or", "nothing", "rank ", "total->a", ""]
)
VALUES = st.one_of(
    st.sampled_from(["eq.1", "eq.", "gt.x", "gte.2", "neq.eq.1", "lt.(1)", "in.(1,2)", "is.null", "not.eq.1", "eq(any).{1}", "like.a*"]),
    st.sampled_from(["3", "rank", "rank.desc", "*", "id,rank", "(rank.eq.1)", ""]),
    st.text(alphabet="aeq.(){}\",:=?", max_size=6),
)  # fmt: skip
PLAIN = st.tuples(
    st.sampled_from(["rank", "body", "id", "total"]),
    st.sampled_from(["=eq.", "=neq.", "=gt.", "=gte.", "=lt.", "=lte."]),
    st.sampled_from(["1", "", "eq.1", "(1)", "a=b", "."]),
).map("".join)
OTHER = st.sampled_from(
    ["order=rank", "order=rank.desc,id", "limit=3", "offset=1", "select=id,rank", "select=n:rank", ""]
)
ANYTHING = st.tuples(NAMES, VALUES).map("=".join)
PARAMETERS = st.one_of(
    st.lists(st.one_of(PLAIN, PLAIN, OTHER), max_size=4), st.lists(st.one_of(PLAIN, OTHER, ANYTHING), max_size=4)
)
OPERANDS = st.lists(st.text(alphabet='a1.(){}",:=', max_size=4), min_size=4, max_size=4)


def read(query: str) -> tuple[Asked, Statement] | None:
    """What a strict reading makes of it, None where it is refused."""
    bound = bind(CONTRACT, DECIDED)
    assert isinstance(bound, Bound)
    try:
        parsed = parse_query(query)
        some = page(parsed, 50)
        statement = Texts().read(KNOWN_AS, Builder(CONTRACT, GRANTED, bound), parsed, some, counted=False)
    except ProblemError:
        return None
    asked = Asked(
        decision=DECIDED, subject=bound.subject, epoch=bound.epoch, verb=Verb.READ, contract=CONTRACT, shard=SHARD, known_as=KNOWN_AS,
        granted=GRANTED, bound=bound, query=parsed, page=some, preferences=NONE, media=Media(), method="GET",
    )  # fmt: skip
    return asked, statement


def sent(query: str, *lines: str) -> bytes:
    named = "".join(f"{line}\r\n" for line in lines)
    return f"GET /records/notes?{query} HTTP/1.1\r\n{named}\r\n".encode("latin-1")


@given(PARAMETERS, OPERANDS)
def test_a_query_of_a_shape_that_came_before_is_what_a_strict_reading_makes_of_it(
    parameters: list[str], operands: list[str]
) -> None:
    """The second has other operands, wherever a plain comparison seems to stand."""
    other = [
        f"{name}={value.partition('.')[0]}.{operand}" if "." in value else f"{name}={value}"
        for (name, _, value), operand in zip((one.partition("=") for one in parameters), operands, strict=False)
    ]
    lines = "Host: cell", "domicile-decision: v1.d"
    first, then = (came(sent("&".join(some), *lines)) for some in (parameters, other))
    strict = read("&".join(parameters))
    if first is None or then is None or strict is None:
        return
    known = Familiar()
    assert known.head_of(first, 0.0) is None
    known.learn(first, [(b"host", b"cell"), (b"domicile-decision", b"v1.d")], *strict)
    head, found = known.head_of(then, 0.0), apart(then.query)
    if head is None or found is None or (plan := known.plan_of(head, then, found[0], "service")) is None:
        event("not known")
        return
    event(f"known, {len(found[1])} operands")
    again = read("&".join(other))
    assert again is not None
    asked, statement = again
    assert plan.query_of(found[1]) == asked.query
    assert plan.page == asked.page
    assert (plan.sql, arguments(asked.bound, found[1]) + plan.paged) == (statement.sql, statement.arguments)


DECISION = st.sampled_from(
    [
        "domicile-decision: v1.a",
        "domicile-decision: v1.bb",
        "domicile-decision: v1.cc",
        "Domicile-Decision: v1.c",
        "domicile-decision:  v1.d",
    ]
)
KEPT = st.lists(
    st.sampled_from(
        [
            "accept: */*",
            "Accept: text/html",
            "user-agent: x",
            "via: 1.1 eu",
            "prefer: count=exact",
            "X-Forwarded-Proto: http",
        ]
    ),
    max_size=3,
).map(lambda lines: ["Host: cell", *lines])
OWN = st.sampled_from(
    [
        [], ["traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01"], ["x-forwarded-for: 10.0.0.1"],
        ["x-forwarded-for: 10.0.0.1, ::1", "via: 1.1"],
    ]
)  # fmt: skip
LINES = st.lists(
    st.sampled_from(
        ["Host: cell", "host: a", "accept: */*", "Accept: text/html", "user-agent: x", "via: 1.1 eu", "content-length: 0",
         "content-length: 3",
         "transfer-encoding: chunked", "connection: close", "expect: 100-continue", "range: 0-1", "cookie: a=b", "authorization: Bearer x",
         "x-forwarded-for: 10.0.0.1", "x-forwarded-for: 10.0.0.1, ::1", "traceparent: 00-" + "a" * 32 + "-" + "b" * 16 + "-01",
         "traceparent: x", "prefer: count=exact", " folded", "no colon", "bad\x00: x", "bad: \x00", "a b: c", "x: \xe9", "bad: a\nb", ": x"]
    ),
    max_size=4,
)  # fmt: skip


@given(st.one_of(KEPT, KEPT, LINES), st.one_of(OWN, OWN, LINES), st.one_of(OWN, LINES), DECISION, DECISION)
def test_a_head_that_is_known_would_be_read_as_the_one_that_was(
    before: list[str], after: list[str], others: list[str], one: str, two: str
) -> None:
    strict = read("rank=eq.1")
    assert strict is not None
    known, learned = Familiar(), sent("rank=eq.1", *before, one, *after)
    first, head = came(learned), request_head(learned)
    if first is not None:
        assert known.head_of(first, 0.0) is None
    if first is None or not isinstance(head, RequestHead) or isinstance(framing_of(head), Problem):
        return
    known.learn(first, head.fields, *strict)
    for lines in ([*before, two, *after], [*before, two, *others], [*others, two, *after], [*before, two, one, *after]):
        data = sent("rank=eq.2", *lines)
        then = came(data)
        if then is None or known.head_of(then, 0.0) is None:
            continue
        event("known")
        again = request_head(data)
        assert isinstance(again, RequestHead)
        target, framing = asked_of(again), framing_of(again)
        assert isinstance(target, Target)
        assert (target.path, target.query) == (b"/records/notes", then.query)
        assert not isinstance(framing, Problem)
        assert (framing.content_length, framing.chunked, framing.closes, framing.expects) == (None, False, False, False)
        assert dict(reversed(again.fields))[b"domicile-decision"] == then.decision
        assert _kept(again.fields) == _kept(head.fields)


def _kept(fields: Fields) -> Fields:
    """Without what is each read's own."""
    return [
        (name, value)
        for name, value in fields
        if name not in (b"domicile-decision", b"traceparent", b"x-forwarded-for")
    ]
