"""Rows of CSV blinded column by column: the common case of `rows.Reader`, without an object for each row."""

from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from typing import Any

import msgspec

from directory.bulk.packed import Common, KeyName, Packed, packed_of
from foundation.blinding import LOGIN, Blinder, text_of
from foundation.identifiers import PRODUCT, MalformedIdentifier, emails, handle, phone
from gateway.cli.directory.fields import IDENTIFIERS, NAMING, FieldMap, value_of
from gateway.cli.directory.lines import Columns


def _each(form: Callable[[str], str]) -> Callable[[Sequence[str]], list[str]]:
    return lambda values: list(map(form, values))


_FORMS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "email": emails,
    "phone": _each(phone),
    "handle": _each(handle),
}
_NONE = b""


class Blinding:
    """What it gives out is what `Reader.row` says of the rows; a row about which there is anything to say is left out."""

    def __init__(self, mapped: FieldMap, blinder: Blinder) -> None:
        self._columns = mapped.columns
        self._constants = mapped.constants
        self._stating = [field for field in mapped.columns if field not in NAMING]
        self._blinder = blinder

    def packed(self, first: int, found: Columns) -> tuple[Packed | None, list[int]]:
        """The rows, `first` being the number of the first one, and which were left out, by their places."""
        left_out: set[int] = set()
        keys = [self._logins(found, left_out), *(self._aliases(kind, found, left_out) for kind in IDENTIFIERS)]
        rows, whole = _apart([*self._said(found), *map(_stands, keys)], len(found))
        commons = {one: self._common(whole(one)) for one in dict.fromkeys(rows)}
        if None in commons.values():
            left_out |= {place for place, one in enumerate(rows) if commons[one] is None}
        numbers: Sequence[int] = range(first, first + len(found))
        keys = [column for column in keys if column]
        if left_out:
            places = [place for place in range(len(found)) if place not in left_out]
            keys, rows = [[column[place] for place in places] for column in keys], [rows[place] for place in places]
            numbers = [first + place for place in places]
        if not rows:
            return None, sorted(left_out)
        order: dict[Common | None, int] = {}
        of_rows = {one: order.setdefault(commons[one], len(order)) for one in dict.fromkeys(rows)}
        good = packed_of(
            [one for one in order if one is not None], list(map(of_rows.__getitem__, rows)), numbers, _row_by_row(keys)
        )
        return good, sorted(left_out)

    def _values(self, field: str, found: Columns) -> Sequence[str]:
        """Empty where it is not stated."""
        stated = self._constants.get(field)
        if stated is not None:
            return [stated] * len(found)
        return found.named(self._columns[field]) or [""] * len(found)

    def _logins(self, found: Columns, left_out: set[int]) -> list[bytes]:
        """The keys of issuer and sub, nothing where neither is stated."""
        subs, constant = self._values("sub", found), self._constants.get("issuer")
        if constant is not None and all(subs):
            return self._blinder.blind_all(constant, LOGIN, subs)
        by_issuer: dict[str, list[int]] = {}
        for place, (issuer, sub) in enumerate(zip(self._values("issuer", found), subs, strict=True)):
            if issuer and sub:
                by_issuer.setdefault(issuer, []).append(place)
            elif issuer or sub:
                left_out.add(place)
        keys = [_NONE] * len(found)
        for issuer, places in by_issuer.items():
            _put(keys, places, self._blinder.blind_all(issuer, LOGIN, [subs[place] for place in places]))
        return keys

    def _aliases(self, kind: str, found: Columns, left_out: set[int]) -> list[bytes]:
        """The keys of one kind, nothing where it is not stated; none at all where no row states it."""
        form, values = _FORMS[kind], self._values(kind, found)
        places: Sequence[int] = range(len(found))
        if not all(values):
            places = [place for place, value in enumerate(values) if value]
            values = [values[place] for place in places]
        if not places:
            return []
        try:
            formed = form(values)
        except MalformedIdentifier:
            alone = {place: _form_of(form, value) for place, value in zip(places, values, strict=True)}
            left_out |= {place for place, one in alone.items() if one is None}
            kept = {place: one for place, one in alone.items() if one is not None}
            places, formed = list(kept), list(kept.values())
        blinded = self._blinder.blind_all(PRODUCT, kind, formed)
        if len(places) == len(found):
            return blinded
        keys = [_NONE] * len(found)
        _put(keys, places, blinded)
        return keys

    def _said(self, found: Columns) -> list[Sequence[str]]:
        """What rows say beside who they are, by column; one value where all say the same."""
        return [found.named(self._columns[field]) or ("",) for field in self._stating]

    def _common(self, said: tuple[Any, ...]) -> Common | None:
        """None where it is not as it should be."""
        kinds = [kind for kind, stated in zip((LOGIN, *IDENTIFIERS), said[len(self._stating) :], strict=True) if stated]
        stated = {field: value for field, value in self._constants.items() if field not in NAMING}
        stated |= dict(zip(self._stating, said, strict=False))
        body = {field: value_of(field, value) for field, value in stated.items()}
        names = [KeyName(kind, kid) for kind in kinds for kid in self._blinder.kids]
        try:
            return msgspec.convert(
                {**{name: one for name, one in body.items() if one is not None}, "keys": names}, Common
            )
        except msgspec.ValidationError:
            return None


def _apart(
    columns: Sequence[Sequence[Any]], count: int
) -> tuple[list[tuple[Any, ...]], Callable[[Iterable[Any]], tuple[Any, ...]]]:
    """Each row's values in those of `columns` in which rows differ, and what makes such a row whole again. Most columns of a batch say the
    same all through; one that does may hold its value once."""
    differ = [len(set(column)) > 1 for column in columns]
    rows = list(zip(*compress(columns, differ), strict=True)) or [()] * count

    def whole(row: Iterable[Any]) -> tuple[Any, ...]:
        values = iter(row)
        return tuple(next(values) if other else column[0] for column, other in zip(columns, differ, strict=True))

    return rows, whole


def _stands(keys: list[bytes]) -> Sequence[bool]:
    """Whether each row has such a key; once where all have, or none."""
    if not keys:
        return (False,)
    return (True,) if all(keys) else list(map(bool, keys))


def _row_by_row(columns: Sequence[list[bytes]]) -> bytes:
    """Keys by column as the text that a batch holds them in."""
    keys = [_NONE] * sum(map(len, columns))
    for nth, column in enumerate(columns):
        keys[nth :: len(columns)] = column
    return text_of(b"".join(keys))


def _form_of(form: Callable[[Sequence[str]], list[str]], value: str) -> str | None:
    try:
        return form([value])[0]
    except MalformedIdentifier:
        return None


def _put(keys: list[bytes], places: Sequence[int], blinded: Sequence[bytes]) -> None:
    for place, one in zip(places, blinded, strict=True):
        keys[place] = one
