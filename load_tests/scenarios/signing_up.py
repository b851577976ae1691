"""How somebody gets a home."""

from load_tests.oracle import answers
from load_tests.oracle.ledger import SignedUp
from load_tests.oracle.violations import Kind, broken
from load_tests.scenarios.person import Person
from load_tests.scenarios.steps import Answer, Ask, Play
from load_tests.scenarios.tokens import token


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
        me.region = region_at(me, str(document["home"]))
    held = yield from token(me, now)
    ask = sign_up_ask(me, held, me.region, me.country, name=me.name)
    answer = yield ask
    signed_up(me, ask, answer)


def sign_up_ask(me: Person, held: str, region: str, country: str, *, name: str) -> Ask:
    url = f"{me.gateway(region)}/orders/sign-up?residence={country}"
    return Ask(method="POST", url=url, token=held, json={"name": name})


def signed_up(me: Person, ask: Ask, answer: Answer) -> None:
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
    found += answers.stated(me, answer, answers.SERVED)
    me.answered("sign_up", ask, answer, violations=found)


def region_at(me: Person, origin: str) -> str:
    return next(name for name, region in me.world.regions.items() if region.gateway == origin.rstrip("/"))
