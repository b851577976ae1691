"""Identifiers of people, brought to one form each before they are blinded: e-mail, phone, handle, external id. Pure.

A form may never change once keys were made under it, so each rule is as narrow as it can be. What two people could each own stays two;
what one person writes in two ways becomes one, as far as that is certain:

email     blanks around it off, lower case, Unicode NFC; labels of the domain that are not ASCII as `xn--` (RFC 3492, nothing else mapped).
          Neither dots, tags nor letters such as sharp s are folded: those may be two mailboxes.
phone     E.164 with `+`, by the numbering plans of `phonenumbers`; without `+` only where a country is said.
handle    one leading `@` off, NFKC and case folding until nothing changes (the ligature fi is f and i, sharp s is ss): handles are
          names that people read.
external  as it is, within the system that gave it out.

A login (issuer and subject of a token) has no form of its own: it is blinded as it stands in the token.
"""

import enum
import re
import unicodedata
from collections.abc import Sequence

import msgspec
import phonenumbers

from foundation.mute import Personal
from foundation.words import Country, MalformedWord, parse_slug

EMAIL_CHARS_MAX = 254
"""RFC 5321 section 4.5.3.1.3, less the angle brackets of a path."""
LOCAL_BYTES_MAX = 64
LABEL_CHARS_MAX = 63
PHONE_CHARS_MAX = 40
HANDLE_CHARS_MAX = 64
EXTERNAL_CHARS_MAX = 200
_FOLDS_MAX = 4
PRODUCT = "product"
"""The namespace of e-mail addresses, phone numbers and handles."""
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")
_PHONE = re.compile(r"\+?[\d\s().\-/\u2010-\u2015]+\Z")
_UNSEEN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_SPECIAL = frozenset('"(),:;<>@[\\]')
"""RFC 5322 section 3.2.3, without the dot: these stand only in quoted local parts, which are not taken."""
_PLAIN_CHAR = r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]"
_PLAIN = re.compile(f"{_PLAIN_CHAR}+")
"""The names before @ that nearly everybody has: nothing in them is special or unseen."""
_PLAIN_LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PLAIN_ADDRESS = re.compile(rf"{_PLAIN_CHAR}{{1,{LOCAL_BYTES_MAX}}}@(?:{_PLAIN_LABEL}\.)*{_PLAIN_LABEL}")
"""An address that is in its form as it stands, unless it is too long."""
_JOINING = frozenset("._-")


class IdentifierKind(enum.StrEnum):
    """What an alias is. `login` is not here: it comes from a token, never from a form."""

    EMAIL = "email"
    PHONE = "phone"
    HANDLE = "handle"
    EXTERNAL = "external"


class MalformedIdentifier(ValueError):
    """A text that is no identifier of its kind. The message says what to write instead, and never the text."""


class Identifier(msgspec.Struct, frozen=True):
    """An identifier in its form. `namespace` and `kind` stand beside it when it is blinded (`foundation.blinding`)."""

    kind: IdentifierKind
    namespace: str
    value: Personal[str]


def parse(kind: IdentifierKind, text: str, *, country: Country | None = None, system: str | None = None) -> Identifier:
    """`country`: whose numbering plan a phone number without `+` is written in. `system`: who gave an external id out (a slug).

    Raises MalformedIdentifier.
    """
    match kind:
        case IdentifierKind.EMAIL:
            return Identifier(kind, PRODUCT, Personal(email(text)))
        case IdentifierKind.PHONE:
            return Identifier(kind, PRODUCT, Personal(phone(text, country)))
        case IdentifierKind.HANDLE:
            return Identifier(kind, PRODUCT, Personal(handle(text)))
        case IdentifierKind.EXTERNAL:
            return Identifier(kind, _external_namespace(system), Personal(external(text)))


def email(text: str) -> str:
    """Raises MalformedIdentifier."""
    lowered = text.strip().lower()
    if _PLAIN_ADDRESS.fullmatch(lowered) and len(lowered) <= EMAIL_CHARS_MAX:
        return lowered
    address = unicodedata.normalize("NFC", lowered)
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain or len(address) > EMAIL_CHARS_MAX:
        raise MalformedIdentifier(f"an e-mail address is name@domain, of at most {EMAIL_CHARS_MAX} characters")
    if not _PLAIN.fullmatch(local) and any(char in _SPECIAL or unicodedata.category(char) in _UNSEEN for char in local):
        raise MalformedIdentifier("write the name before @ without blanks, quotes, brackets or invisible characters")
    if len(local.encode()) > LOCAL_BYTES_MAX:
        raise MalformedIdentifier(f"the name before @ is at most {LOCAL_BYTES_MAX} bytes long")
    whole = f"{local}@{'.'.join(_label(label) for label in domain.split('.'))}"
    if len(whole) > EMAIL_CHARS_MAX:
        raise MalformedIdentifier(f"an e-mail address is at most {EMAIL_CHARS_MAX} characters long")
    return whole


