"""Properties of identifiers' forms: one form each, the same form of a form, nothing told of what was written."""

import re
import string
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foundation import identifiers
from foundation.blinding import Blinder, BlindingKey, text_of
from foundation.identifiers import (
    Identifier,
    IdentifierKind,
    MalformedIdentifier,
    email,
    emails,
    external,
    handle,
    parse,
    phone,
)
from foundation.mute import Secret
from foundation.words import Country

BLINDER_KEYS = (BlindingKey("k1", Secret(b"b" * 32)),)
BLINDER = Blinder(BLINDER_KEYS)
anything = st.text(st.characters(), max_size=30)
kinds = st.sampled_from(list(IdentifierKind))


def formed(kind: IdentifierKind, text: str) -> str | None:
    try:
        return parse(kind, text, country=Country("DE"), system="crm").value.reveal()
    except MalformedIdentifier:
        return None


@given(kinds, anything | st.from_regex(r"[\w.+-]{1,12}@[\w-]{1,10}(\.[\w-]{1,8}){0,2}", fullmatch=True))
@settings(deadline=None, max_examples=400)
@example(IdentifierKind.EMAIL, "\u0130@example.org")
@example(IdentifierKind.EMAIL, "\u0391\u03a3@b\u00fccher.de")
@example(IdentifierKind.HANDLE, "@\ufb03ne\u1e9e")
@example(IdentifierKind.HANDLE, "@\u0345a")
@example(IdentifierKind.PHONE, "+44 (0)20 7946 0958")
def test_the_form_of_a_form_is_itself(kind: IdentifierKind, text: str) -> None:
    form = formed(kind, text)
    if form is not None:
        assert formed(kind, form) == form


@given(st.from_regex(r"\+[1-9][0-9]{5,14}", fullmatch=True))
@settings(deadline=None, max_examples=400)
def test_a_number_means_the_same_written_in_its_own_country_or_anywhere(text: str) -> None:
    """What begins with + is never read by somebody's national rules."""
    read = {country: formed_in(text, country) for country in ("DE", "US", "IN", "AR", "IT")}
    assert len(set(read.values())) == 1


def formed_in(text: str, country: str) -> str | None:
    try:
        return phone(text, Country(country))
    except MalformedIdentifier:
        return None


@given(kinds, st.text(st.sampled_from("ab@.-_ \u0000\u200b\u2003+1\ud800"), max_size=12))
def test_a_refusal_says_what_to_do_and_nothing_of_what_was_written(kind: IdentifierKind, text: str) -> None:
    written = f"/\u00e9{text}\u00e9/\n "
    with pytest.raises(MalformedIdentifier) as refused:
        parse(kind, written)
    said = str(refused.value)
    assert len(said) > 20
    assert said.isascii()


@given(
    st.text(string.ascii_letters + string.digits + ".+-", min_size=1, max_size=20),
    st.sampled_from(["", " ", "\t", "\n "]),
)
def test_an_address_is_the_same_whatever_its_case_and_blanks(local: str, blank: str) -> None:
    address = f"{local}@Example.org"
    assert email(blank + address.upper() + blank) == email(address) == f"{local.lower()}@example.org"


def test_addresses_that_may_be_two_mailboxes_stay_two_and_one_written_two_ways_is_one() -> None:
    assert email("stra\u00dfe@example.de") != email("strasse@example.de")
    assert email("a.b+c@example.de") != email("ab@example.de")
    assert email("Ren\u00e9@Example.FR") == email("rene\u0301@example.fr")
    assert email("a@B\u00fccher.de") == email("a@bu\u0308cher.de") == email("a@XN--bcher-kva.de")
    assert email("a@stra\u00dfe.de") != email("a@strasse.de")


