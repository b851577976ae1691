"""The log that a process keeps, and all that is done to it besides writing: cosignatures gathered, reads noted, payloads erased, entries
given on to sinks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from foundation.clock import Clock
from foundation.decision_header import new_decision_id
from foundation.http import HttpClient
from foundation.ledger.draining import Source, Writer, drain
from foundation.ledger.eraser import Eraser
from foundation.ledger.export.settings import ExportSettings
from foundation.ledger.export.worker import export
from foundation.ledger.notes import Signer
from foundation.ledger.port import RecordEvents
from foundation.ledger.reads import Reads
from foundation.ledger.settings import LedgerSettings
from foundation.ledger.witness.gathering import Gathering
from foundation.tasks import Worker


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """One a process."""

    folder: Path
    signer: Signer
    exports: tuple[ExportSettings, ...]
    writer: Writer
    reads: Reads
    eraser: Eraser
    clock: Clock
    cosignatures: Gathering | None = None

    def workers(self, sources: Callable[[], Mapping[str, Source]]) -> dict[str, Worker]:
        """Those that every process with a log runs; its exports are the process's own, which knows what countries it may send to."""
        return {
            "ledger": partial(drain, self.folder, self.signer, sources, self.cosignatures, self.writer),
            "ledger reads": self.reads.run,
            "ledger erasures": self.eraser.run,
        }

    async def export(self, exports: Sequence[ExportSettings], actor: str) -> None:
        """For ever: those of its exports that may be. `actor`: the process, as the log names it."""
        announce = partial(self.reads.once, actor)
        await export(self.folder, self.signer.verifier, exports, announce, self.clock, self.cosignatures)


def keeping(settings: LedgerSettings, record: RecordEvents, clock: Clock, http: HttpClient) -> Keeping:
    """`record`: into an outbox that this log takes in. `http`: the way to its witnesses. Raises SettingsError."""
    folder, writer = Path(settings.folder), Writer()
    return Keeping(
        folder=folder,
        signer=settings.signer(),
        exports=settings.exports,
        writer=writer,
        reads=Reads(record, clock, chance=new_decision_id),
        eraser=Eraser(folder, writer, record, clock, chance=new_decision_id),
        clock=clock,
        cosignatures=settings.gathering(http, clock),
    )
