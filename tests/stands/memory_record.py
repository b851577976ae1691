"""Record keeping in memory: the fake of the port, for tests and simulations. Its transaction is a list that `commit` takes over."""

import json

import msgspec

from foundation.ledger.port import Event


class MemoryRecord:
    """Implements `foundation.ledger.port.Record`; a transaction is a list of events, dropped unless committed."""

    def __init__(self) -> None:
        self._events: dict[str, Event] = {}

    @property
    def events(self) -> list[Event]:
        return list(self._events.values())

    async def append(self, tx: list[Event], event: Event) -> None:
        """Keeps the details as JSON has them, as an outbox does: later changes do not reach them. Raises TypeError if they are no JSON."""
        tx.append(msgspec.structs.replace(event, details=json.loads(json.dumps(event.details))))

    def commit(self, tx: list[Event]) -> None:
        for event in tx:
            self._events.setdefault(event.id, event)
        tx.clear()
