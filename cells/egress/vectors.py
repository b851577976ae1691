"""Record batches of Arrow, treated column by column: what is kept is not touched, and of the rest each distinct value is treated once.

By the functions that rows are treated by (`compiled`), so a value becomes the same on either way. Needs pyarrow.
"""

import datetime
import functools
from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from cells.egress.arrow import TYPES, arrow_schema, record_batch
from cells.egress.buffers import all_differ, all_true, alone, of_their_domains, plain_uuids, written
from cells.egress.compiled import Ready
from cells.egress.treating import Person, Treated, Treater, why_none_goes
from cells.egress.values import TEXT_CHARS_MAX, UNFIT, Kind
from cells.egress.wording import KEEP

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAYS = (1 - _EPOCH, datetime.date.max.toordinal() - _EPOCH)
"""Days that a calendar has; Arrow has more."""
BLOCK_DAYS, BLOCKS_MAX, DAYS_EACH_MAX = 1 << 13, 16, 4
"""Days are treated by blocks of twenty-two years, once for a plan, where a batch has so many rows that it is not much more than its own."""
TABLES_MAX = 64
_AS_READ = ("text", "uuid")
"""Types whose values in Arrow are what is read of them, where the column is plainly of its type."""
_WHOLE = {"smallint": pa.int16(), "int": pa.int32(), "integer": pa.int32(), "bigint": pa.int64()}


class TreatedBatch(msgspec.Struct, frozen=True):
    """What may leave (None: nothing), and what became of the rest, as of rows."""

    batch: Any
    said: Treated


def treat(made: Treater, person: Person, batch: Any) -> TreatedBatch:
    """A record batch of people of one kind. Columns that no contract names are counted and left; the treater reads as of a database."""
    stated, ready, convert = made.ready(person)
    rows = batch.num_rows
    if not stated.goes:
        return TreatedBatch(None, Treated(rows=0, columns={}, stayed={why_none_goes(stated): rows}, counts={}))
    names = batch.schema.names
    absent = tuple(name for name in made.contract.columns if name not in names)
    made.count_staying(stated, ready, rows, absent)
    fields = {one.name: one for one in ready.fields if one.name not in absent}
    arrays = [_column(made, fields.get(name), kind, convert, batch) for name, kind in made.schema]
    made.counts.add("", "unnamed", rows * sum(name not in made.contract.columns for name in names))
    held = made.scanned()
    counts = made.counts.take()
    if held:
        return TreatedBatch(None, Treated(rows=0, columns={}, stayed={}, counts={}, held=held))
    treated = pa.record_batch(arrays, schema=arrow_schema(made.schema))
    return TreatedBatch(treated, Treated(rows=rows, columns={}, stayed={}, counts=counts))


def _column(made: Treater, ready: Ready | None, kind: Kind, convert: Mapping[str, Any], batch: Any) -> Any:
    if ready is None:
        return pa.nulls(batch.num_rows, TYPES[kind])
    given = _undisguised(batch.column(ready.name))
    plain = ready.field.treatment.kind == KEEP and ready.name not in convert and _as_stated(ready.field.type, given)
    found = alone(given.cast(TYPES[kind])) if plain else _distinctly(ready, kind, convert.get(ready.name), given)
    nulls = found.null_count
    made.counts.of_column(ready.name, rows=len(found), nulls=nulls, unfit=nulls - given.null_count)
    if ready.look is not None:
        converted = ready.name in convert  # a number that becomes a text is looked at as a number
        made.watch.note(ready.look, ready.values(given.to_pylist()) if converted else found.to_pylist())
    return found


def _undisguised(given: Any) -> Any:
    """A dictionary may hold a null as one of its values: `null_count` does not see it then, and it would count as unfit."""
    hidden = pa.types.is_dictionary(given.type) and given.dictionary.null_count
    return given.dictionary_decode() if hidden else given


