"""What one process knows of placements, kept true by the feed. Pure: events and answers in, verdicts out; time is an argument.

Rules that this class keeps, whatever the order in which answers arrive:

1. What is held is the directory's state as of `position`, or newer. Events are applied densely, in order.
2. An answer as of N about an id (lookup key or subject id) is believed only if no event in (N, position] touched that id. The ring
   knows what the last events touched; an answer from before the ring is not believed. Otherwise it is `OVERTAKEN`: ask again.
3. An answer from ahead of `position` is believed at once, and marked: events up to its number do not change that id any more.
4. An answer asked for under an earlier `generation` (before a reset) is never believed: it may be of another history.
5. Absences obey the same rules, are fewer, and live shorter.
6. A bulk event may have touched any absence and any reservation, and nothing else: those held are forgotten, and answers as of an
   earlier number are not believed.
"""

import enum
from collections import deque
from itertools import islice
from typing import Final

from directory.client.known import KnownPlacements
from directory.placement.core import BulkEvent, FeedEvent, KeysEvent, Placement, PlacementEvent, State
from foundation.words import FeedSeq, LookupKey, SubjectId

RING_EVENTS_MAX = 65_536
RING_S_MAX = 60.0
"""How long what an event touched is known for answers from before it: far longer than any is under way, and an older one is asked for
again. So a table that hears little does not grow for hours until the ring is full."""
RING_IDS_OF_ONE_MAX = 256
_MARKS_PRUNED_AT = 4096
RESERVED_MAX = 65_536
"""Reservations held at a time; they settle within moments, so more means that something is wrong: all is dropped and learnt anew."""
MARKS_MAX = 262_144
"""Answers from ahead of the feed that are kept; while the feed stands still, further ones are passed on and not kept."""


class Absent(enum.Enum):
    """It is known that there is no such placement."""

    ABSENT = "absent"


class Overtaken(enum.Enum):
    """An answer that an event may have overtaken on its way: nothing follows from it, ask again."""

    OVERTAKEN = "overtaken"


ABSENT: Final = Absent.ABSENT
OVERTAKEN: Final = Overtaken.OVERTAKEN
AnyId = LookupKey | SubjectId


