"""Each kind in the forms people write, and what only looks like it."""

import pytest

from cells.egress.scanner.findings import Kind
from cells.egress.scanner.strings import scan_each, scan_text
from cells.egress.scanner.texts import KEYS

JWT = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhYmNkZWZnaCJ9.c2lnbmF0dXJl"

FOUND = [
    (Kind.EMAIL, "write to anna.b+shop@mail.example.co.uk, please", "anna.b+shop@mail.example.co.uk"),
    (Kind.EMAIL, "(用户@例子.公司)", "用户@例子.公司"),
    (Kind.EMAIL, "to=müller@bücher.example;", "müller@bücher.example"),
    (Kind.EMAIL, 'quoted "a.b"@example.org', '"a.b"@example.org'),
    (Kind.EMAIL, "at x@xn--bcher-kva.example", "x@xn--bcher-kva.example"),
    (Kind.PHONE, "+49 30 901820 is ours", "+49 30 901820"),
    (Kind.PHONE, "tel:+1-201-555-0123", "+1-201-555-0123"),
    (Kind.PHONE, "Rückruf: Tel. 030/901820", "030/901820"),
    (Kind.PHONE, '{"phone": {"value": "612 34 56 78"}}', "612 34 56 78"),
    (Kind.PHONE, "携帯 090-1234-5678 まで", "090-1234-5678"),
    (Kind.PHONE, "office (415) 555-2671 or", "(415) 555-2671"),
    (Kind.PHONE, "whatsapp 0049 30 901820", "0049 30 901820"),
    (Kind.PHONE, "freephone, everywhere: +800 1234 5678", "+800 1234 5678"),
    (Kind.PHONE, "ship +870 773 111 632 at sea", "+870 773 111 632"),
    (Kind.PHONE, "phone_2=0301234567 Tel. 1: 030/901820", "0301234567"),
    (Kind.PHONE, "phone_2=0301234567 Tel. 1: 030/901820", "030/901820"),
    (Kind.CARD, "4111 1111 1111 1111", "4111 1111 1111 1111"),
    (Kind.CARD, "pan=378282246310005&x", "378282246310005"),
    (Kind.CARD, "no.5555555555554444, thanks", "5555555555554444"),
    (Kind.CARD, "name,2223003122003222,eur", "2223003122003222"),
    (Kind.CARD, "id-4111-1111-1111-1111-9", "4111-1111-1111-1111"),
    (Kind.MAC, "id-46-BD-E9-7E-54-55-9", "46-BD-E9-7E-54-55"),
    (Kind.CARD, "card 6212345678900000003", "6212345678900000003"),
    (Kind.IBAN, "IBAN DE89 3704 0044 0532 0130 00 and more", "DE89 3704 0044 0532 0130 00"),
    (Kind.IBAN, "account_gb29nwbk60161331926819", "gb29nwbk60161331926819"),
    (Kind.IP, "from 81.2.69.142:443", "81.2.69.142"),
    (Kind.IP, "http://10.3.4.5/x and broker/10.3.4.6", "10.3.4.5"),
    (Kind.IP, "peer [2001:db8::8a2e:370:7334]", "2001:db8::8a2e:370:7334"),
    (Kind.IP, "fe80::1ff:fe23:4567:890a%eth0", "fe80::1ff:fe23:4567:890a"),
    (Kind.MAC, "device 3c:22:fb:10:9a:0e up", "3c:22:fb:10:9a:0e"),
    (Kind.MAC, "device 3c22.fb10.9a0e up", "3c22.fb10.9a0e"),
    (Kind.JWT, f"Bearer {JWT} sent", JWT),
    (Kind.API_KEY, "key AKIAIOSFODNN7EXAMPLE leaked", "AKIAIOSFODNN7EXAMPLE"),
    (Kind.API_KEY, "Authorization: Basic dXNlcjpwYXNzd29yZA==", "Authorization: Basic dXNlcjpwYXNzd29yZA"),
    (Kind.PRIVATE_KEY, "-----BEGIN EC PRIVATE KEY-----\nMHc", "-----BEGIN EC PRIVATE KEY-----"),
    (Kind.URL_CREDENTIALS, "dsn postgresql://app:s3cret@db:5432/main.", "postgresql://app:s3cret@db:5432"),
    (Kind.COORDINATES, "at 52.520008, 13.404954.", "52.520008, 13.404954"),
    (Kind.COORDINATES, '{"lat": 52.52, "lng": 13.40}', 'lat": 52.52, "lng": 13.40'),
    (Kind.COORDINATES, "POINT(13.40 52.52)", "POINT(13.40 52.52"),
    (Kind.COORDINATES, "52°31'12\"N", "52°31'12\"N"),
    (Kind.BIRTH_DATE, "born 12 March 1990 in Ohio", "12 March 1990"),
    (Kind.BIRTH_DATE, "geb. am 12.03.1990", "12.03.1990"),
    (Kind.BIRTH_DATE, "née le 1er janvier 1980", "1er janvier 1980"),
    (Kind.BIRTH_DATE, '"dateOfBirth":"1990-03-12"', "1990-03-12"),
    (Kind.BIRTH_DATE, "生年月日:1990年3月12日", "1990年3月12"),
    (Kind.NATIONAL_ID, "078-05-1121 on file", "078-05-1121"),
    (Kind.NATIONAL_ID, "SSN: 123456788", "123456788"),
    (Kind.NATIONAL_ID, "CPF 529.982.247-25", "529.982.247-25"),
    (Kind.NATIONAL_ID, "131052-308T", "131052-308T"),
    (Kind.NATIONAL_ID, "HKID A123456(3)", "A123456(3)"),
]

