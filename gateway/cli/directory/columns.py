"""Rows of CSV blinded column by column: the common case of `rows.Reader`, without an object for each row."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any

import msgspec

from directory.bulk.packed import Common, KeyName, Packed, packed_of
from foundation.blinding import LOGIN, Blinder, text_of
from foundation.identifiers import PRODUCT, MalformedIdentifier, email, handle, phone
from gateway.cli.directory.fields import IDENTIFIERS, NAMING, FieldMap, value_of
from gateway.cli.directory.lines import Columns

_FORMS: dict[str, Callable[[str], str]] = {"email": email, "phone": phone, "handle": handle}
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
        said = list(zip(*self._said(found), *(map(bool, column) for column in keys), strict=False))
        commons = {one: self._common(one) for one in dict.fromkeys(said)}
        if None in commons.values():
            left_out |= {place for place, one in enumerate(said) if commons[one] is None}
        places: Sequence[int] = range(len(found))
        if left_out:
            places = [place for place in places if place not in left_out]
            keys, said = [[column[place] for place in places] for column in keys], [said[place] for place in places]
        if not places:
            return None, sorted(left_out)
        order: dict[Common | None, int] = {}
        of_said = {one: order.setdefault(commons[one], len(order)) for one in dict.fromkeys(said)}
        all_keys = text_of(b"".join(chain.from_iterable(zip(*keys, strict=True))))
        numbers = [first + place for place in places]
        good = packed_of(
            [one for one in order if one is not None], list(map(of_said.__getitem__, said)), numbers, all_keys
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
        keys, form, values = [_NONE] * len(found), _FORMS[kind], self._values(kind, found)
        places = [place for place, value in enumerate(values) if value]
        if not places:
            return keys
        try:
            formed = [form(values[place]) for place in places]
        except MalformedIdentifier:
            places = [place for place in places if _is_form(form, values[place])]
            left_out |= {place for place, value in enumerate(values) if value}.difference(places)
            formed = [form(values[place]) for place in places]
        blinded = self._blinder.blind_all(PRODUCT, kind, formed)
        if len(places) == len(found):
            return blinded
        _put(keys, places, blinded)
        return keys

    def _said(self, found: Columns) -> list[Iterable[str]]:
        """What rows say beside who they are, by column."""
        return [found.named(self._columns[field]) or repeat("", len(found)) for field in self._stating]

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


def _is_form(form: Callable[[str], str], value: str) -> bool:
    try:
        form(value)
    except MalformedIdentifier:
        return False
    return True


def _put(keys: list[bytes], places: Sequence[int], blinded: Sequence[bytes]) -> None:
    for place, one in zip(places, blinded, strict=True):
        keys[place] = one
