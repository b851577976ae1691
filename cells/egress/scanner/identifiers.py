"""National identifiers: which schemes there are, how each is written, and which need a word beside them. Pure."""

import functools
import re
from collections.abc import Callable, Iterator
from typing import TypeAlias

from cells.egress.scanner.checks import OWN
from cells.egress.scanner.context import IDENTIFIER, Words
from cells.egress.scanner.findings import Hit, Kind
from cells.egress.scanner.libraries import library
from cells.egress.scanner.necessary import RULES
from cells.egress.scanner.shapes import bare, compact, in_longer_token

Valid: TypeAlias = Callable[[str], bool]

GROUPS_MAX = 8
TOKEN_BYTES_MAX = 40

BY_SHAPE: dict[str, tuple[str, ...]] = {
    "9" * 8: ("au.tfn", "nz.ird"),
    "9" * 9: ("ca.sin", "nl.bsn", "il.idnr", "pt.nif", "au.tfn", "nz.ird", "cz.rc", "us.itin", "us.ssn"),
    "9" * 10: (
        "se.personnummer",
        "is_.kennitala",
        "bg.egn",
        "cz.rc",
        "sk.rc",
        "at.vnr",
        "gb.nhs",
        "ua.rntrc",
        "ec.ci",
        "bg.pnf",
        "dk.cpr",
    ),
    "9" * 11: (
        *(
            "br.cpf",
            "pl.pesel",
            "tr.tckimlik",
            "de.idnr",
            "hr.oib",
            "be.nn",
            "be.bis",
            "no.fodselsnummer",
            "ee.ik",
            "lt.asmens",
        ),
        *("gr.amka", "lv.pvn", "do.cedula", "cu.ni", "ar.cuit", "ru.snils"),
    ),
    "9" * 12: ("in_.aadhaar", "jp.in_", "my.nric", "ru.inn", "se.personnummer"),
    "9" * 13: ("ro.cnp", "za.idnr", "kr.rrn", "th.pin", "si.emso", "ch.ssn", "pk.cnic", "fr.nif"),
    "9" * 14: ("mu.nid",),
    "9" * 15: ("fr.nir",),
    "9" * 16: ("id.nik", "in_.vid"),
    "9" * 18: ("cn.ric",),
    "9" * 17 + "A": ("cn.ric",),
    "99999999A": ("es.dni", "cl.rut"),
    "9999999A": ("ie.pps", "cl.rut"),
    "9999999AA": ("ie.pps",),
    "A9999999A": ("es.nie", "sg.nric"),
    "A999999A": ("hk.hkid",),
    "A9999999": ("hk.hkid",),
    "A999999999": ("tw.id",),
    "AA999999A": ("gb.nino",),
    "AAAAA9999A": ("in_.pan",),
    "999999A999A": ("fi.hetu",),
    "9999999999A": ("fi.hetu",),
    "999999999AA9": ("pt.cc",),
    "AAAAAA99A99A999A": ("it.codicefiscale",),
    "AAAA999999AAAAAA99": ("mx.curp",),
    "AAAA999999AAAAAAA9": ("mx.curp",),
}
"""A number without its separators, digits as 9 and letters as A → schemes of that shape, those of more weight first."""

WRITTEN: tuple[tuple[str, str], ...] = (
    ("us.ssn", r"[0-9]{3}-[0-9]{2}-[0-9]{4}"),
    ("us.itin", r"9[0-9]{2}-[0-9]{2}-[0-9]{4}"),
    ("br.cpf", r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}"),
    ("ca.sin", r"[0-9]{3}-[0-9]{3}-[0-9]{3}"),
    ("fi.hetu", r"[0-3][0-9][01][0-9]{3}[\-+A-FU-Y][0-9]{3}[0-9A-Y]"),
    ("se.personnummer", r"[0-9]{2}[01][0-9][0-3][0-9][\-+][0-9]{4}"),
    ("lv.pvn", r"[0-3][0-9][01][0-9]{3}-[0-9]{5}"),
    ("kr.rrn", r"[0-9]{2}[01][0-9][0-3][0-9]-[1-8][0-9]{6}"),
    ("cn.ric", r"[1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3][0-9]{4}[0-9Xx]"),
    ("be.nn", r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}"),
    ("ch.ssn", r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}"),
    ("cl.rut", r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9Kk]"),
    ("fr.nir", r"[12] [0-9]{2} [0-9]{2} [0-9][0-9AB] [0-9]{3} [0-9]{3} [0-9]{2}"),
    ("cz.rc", r"[0-9]{6}/[0-9]{3,4}"),
    ("th.pin", r"[1-8]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]"),
    ("my.nric", r"[0-9]{2}[01][0-9][0-3][0-9]-[0-9]{2}-[0-9]{4}"),
    ("ru.snils", r"[0-9]{3}-[0-9]{3}-[0-9]{3}[ \-][0-9]{2}"),
    ("pk.cnic", r"[1-7][0-9]{4}-[0-9]{7}-[0-9]"),
    ("ar.cuit", r"(?:2[0347]|3[034])-[0-9]{8}-[0-9]"),
    ("do.cedula", r"[0-9]{3}-[0-9]{7}-[0-9]"),
    ("es.nie", r"[XYZ]-?[0-9]{7}-?[A-Z]"),
    ("es.dni", r"[0-9]{8}-[A-Z]|[0-9]{2}\.[0-9]{3}\.[0-9]{3}-?[A-Z]"),
    ("it.codicefiscale", r"[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]"),
    ("mx.curp", r"[A-Z]{4}[0-9]{6}[HM][A-Z]{5}[0-9A-Z][0-9]"),
    ("hk.hkid", r"[A-Z]{1,2}[0-9]{6}\([0-9A]\)"),
)
"""How a number is written so that no word is needed: its own separators or letters, and its check digit."""