CLEAN = [
    "order 123456788 of 20261126",
    "4111 1111 1111 1112 and 0.4111111111111111",
    "v1.2.3.4, version 10.2.3.4, Chrome/120.0.0.0, 127.0.0.1, 1.2.3.4.5",
    "std::vector dead::beef a::b 20:43:06 ::1",
    "SHA256 aa:bb:cc:dd:ee:0f:11:22:33:44 and 00:00:00:00:00:00",
    "icon@2x.png pkg@1.2.3 @scope/name user@host",
    "DE89 3704 0044 0532 0130 01",
    "https://example.com:8080/a@b and redis://:***@host",
    "2026-11-26T20:43:06.123Z +0200 1764189786123 1764189786123456789",
    "phone_verified=true cards_total=704807",
    "p50, p99 = 0.12345, 0.98765",
    "released 12 March 1990",
    "b3b0c442-98fc-4c14-9afb-f4c8996fb924 6212345678900000003",
    'cell_service = "http://127.0.0.1:7440"',
    "percent=14.1, sin=304193536 and a security fix for 2021-23336",
    'SNILS = ObjectIdentifier("1.2.643.100.3")',
    "hotel 12345678 in intelligence",
]


@pytest.mark.parametrize(("kind", "text", "value"), FOUND)
def test_what_people_write_is_found_where_it_stands(kind: Kind, text: str, value: str) -> None:
    spans = [(one.start, one.end) for one in scan_text(text) if one.kind is kind]
    assert value in [text[start:end] for start, end in spans], scan_text(text)


@pytest.mark.parametrize("text", CLEAN)
def test_what_only_looks_like_it_is_not_found(text: str) -> None:
    assert scan_text(text) == []


def test_a_finding_holds_no_value() -> None:
    found = scan_text("anna@example.com")[0]
    assert "anna" not in repr(found)


def test_many_strings_in_one_pass_give_what_each_gives_alone() -> None:
    texts = (
        [text for _, text, _ in FOUND]
        + CLEAN
        + ["", "\n", "phone", "0301234567", "\ud800", "né le", "1980-01-01", "%41" * 9]
    )
    assert scan_each(texts) == [scan_text(text) for text in texts]


def test_a_columns_name_is_a_word_for_each_of_its_values() -> None:
    numbers = ["0301234567", "none", "+49 30 901820"]
    assert [[one.kind for one in each] for each in scan_each(numbers, "home_phone")] == [[Kind.PHONE], [], [Kind.PHONE]]
    assert [(one.start, one.end) for one in scan_each(numbers, "home_phone")[0]] == [(0, 10)]
    assert [len(each) for each in scan_each(numbers)] == [0, 0, 1]


def test_of_two_kinds_in_one_place_the_wider_is_told_and_the_same_number_may_be_two() -> None:
    kinds = [one.kind for one in scan_text("https://app:pw@mail.example.com/x")]
    assert kinds == [Kind.URL_CREDENTIALS]
    both = {one.kind for one in scan_text("phone or CPF: 52998224725")}
    assert both == {Kind.PHONE, Kind.NATIONAL_ID}


SIGNS = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA" * 3
HEX_SIGNS = "0123456789abcdef" * 4
ISSUED = {
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "github": "ghp_" + SIGNS[:36],
    "gitlab": "glpat-" + SIGNS[:20],
    "slack": "xoxb-" + SIGNS[:24],
    "stripe": "sk_live_" + SIGNS[:24],
    "google": "AIza" + SIGNS[:35],
    "openai": "sk-proj-" + SIGNS[:40],
    "npm": "npm_" + SIGNS[:36],
    "pypi": "pypi-AgE" + SIGNS[:48],
    "sendgrid": f"SG.{SIGNS[:22]}.{SIGNS[:43]}",
    "digitalocean": "dop_v1_" + HEX_SIGNS,
    "huggingface": "hf_" + SIGNS[:34],
    "shopify": "shpat_" + HEX_SIGNS[:32],
    "telegram": "123456789:AA" + SIGNS[:33],
    "azure": "AccountKey=" + SIGNS[:86],
    "vault": "hvs." + SIGNS[:24],
    "age": "AGE-SECRET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN" * 3,
    "basic": "Authorization: Basic " + "dXNlcjpwYXNzd29yZA",
}


@pytest.mark.parametrize("issuer", [name for name, _ in KEYS])
def test_a_key_of_every_issuer_is_found_under_its_name(issuer: str) -> None:
    text = f"see {ISSUED[issuer]} there"
    (found,) = (one for one in scan_text(text) if one.kind is Kind.API_KEY)
    assert (text[found.start : found.end], found.scheme) == (ISSUED[issuer], issuer)
