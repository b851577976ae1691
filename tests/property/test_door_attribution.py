"""Which statement ran is told rightly, however names, portals, failures and answers interleave (DOOR_INTERLEAVINGS=N tries more)."""

import os

import pytest

from cells.breakglass.door import naming, state
from cells.breakglass.door.answering import Answering
from cells.breakglass.door.asking import Asking
from tests.stands.wire_trial import Broken, Trial

INTERLEAVINGS = int(os.environ.get("DOOR_INTERLEAVINGS", "1500"))
SEED = int(os.environ.get("DOOR_SEED", "20261127"))


def _tried(count: int, seed: int = SEED) -> int:
    ran = 0
    for number in range(count):
        trial = Trial(seed + number)
        try:
            trial.run()
            trial.judge()
        except Broken as exc:
            raise Broken(f"DOOR_SEED={seed + number} DOOR_INTERLEAVINGS=1: {exc}") from exc
        ran += len(trial.backend.ran)
    return ran


def test_each_run_is_attributed_to_the_text_and_parameters_that_ran() -> None:
    assert _tried(INTERLEAVINGS) > INTERLEAVINGS


def _renames_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(state, "_may_rename", lambda op: False)


def _tags_take_no_statement(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(naming, "dropped_statements", lambda tag, text: None)


def _tags_take_no_portal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(naming, "drops_portals", lambda tag: False)


def _what_follows_names_goes_through(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(naming, "follows", lambda text: False)


def _unknown_names_go_through(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Asking, "_bind", _bind_anything)


def _bind_anything(self: Asking, raw: bytes) -> object:
    from cells.breakglass.door import frames
    from cells.breakglass.door.runs import Portal, Prepared
    from cells.breakglass.door.state import Op

    said = frames.bind(raw)
    held = self._state.statements.get(said.statement) or Prepared("unknown")
    run = self._run(held, said.parameters, said.formats)
    return self._intend(raw, Op(b"B", said.portal, portal=Portal(run, held)), run)


def _answers_fail_alone(patch: pytest.MonkeyPatch) -> None:
    def forget_only_the_failed(self: Answering) -> None:
        self._state.pending.popleft()
        self._state.skipping = not self._state.pending

    patch.setattr(Answering, "_skip", forget_only_the_failed)


def _an_execute_counts_and_a_bind_does_not(patch: pytest.MonkeyPatch) -> None:
    real = Asking._bind

    def bind(self: Asking, raw: bytes) -> object:
        step = real(self, raw)
        return self.recorded() if type(step).__name__ == "Intend" else step

    patch.setattr(Asking, "_bind", bind)


@pytest.mark.parametrize(
    "plant",
    [
        _renames_are_not_waited_for,
        _tags_take_no_statement,
        _tags_take_no_portal,
        _what_follows_names_goes_through,
        _unknown_names_go_through,
        _answers_fail_alone,
        _an_execute_counts_and_a_bind_does_not,
    ],
)
def test_a_door_that_leaves_a_rule_out_is_found(plant: object, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)  # type: ignore[operator]
    with pytest.raises((Broken, state.Lost)):
        _tried(1_500)