PATTERN = rf"(?:\b|_)(?:{'|'.join(form for _, form in WRITTEN)})(?:\b|_|$)|[A-Z]{{1,2}}[0-9]{{6}}\([0-9A]\)"
PATTERN_BEGIN = (
    r"(?:\b|_)(?:[0-9]{3}-(?:[0-9]{2,3}|[0-9]{7})-|[0-9]{3}\.[0-9]{3}\.|[0-9]{6}[\-+/][0-9]|[0-3][0-9][01][0-9]{3}[A-FU-Y][0-9]{3}"
    r"|[1-9][0-9]{5}(?:19|20)[0-9]{2}[01][0-9][0-3]|[0-9]{2}\.[0-9]{2}\.[0-9]{2}-|756\.[0-9]{4}\.|[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}"
    r"|[12] [0-9]{2} [0-9]{2} |[1-8]-[0-9]{4}-[0-9]|[1-7][0-9]{4}-[0-9]{7}|(?:2[0347]|3[034])-[0-9]{8}|[XYZ]-?[0-9]{7}|[0-9]{8}-[A-Z]"
    r"|[A-Z]{6}[0-9]{2}[A-EHLMPRST]|[A-Z]{4}[0-9]{6}[HM]|[A-Z]{1,2}[0-9]{6}\()|[A-Z]{1,2}[0-9]{6}\("
)
"""How each of them begins: the gate looks for that alone."""
_WRITTEN = tuple((name, re.compile(form.encode())) for name, form in WRITTEN)
_ANNOUNCED = Words(IDENTIFIER, r"[0-9](?:[ .\-/+()]*[0-9A-Za-z]){3}")
ANNOUNCED, WORDS = _ANNOUNCED.pattern, _ANNOUNCED.words
_TOKEN = re.compile(rb"[0-9A-Za-z]+(?:[ .\-/+()]{1,2}[0-9A-Za-z]+)*")
_DOTTED = re.compile(rb"[0-9]{1,4}(?:\.[0-9]{1,6}){4}")
"""An object identifier or a version: no scheme is written in so many parts with dots alone."""
_PART_END = re.compile(rb"[0-9A-Za-z](?![0-9A-Za-z])")
_SHAPED = str.maketrans("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", "9" * 10 + "A" * 26)


@functools.cache
def _check(scheme: str) -> Valid:
    """The library's check, loaded when a number of its shape is first met."""
    if scheme in OWN:
        return OWN[scheme]
    valid: Valid = library(f"stdnum.{scheme}").is_valid
    return valid


def _schemes(number: str) -> Iterator[str]:
    """The schemes under which letters and digits without separators are a valid number."""
    schemes = BY_SHAPE.get(number.translate(_SHAPED), ())
    if not schemes or len(set(number)) == 1:
        return
    digits = tuple(map(int, number)) if number.isdigit() else ()
    for scheme in schemes:
        rule = RULES.get((scheme, len(digits)))
        if rule is not None and not rule(digits):
            continue
        written = (
            f"{number[:-4]}-{number[-4:]}" if scheme in ("se.personnummer", "fi.hetu") and number.isdigit() else number
        )
        if _check(scheme)(written):
            yield scheme


def written(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """A number in a form of its own that its check digit bears out."""
    start, end = bare(data, start, end)
    raw = data[start:end]
    if in_longer_token(data, start, end):
        return
    for scheme, form in _WRITTEN:
        if form.fullmatch(raw) and _check(scheme)(raw.decode("ascii").upper() if scheme in _SIGNED else compact(raw)):
            yield Kind.NATIONAL_ID, start, end, scheme
            return


_SIGNED = frozenset({"fi.hetu", "se.personnummer"})
"""Schemes whose separator says the century."""


def announced(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """After a word that speaks of an identifier: any number whose check digit some scheme bears out. The longest beginning counts."""
    near = _ANNOUNCED.near(data, start, end)
    if near is None:
        return
    digit, _ = near
    begin = digit
    while begin > max(start, digit - 6) and data[begin - 1 : begin].isalpha():
        begin -= 1
    found = _TOKEN.match(data, begin, begin + TOKEN_BYTES_MAX)
    if found is None:
        return
    if _DOTTED.match(data, begin):
        return
    ends = [begin + part.end() for part in _PART_END.finditer(found.group())][:GROUPS_MAX]
    for stop in reversed(ends):
        raw = data[begin:stop]
        scheme = next(_schemes(compact(raw)), None) or _signed(raw)
        if scheme is not None and not data[stop : stop + 1].isalnum():
            yield Kind.NATIONAL_ID, begin, stop, scheme
            return


def _signed(raw: bytes) -> str | None:
    number = raw.decode("ascii").upper()
    return next((scheme for scheme in sorted(_SIGNED) if 10 <= len(number) <= 13 and _check(scheme)(number)), None)
