"""What people do, as generators without I/O: each asks its driver, judges the answer by the oracle, and writes down what came."""

import random
import secrets
import uuid
from collections.abc import Callable, Generator
from typing import Any

from load_tests.oracle import answers
from load_tests.oracle.ledger import Sending, SignedUp
from load_tests.oracle.violations import Kind, broken
from load_tests.scenarios.person import ORDERS_READ, TOKEN_LEFT_S, TOKEN_S, Person, Written, trace_id, traced
from load_tests.scenarios.shape import Way
from load_tests.scenarios.steps import Answer, Ask, Pause, Play, Step, Together

TRIES_MAX = 3
RETRY_PAUSE_S = 0.5
STREAM_ROWS = 5_000
RIVALS = 3
LEEWAY_S = 6.0
"""How long after its end a token is surely refused: its lifetime of a second, the skew bound, and what rounding takes."""
Sub = Generator[Step, Any, Any]


def mint(
    me: Person, region: str, sub: str, *, email: str | None = None, ttl_s: int = TOKEN_S
) -> Generator[Step, Answer, str]:
    """A token of the region's issuer, or '' where it gives none just now."""
    wanted = {"sub": sub, "email": email, "email_verified": email is not None, "ttl_s": ttl_s}
    answer = yield Ask(method="POST", url=f"{me.world.regions[region].issuer}/mint", json=wanted, quiet=True)
    document = answer.json() if answer.ok else None
    return str(document["access_token"]) if isinstance(document, dict) else ""


def token(me: Person, now: float) -> Generator[Step, Answer, str]:
    """One's own token, renewed before it runs out."""
    if now + TOKEN_LEFT_S > me.token_until:
        made = yield from mint(me, me.region, me.sub, email=me.email)
        if made:
            me.token, me.token_until = made, now + TOKEN_S
    return me.token


def sign_up(me: Person, now: float) -> Play:
    """Residence first: preview at any gateway, then sign up at home. Repeated, it finishes what was left half done."""
    if not me.region:
        asked = f"{me.gateway(me.anywhere())}/.well-known/domicile/preview?residence={me.country}&service=orders"
        ask = Ask(method="GET", url=asked)
        answer = yield ask
        me.answered("preview", ask, answer)
        document = answer.json() if answer.ok else None
        if not isinstance(document, dict):
            return
        me.jurisdiction = str(document["jurisdiction"])
        me.region = _region_at(me, str(document["home"]))
    held = yield from token(me, now)
    ask = _sign_up_ask(me, held, me.region, me.country, name=me.name)
    answer = yield ask
    _signed_up(me, ask, answer)


def _sign_up_ask(me: Person, held: str, region: str, country: str, *, name: str) -> Ask:
    url = f"{me.gateway(region)}/orders/sign-up?residence={country}"
    return Ask(method="POST", url=url, token=held, json={"name": name})


def _signed_up(me: Person, ask: Ask, answer: Answer) -> None:
    document = answer.json() if answer.ok else None
    if isinstance(document, dict):
        me.subject, me.cell, me.epoch = document["subject_id"], document["cell"], int(document["epoch"])
        me.note(
            SignedUp(
                at=answer.at, subject=me.subject, cell=me.cell, epoch=me.epoch, country=me.country, region=me.region,
                jurisdiction=me.jurisdiction,
            )
        )  # fmt: skip
    wrong = answer.ok and answer.cell != me.cell
    found = broken(Kind.WRONG_CELL, f"{me.subject}: placed in {me.cell}, answered by {answer.cell}") if wrong else ()
    me.answered("sign_up", ask, answer, violations=found)


def _region_at(me: Person, origin: str) -> str:
    return next(name for name, region in me.world.regions.items() if region.gateway == origin.rstrip("/"))


# --- at home -----------------------------------------------------------------------------------------------------------------


def read_orders(me: Person, now: float) -> Play:
    held = yield from token(me, now)
    yield from _read_orders(me, held, me.region, "read_orders")


