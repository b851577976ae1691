"""A model of the directory that remembers every state it was in, and what may be believed of it."""

from typing import Any

from directory.client.second_level.sealed import Seal
from directory.client.table import ABSENT
from directory.placement.core import Placement, RulesEvent, State
from foundation.mute import Secret
from foundation.words import FeedSeq, LookupKey, RulesDigest, SubjectId
from tests.stands.memory_directory import MemoryDirectory, placed

KEYS = [LookupKey(f"{name:_<32}") for name in ("login-a", "login-b", "mail-a", "mail-b")]
SUBJECTS = [SubjectId(f"00000000-0000-0000-0000-{number:012}") for number in range(1, 5)]
SEAL = Seal([("k1", Secret(b"k" * 32))])


class History(MemoryDirectory):
    """The model: a directory that remembers every state it was ever in, by feed number."""

    def __init__(self) -> None:
        super().__init__()
        self.past: list[tuple[dict[LookupKey, SubjectId], dict[SubjectId, Placement]]] = [({}, {})]

    def change(self, placement: Placement, **keys: tuple[LookupKey, ...]) -> Placement:
        super().change(placement, **keys)
        self.past.append((dict(self.keys), dict(self.placements)))
        return placement

    def rules(self) -> None:
        self._tell(RulesEvent(seq=FeedSeq(self.head + 1), at=0.0, digest=RulesDigest("sha256:" + "0" * 64)))
        self.past.append(self.past[-1])

    def step(self, choice: int) -> None:
        """Some change, chosen by a number."""
        kind, which = choice % 6, choice // 6
        free = [key for key in KEYS if key not in self.keys]
        live = [one for one in SUBJECTS if one in self.placements and self.placements[one].state is not State.ERASED]
        unborn = [one for one in SUBJECTS if one not in self.placements]
        if kind == 0:
            self.rules()
        elif kind in (1, 2) and live:
            self.move(live[which % len(live)], ("eu-de", "us-va", "in-mum")[which % 3])
        elif kind == 3 and live:  # erased, its keys given back
            subject_id = live[which % len(live)]
            removed = tuple(key for key, holder in self.keys.items() if holder == subject_id)
            self.change(placed(subject_id, next(self._epochs), state=State.ERASED), removed=removed)
        elif kind == 4 and live and free:  # an alias more
            self.change(placed(live[which % len(live)], next(self._epochs)), added=(free[which % len(free)],))
        elif unborn and free:
            self.place(*free[: 1 + which % 2], subject_id=unborn[0])

    def leads(self, key: LookupKey, since: int) -> set[SubjectId | None]:
        """What the key led to at any time from `since` on."""
        return {keys.get(key) for keys, _ in self.past[since:]}

    def homes(self, subject_id: SubjectId, since: int) -> list[Placement | None]:
        return [placements.get(subject_id) for _, placements in self.past[since:]]

    def allows_key(self, key: LookupKey, found: Any, since: int) -> bool:
        if found is ABSENT:
            return None in self.leads(key, since)
        return found.subject_id in self.leads(key, since) and found in self.homes(found.subject_id, since)

    def allows_subject(self, subject_id: SubjectId, found: Any, since: int) -> bool:
        return (None if found is ABSENT else found) in self.homes(subject_id, since)
