"""The in-process table believes what it may, and nothing older than its position."""

import pytest

from directory.client.known import KnownPlacements
from directory.client.table import ABSENT, OVERTAKEN, RING_S_MAX, PlacementTable
from directory.placement.core import PlacementEvent, RulesEvent, State
from foundation.words import FeedSeq, RulesDigest
from tests.stands.memory_directory import MemoryDirectory, a_key, a_subject, placed

NOW = 1000.0


def following(directory: MemoryDirectory, **limits: int) -> PlacementTable:
    table = PlacementTable(**limits)
    table.reset(directory.head)
    return table


def catch_up(table: PlacementTable, directory: MemoryDirectory, now_s: float = NOW) -> None:
    for event in directory.events[table.position :]:
        table.apply(event, now_s)


def learn(table: PlacementTable, key, resolved, generation: int | None = None):
    answer = resolved.found.get(key, ABSENT)
    current = table.generation if generation is None else generation
    return table.learn_key(key, answer, as_of=resolved.as_of, generation=current, now_s=NOW)


def test_an_answer_is_held_by_key_and_by_subject() -> None:
    directory = MemoryDirectory()
    key = a_key()
    placement = directory.place(key)
    table = following(directory)
    assert table.by_key(key, NOW) is None
    assert learn(table, key, directory.resolve_now([key])) == placement
    assert table.by_key(key, NOW) == placement
    assert table.by_subject(placement.subject_id, NOW) == placement


def test_an_event_replaces_what_was_learnt() -> None:
    directory = MemoryDirectory()
    key = a_key()
    placement = directory.place(key)
    table = following(directory)
    learn(table, key, directory.resolve_now([key]))
    moved = directory.move(placement.subject_id, "us-va")
    catch_up(table, directory)
    assert table.by_key(key, NOW) == moved


def test_an_answer_that_an_unseen_event_overtook_is_not_believed() -> None:
    directory = MemoryDirectory()
    key = a_key()
    placement = directory.place(key)
    table = following(directory)
    late = directory.resolve_now([key])
    directory.move(placement.subject_id, "us-va")
    catch_up(table, directory)  # the key is not held, so the event leaves nothing behind but its trace in the ring
    assert learn(table, key, late) is OVERTAKEN
    assert table.by_key(key, NOW) is None


def test_an_older_answer_about_something_else_is_believed() -> None:
    directory = MemoryDirectory()
    key, other = a_key(), a_key()
    placement = directory.place(key)
    elsewhere = directory.place(other)
    table = following(directory)
    late = directory.resolve_now([key])
    directory.move(elsewhere.subject_id, "us-va")
    catch_up(table, directory)
    assert learn(table, key, late) == placement


def test_an_answer_from_before_the_ring_is_not_believed() -> None:
    directory = MemoryDirectory()
    key = a_key()
    directory.place(key)
    table = following(directory, ring_events_max=2)
    late = directory.resolve_now([key])
    for _ in range(2):
        directory.place(a_key())
    catch_up(table, directory)
    assert table.still_true(key, late.as_of)
    directory.place(a_key())
    catch_up(table, directory)
    assert learn(table, key, late) is OVERTAKEN


def test_the_ring_knows_what_the_last_minute_touched_and_nothing_older() -> None:
    directory = MemoryDirectory()
    key = a_key()
    directory.place(key)
    table = following(directory)
    late = directory.resolve_now([key])
    directory.place(a_key())
    catch_up(table, directory, NOW)
    directory.place(a_key())
    catch_up(table, directory, NOW + RING_S_MAX)
    assert table.still_true(key, late.as_of)
    directory.place(a_key())
    catch_up(table, directory, NOW + RING_S_MAX + 1)
    assert learn(table, key, late) is OVERTAKEN


def test_an_answer_from_ahead_is_not_undone_by_the_events_it_already_knew() -> None:
    directory = MemoryDirectory()
    key = a_key()
    placement = directory.place(key)
    table = following(directory)
    directory.move(placement.subject_id, "us-va")
    newest = directory.move(placement.subject_id, "in-mum")
    assert learn(table, key, directory.resolve_now([key])) == newest
    table.apply(directory.events[1], NOW)
    assert table.by_key(key, NOW) == newest
    table.apply(directory.events[2], NOW)
    assert table.by_key(key, NOW) == newest


def test_an_older_answer_does_not_replace_one_from_ahead() -> None:
    directory = MemoryDirectory()
    key = a_key()
    placement = directory.place(key)
    table = following(directory)
    late = directory.resolve_now([key])
    newest = directory.move(placement.subject_id, "us-va")
    learn(table, key, directory.resolve_now([key]))
    assert learn(table, key, late) == newest
    assert table.by_key(key, NOW) == newest


def test_an_absence_ends_when_an_event_adds_the_key() -> None:
    directory = MemoryDirectory()
    key = a_key()
    table = following(directory)
    assert learn(table, key, directory.resolve_now([key])) is ABSENT
    assert table.by_key(key, NOW) is ABSENT
    placement = directory.place(key)
    catch_up(table, directory)
    assert table.by_key(key, NOW) == placement