def _read_orders(me: Person, held: str, region: str, action: str) -> Play:
    sent, epoch = me.orders_sent, me.epoch
    stood = frozenset(write for write, known in me.orders.items() if known.stands)
    ask = Ask(method="GET", url=f"{me.gateway(region)}/orders?limit={ORDERS_READ}", token=held, headers=traced())
    if region != me.region:
        me.note(Sending(subject=me.subject, trace=trace_id(ask)))
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
    yield from _write_order(me, held, me.region, "write_order")


def _write_order(me: Person, held: str, region: str, action: str) -> Play:
    write = str(uuid.uuid4())
    me.orders_sent += 1
    me.orders[write] = Written(number=me.orders_sent)
    order = {"id": write, "item": f"load {me.nonce}", "quantity": 1, "total_cents": 100, "currency": "EUR"}
    for tries in range(TRIES_MAX):
        ask = Ask(method="POST", url=f"{me.gateway(region)}/orders", token=held, json=order, headers=traced())
        known = yield from _written(me, ask, action, write, "orders", region, tries)
        if known in ("acknowledged", "repeated"):
            me.orders[write].stands = True
        if known != "maybe":
            return
        yield Pause(RETRY_PAUSE_S)


def _written(
    me: Person, ask: Ask, action: str, write: str, table: str, region: str, tries: int
) -> Generator[Step, Any, str]:
    epoch = me.epoch
    me.note(Sending(subject=me.subject, write=write, table=table, trace=trace_id(ask)))
    answer = yield ask
    known = answers.outcome(answer, tries=tries)
    if region == me.region:
        found, fine = answers.at_home(me, answer, epoch_before=epoch), known == "repeated"
    else:
        fine = answers.way(answer) is not None or known == "repeated"
        found = answers.travelled(me, answer, region, epoch_before=epoch)
    me.answered(action, ask, answer, violations=found, expected=fine, fenced=True, write=write, outcome=known)
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
        known = yield from _written(me, ask, "write_note", write, "notes", me.region, tries)
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


# --- away from home, and those who have none ---------------------------------------------------------------------------------


def travel(me: Person, now: float) -> Play:
    """Reads or writes through another region's gateway."""
    to = me.elsewhere()
    if to is None:
        return
    held = yield from token(me, now)
    if me.chance.random() < 0.5:
        yield from _read_orders(me, held, to, "travel_read")
    else:
        yield from _write_order(me, held, to, "travel_write")


_TURNED_AWAY: tuple[Way, ...] = ("home", "refuse")


def travel_head(me: Person, now: float) -> Play:
    """Only the head of a write that must be turned away: the verdict may not wait for the body."""
    to = me.elsewhere()
    if to is None or me.world.ways.get(f"{me.jurisdiction}->{to}") not in _TURNED_AWAY:
        return
    held = yield from token(me, now)
    ask = Ask(method="POST", url=f"{me.gateway(to)}/orders", token=held, head_only=True)
    answer = yield ask
    found = answers.travelled(me, answer, to, epoch_before=me.epoch)
    if answer.status == 0 and answer.whole:
        found += broken(Kind.BODY_BEFORE_VERDICT, f"{me.jurisdiction}->{to}: no verdict while the body was held back")
    me.answered("travel_head", ask, answer, violations=found, expected=answers.way(answer) in _TURNED_AWAY)


def stranger(me: Person, now: float) -> Play:
    """Somebody whom nobody placed."""
    region = me.anywhere()
    held = yield from mint(me, region, f"load|stranger {secrets.token_hex(8)}")
    if not held:
        return
    ask = Ask(method="GET", url=f"{me.gateway(region)}/orders", token=held)
    answer = yield ask
    served = answer.ok or answer.cell is not None
    found = broken(Kind.SERVED_WITHOUT_HOME, f"{answer.status} from {answer.cell} in {region}") if served else ()
    expected = (answer.status, answer.code) == (404, "no_home")
    me.answered("stranger", ask, answer, violations=found, expected=expected)


