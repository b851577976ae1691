"""Columns of Arrow by what their buffers hold: ids looked at together, domains cut from addresses, tokens written at once, columns copied
without what lies beside their values. The same as value by value, in less time. Pure; needs pyarrow."""

import binascii
import functools
import hashlib
import math
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cells.egress.tokens import DIGEST_BYTES, TOKEN_BYTES, TOKEN_CHARS
from cells.egress.treatments import ADDRESS_CHARS_MAX
from cells.egress.values import HEX_AS_ONE, UUID_SHAPE

_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_UUID_CHARS, _UUIDS_AT_ONCE = 36, 1024
"""So many fit the fastest of a processor's memories."""
_UUIDS = UUID_SHAPE * _UUIDS_AT_ONCE
_PLAIN_ADDRESS = r"^[!-?A-~]+@([!-?A-~]+)$"
"""Printable ASCII without a space or a second @: what `mask_domain` asks of it but for its length and the domain's form."""
_PRINTABLE = (ord("!"), ord("~"))
PLACES_MAX = 8
"""Lengths of which the numbers are kept: of record batches mostly all but the last are of one."""
DIFFERING_MIN, SCATTERED_EACH, SCATTERED_MAX = 64, 8, 8_192
"""Of n values about eight times the root of n are looked at: where each stands there twice, some thirty of them are the same as another."""
_SCATTERED = pa.Array.from_buffers(
    pa.uint32(), SCATTERED_MAX, [None, pa.py_buffer(hashlib.shake_128(b"scattered").digest(4 * SCATTERED_MAX))]
).cast(pa.int64())
"""Places in a column as parts of 2**32 of it, always the same."""


def alone(given: Any) -> Any:
    """The column without what its buffers hold beside its values: under a null, before and behind a slice, in what is left of the last byte
    of a column of truths. Files are written with that."""
    if given.null_count:
        return given.take(_places(len(given)))
    within_a_byte = pa.types.is_boolean(given.type) and len(given) % 8
    if given.offset or within_a_byte or given.get_total_buffer_size() != given.nbytes:
        return pa.concat_arrays([given, given.slice(0, 0)])
    return given


@functools.lru_cache(PLACES_MAX)
def _places(count: int, step: int = 1) -> Any:
    return pa.array(range(0, count * step, step), pa.int64())


def _every_second(count: int) -> Any:
    """Places of the first so many. Few lengths are made: powers of two, of which the beginning is taken."""
    return _places(1 << (count - 1).bit_length(), 2).slice(0, count)


def all_differ(given: Any) -> bool:
    """Whether these are texts, none of them null, and none is there again as far as scattered ones show."""
    if given.type != pa.string() or given.null_count or len(given) < DIFFERING_MIN:
        return False
    some = _SCATTERED.slice(0, SCATTERED_EACH * math.isqrt(len(given)))
    few = given.take(pc.unique(pc.shift_right(pc.multiply(some, len(given)), 32)))
    return len(few.unique()) == len(few)


def all_true(mask: Any) -> bool:
    """Of what is not null; of nothing, yes."""
    return pc.all(mask).as_py() is not False


def plain_uuids(given: Any) -> bool:
    """In lower case, all that are not null. Where none is null, many are looked at at once: a third of the time of a regular expression."""
    if given.null_count or not len(given):
        return all_true(pc.match_substring_regex(given, _UUID))
    if {one.as_py() for one in pc.min_max(pc.binary_length(given)).values()} != {_UUID_CHARS}:
        return False
    first = _offsets(given)[0].as_py()
    view = memoryview(given.buffers()[2])[first : first + _UUID_CHARS * len(given)]
    step = _UUID_CHARS * _UUIDS_AT_ONCE
    pieces = (view[at : at + step].tobytes().translate(HEX_AS_ONE) for at in range(0, len(view), step))
    return all(piece == _UUIDS[: len(piece)] for piece in pieces)


def _offsets(given: Any) -> Any:
    """Where each text of a column begins, and where the last ends."""
    return pa.Array.from_buffers(pa.int32(), len(given) + 1, [None, given.buffers()[1]], offset=given.offset)


def written(digests: list[bytes]) -> Any:
    """Tokens of whole HMACs, as texts."""
    halves = DIGEST_BYTES // TOKEN_BYTES
    held = pa.Array.from_buffers(pa.binary(TOKEN_BYTES), halves * len(digests), [None, pa.py_buffer(b"".join(digests))])
    first = held.take(_every_second(len(digests)))
    text = binascii.hexlify(memoryview(first.buffers()[1])[: TOKEN_BYTES * len(digests)])
    return pa.Array.from_buffers(pa.binary(TOKEN_CHARS), len(digests), [None, pa.py_buffer(text)]).cast(pa.string())


def of_their_domains(given: Any) -> Any:
    """Of addresses only the domain matters, of which there are few: the same addresses with one local part for all.

    What is not plainly an address stays as it is, for the treatment to look at.
    """
    held = given.drop_null() if given.null_count else given
    domains = _domains(held)
    if domains is None:
        short = pc.less_equal(pc.binary_length(given), ADDRESS_CHARS_MAX)
        return pc.if_else(short, pc.replace_substring_regex(given, _PLAIN_ADDRESS, r"a@\1"), given)
    encoded = domains.dictionary_encode()
    places = encoded.indices
    if given.null_count:
        places = pc.replace_with_mask(pa.nulls(len(given), places.type), given.is_valid(), places)
    return pa.DictionaryArray.from_arrays(places, pc.binary_join_element_wise("a", encoded.dictionary, "@"))


def _domains(given: Any) -> Any:
    """What follows the first @ of each; none may be null. None where one is too long, has none or nothing before it, or is not all
    printable ASCII.

    The same buffer is cut at other places: where a domain begins, where it ends, where the next one begins. Two such places are one number
    of 64 bits, the lower one first.
    """
    lengths, at = pc.max(pc.binary_length(given)).as_py(), pc.find_substring(given, "@")
    if not lengths or lengths > ADDRESS_CHARS_MAX or pc.min(at).as_py() < 1:
        return None
    offsets, data = _offsets(given), given.buffers()[2]
    first, last = offsets[0].as_py(), offsets[len(given)].as_py()
    octets = pc.min_max(pa.Array.from_buffers(pa.uint8(), last - first, [None, data], offset=first))
    if octets["min"].as_py() < _PRINTABLE[0] or octets["max"].as_py() > _PRINTABLE[1]:
        return None
    begin, end = pc.add(pc.add(offsets[:-1], at), 1), offsets[1:]
    places = pc.add(begin.cast(pa.int64()), pc.shift_left(end.cast(pa.int64()), 32))
    cut = pa.Array.from_buffers(pa.string(), 2 * len(given) - 1, [None, places.buffers()[1], data])
    return cut.take(_every_second(len(given)))
