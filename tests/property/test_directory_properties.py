"""Properties of the directory's pure parts: cursors and preconditions are total, epochs guard every change."""

from hypothesis import given
from hypothesis import strategies as st

from directory import paging
from directory.placement.core import Facts, Placement, State
from directory.placement.preconditions import epoch_held, etag
from directory.placement.transitions import Action, Request, Step, outcome
from foundation.problems import Problem, ProblemError
from foundation.words import (
    EPOCH_MAX,
    CellId,
    Country,
    Epoch,
    JurisdictionId,
    MalformedWord,
    ServiceId,
    ShardId,
    SubjectId,
    parse_subject_id,
)

EPOCHS = st.integers(1, EPOCH_MAX).map(Epoch)
CELLS = st.sampled_from(["eu-de", "us-va", "in-mum"]).map(CellId)
SUBJECTS = st.uuids().map(lambda one: SubjectId(str(one)))


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    return Placement(
        subject_id=draw(SUBJECTS),
        cell=draw(CELLS),
        shard=ShardId("s1"),
        epoch=draw(EPOCHS),
        state=draw(st.sampled_from(State)),
        services=(ServiceId("orders"),),
        facts=Facts(facts_id=1, regimes=(JurisdictionId("eu"),), residence=Country("DE")),
    )


@given(st.none() | placements(), st.sampled_from(Action), st.booleans(), EPOCHS, st.frozensets(CELLS))
def test_nothing_changes_under_another_epoch_or_by_another_cell(
    current: Placement | None, action: Action, same: bool, epoch: Epoch, cells: frozenset[CellId]
) -> None:
    held = current.epoch if current is not None and same else epoch
    decided = outcome(current, Request(action=action, epoch=held, cells=cells))
    if current is None or held != current.epoch or (action is Action.ACKNOWLEDGE and current.cell not in cells):
        assert isinstance(decided, Problem)
    if isinstance(decided, Step):
        assert current is not None
        assert decided.state is not current.state or decided.new_epoch, "a step changes something"
        assert decided.frees_keys == (decided.state is State.ERASED)
        assert current.state not in (State.ERASED, State.MOVED), "what is gone stays gone"


@given(st.text(max_size=200))
def test_any_text_as_a_cursor_is_read_or_refused(text: str) -> None:
    for decode in (paging.decode_subject, paging.decode_number):
        try:
            decode(text)
        except ProblemError as exc:
            assert exc.problem.status == 400  # noqa: PT017


@given(SUBJECTS)
def test_a_cursor_leads_back_to_its_subject(subject_id: SubjectId) -> None:
    assert paging.decode_subject(paging.encode("subject", subject_id)) == parse_subject_id(subject_id)


@given(st.none() | st.text(max_size=300) | EPOCHS.map(etag), st.none() | st.integers())
def test_any_precondition_is_one_epoch_or_refused(header: str | None, in_body: int | None) -> None:
    try:
        held = epoch_held(header, in_body)
    except (ProblemError, MalformedWord):
        return
    assert 1 <= held <= EPOCH_MAX
    assert in_body in (None, held)
    assert header is None or header.strip() == etag(held)