def nowhere(me: Person, now: float) -> Play:
    """A sign-up with a residence that no cell serves."""
    if me.world.nowhere is None:
        return
    region = me.anywhere()
    held = yield from mint(me, region, f"load|nowhere {secrets.token_hex(8)}")
    if not held:
        return
    ask = _sign_up_ask(me, held, region, me.world.nowhere, name="Nowhere")
    answer = yield ask
    placed = answer.ok or (answer.status, answer.code) == (421, "home_elsewhere")
    words = f"{me.world.nowhere}: {answer.status} {answer.code or answer.cell} in {region}"
    found = broken(Kind.PLACED_WITHOUT_GROUND, words) if placed else ()
    expected = (answer.status, answer.code) == (451, "no_cell_allowed")
    me.answered("nowhere", ask, answer, violations=found, expected=expected)


def aliases(me: Person, now: float) -> Play:
    """Several people sign up at once with one verified e-mail: at most one of them gets it."""
    email = f"race-{secrets.token_hex(8)}@example.org"
    asks: list[Ask] = []
    rivals: list[Person] = []
    for number in range(RIVALS):
        country = me.country if number == 0 else me.chance.choice(me.world.countries)
        rival = Person(country, me.world, me.note, random.Random(me.chance.random()))  # noqa: S311 - load, no secret
        answer = yield Ask(
            method="GET", url=f"{me.gateway(me.region)}/.well-known/domicile/preview?residence={country}&service=orders",
            quiet=True,
        )  # fmt: skip
        if not answer.ok:
            return
        document = answer.json()
        rival.region, rival.jurisdiction = _region_at(me, str(document["home"])), str(document["jurisdiction"])
        held = yield from mint(me, rival.region, rival.sub, email=email)
        asks.append(_sign_up_ask(rival, held, rival.region, country, name=rival.name))
        rivals.append(rival)
    found = yield Together(tuple(asks))
    winners = sum(answer.ok for answer in found)
    for rival, ask, answer in zip(rivals, asks, found, strict=True):
        if answer.ok:
            _signed_up(rival, ask, answer)
            continue
        rival.answered("aliases", ask, answer, expected=answer.code == "key_taken")
    twice = broken(Kind.ALIAS_TAKEN_TWICE, f"{winners} people hold one e-mail") if winners > 1 else ()
    if twice:
        me.answered("aliases", asks[0], found[0], violations=twice)


def acting(me: Person, now: float) -> Play:
    """A service reads for this person: inside policy's bounds it is served, outside never."""
    stated = me.world.acting
    if stated is None or me.world.secrets is None:
        return
    file = f"{me.world.secrets}/{stated.token}.jwt"
    epoch, sent = me.epoch, me.orders_sent
    ask = Ask(
        method="GET",
        url=f"{me.gateway(me.region)}/orders?limit={ORDERS_READ}",
        token_file=file,
        headers={"domicile-for": me.subject},
    )
    answer = yield ask
    allowed = me.country in stated.countries
    found = answers.at_home(me, answer, epoch_before=epoch)
    if answer.ok and not allowed:
        found += broken(Kind.ACTED_BEYOND_BOUNDS, f"{stated.token} read for {me.subject} of {me.jurisdiction}")
    elif answer.ok:
        found += answers.orders(me, answer, sent_before=sent, stood=frozenset())
    refused = not allowed and answer.status in (403, 451)
    me.answered("acting", ask, answer, violations=found, expected=refused, fenced=True)


def expiry(me: Person, now: float) -> Play:
    """A token that has run out."""
    held = yield from mint(me, me.region, me.sub, ttl_s=1)
    if not held:
        return
    yield Pause(LEEWAY_S)
    ask = Ask(method="GET", url=f"{me.gateway(me.region)}/orders?limit=1", token=held)
    answer = yield ask
    found = broken(Kind.EXPIRED_TOKEN_SERVED, f"{answer.status} from {answer.cell}") if answer.ok else ()
    me.answered("expiry", ask, answer, violations=found, expected=answer.status == 401)


ACTIONS: dict[str, Callable[[Person, float], Play]] = {
    one.__name__: one
    for one in (
        read_orders, write_order, read_profile, read_notes, write_note, stream, travel, travel_head, stranger, nowhere,
        aliases, acting, expiry,
    )
}  # fmt: skip
"""By the name that a scenario's mix gives."""
