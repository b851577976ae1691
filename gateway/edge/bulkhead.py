"""How many exchanges may be under way at once with one cell's service, so that a slow one holds its share of this process and no more."""

from foundation import logs
from foundation.words import CellId, ServiceId
from gateway.edge.observed import BULKHEAD_REFUSED, SERVED

log = logs.get(__name__)


class Bulkhead:
    """The places of one cell's service: a number that goes up and down. Nobody waits for one."""

    __slots__ = ("_refuses", "cell", "exchanges_max", "served", "service", "under_way")

    def __init__(self, cell: CellId, service: ServiceId, exchanges_max: int) -> None:
        self.cell = cell
        self.service = service
        self.under_way = 0
        self.served = SERVED.labels(cell, service)
        """How long its exchanges took."""
        self.exchanges_max = exchanges_max
        self._refuses = False
        """Whether it has refused since it was last half empty: what the log is told of once."""

    @property
    def full(self) -> bool:
        return self.under_way >= self.exchanges_max

    def refuses(self) -> bool:
        """Whether no place is left; True is a refusal, and counted as one."""
        if not self.full:
            return False
        BULKHEAD_REFUSED.labels(self.cell, self.service).inc()
        if not self._refuses:
            self._refuses = True
            log.warning("bulkhead_full", cell=self.cell, service=self.service, limit=self.exchanges_max)
        return True

    def enter(self) -> bool:
        """Takes a place. True asks for one `leave`; False is a refusal."""
        if self.under_way >= self.exchanges_max and self.refuses():
            return False
        self.under_way += 1
        return True

    def leave(self) -> None:
        self.under_way -= 1
        if self._refuses:
            self._free()

    def landed(self, seconds: float) -> None:
        """`leave`, of one whose answer came whole after so many."""
        self.under_way -= 1
        self.served.observe(seconds)
        if self._refuses:
            self._free()

    def _free(self) -> None:
        if self.under_way <= self.exchanges_max // 2:
            self._refuses = False
            log.info("bulkhead_free", cell=self.cell, service=self.service, count=self.under_way)


class Bulkheads:
    """One each for the cells and services of policy, made when first asked for."""

    def __init__(self, exchanges_max: int) -> None:
        self._exchanges_max = exchanges_max
        self._bulkheads: dict[tuple[CellId, ServiceId], Bulkhead] = {}

    def of(self, cell: CellId, service: ServiceId) -> Bulkhead:
        place = (cell, service)
        bulkhead = self._bulkheads.get(place)
        if bulkhead is None:
            bulkhead = self._bulkheads[place] = Bulkhead(cell, service, self._exchanges_max)
        return bulkhead

    def all(self) -> tuple[Bulkhead, ...]:
        return tuple(self._bulkheads.values())
