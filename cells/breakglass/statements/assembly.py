"""The record of a cell's door put together."""

from dataclasses import dataclass

from cells.breakglass.door.settings import RECORDED_BYTES_MAX
from cells.breakglass.keeper import Keeper
from cells.breakglass.locks.elsewhere import Elsewhere
from cells.breakglass.statements.reading import DoorLog, Finding
from cells.breakglass.statements.recorder import SOURCE, Recorder
from cells.breakglass.statements.spending import Spending
from cells.breakglass.statements.watching import Watch
from cells.breakglass.tickets import Tracker
from foundation.clock import Clock
from foundation.ledger.committing import Committer
from foundation.ledger.draining import Writer
from foundation.tasks import Worker


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One a cell: in the process that writes its log."""

    committer: Committer
    watch: Watch
    recorder: Recorder

    @property
    def workers(self) -> dict[str, Worker]:
        return {
            "access commits": self.committer.run,
            "access watch": self.watch.run,
            "access results": self.recorder.run,
        }


def recording(
    keeper: Keeper,
    tracker: Tracker,
    clock: Clock,
    writer: Writer,
    before: DoorLog,
    elsewhere: Elsewhere,
    recorded_bytes_max: int = RECORDED_BYTES_MAX,
) -> Recording:
    """`before`: the log that `writer` writes, as it is signed for. `elsewhere`: other cells' locks. `recorded_bytes_max`: of one grant."""
    committer, spending = Committer(writer, SOURCE), Spending(recorded_bytes_max)
    watch = Watch(keeper, tracker, clock, elsewhere)
    recorder = Recorder(committer, watch, clock, Finding(writer, before), spending)
    return Recording(committer=committer, watch=watch, recorder=recorder)
