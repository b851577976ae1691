"""What a bulk event does to what a gateway holds: absences and reservations go, everything else stays."""

from directory.client.known import KnownPlacements
from directory.client.table import ABSENT, OVERTAKEN, PlacementTable
from directory.placement.core import BulkEvent, Facts, Placement, PlacementEvent, State
from foundation.words import CellId, Country, Epoch, FeedSeq, JurisdictionId, ServiceId, ShardId, SubjectId
from tests.stands.directory import lookup_key

FACTS = Facts(facts_id=1, regimes=(JurisdictionId("eu"),), residence=Country("DE"))
ADA, BOB, EVE = lookup_key("ada"), lookup_key("bob"), lookup_key("eve")


def placement(number: int, state: State = State.ACTIVE, epoch: int = 5) -> Placement:
    return Placement(
        subject_id=SubjectId(f"00000000-0000-0000-0000-{number:012d}"),
        cell=CellId("eu-de"),
        shard=ShardId("s1"),
        epoch=Epoch(epoch),
        state=state,
        services=(ServiceId("orders"),),
        facts=FACTS,
    )


def bulk(seq: int, state: State = State.RESERVED) -> BulkEvent:
    return BulkEvent(seq=FeedSeq(seq), at=0.0, state=state, job="j", batch=0, parts=())


def table(position: int = 10) -> PlacementTable:
    made = PlacementTable()
    made.reset(FeedSeq(position))
    return made


def learn(table: PlacementTable, key: str, said: object, as_of: int) -> object:
    return table.learn_key(key, said, as_of=FeedSeq(as_of), generation=table.generation, now_s=0.0)  # type: ignore[arg-type]


def test_an_absence_from_before_a_bulk_event_is_not_believed_after_it() -> None:
    held = table()
    assert learn(held, ADA, ABSENT, 10) is ABSENT
    held.apply(bulk(11), 0.0)
    assert held.by_key(ADA, 0.0) is None
    # nor does one that was under way bring it back
    assert learn(held, ADA, ABSENT, 10) is OVERTAKEN
    assert learn(held, ADA, placement(1, State.RESERVED), 11) == placement(1, State.RESERVED)


def test_a_reservation_from_before_a_bulk_event_is_asked_for_again_and_the_active_stay() -> None:
    held = table()
    learn(held, ADA, placement(1, State.RESERVED), 10)
    learn(held, BOB, placement(2), 10)
    held.apply(bulk(11, State.ACTIVE), 0.0)
    assert held.by_key(ADA, 0.0) is None
    assert held.by_subject(placement(1).subject_id, 0.0) is None
    assert held.by_key(BOB, 0.0) == placement(2)
    assert learn(held, ADA, placement(1, State.RESERVED), 10) is OVERTAKEN
    assert learn(held, ADA, placement(1), 11) == placement(1)
    assert held.by_key(ADA, 0.0) == placement(1)


def test_a_reservation_that_was_settled_one_by_one_stays_through_a_bulk_event() -> None:
    held = table()
    learn(held, ADA, placement(1, State.RESERVED), 10)
    held.apply(PlacementEvent(seq=FeedSeq(11), at=0.0, placement=placement(1)), 0.0)
    held.apply(bulk(12), 0.0)
    assert held.by_key(ADA, 0.0) == placement(1)


def test_answers_from_ahead_of_a_bulk_event_are_believed_when_it_comes() -> None:
    held = table()
    learn(held, EVE, placement(3), 12)
    held.apply(bulk(11), 0.0)
    held.apply(bulk(12, State.ACTIVE), 0.0)
    assert held.by_key(EVE, 0.0) == placement(3)


def test_an_event_about_somebody_forgotten_tells_all_that_is_needed() -> None:
    held = table()
    learn(held, ADA, placement(1, State.RESERVED), 10)
    held.apply(bulk(11), 0.0)
    held.apply(PlacementEvent(seq=FeedSeq(12), at=0.0, placement=placement(1, epoch=9)), 0.0)
    assert held.by_key(ADA, 0.0) == placement(1, epoch=9)


def test_a_void_row_is_as_if_it_were_not_held_and_takes_no_second_place() -> None:
    known = KnownPlacements(entries_max=2)
    known.put(placement(1), ADA)
    known.put(placement(2), BOB)
    known.void(placement(1).subject_id)
    known.void(placement(7).subject_id)
    assert known.by_key(ADA) is None
    assert known.by_subject(placement(1).subject_id) is None
    assert known.by_key(BOB) == placement(2)
    known.put(placement(1, epoch=6), ADA)
    assert (known.by_key(ADA), len(known), known.evictions) == (placement(1, epoch=6), 2, 0)
    for number in range(10, 20):
        known.put(placement(number), lookup_key(str(number)))
    assert len(known) == 2
