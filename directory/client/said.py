"""What was said lately: a bounded memory of when. Pure; time is an argument."""

from foundation.words import LookupKey


class Said:
    """At most `entries_max` keys, the oldest forgotten first; each is remembered as said for `for_s` (monotonic seconds)."""

    def __init__(self, *, entries_max: int, for_s: float) -> None:
        self._entries_max = entries_max
        self._for_s = for_s
        self._until: dict[LookupKey, float] = {}

    def note(self, key: LookupKey, now_s: float) -> None:
        """Said now."""
        self._until.pop(key, None)
        # In the order of their end, so those that count no more are at the front.
        while self._until:
            oldest = next(iter(self._until))
            if self._until[oldest] > now_s and len(self._until) < self._entries_max:
                break
            del self._until[oldest]
        self._until[key] = now_s + self._for_s

    def lately(self, key: LookupKey, now_s: float) -> bool:
        return now_s < self._until.get(key, now_s)

    def __len__(self) -> int:
        return len(self._until)