def _distinctly(ready: Ready, kind: Kind, change: Any, given: Any) -> Any:
    """Each distinct value treated once. Lists and whatever else has no dictionary: each value."""
    if pa.types.is_nested(given.type):
        return _array(ready, kind, change, given.to_pylist())
    if ready.field.treatment.kind == "mask_domain" and ready.field.type == "text" and given.type == pa.string():
        given = of_their_domains(given)
    if given.type == pa.date32() and (found := _by_day(ready, kind, change, given)) is not None:
        return found
    if ready.digests is not None and all_differ(given):
        return _treated(ready, kind, change, given)
    encoded = given.dictionary_encode()
    return _treated(ready, kind, change, encoded.dictionary).take(encoded.indices)


def _treated(ready: Ready, kind: Kind, change: Any, distinct: Any) -> Any:
    read = ready.field.type in _AS_READ and _as_stated(ready.field.type, distinct)
    if read and ready.digests is not None and not distinct.null_count:
        of_uuids = ready.field.type == "uuid"
        texts = distinct.cast(pa.binary()).to_pylist() if of_uuids else list(map(str.encode, distinct.to_pylist()))
        return written(ready.digests(texts))
    return _array(ready, kind, change, _listed(distinct), read=read)


def _by_day(ready: Ready, kind: Kind, change: Any, given: Any) -> Any:
    """Days looked up in a table of what each becomes; None where they are too few for one, lie too far apart or beyond a calendar's."""
    days = given.cast(pa.int32())
    low, high = pc.min_max(days).values()
    if low.as_py() is None or low.as_py() < _DAYS[0] or high.as_py() > _DAYS[1]:
        return None
    first, last = low.as_py() // BLOCK_DAYS, high.as_py() // BLOCK_DAYS
    blocks = last - first + 1
    if blocks > BLOCKS_MAX or blocks * BLOCK_DAYS > len(given) * DAYS_EACH_MAX:
        return None
    return _table(ready, kind, change, first, last).take(pc.subtract(days, first * BLOCK_DAYS))


@functools.lru_cache(TABLES_MAX)
def _table(ready: Ready, kind: Kind, change: Any, first: int, last: int) -> Any:
    """What becomes of every day of some blocks."""
    days = range(max(_DAYS[0], first * BLOCK_DAYS), min(_DAYS[1] + 1, (last + 1) * BLOCK_DAYS))
    before = max(0, _DAYS[0] - first * BLOCK_DAYS)
    day = datetime.date.fromordinal
    return _array(ready, kind, change, [None] * before + [day(_EPOCH + one) for one in days])


def _listed(distinct: Any) -> list[Any]:
    """Days by their numbers: what pyarrow makes of each by itself takes thrice as long."""
    if distinct.type != pa.date32():
        return distinct.to_pylist()  # type: ignore[no-any-return]
    day = datetime.date.fromordinal
    return [
        None if one is None or not _DAYS[0] <= one <= _DAYS[1] else day(_EPOCH + one)
        for one in distinct.cast(pa.int32()).to_pylist()
    ]


def _array(ready: Ready, kind: Kind, change: Any, values: list[Any], *, read: bool = False) -> Any:
    """`read`: they are as they would be read."""
    found = ready.plain(values) if read else ready.values(values)
    treated = [None if one is UNFIT else one for one in found]
    if change is not None:
        treated = [None if one is None else change(one) for one in treated]
    return record_batch(((ready.name, kind),), {ready.name: treated}).column(0)


def _as_stated(of_type: str, given: Any) -> bool:
    """Whether every value is plainly of the contract's type, so that the column can stay as it is."""
    match of_type:
        case "text":
            return bool(given.type == pa.string()) and (pc.max(pc.binary_length(given)).as_py() or 0) <= TEXT_CHARS_MAX
        case "uuid":
            return bool(given.type == pa.string()) and plain_uuids(given)
        case "boolean" | "bool":
            return bool(given.type == pa.bool_())
        case "smallint" | "int" | "integer" | "bigint":
            return bool(pa.types.is_signed_integer(given.type) and given.type.bit_width <= _WHOLE[of_type].bit_width)
        case "real" | "double precision":
            return bool(pa.types.is_floating(given.type)) and all_true(pc.is_finite(given))
        case "date":
            return bool(given.type == pa.date32())
        case "timestamptz":
            return bool(given.type == pa.timestamp("us", tz="UTC"))
        case _:
            return False
