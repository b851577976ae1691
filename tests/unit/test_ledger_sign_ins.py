"""An operator's token is recorded when it is first shown, before anything is done for it, and nobody else's."""

from collections.abc import Sequence

import pytest

from foundation.clock import ManualClock
from foundation.http import Caller
from foundation.ledger import sign_ins
from foundation.ledger.port import Event, Kind
from foundation.ledger.sign_ins import SignIns
from foundation.problems import Code, ProblemError, refuse

pytestmark = pytest.mark.anyio

ANN = Caller("operator:ann", frozenset({"operator", "rules"}))


class Stand:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away = False
        self.sign_ins = SignIns(self.record, ManualClock(), service="cell:eu-de")

    async def record(self, events: Sequence[Event]) -> None:
        if self.away:
            raise refuse(Code.NOT_READY, "away")
        self.events += events


async def test_a_token_is_recorded_once_and_another_of_the_same_operator_again() -> None:
    stand = Stand()
    for digest in ("a" * 64, "a" * 64, "b" * 64, "a" * 64):
        await stand.sign_ins(ANN, digest, 1.8e9)
    assert [one.id for one in stand.events] == [f"sign_in:{'a' * 64}", f"sign_in:{'b' * 64}"]
    first = stand.events[0]
    assert (first.kind, first.actor, first.subject_id) == (Kind.SIGN_IN, "operator:ann", None)
    assert first.details == {"service": "cell:eu-de", "roles": ["operator", "rules"], "expires": 1.8e9}


@pytest.mark.parametrize(
    ("actor", "roles", "recorded"),
    [
        ("operator:ann", {"rules"}, True),
        ("ci:deploy", {"operator"}, True),
        ("gateway:eu", {"resolver", "gateway:eu"}, False),
        ("service:orders", {"service:orders@eu-de"}, False),
        ("operators:ann", {"operators"}, False),
    ],
)
async def test_operators_are_recorded_and_services_are_not(actor: str, roles: set[str], recorded: bool) -> None:
    stand = Stand()
    await stand.sign_ins(Caller(actor, frozenset(roles)), "a" * 64, 1.8e9)
    assert len(stand.events) == recorded


async def test_a_token_that_cannot_be_recorded_is_refused_until_it_can() -> None:
    stand = Stand()
    stand.away = True
    for _ in range(2):
        with pytest.raises(ProblemError):
            await stand.sign_ins(ANN, "a" * 64, 1.8e9)
    stand.away = False
    await stand.sign_ins(ANN, "a" * 64, 1.8e9)
    assert len(stand.events) == 1


async def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_ins, "KNOWN_MAX", 2)
    stand = Stand()
    for digest in ("a", "b", "c", "c", "a"):
        await stand.sign_ins(ANN, digest, 1.8e9)
    # The same id again: an outbox takes it once.
    assert [one.id for one in stand.events] == [f"sign_in:{digest}" for digest in "abca"]
