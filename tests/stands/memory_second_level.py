"""A second-level store in memory: passes the same contract as the one in Valkey. `down` makes every call fail."""

from collections.abc import Sequence

from directory.client.second_level.sealed import AS_OF_DIGITS, VERSION
from directory.client.second_level.valkey import SecondLevelDown

_AGE = slice(len(VERSION), len(VERSION) + AS_OF_DIGITS)


class MemoryStore:
    """Each primitive on its own is atomic; nothing expires by itself: tests take things away."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.down = False

    async def read(self, names: Sequence[str]) -> list[bytes | None]:
        self._check()
        return [self.values.get(name) for name in names]

    async def claim(
        self, names: Sequence[str], lease: bytes, ttl_ms: int, then: str
    ) -> tuple[list[bool], bytes | None]:
        self._check()
        granted = []
        for name in names:
            granted.append(name not in self.values)
            self.values.setdefault(name, lease)
        return granted, self.values.get(then)

    async def fill(self, rows: Sequence[tuple[str, bytes, int]], lease: bytes) -> list[bool]:
        self._check()
        done = [self.values.get(name) == lease for name, _, _ in rows]
        self.values.update({name: value for (name, value, _), one in zip(rows, done, strict=True) if one})
        return done

    async def amend(self, rows: Sequence[tuple[str, bytes]]) -> None:
        self._check()
        for name, value in rows:
            held = self.values.get(name)
            if held is None:
                continue
            if not held.startswith(VERSION):
                del self.values[name]
            elif held[_AGE] < value[_AGE]:
                self.values[name] = value

    async def swap(self, name: str, old: bytes | None, new: bytes) -> bool:
        self._check()
        if self.values.get(name) != old:
            return False
        self.values[name] = new
        return True

    async def discard(self, name: str, value: bytes) -> None:
        self._check()
        if self.values.get(name) == value:
            del self.values[name]

    def _check(self) -> None:
        if self.down:
            raise SecondLevelDown("told to be")
