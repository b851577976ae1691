"""What people meet away from home, and what those meet who have none, or no token, or act for somebody else."""

import random
import secrets

from load_tests.oracle import answers
from load_tests.oracle.ledger import Sending
from load_tests.oracle.violations import Kind, broken
from load_tests.scenarios.at_home import order_written, orders_read
from load_tests.scenarios.person import ORDERS_READ, Person, trace_id, traced
from load_tests.scenarios.shape import Way
from load_tests.scenarios.signing_up import region_at, sign_up_ask, signed_up
from load_tests.scenarios.steps import Ask, Pause, Play, Together
from load_tests.scenarios.tokens import mint, token

RIVALS = 3
LEEWAY_S = 6.0
"""How long after its end a token is surely refused: its lifetime of a second, the skew bound, and what rounding takes."""


def travel(me: Person, now: float) -> Play:
    """Reads or writes through another region's gateway."""
    to = me.elsewhere()
    if to is None:
        return
    held = yield from token(me, now)
    if me.chance.random() < 0.5:
        yield from orders_read(me, held, to, "travel_read")
    else:
        yield from order_written(me, held, to, "travel_write")


_TURNED_AWAY: tuple[Way, ...] = ("home", "refuse")


def travel_head(me: Person, now: float) -> Play:
    """Only the head of a write that must be turned away: the verdict may not wait for the body, nor the body be asked for before it."""
    to = me.elsewhere()
    if to is None or me.world.ways.get(f"{me.jurisdiction}->{to}") not in _TURNED_AWAY:
        return
    held = yield from token(me, now)
    offered = {"expect": "100-continue"} if me.chance.random() < 0.5 else {}
    url, wait_s = f"{me.gateway(to)}/orders", me.world.verdict_s
    ask = Ask(method="POST", url=url, token=held, headers=offered | traced(), head_only=True, wait_s=wait_s)
    me.note(Sending(subject=me.subject, trace=trace_id(ask), asked=to, verb="write"))
    answer = yield ask
    found = answers.travelled(me, answer, to, epoch_before=me.epoch)
    if answer.body_asked:
        found += broken(Kind.BODY_BEFORE_VERDICT, f"{me.jurisdiction}->{to}: the body was asked for before the verdict")
    elif answer.status == 0 and answer.whole:
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
    ask = sign_up_ask(me, held, region, me.world.nowhere, name="Nowhere")
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
        rival.region, rival.jurisdiction = region_at(me, str(document["home"])), str(document["jurisdiction"])
        held = yield from mint(me, rival.region, rival.sub, email=email)
        asks.append(sign_up_ask(rival, held, rival.region, country, name=rival.name))
        rivals.append(rival)
    found = yield Together(tuple(asks))
    winners = sum(answer.ok for answer in found)
    for rival, ask, answer in zip(rivals, asks, found, strict=True):
        if answer.ok:
            signed_up(rival, ask, answer)
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
