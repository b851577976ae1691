"""Record batches of Arrow, treated column by column: what is kept is not touched, and of the rest each distinct value is treated once.

By the functions that rows are treated by (`compiled`), so a value becomes the same on either way. Needs pyarrow.
"""

import collections
import datetime
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from cells.egress.arrow import TYPES, arrow_schema, record_batch
from cells.egress.buffers import all_differ, all_true, alone, of_their_domains, plain_uuids, written
from cells.egress.compiled import Ready
from cells.egress.treating import Person, Treated, Treater, Whose
from cells.egress.values import TEXT_CHARS_MAX, UNFIT, Kind
from cells.egress.wording import KEEP, WALK

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAYS = (1 - _EPOCH, datetime.date.max.toordinal() - _EPOCH)
_MOMENTS = (_DAYS[0] * 86_400_000_000, (_DAYS[1] + 1) * 86_400_000_000 - 1)
"""Days and microseconds that a calendar has; Arrow has more."""
BLOCK_DAYS, BLOCKS_MAX, DAYS_EACH_MAX = 1 << 13, 16, 4
"""Days are treated by blocks of twenty-two years, once for a plan, where a batch has so many rows that it is not much more than its own."""
TABLES_MAX = 64
_AS_READ = ("text", "uuid")
"""Types whose values in Arrow are what is read of them, where the column is plainly of its type."""
_WHOLE = {"smallint": pa.int16(), "int": pa.int32(), "integer": pa.int32(), "bigint": pa.int64()}


class TreatedBatches(msgspec.Struct, frozen=True):
    """What may leave, a batch for each kind of people of whom rows do, and what became of the rest, as of rows."""

    batches: list[Any]
    said: Treated

    @property
    def batch(self) -> Any:
        """What may leave of people of one kind; None: nothing."""
        return self.batches[0] if self.batches else None


def treat(made: Treater, person: Person, batch: Any) -> TreatedBatches:
    """A record batch of people of one kind. Columns that no contract names are counted and left; the treater reads as of a database."""
    unnamed = batch.num_rows * sum(name not in made.contract.columns for name in batch.schema.names)
    return treat_parts(made, [(person, batch)], unnamed)


def treat_parts(made: Treater, parts: Sequence[tuple[Whose, Any]], unnamed: int) -> TreatedBatches:
    """One batch in parts, each of people of one kind. `unnamed`: values in it that no contract names. A finding holds all parts back."""
    stayed: collections.Counter[str] = collections.Counter()
    left = []
    for person, part in parts:
        if isinstance(person, Person) and made.plan_of(person).goes:
            left.append(_rows(made, person, part))
        else:
            stayed[made.why_none_goes(person)] += part.num_rows
    said = made.ended(sum(one.num_rows for one in left), {}, stayed, unnamed)
    return TreatedBatches([] if said.held else left, said)


def _rows(made: Treater, person: Person, batch: Any) -> Any:
    stated, ready, convert = made.ready(person)
    absent = tuple(name for name in made.contract.columns if name not in batch.schema.names)
    made.count_staying(stated, ready, batch.num_rows, absent)
    fields = {one.name: one for one in ready.fields if one.name not in absent}
    arrays = [_column(made, fields.get(name), kind, convert, batch) for name, kind in made.schema]
    return pa.record_batch(arrays, schema=arrow_schema(made.schema))


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
        made.watch.note(ready.look, ready.values(_listed(given)) if converted else found.to_pylist())
    return found


def _undisguised(given: Any) -> Any:
    """A dictionary may hold a null as one of its values: `null_count` does not see it then, and it would count as unfit."""
    hidden = pa.types.is_dictionary(given.type) and given.dictionary.null_count
    return given.dictionary_decode() if hidden else given


def _distinctly(ready: Ready, kind: Kind, change: Any, given: Any) -> Any:
    """Each distinct value treated once. Lists and whatever else has no dictionary, and JSON, of which members are counted: each value."""
    if pa.types.is_nested(given.type) or ready.field.treatment.kind == WALK:
        return _array(ready, kind, change, _listed(given))
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
    """Days by their numbers: what pyarrow makes of each by itself takes thrice as long. None for what Python has no value for."""
    if not pa.types.is_temporal(distinct.type):
        return distinct.to_pylist()  # type: ignore[no-any-return]
    if distinct.type != pa.date32():
        try:
            return distinct.to_pylist()  # type: ignore[no-any-return]
        except (ValueError, OverflowError):
            return [_one(each) for each in distinct]
    day = datetime.date.fromordinal
    return [
        None if one is None or not _DAYS[0] <= one <= _DAYS[1] else day(_EPOCH + one)
        for one in distinct.cast(pa.int32()).to_pylist()
    ]


def _one(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError):
        return None


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
            return bool(given.type == pa.date32()) and _within(given.cast(pa.int32()), _DAYS)
        case "timestamptz":
            return bool(given.type == pa.timestamp("us", tz="UTC")) and _within(given.cast(pa.int64()), _MOMENTS)
        case _:
            return False


def _within(numbers: Any, bounds: tuple[int, int]) -> bool:
    low, high = (one.as_py() for one in pc.min_max(numbers).values())
    return low is None or (bounds[0] <= low and high <= bounds[1])
