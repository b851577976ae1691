"""The state machine of break-glass held against a second one, which asks the whole history each time (ACCESS_STEPS=N tries more)."""

import json
import os

import pytest

from cells.breakglass import certifying, core, deciding
from cells.breakglass.book import Book, Grant
from cells.breakglass.core import take
from cells.breakglass.replay import event_id, fold
from cells.breakglass.steps import Taken, event_of, read
from cells.breakglass.words import Phase
from tests.stands.access_model import Disagreement, Driver

STEPS = int(os.environ.get("ACCESS_STEPS", "4000"))
SEED = int(os.environ.get("ACCESS_SEED", "20261126"))


def test_the_product_answers_as_the_model_does_and_every_phase_and_step_is_reached() -> None:
    driver = Driver(SEED)
    driver.run(STEPS)
    assert driver.tried == STEPS
    steps = "Requested Edited Approved Denied Revoked Closed Intended Certified Begun Reviewed Paged Locked Unlocked Exempted Withdrawn"
    wanted = {*steps.split(), *(phase.value for phase in Phase if phase is not Phase.EXPIRED)}
    assert wanted <= set(driver.reached), wanted - set(driver.reached)


def test_what_the_ledger_keeps_of_a_life_replays_to_the_same_book() -> None:
    driver, named = Driver(SEED + 1, life=60), set[str]()
    for _ in range(40):
        driver.run(driver.tried + 60)
        kept, told = Book(), list[Taken]()
        for taken in driver.model.past:
            name = event_id(taken, kept)
            assert name not in named
            named.add(name)
            event = event_of(taken, name)
            told.append(read(taken.at_us, event.actor, json.dumps(event.details).encode()))
            assert take(kept, told[-1]) is None
        assert told == driver.model.past
        assert fold(told).digest() == driver.book.digest()
        named.clear()


def _own_votes_count(patch: pytest.MonkeyPatch) -> None:
    real = deciding.approved

    def approved(book: Book, grant: Grant, phase: Phase, taken: object, step: object) -> object:
        stranger = taken if taken.by != grant.engineer else type(taken)(taken.at_us, "engineer:nobody", step)  # type: ignore[attr-defined,call-arg]
        return real(book, grant, phase, stranger, step)  # type: ignore[arg-type]

    patch.setattr(deciding, "approved", approved)


def _grants_never_run_out(patch: pytest.MonkeyPatch) -> None:
    real = Grant.phase
    patch.setattr(Grant, "phase", lambda grant, at: real(grant, min(at, grant.requested_at_us + 1)))


def _nobody_inside_is_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Grant, "from_inside", property(lambda grant: True))


def _locks_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core, "_lock", lambda book, taken, step: None)


def _reviews_are_never_overdue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Book, "overdue", lambda book, engineer, at: False)


def _certificates_have_no_bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(certifying, "CERTIFICATES_MAX", 500)
    patch.setattr(certifying, "MINUTE_US", 120_000_000)


def _edits_keep_approvals(patch: pytest.MonkeyPatch) -> None:
    real = core._edited

    def edited(grant: Grant, phase: Phase, taken: object, step: object) -> object:
        changed = real(grant, phase, taken, step)  # type: ignore[arg-type]
        if not isinstance(changed, Grant):
            return changed
        return type(changed)(
            **{name: getattr(changed, name) for name in changed.__struct_fields__} | {"votes": grant.votes}
        )

    patch.setattr(core, "_edited", edited)


@pytest.mark.parametrize(
    "planted",
    [
        _own_votes_count,
        _grants_never_run_out,
        _nobody_inside_is_asked,
        _locks_are_forgotten,
        _reviews_are_never_overdue,
        _certificates_have_no_bound,
        _edits_keep_approvals,
    ],
)
def test_a_rule_that_is_left_out_is_found(planted: object, monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch)  # type: ignore[operator]
    with pytest.raises(Disagreement):
        Driver(SEED).run(100_000)
