"""The client's caches against a model directory, under every order of events, answers, evictions and crashes.

The promise: nothing that is believed is older than the follower's position allows, nothing is anybody else's.
"""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from directory.client.known import KnownPlacements
from directory.client.second_level.sealed import Seal
from directory.client.table import ABSENT, OVERTAKEN, PlacementTable
from directory.placement.core import Placement
from foundation.mute import Secret
from foundation.words import FeedSeq, LookupKey, SubjectId
from tests.stands.directory_history import KEYS, SEAL, SUBJECTS, History
from tests.stands.memory_directory import placed

keys = st.sampled_from(KEYS)
numbers = st.integers(0, 10**6)


class TableMachine(RuleBasedStateMachine):
    """One table: answers are asked at one time and arrive at another, in any order."""

    @initialize(choices=st.lists(numbers, max_size=6))
    def begin(self, choices: list[int]) -> None:
        self.directory = History()
        for choice in choices:
            self.directory.step(choice)
        self.table = PlacementTable(entries_max=2, absences_max=2, ring_events_max=1, absent_s=10.0)
        self.table.reset(self.directory.head)
        self.now_s = 0.0
        self.under_way: list[tuple[Any, Any, int]] = []
        self.epochs: dict[SubjectId, int] = {}

    @rule(choice=numbers)
    def directory_changes(self, choice: int) -> None:
        self.directory.step(choice)

    @precondition(lambda self: self.table.position < self.directory.head)
    @rule()
    def next_event_arrives(self) -> None:
        self.table.apply(self.directory.events[self.table.position], self.now_s)

    @rule(key=keys)
    def key_is_asked(self, key: LookupKey) -> None:
        self.under_way.append((key, self.directory.resolve_now([key]), self.table.generation))

    @rule(subject_id=st.sampled_from(SUBJECTS))
    def subject_is_asked(self, subject_id: SubjectId) -> None:
        self.under_way.append((subject_id, self.directory.resolve_subjects_now([subject_id]), self.table.generation))

    @precondition(lambda self: self.under_way)
    @rule(which=numbers)
    def answer_arrives(self, which: int) -> None:
        id_, resolved, generation = self.under_way.pop(which % len(self.under_way))
        said = resolved.found.get(id_, ABSENT)
        facts = {"as_of": resolved.as_of, "generation": generation, "now_s": self.now_s}
        if id_ in KEYS:
            verdict = self.table.learn_key(id_, said, **facts)
            assert verdict is OVERTAKEN or self.directory.allows_key(id_, verdict, self.table.position)
        else:
            verdict = self.table.learn_subject(id_, said, **facts)
            assert verdict is OVERTAKEN or self.directory.allows_subject(id_, verdict, self.table.position)

    @rule(key=keys)
    def a_fresh_answer_is_always_believed(self, key: LookupKey) -> None:
        resolved = self.directory.resolve_now([key])
        said = resolved.found.get(key, ABSENT)
        verdict = self.table.learn_key(
            key, said, as_of=resolved.as_of, generation=self.table.generation, now_s=self.now_s
        )
        assert verdict == said
        assert self.table.by_key(key, self.now_s) == said

    @rule(seconds=st.floats(0, 20))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @rule()
    def feed_starts_anew_at_the_head(self) -> None:
        self.table.reset(self.directory.head)
        self.epochs.clear()

    @invariant()
    def nothing_held_is_older_than_the_position_or_foreign(self) -> None:
        for key in KEYS:
            found = self.table.by_key(key, self.now_s)
            assert found is None or self.directory.allows_key(key, found, self.table.position)
        for subject_id in SUBJECTS:
            found = self.table.by_subject(subject_id, self.now_s)
            assert found is None or self.directory.allows_subject(subject_id, found, self.table.position)

    @invariant()
    def newer_knowledge_is_never_replaced_by_older(self) -> None:
        for subject_id in SUBJECTS:
            found = self.table.by_subject(subject_id, self.now_s)
            if isinstance(found, Placement):
                assert found.epoch >= self.epochs.get(subject_id, 0)
                self.epochs[subject_id] = found.epoch

    @invariant()
    def it_stays_within_its_bounds(self) -> None:
        assert self.table.entries <= 2


TestTable = TableMachine.TestCase
TestTable.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 11), st.integers(0, 11)), max_size=120), st.integers(1, 8))
@settings(max_examples=200, deadline=None)
def test_the_flat_store_is_a_bounded_dict(steps: list[tuple[int, int, int]], entries_max: int) -> None:
    known = KnownPlacements(entries_max=entries_max)
    leads: dict[LookupKey, SubjectId] = {}
    homes: dict[SubjectId, Placement] = {}
    for number, (kind, key_number, subject_number) in enumerate(steps):
        key = LookupKey(f"key-{key_number:_<28}")
        placement = placed(
            SubjectId(f"00000000-0000-0000-0000-{subject_number:012}"), number + 1, cell=f"c{number % 3}"
        )
        if kind == 0:
            known.put(placement, key)
            homes[placement.subject_id] = placement
            leads[key] = placement.subject_id
        elif kind == 1:
            if known.replace(placement):
                homes[placement.subject_id] = placement
            else:
                assert known.by_subject(placement.subject_id) is None
        elif kind == 2:
            known.forget_key(key)
            leads.pop(key, None)
        else:
            known.put(placement)
            homes[placement.subject_id] = placement
        assert len(known) <= entries_max
        for one, subject_id in leads.items():
            found = known.by_key(one)
            assert found is None or found == homes[subject_id]
        for subject_id, home in homes.items():
            assert known.by_subject(subject_id) in (None, home)
        assert known.by_key(LookupKey("never-put" + "_" * 23)) is None
    if len(homes) <= entries_max:
        assert all(known.by_subject(subject_id) == home for subject_id, home in homes.items())


@given(st.binary(max_size=60), st.integers(0, 2**63), st.integers(0, 200), st.integers(0, 7))
def test_a_sealed_entry_holds_only_as_it_was_sealed(body: bytes, as_of: int, at: int, bit: int) -> None:
    sealed = SEAL.seal("name", FeedSeq(as_of), body)
    opened = SEAL.open("name", sealed)
    assert opened is not None
    assert (opened.as_of, opened.body) == (as_of, body)
    assert SEAL.open("other", sealed) is None
    changed = bytearray(sealed)
    changed[at % len(sealed)] ^= 1 << bit
    assert SEAL.open("name", bytes(changed)) is None
    assert Seal([("k1", Secret(b"x" * 32))]).open("name", sealed) is None
    assert Seal([("k2", Secret(b"x" * 32)), ("k1", Secret(b"k" * 32))]).open("name", sealed) == opened
