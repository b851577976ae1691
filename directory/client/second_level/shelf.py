"""What the gateways of a region share of their second level: names, seals, the stored position, and whether the store answers."""

import random

from directory.client import metrics
from directory.client.circuit import Circuit
from directory.client.second_level.sealed import Entry, Position, Seal, decode_position, encode_body
from directory.client.second_level.valkey import SecondLevelDown, SecondLevelStore
from directory.client.table import AnyId
from directory.placement.core import Placement
from foundation import logs
from foundation.tasks import Chance
from foundation.words import FeedSeq, SubjectId

log = logs.get(__name__)

Body = Placement | SubjectId | None
"""What an entry says: a subject's placement, the subject a key leads to, or that it leads nowhere."""


class Shelf:
    """One region's store as this process uses it. `generation`: that of the stored position, once the directory has confirmed that it is
    of its history; None before."""

    def __init__(self, store: SecondLevelStore, seal: Seal, *, prefix: str, chance: Chance = random.random) -> None:
        self.store = store
        self.generation: str | None = None
        self.applied = FeedSeq(0)
        """How far that generation has been carried, when last seen."""
        self._seal = seal
        self._prefix = prefix
        self._circuit = Circuit(failures_max=2, chance=chance)
        self.position_name = f"{prefix}:position"

    def name(self, generation: str, id_: AnyId) -> str:
        return f"{self._prefix}:{generation}:{id_}"

    def seal(self, name: str, as_of: FeedSeq, body: Body) -> bytes:
        return self._seal.seal(name, as_of, encode_body(body))

    def open(self, name: str, value: bytes) -> Entry | None:
        """The entry, None when its seal does not hold."""
        entry = self._seal.open(name, value)
        if entry is None:
            self.count_bad("seal")
        return entry

    def open_position(self, raw: bytes | None) -> Position | None:
        if raw is None:
            return None
        entry = self._seal.open(self.position_name, raw)
        position = decode_position(entry.body) if entry else None
        if position is None:
            self.count_bad("position")
        return position

    async def move(self, raw: bytes | None, position: Position) -> bytes | None:
        """Stores `position` if `raw` stands there still; what stands there now, or None when it was not."""
        sealed = self._seal.seal(self.position_name, position.applied, encode_body(position))
        return sealed if await self.store.swap(self.position_name, raw, sealed) else None

    def count_bad(self, reason: str) -> None:
        metrics.SECOND_LEVEL_BAD.labels(reason).inc()
        log.warning("second_level_bad", reason=reason)

    # --- whether the store answers -------------------------------------------------------------------------------------------

    @property
    def is_down(self) -> bool:
        return self._circuit.open

    def allows(self, now_s: float) -> bool:
        """Whether to ask the store now."""
        return self._circuit.allows(now_s)

    def up(self) -> None:
        if self._circuit.open:
            log.info("second_level_up")
        self._circuit.succeeded()
        metrics.CIRCUIT.labels("valkey").set(0)

    def down(self, exc: SecondLevelDown, now_s: float) -> None:
        was_open = self._circuit.open
        self._circuit.failed(now_s)
        metrics.CIRCUIT.labels("valkey").set(1 if self._circuit.open else 0)
        if self._circuit.open and not was_open:
            log.warning("second_level_down", reason=str(exc))
