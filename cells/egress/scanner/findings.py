"""What the scanner reports: kind, span and way of decoding of what looks personal or secret. Never the value itself. Pure."""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import TypeAlias

import msgspec


class Kind(StrEnum):
    """In the order in which one kind explains what another also sees in the same place."""

    PRIVATE_KEY = "private_key"
    JWT = "jwt"
    API_KEY = "api_key"
    URL_CREDENTIALS = "url_credentials"
    IBAN = "iban"
    CARD = "card"
    NATIONAL_ID = "national_id"
    EMAIL = "email"
    MAC = "mac"
    IP = "ip"
    COORDINATES = "coordinates"
    BIRTH_DATE = "birth_date"
    PHONE = "phone"
    OPAQUE = "opaque"
    """Nobody can say what it is: not UTF-8, or a decoding beyond a cap. It counts as found."""


RANKS = {kind: rank for rank, kind in enumerate(Kind)}


class Finding(msgspec.Struct, frozen=True, order=True):
    """`start` and `end` count bytes of the original. `path` names the decodings that led there, the outermost first; those at the same
    depth are joined by `+`. `scheme` says which of its kind, where that is known (`br.cpf`), or which cap was reached."""

    start: int
    end: int
    kind: Kind
    path: tuple[str, ...] = ()
    scheme: str = ""


Hit: TypeAlias = tuple[Kind, int, int, str]
"""Kind, start, end and scheme within one text."""

Confirm: TypeAlias = Callable[[bytes, int, int], Iterable[Hit]]
"""A text and where a pattern matched in it → what stands there indeed."""


def settled(found: Iterable[Finding]) -> Iterator[Finding]:
    """Each thing once, by start. Two of a kind that overlap are one, told by the shorter path; what the other one covers, it covers, too:
    a part of a value may stand there unencoded. Within a wider finding another kind is not told, at exactly its place it is: a number may
    be two things."""
    active: list[Finding] = []
    kept: list[Finding] = []
    for one in sorted(found, key=lambda it: (it.start, -it.end, len(it.path), RANKS[it.kind])):
        active = [other for other in active if other.end > one.start]
        again = next((other for other in active if other.kind == one.kind), None)
        if again is not None:
            if len(one.path) >= len(again.path):
                continue
            kept.remove(again)
            active.remove(again)
        elif one.kind is not Kind.OPAQUE and any(_explains(other, one) for other in active):
            continue
        told = one if again is None else msgspec.structs.replace(one, start=again.start, end=max(again.end, one.end))
        active.append(told)
        kept.append(told)
    yield from sorted(kept)


def _explains(wider: Finding, one: Finding) -> bool:
    if wider.kind is Kind.OPAQUE or wider.path != one.path or one.end > wider.end:
        return False
    return (wider.start, wider.end) != (one.start, one.end)
