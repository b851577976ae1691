"""The files behind the pack, in prose: they explain and never decide. A row is found by the key that `fact_ref` and `=file:key` use."""

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from routing_rules.pack.read import PackError, records

Cells = dict[str, str]

COLUMNS: dict[str, tuple[str, ...]] = {
    "jurisdictions.csv": (
        *("id", "name", "countries", "law", "storage_rule", "storage_scope", "transfer_model", "transfer_allow"),
        *("transfer_condition", "dsar_access_days", "dsar_extension_days", "erasure", "portability", "opt_out_sale"),
        *("breach_notice_hours", "special_categories", "as_of", "source", "confidence"),
    ),
    "transfers.csv": ("from", "to", "scope", "since", "until", "status", "source", "confidence", "note"),
    "localisation.csv": ("id", "tag", "rule", "region", "detail", "from", "until", "source", "confidence"),
    "thresholds.csv": ("regime", "class", "threshold", "window", "effect", "source"),
}


class Prose(msgspec.Struct, frozen=True, kw_only=True):
    """One row in words. `ref`: `transfers.csv:eu->uk`; `line`: in its file, the header is 1; `cells`: column -> text."""

    ref: str
    line: int
    cells: Cells

    @property
    def source(self) -> str:
        """What was read for it (`S:`), or the instrument cited (`K:`)."""
        return self.cells["source"]


def read(texts: Mapping[str, str]) -> dict[str, Prose]:
    """Every row of the four files (name without folder -> text) by its reference. Raises PackError."""
    found: dict[str, Prose] = {}
    for file, columns in COLUMNS.items():
        lines = records(f"prose/{file}", texts[file], columns)
        header = next(lines)[1]
        rows = [(line, dict(zip(header, cells, strict=True))) for line, cells in lines]
        key_of = _keys(file, [cells for _, cells in rows])
        for line, cells in rows:
            ref = f"{file}:{key_of(cells)}"
            if ref in found:
                raise PackError(f"prose/{file}: line {line}: {ref} stands there twice")
            found[ref] = Prose(ref=ref, line=line, cells=cells)
    return found


def regime_named(ref: str) -> str | None:
    """Whose law a reference is about, as it stands there: `eu`, `eu:DE`, `us-2027`. None for sections of the compilation."""
    file, _, key = ref.partition(":")
    match file:
        case "jurisdictions.csv":
            return key
        case "transfers.csv":
            return key.partition("->")[0]
        case "localisation.csv":
            return key.partition("/")[0]
        case "thresholds.csv":
            return key.partition("/")[0].partition(" ")[0]
        case _:
            return None


def _keys(file: str, rows: list[Cells]) -> Callable[[Cells], str]:
    match file:
        case "jurisdictions.csv":
            return lambda cells: cells["id"]
        case "transfers.csv":
            return lambda cells: f"{cells['from']}->{cells['to']}"
        case "localisation.csv":
            many = Counter((cells["id"], cells["tag"]) for cells in rows)
            return lambda cells: _local_key(cells, many[cells["id"], cells["tag"]])
        case _:
            return lambda cells: f"{cells['regime']}/{cells['class']}/{cells['threshold'].partition(' (')[0]}"


def _local_key(cells: Cells, rows_of_this_name: int) -> str:
    key = f"{cells['id']}/{cells['tag']}"
    return f"{key}@{cells['from']}" if rows_of_this_name > 1 else key