@pytest.mark.parametrize(
    "text",
    ["", "a", "@", "a@", "@b", "a b@c.de", "a@b..de", "a@b.de.", "a@-b.de", "a@b_c.de", '"a b"@c.de', "a@b@c.de", "a\u200b@b.de",
     "a@[1.2.3.4]", "l" * 65 + "@b.de", "a@" + "b" * 64 + ".de", "a@" + ".".join(["b" * 60] * 5), "a\ue000@b.de"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(MalformedIdentifier):
        email(text)


@pytest.mark.parametrize(
    ("text", "country", "form"),
    [
        ("+49 30 1234567", None, "+49301234567"),
        ("030/1234567", "DE", "+49301234567"),
        ("0049 30 1234567", "DE", "+49301234567"),
        ("+44 (0)20 7946 0958", None, "+442079460958"),
        ("(415) 555-2671", "US", "+14155552671"),
        ("+39 06 1234 5678", None, "+390612345678"),
        ("\uff0b\uff14\uff19 30 1234567", None, "+49301234567"),
        ("098765 43210", "IN", "+919876543210"),
    ],
)
def test_a_number_has_one_form_however_it_is_written(text: str, country: str | None, form: str) -> None:
    assert phone(text, None if country is None else Country(country)) == form


@pytest.mark.parametrize(
    "text",
    [
        "030 1234567",
        "+49",
        "+4930123456789012345",
        "+1 800 FLOWERS",
        "+49 30 1234567 ext. 5",
        "+999 1234567",
        "",
        "+49 30;ext=1",
    ],
)
def test_what_is_no_number_anywhere_is_refused(text: str) -> None:
    with pytest.raises(MalformedIdentifier):
        phone(text)


def test_handles_that_people_read_as_one_are_one() -> None:
    assert handle("@Ma\u00dfstab") == handle("MASSSTAB") == "massstab"
    assert handle("\ufb01n") == "fin"
    assert handle("Ren\u00e9") == handle("rene\u0301")
    assert handle("\uff21lice_1") == "alice_1"


@pytest.mark.parametrize(
    "text", ["", "@", "@@a", "a b", ".a", "a-", "a/b", "a\u200db", "\u0301a", "x" * 65, "\U0001f600", "\ufdfa" * 20]
)
def test_what_is_no_handle_is_refused(text: str) -> None:
    with pytest.raises(MalformedIdentifier):
        handle(text)


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=200).filter(
        lambda text: text == text.strip()
    )
)
def test_an_external_id_stays_as_it_is(text: str) -> None:
    assert external(text) == text


def test_an_external_id_is_its_systems_own() -> None:
    one, other = (parse(IdentifierKind.EXTERNAL, "42", system=system) for system in ("crm", "shop"))
    assert BLINDER.alias(one) != BLINDER.alias(other)
    with pytest.raises(MalformedIdentifier, match="which system"):
        parse(IdentifierKind.EXTERNAL, "42")


def test_one_text_as_two_kinds_has_two_lookup_keys_and_prints_nowhere() -> None:
    as_handle = parse(IdentifierKind.HANDLE, "491234567")
    as_external = parse(IdentifierKind.EXTERNAL, "491234567", system="crm")
    assert BLINDER.alias(as_handle) != BLINDER.alias(as_external)
    assert "491234567" not in repr(as_handle)
    assert isinstance(as_handle, Identifier)
    assert unicodedata.is_normalized("NFC", as_handle.value.reveal())


parts = st.text(string.ascii_letters + string.digits + "._%+-@ ", max_size=70)


@given(
    st.builds("{}@{}".format, parts, parts)
    | st.from_regex(r"[\w.+-]{1,66}@[\w-]{1,65}(\.[\w-]{1,65}){0,3}", fullmatch=True)
)
@settings(deadline=None, max_examples=400)
@example("a" * 64 + "@" + ("b" * 63 + ".") * 2 + "b" * 61)
@example("a" * 65 + "@example.org")
@example("a@" + "b" * 64 + ".org")
@example("a@b-.org")
@example("a@example.org\n")
def test_a_plain_address_is_what_the_long_way_makes_of_it(text: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(identifiers, "_PLAIN_ADDRESS", re.compile(r"(?!)"))
        long = formed(IdentifierKind.EMAIL, text)
    assert formed(IdentifierKind.EMAIL, text) == long


ADDRESSES = st.from_regex(r"[A-Za-z.+]{1,4}@[A-Za-z-]{1,4}(\.[a-z]{1,3}){0,2}", fullmatch=True) | st.sampled_from(
    [
        "K\u0130@e.org",
        " a@b ",
        "\u212a@b",
        "a\n@b",
        "a@b\n",
        "\u0391\u03a3@b",
        "a@b\u00fccher.de",
        "a" * 65 + "@b",
        "no address",
        "",
    ]
)


@given(st.lists(ADDRESSES, max_size=6))
@settings(deadline=None, max_examples=300)
def test_many_addresses_are_formed_as_each_is(texts: list[str]) -> None:
    alone = [formed(IdentifierKind.EMAIL, text) for text in texts]
    try:
        together: list[str] | None = emails(texts)
    except MalformedIdentifier:
        together = None
    assert together == (None if None in alone else alone)


@given(st.lists(anything, max_size=5), anything, st.sampled_from(["login", "email"]))
@settings(deadline=None)
def test_many_are_blinded_as_each_is(values: list[str], namespace: str, kind: str) -> None:
    both = Blinder((*BLINDER_KEYS, BlindingKey("k0", Secret(b"c" * 32))))
    for blinder in (BLINDER, both):
        together = text_of(b"".join(blinder.blind_all(namespace, kind, values))).decode()
        assert together == "".join(key for value in values for key in blinder.blind(namespace, kind, value))
