"""Record batches of Arrow, treated column by column: what is kept is not touched, and of the rest each distinct value is treated once.

By the functions that rows are treated by (`compiled`), so a value becomes the same on either way. Needs pyarrow.
"""

import datetime
import functools
import sys
from collections.abc import Mapping
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from cells.egress.arrow import TYPES, arrow_schema, record_batch
from cells.egress.compiled import Ready
from cells.egress.treating import Person, Treated, Treater, why_none_goes
from cells.egress.treatments import ADDRESS_CHARS_MAX
from cells.egress.values import HEX_AS_ONE, TEXT_CHARS_MAX, UNFIT, UUID_SHAPE, Kind
from cells.egress.wording import KEEP

_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_UUID_CHARS, _UUIDS_AT_ONCE = 36, 1024
"""So many fit the fastest of a processor's memories."""
_PLAIN_ADDRESS = r"^[!-?A-~]+@([!-?A-~]+)$"
"""Printable ASCII without a space or a second @: what `mask_domain` asks of it but for its length and the domain's form."""
_UUIDS = UUID_SHAPE * _UUIDS_AT_ONCE
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_DAYS = (1 - _EPOCH, datetime.date.max.toordinal() - _EPOCH)
"""Days that a calendar has; Arrow has more."""
BLOCK_DAYS, BLOCKS_MAX, DAYS_EACH_MAX = 1 << 13, 16, 4
"""Days are treated by blocks of twenty-two years, once for a plan, where a batch has so many rows that it is not much more than its own."""
TABLES_MAX = 64
PLACES_MAX = 4
"""Lengths of record batches of which the numbers of their rows are kept: mostly all but the last are of one."""
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
    given = batch.column(ready.name)
    plain = ready.field.treatment.kind == KEEP and ready.name not in convert and _as_stated(ready.field.type, given)
    found = _alone(given.cast(TYPES[kind])) if plain else _distinctly(ready, kind, convert.get(ready.name), given)
    nulls = found.null_count
    made.counts.of_column(ready.name, rows=len(found), nulls=nulls, unfit=nulls - given.null_count)
    if ready.look is not None:
        converted = ready.name in convert  # a number that becomes a text is looked at as a number
        made.watch.note(ready.look, ready.values(given.to_pylist()) if converted else found.to_pylist())
    return found


def _alone(given: Any) -> Any:
    """The column without what its buffers hold beside its values: under a null, before and behind a slice, in what is left of the last byte
    of a column of truths. Files are written with that."""
    if given.null_count:
        return given.take(_places(len(given)))
    within_a_byte = pa.types.is_boolean(given.type) and len(given) % 8
    if given.offset or within_a_byte or given.get_total_buffer_size() != given.nbytes:
        return pa.concat_arrays([given, given.slice(0, 0)])
    return given


@functools.lru_cache(PLACES_MAX)
def _places(count: int) -> Any:
    return pa.array(range(count), pa.int64())


def _distinctly(ready: Ready, kind: Kind, change: Any, given: Any) -> Any:
    """Each distinct value treated once. Lists and whatever else has no dictionary: each value."""
    if pa.types.is_nested(given.type):
        return _array(ready, kind, change, given.to_pylist())
    if ready.field.treatment.kind == "mask_domain" and ready.field.type == "text" and given.type == pa.string():
        given = _addresses_of_their_domains(given)
    if given.type == pa.date32() and (found := _by_day(ready, kind, change, given)) is not None:
        return found
    encoded = given.dictionary_encode()
    read = ready.field.type in _AS_READ and _as_stated(ready.field.type, encoded.dictionary)
    return _array(ready, kind, change, _listed(encoded.dictionary), read=read).take(encoded.indices)


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


def _addresses_of_their_domains(given: Any) -> Any:
    """Of addresses only the domain matters, of which there are few: the same addresses with one local part for all.

    What is not plainly an address stays as it is, for the treatment to look at.
    """
    short = pc.less_equal(pc.binary_length(given), ADDRESS_CHARS_MAX)
    return pc.if_else(short, pc.replace_substring_regex(given, _PLAIN_ADDRESS, r"a@\1"), given)


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
            return bool(given.type == pa.string()) and _plain_uuids(given)
        case "boolean" | "bool":
            return bool(given.type == pa.bool_())
        case "smallint" | "int" | "integer" | "bigint":
            return bool(pa.types.is_signed_integer(given.type) and given.type.bit_width <= _WHOLE[of_type].bit_width)
        case "real" | "double precision":
            return bool(pa.types.is_floating(given.type)) and _all(pc.is_finite(given))
        case "date":
            return bool(given.type == pa.date32())
        case "timestamptz":
            return bool(given.type == pa.timestamp("us", tz="UTC"))
        case _:
            return False


def _plain_uuids(given: Any) -> bool:
    """In lower case, all that are not null. Where none is null, many are looked at at once: a third of the time of a regular expression."""
    if given.null_count or not len(given):
        return _all(pc.match_substring_regex(given, _UUID))
    if {one.as_py() for one in pc.min_max(pc.binary_length(given)).values()} != {_UUID_CHARS}:
        return False
    _, offsets, data = given.buffers()
    first = int.from_bytes(memoryview(offsets)[4 * given.offset : 4 * given.offset + 4], sys.byteorder)
    view = memoryview(data)[first : first + _UUID_CHARS * len(given)]
    step = _UUID_CHARS * _UUIDS_AT_ONCE
    pieces = (view[at : at + step].tobytes().translate(HEX_AS_ONE) for at in range(0, len(view), step))
    return all(piece == _UUIDS[: len(piece)] for piece in pieces)


def _all(mask: Any) -> bool:
    """Of what is not null; of nothing, yes."""
    return pc.all(mask).as_py() is not False