def emails(texts: Sequence[str]) -> list[str]:
    """`email` of each, of most of them at once. Raises MalformedIdentifier."""
    lowered = "\n".join(texts).lower().split("\n")
    if len(lowered) != len(texts):  # there is a line end in one of them
        return [email(text) for text in texts]
    plain = map(_PLAIN_ADDRESS.fullmatch, lowered)
    return [
        low if found and len(low) <= EMAIL_CHARS_MAX else email(text)
        for low, found, text in zip(lowered, plain, texts, strict=True)
    ]


def _label(label: str) -> str:
    """A label of a domain in ASCII. The punycode of RFC 3492 alone: nameprep would make one domain of two (`ß` and `ss`)."""
    plain = label
    if not label.isascii() and all(char == "-" or unicodedata.category(char)[0] in "LMN" for char in label):
        plain = "xn--" + label.encode("punycode").decode("ascii")
    if len(plain) > LABEL_CHARS_MAX or not _LABEL.match(plain):
        raise MalformedIdentifier("the domain after @ is letters, digits and hyphens between dots, such as example.org")
    return plain


def phone(text: str, country: Country | None = None) -> str:
    """Raises MalformedIdentifier. A number is judged by its length alone: which ranges are in use changes, and a form may not."""
    written = unicodedata.normalize("NFKC", text.strip())
    if len(written) > PHONE_CHARS_MAX or not _PHONE.match(written):
        raise MalformedIdentifier("a phone number is digits, such as +49 30 1234567, without letters or an extension")
    if not written.startswith("+") and country is None:
        raise MalformedIdentifier("write the phone number with + and its country code, such as +49 30 1234567")
    form, before = _e164(written, country), ""
    for _ in range(_FOLDS_MAX):
        if form == before:
            return form
        form, before = _e164(form, None), form
    raise MalformedIdentifier("this phone number can be read in two ways; write it as +, country code, number")


def _e164(written: str, country: Country | None) -> str:
    try:
        number = phonenumbers.parse(written, country)
    except phonenumbers.NumberParseException as exc:
        raise MalformedIdentifier("no country has such a phone number; begin with + and the country code") from exc
    if not phonenumbers.is_possible_number(number):
        raise MalformedIdentifier("the phone number is too short or too long for its country")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def handle(text: str) -> str:
    """Raises MalformedIdentifier."""
    folded, before = text.strip().removeprefix("@"), ""
    for _ in range(_FOLDS_MAX):
        if folded == before or len(folded) > HANDLE_CHARS_MAX:
            break
        folded, before = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", folded).casefold()), folded
    if not folded or len(folded) > HANDLE_CHARS_MAX or folded != before:
        raise MalformedIdentifier(f"a handle has 1 to {HANDLE_CHARS_MAX} characters")
    if not all(char in _JOINING or unicodedata.category(char)[0] in "LMN" for char in folded):
        raise MalformedIdentifier(
            "a handle is letters and digits of any script, with dots, hyphens and underscores between"
        )
    if folded[0] in _JOINING or folded[-1] in _JOINING or unicodedata.category(folded[0])[0] == "M":
        raise MalformedIdentifier("a handle begins and ends with a letter or digit")
    return folded


def external(text: str) -> str:
    """Raises MalformedIdentifier. Nothing is changed: what looks alike may be two in the system that gave it out."""
    if not 1 <= len(text) <= EXTERNAL_CHARS_MAX or text != text.strip():
        raise MalformedIdentifier(f"an external id has 1 to {EXTERNAL_CHARS_MAX} characters, without blanks around it")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise MalformedIdentifier("an external id has no control characters")
    return text


def _external_namespace(system: str | None) -> str:
    try:
        return f"external:{parse_slug(system or '', 'system')}"
    except MalformedWord as exc:
        raise MalformedIdentifier("say which system gave the external id out, as a slug such as crm") from exc