class PlacementTable:
    """See the rules in the module's docstring. `absent_s` is the life of an absence, in the unit of `now_s` (monotonic seconds)."""

    def __init__(
        self,
        *,
        entries_max: int = 1_000_000,
        absences_max: int = 65_536,
        absent_s: float = 30.0,
        ring_events_max: int = RING_EVENTS_MAX,
    ) -> None:
        self.generation = 0
        self.position = FeedSeq(0)
        self._known = KnownPlacements(entries_max=entries_max)
        self._absences: dict[AnyId, float] = {}  # id -> when it stops being believed
        self._absences_max = absences_max
        self._absent_s = absent_s
        self._reserved: set[SubjectId] = set()  # whose placements are held as reserved
        self._ring: deque[tuple[FeedSeq, tuple[AnyId, ...], float]] = deque()
        self._ring_events_max = ring_events_max
        self._ring_floor = FeedSeq(0)  # the ring knows what events in (floor, position] touched
        self._touched: dict[AnyId, FeedSeq] = {}
        self._ahead: dict[AnyId, FeedSeq] = {}  # ids known from answers newer than `position`
        self._ahead_max = FeedSeq(0)
        self._ahead_at_s = float("-inf")
        self._prune_at = _MARKS_PRUNED_AT

    def reset(self, position: FeedSeq) -> None:
        """Forgets everything; from here on the feed is followed from `position`. Answers under way are void."""
        self.generation += 1
        self.position = self._ring_floor = position
        self._known.clear()
        self._absences.clear()
        self._reserved.clear()
        self._ring.clear()
        self._touched.clear()
        self._ahead.clear()
        self._ahead_max = FeedSeq(0)

    # --- what is known -------------------------------------------------------------------------------------------------------

    def by_key(self, key: LookupKey, now_s: float) -> Placement | Absent | None:
        """The hot path. None: not known here."""
        found = self._known.by_key(key)
        return found if found is not None else self._absent(key, now_s)

    def by_subject(self, subject_id: SubjectId, now_s: float) -> Placement | Absent | None:
        found = self._known.by_subject(subject_id)
        return found if found is not None else self._absent(subject_id, now_s)

    def _absent(self, id_: AnyId, now_s: float) -> Absent | None:
        until = self._absences.get(id_)
        if until is None:
            return None
        if now_s < until:
            return ABSENT
        del self._absences[id_]
        return None

    @property
    def entries(self) -> int:
        return len(self._known)

    @property
    def evictions(self) -> int:
        return self._known.evictions

    def outruns(self, confirmed_at_s: float) -> bool:
        """Whether an answer from before then was of beyond `position`, which then was the head: the directory has lost what it said."""
        return bool(self._ahead) and self._ahead_max > self.position and self._ahead_at_s < confirmed_at_s

    # --- answers -------------------------------------------------------------------------------------------------------------

    def still_true(self, id_: AnyId, as_of: FeedSeq) -> bool:
        """Rule 2: whether a state as of `as_of` is also the state as of `position` (or newer)."""
        if as_of >= self.position:
            return True
        return as_of >= self._ring_floor and self._touched.get(id_, 0) <= as_of

    def learn_key(
        self, key: LookupKey, answer: Placement | Absent, *, as_of: FeedSeq, generation: int, now_s: float
    ) -> Placement | Absent | Overtaken:
        """Takes in an answer about a lookup key and gives what holds now: the answer, newer knowledge, or OVERTAKEN."""
        if generation != self.generation or not self.still_true(key, as_of):
            return OVERTAKEN
        if self._ahead.get(key, 0) > as_of:
            return self.by_key(key, now_s) or OVERTAKEN
        if as_of > self.position and len(self._ahead) >= MARKS_MAX:
            return answer
        if answer is ABSENT:
            self._known.forget_key(key)
            self._remember_absence(key, as_of, now_s)
            return ABSENT
        current = self._subject_as_of(answer, as_of)
        if current is None:
            return OVERTAKEN
        self._put(current, key)
        self._absences.pop(key, None)
        self._absences.pop(current.subject_id, None)
        self._mark(key, as_of, now_s)
        self._mark(current.subject_id, as_of, now_s)
        return current

    def learn_subject(
        self, subject_id: SubjectId, answer: Placement | Absent, *, as_of: FeedSeq, generation: int, now_s: float
    ) -> Placement | Absent | Overtaken:
        """The same for an answer about a subject id."""
        if generation != self.generation or not self.still_true(subject_id, as_of):
            return OVERTAKEN
        if self._ahead.get(subject_id, 0) > as_of:
            return self.by_subject(subject_id, now_s) or OVERTAKEN
        if as_of > self.position and len(self._ahead) >= MARKS_MAX:
            return answer
        if answer is ABSENT:
            self._remember_absence(subject_id, as_of, now_s)
            return ABSENT
        self._put(answer)
        self._absences.pop(subject_id, None)
        self._mark(subject_id, as_of, now_s)
        return answer

    def _subject_as_of(self, answer: Placement, as_of: FeedSeq) -> Placement | None:
        """The subject's placement to hold beside a believed key: the answer's, or a newer one that is held; None if overtaken."""
        if not self.still_true(answer.subject_id, as_of):
            return self._known.by_subject(answer.subject_id)
        if self._ahead.get(answer.subject_id, 0) > as_of:
            return self._known.by_subject(answer.subject_id)
        return answer

    def _remember_absence(self, id_: AnyId, as_of: FeedSeq, now_s: float) -> None:
        self._absences.pop(id_, None)
        # In the order of their end: for each that comes, two that nobody believes any more go.
        for oldest in [one for one, until in islice(self._absences.items(), 2) if until <= now_s]:
            del self._absences[oldest]
        while len(self._absences) >= self._absences_max:
            del self._absences[next(iter(self._absences))]
        self._absences[id_] = now_s + self._absent_s
        self._mark(id_, as_of, now_s)

    def _mark(self, id_: AnyId, as_of: FeedSeq, now_s: float) -> None:
        if as_of > self.position and as_of > self._ahead.get(id_, 0):
            self._ahead[id_] = as_of
            if as_of > self._ahead_max:
                self._ahead_max, self._ahead_at_s = as_of, now_s

    # --- events --------------------------------------------------------------------------------------------------------------

    def apply(self, event: FeedEvent, now_s: float) -> None:
        """Takes in the event after `position`. Raises ValueError for any other number: the follower lets none through."""
        if event.seq != self.position + 1:
            raise ValueError(f"event {event.seq} does not follow position {self.position}")
        self.position = event.seq
        if isinstance(event, BulkEvent):
            self._sweep(event.seq)
            self._prune_marks()
            return
        touched: tuple[AnyId, ...] = ()
        if isinstance(event, PlacementEvent):
            touched = (event.placement.subject_id, *event.keys_removed, *event.keys_added)
            self._change(event, now_s)
        elif isinstance(event, KeysEvent):
            touched = event.keys
            self._forget_keys(event)
        self._turn_ring(event.seq, touched, now_s)
        self._prune_marks()

    def _change(self, event: PlacementEvent, now_s: float) -> None:
        placement, seq = event.placement, event.seq
        newer_subject = self._ahead.get(placement.subject_id, 0) > seq
        was_absent = self._absences.pop(placement.subject_id, None) is not None if not newer_subject else False
        held = self._replace(placement) if not newer_subject else False
        if was_absent and not held:
            self._put(placement)
        for key in event.keys_removed:
            if self._ahead.get(key, 0) < seq and self._known.forget_key(key):
                self._remember_absence(key, seq, now_s)
        for key in event.keys_added:
            if self._ahead.get(key, 0) >= seq:
                continue
            asked_for = self._absences.pop(key, None) is not None or self._known.forget_key(key)
            if (asked_for or held) and not newer_subject:
                self._put(placement, key)

    def _put(self, placement: Placement, key: LookupKey | None = None) -> None:
        self._known.put(placement, key)
        self._note(placement)

    def _replace(self, placement: Placement) -> bool:
        held = self._known.replace(placement)
        if held:
            self._note(placement)
        return held

    def _note(self, placement: Placement) -> None:
        """Keeps the list of who is held as reserved."""
        if placement.state is not State.RESERVED:
            self._reserved.discard(placement.subject_id)
            return
        if len(self._reserved) >= RESERVED_MAX:
            self._known.clear()
            self._reserved.clear()
            return
        self._reserved.add(placement.subject_id)

    def _sweep(self, seq: FeedSeq) -> None:
        """Rule 6."""
        for subject_id in self._reserved:
            self._known.void(subject_id)
        self._reserved.clear()
        self._absences.clear()
        self._empty_ring(seq)

    def _empty_ring(self, seq: FeedSeq) -> None:
        """Answers from before `seq` are not believed from here on."""
        self._ring.clear()
        self._touched.clear()
        self._ring_floor = seq

    def _forget_keys(self, event: KeysEvent) -> None:
        """Nothing is known of them any more; whoever asks is told by the directory."""
        for key in event.keys:
            if self._ahead.get(key, 0) < event.seq:
                self._known.forget_key(key)
                self._absences.pop(key, None)

    def _turn_ring(self, seq: FeedSeq, touched: tuple[AnyId, ...], now_s: float) -> None:
        if len(touched) > RING_IDS_OF_ONE_MAX:
            # One event that touches so much empties the ring instead of filling it: answers from before are asked for again.
            self._empty_ring(seq)
            return
        self._ring.append((seq, touched, now_s))
        for id_ in touched:
            self._touched[id_] = seq
        while len(self._ring) > self._ring_events_max or self._ring[0][2] < now_s - RING_S_MAX:
            self._ring_floor, old, _ = self._ring.popleft()
            for id_ in old:
                if self._touched.get(id_) == self._ring_floor:
                    del self._touched[id_]

    def _prune_marks(self) -> None:
        if self._ahead and self.position >= self._ahead_max:
            self._ahead.clear()
        elif len(self._ahead) >= self._prune_at:
            self._ahead = {id_: as_of for id_, as_of in self._ahead.items() if as_of > self.position}
            self._prune_at = max(_MARKS_PRUNED_AT, 2 * len(self._ahead))
