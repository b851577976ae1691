"""The engine on changed tables: only rows that changed are read again, so that a pack costs little more than its law."""

from collections.abc import Sequence
from typing import Any

from routing_rules.law import Law
from routing_rules.law.questions import Finding, TransferQuestion
from routing_rules.pack import Pack, PackError, build, bundled
from routing_rules.pack.pack import TABLES
from routing_rules.pack.read import table
from tests.oracle.ask import Case
from tests.oracle.naive import World
from tests.oracle.tables import Tables

KINDS = {kind.file: kind for kind in TABLES}


class Changed:
    """Packs that differ from the bundled one in some files. `tables` are the bundled rows that changed tables were made of."""

    def __init__(self, tables: Tables) -> None:
        self.tables, self.pack = tables, bundled()

    def pack_of(self, tables: Tables) -> Pack:
        """Raises PackError as the reader does."""
        rows: dict[str, Sequence[Any]] = {kind: getattr(self.pack, kind) for kind in KINDS}
        for file, found in tables.rows.items():
            if found is not self.tables.rows[file]:
                rows[file] = self._rows(file, tables)
        return build(rows, self.pack.prose, "changed")

    def _rows(self, file: str, tables: Tables) -> list[Any]:
        known = {id(row): struct for row, struct in zip(self.tables.rows[file], getattr(self.pack, file), strict=True)}
        fresh = [row for row in tables.rows[file] if id(row) not in known]
        read = iter(table(KINDS[file], Tables({"tags": [], file: fresh}).text(file)) if fresh else ())
        return [known[id(row)] if id(row) in known else next(read) for row in tables.rows[file]]

    def law_of(self, tables: Tables, world: World) -> Law | None:
        """None: the reader refuses these rows, and with them the rules."""
        try:
            pack = self.pack_of(tables)
        except PackError:
            return None
        return Law(pack, world.profile, world.operator, world.instruments)


def law_of(world: World) -> Law:
    return Law(bundled(), world.profile, world.operator, world.instruments)


def ask(law: Law, case: Case) -> Finding:
    if isinstance(case.question, TransferQuestion):
        return law.transfer(case.question, case.at)
    return law.storage(case.question, case.at)


def allows(law: Law | None, case: Case) -> bool:
    return law is not None and ask(law, case).answer.allows