def test_a_late_absence_is_not_believed_once_the_key_was_added() -> None:
    directory = MemoryDirectory()
    key = a_key()
    table = following(directory)
    late = directory.resolve_now([key])
    directory.place(key)
    catch_up(table, directory)
    assert learn(table, key, late) is OVERTAKEN


def test_an_absence_lives_shortly() -> None:
    directory = MemoryDirectory()
    key = a_key()
    table = following(directory)
    learn(table, key, directory.resolve_now([key]))
    assert table.by_key(key, NOW + 29.9) is ABSENT
    assert table.by_key(key, NOW + 30.1) is None


def test_absences_are_bounded_and_the_oldest_goes_first() -> None:
    directory = MemoryDirectory()
    keys = [a_key() for _ in range(5)]
    table = following(directory, absences_max=3)
    for key in keys:
        learn(table, key, directory.resolve_now([key]))
    assert [table.by_key(key, NOW) for key in keys] == [None, None, ABSENT, ABSENT, ABSENT]


def test_absences_that_nobody_believes_any_more_do_not_stay() -> None:
    directory = MemoryDirectory()
    table = following(directory)
    for second in range(500):
        key = a_key()
        resolved = directory.resolve_now([key])
        table.learn_key(key, ABSENT, as_of=resolved.as_of, generation=table.generation, now_s=NOW + second)
    assert len(table._absences) <= 31
    assert table.by_key(key, NOW + 499) is ABSENT


def test_a_key_taken_away_is_absent_and_one_given_anew_leads_to_its_new_subject() -> None:
    directory = MemoryDirectory()
    key = a_key()
    placement = directory.place(key)
    table = following(directory)
    learn(table, key, directory.resolve_now([key]))
    directory.change(placed(placement.subject_id, 90, state=State.ERASED), removed=(key,))
    catch_up(table, directory)
    assert table.by_key(key, NOW) is ABSENT
    assert table.by_subject(placement.subject_id, NOW).state is State.ERASED
    again = directory.place(key)
    catch_up(table, directory)
    assert table.by_key(key, NOW) == again


def test_nothing_asked_before_a_reset_is_believed_after_it() -> None:
    directory = MemoryDirectory()
    key = a_key()
    directory.place(key)
    table = following(directory)
    generation, answer = table.generation, directory.resolve_now([key])
    table.reset(FeedSeq(0))
    assert learn(table, key, answer, generation) is OVERTAKEN
    assert table.by_key(key, NOW) is None


def test_a_rules_event_moves_the_position_and_touches_nobody() -> None:
    directory = MemoryDirectory()
    key = a_key()
    placement = directory.place(key)
    table = following(directory)
    learn(table, key, directory.resolve_now([key]))
    table.apply(RulesEvent(seq=FeedSeq(2), at=0.0, digest=RulesDigest("sha256:" + "0" * 64)), NOW)
    assert table.position == 2
    assert table.by_key(key, NOW) == placement


def test_an_event_out_of_place_is_a_fault_and_changes_nothing() -> None:
    table = PlacementTable()
    for seq in (0, 2):
        event = PlacementEvent(seq=FeedSeq(seq), at=0.0, placement=placed(a_subject(), 1))
        try:
            table.apply(event, NOW)
        except ValueError:
            assert table.position == 0
        else:
            raise AssertionError("taken in")


def test_a_full_table_gives_up_those_not_asked_for() -> None:
    directory = MemoryDirectory()
    table = following(directory, entries_max=100)
    keys = [a_key() for _ in range(300)]
    for key in keys:
        directory.place(key)
    catch_up(table, directory)
    favourite = keys[0]
    for key in keys:
        learn(table, key, directory.resolve_now([key]))
        assert table.by_key(favourite, NOW) is not None
    assert table.entries == 100
    assert table.evictions == 200
    held = [key for key in keys if table.by_key(key, NOW) is not None]
    assert len(held) == 100
    assert all(table.by_key(key, NOW) == directory.resolve_now([key]).found[key] for key in held)


def test_who_is_asked_for_is_given_out_as_it_was_until_it_changes() -> None:
    known, key, subject = KnownPlacements(entries_max=2), a_key(), a_subject()
    known.put(placed(subject, 5), key)
    assert known.by_key(key) == placed(subject, 5)
    given = known.by_key(key)
    assert known.by_key(key) is known.by_subject(subject) is given
    known.put(placed(subject, 6))
    assert known.by_key(key) == known.by_subject(subject) == placed(subject, 6)
    known.void(subject)
    assert (known.by_key(key), known.by_subject(subject)) == (None, None)
    known.put(placed(subject, 7))
    assert known.by_key(key) == placed(subject, 7)
    known.clear()
    assert (known.by_key(key), known.by_subject(subject)) == (None, None)


def test_what_is_kept_as_it_was_given_out_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("directory.client.known.MADE_MAX", 3)
    known, subjects = KnownPlacements(entries_max=10), [a_subject() for _ in range(8)]
    for subject in subjects:
        known.put(placed(subject, 1))
        assert known.by_subject(subject) == known.by_subject(subject) == placed(subject, 1)
        assert 1 <= len(known._made) <= 3
    assert all(known.by_subject(subject) == placed(subject, 1) for subject in subjects)
