"""What people do at their home's gateways."""

import uuid
from collections.abc import Generator
from typing import Any

from load_tests.oracle import answers
from load_tests.oracle.ledger import Sending
from load_tests.oracle.violations import Kind, broken
from load_tests.scenarios.person import ORDERS_READ, Person, Written, trace_id, traced
from load_tests.scenarios.steps import Ask, Pause, Play, Step
from load_tests.scenarios.tokens import token

TRIES_MAX = 3
RETRY_PAUSE_S = 0.5
STREAM_ROWS = 5_000
MANY_ROWS = 600


def read_orders(me: Person, now: float) -> Play:
    held = yield from token(me, now)
    yield from orders_read(me, held, me.region, "read_orders")


def orders_read(me: Person, held: str, region: str, action: str) -> Play:
    sent, epoch = me.orders_sent, me.epoch
    stood = frozenset(write for write, known in me.orders.items() if known.stands)
    ask = Ask(method="GET", url=f"{me.gateway(region)}/orders?limit={ORDERS_READ}", token=held, headers=traced())
    if region != me.region:
        me.note(Sending(subject=me.subject, trace=trace_id(ask), asked=region, verb="read"))
    answer = yield ask
    if region == me.region:
        found, fine = answers.at_home(me, answer, epoch_before=epoch), False
    else:
        found, fine = answers.travelled(me, answer, region, epoch_before=epoch), answers.way(answer) is not None
    if answer.ok:
        found += answers.orders(me, answer, sent_before=sent, stood=stood)
    me.answered(action, ask, answer, violations=found, expected=fine, fenced=True)


def write_order(me: Person, now: float) -> Play:
    """One order under an id of its own, repeated under the same id while its outcome is unknown."""
    held = yield from token(me, now)
    yield from order_written(me, held, me.region, "write_order")


def order_written(me: Person, held: str, region: str, action: str) -> Play:
    write = str(uuid.uuid4())
    me.orders_sent += 1
    me.orders[write] = Written(number=me.orders_sent)
    order = {"id": write, "item": f"load {me.nonce}", "quantity": 1, "total_cents": 100, "currency": "EUR"}
    for tries in range(TRIES_MAX):
        ask = Ask(method="POST", url=f"{me.gateway(region)}/orders", token=held, json=order, headers=traced())
        known = yield from _written(me, ask, action, (write,), "orders", region, tries)
        if known in ("acknowledged", "repeated"):
            me.orders[write].stands = True
        if known != "maybe":
            return
        yield Pause(RETRY_PAUSE_S)


def _written(
    me: Person, ask: Ask, action: str, writes: tuple[str, ...], table: str, region: str, tries: int
) -> Generator[Step, Any, str]:
    epoch = me.epoch
    away = None if region == me.region else region
    me.note(
        Sending(
            subject=me.subject, write=writes[0], also=writes[1:], table=table, trace=trace_id(ask), asked=away, verb="write"
        )
    )  # fmt: skip
    answer = yield ask
    known = answers.outcome(answer, tries=tries)
    if region == me.region:
        found, fine = answers.at_home(me, answer, epoch_before=epoch), known == "repeated"
    else:
        fine = answers.way(answer) is not None or known == "repeated"
        found = answers.travelled(me, answer, region, epoch_before=epoch)
    me.answered(action, ask, answer, violations=found, expected=fine, fenced=True, writes=writes, outcome=known)
    return known


def read_profile(me: Person, now: float) -> Play:
    held = yield from token(me, now)
    epoch = me.epoch
    ask = Ask(method="GET", url=f"{me.gateway(me.region)}/records/profiles?select=*", token=held)
    answer = yield ask
    found = answers.at_home(me, answer, epoch_before=epoch)
    if answer.ok:
        found += answers.profile(me, answer)
    me.answered("read_profile", ask, answer, violations=found, fenced=True)


def read_notes(me: Person, now: float) -> Play:
    held = yield from token(me, now)
    epoch = me.epoch
    ask = Ask(
        method="GET", url=f"{me.gateway(me.region)}/records/notes?select=subject_id,id,title&limit=20", token=held
    )
    answer = yield ask
    found = answers.at_home(me, answer, epoch_before=epoch)
    if answer.ok:
        found += answers.notes(me, answer)
    me.answered("read_notes", ask, answer, violations=found, fenced=True)


def write_note(me: Person, now: float) -> Play:
    """A row through the records API."""
    held = yield from token(me, now)
    write = str(uuid.uuid4())
    title = f"load {me.nonce} {write}"
    me.titles.add(title)
    for tries in range(TRIES_MAX):
        row = {"id": write, "title": title, "body": "under load"}
        ask = Ask(method="POST", url=f"{me.gateway(me.region)}/records/notes", token=held, json=row)
        known = yield from _written(me, ask, "write_note", (write,), "notes", me.region, tries)
        if known != "maybe":
            return
        yield Pause(RETRY_PAUSE_S)


def read_many(me: Person, now: float) -> Play:
    """Hundreds of rows in one answer. Stored first, by one request."""
    held = yield from token(me, now)
    if not me.many:
        yield from _many_written(me, held)
    epoch, stood = me.epoch, frozenset(me.many)
    url = f"{me.gateway(me.region)}/records/notes?select=subject_id,id,title&title=like.many*"
    ask = Ask(method="GET", url=url, token=held)
    answer = yield ask
    found = answers.at_home(me, answer, epoch_before=epoch)
    if answer.ok and answer.whole:
        found += answers.notes(me, answer) + answers.many(me, answer, stood)
    me.answered("read_many", ask, answer, violations=found, fenced=True)


def _many_written(me: Person, held: str) -> Play:
    """A batch of notes, all or none of them."""
    writes = tuple(str(uuid.uuid4()) for _ in range(MANY_ROWS))
    rows = [{"id": write, "title": f"many {me.nonce} {write}", "body": "one of many"} for write in writes]
    me.titles.update(row["title"] for row in rows)
    for tries in range(TRIES_MAX):
        ask = Ask(method="POST", url=f"{me.gateway(me.region)}/records/notes", token=held, json=rows)
        known = yield from _written(me, ask, "write_many", writes, "notes", me.region, tries)
        if known in ("acknowledged", "repeated"):
            me.many = writes
        if known != "maybe":
            return
        yield Pause(RETRY_PAUSE_S)


def stream(me: Person, now: float) -> Play:
    """A long answer, counted."""
    held = yield from token(me, now)
    epoch = me.epoch
    ask = Ask(method="GET", url=f"{me.gateway(me.region)}/orders/stream?rows={STREAM_ROWS}", token=held)
    answer = yield ask
    found = answers.at_home(me, answer, epoch_before=epoch)
    rows = answer.body.count(b"\n")
    if answer.ok and answer.whole and rows != STREAM_ROWS:
        found += broken(Kind.BROKEN_STREAM, f"{rows} of {STREAM_ROWS} lines")
    me.answered("stream", ask, answer, violations=found)
