"""E-mail addresses, keys and tokens, URLs with credentials, birth dates: patterns, and what confirms them. Pure."""

import re
from collections.abc import Iterator

from cells.egress.scanner.context import BIRTH, Words
from cells.egress.scanner.findings import Hit, Kind

EMAIL = (
    r"(?:[\p{L}\p{M}\p{N}._%+\-!#$^~]+|\"[^\"\s]+\")@"
    r"(?:(?:[\p{L}\p{M}\p{N}\-]+[.。])+(?:xn--[A-Za-z0-9\-]+|[\p{L}\p{M}]{2,})|\[[0-9A-Fa-f.:]{7,45}\])"
)
EMAIL_SIGN = rb"@(?:\[|[A-Za-z0-9.\-\x80-\xff]*(?:\.|\xe3\x80\x82)[A-Za-z\x80-\xff]{2})"
"""In every address, from its at sign on. Of bytes: an ideographic full stop has three, other letters two at least."""
_PICTURE = re.compile(rb"@[0-9.]+x\.[A-Za-z]+\Z")


def emails(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """An address. `icon@2x.png` is a picture; of o'brien@example.org the part from the last unusual sign is enough to be found."""
    if _PICTURE.search(data, start, end) is None:
        yield Kind.EMAIL, start, end, ""


KEYS: tuple[tuple[str, str], ...] = (
    ("aws", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    ("github", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("gitlab", r"\bglpat-[A-Za-z0-9_\-]{20,}"),
    ("slack", r"\bxox[abeoprs]-[A-Za-z0-9\-]{10,}|hooks\.slack\.com/services/[A-Za-z0-9/]{20,}"),
    ("stripe", r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9]{16,}"),
    ("google", r"\bAIza[A-Za-z0-9_\-]{35}|\bya29\.[A-Za-z0-9_\-]{20,}|\bGOCSPX-[A-Za-z0-9_\-]{20,}"),
    ("openai", r"\bsk-(?:proj-|svcacct-|ant-)?[A-Za-z0-9_\-]{32,}"),
    ("npm", r"\bnpm_[A-Za-z0-9]{36}"),
    ("pypi", r"\bpypi-AgE[A-Za-z0-9_\-]{40,}"),
    ("sendgrid", r"\bSG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"),
    ("digitalocean", r"\bdo[opr]_v1_[a-f0-9]{64}"),
    ("huggingface", r"\bhf_[A-Za-z0-9]{30,}"),
    ("shopify", r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    ("telegram", r"\b[0-9]{8,10}:AA[A-Za-z0-9_\-]{32,}"),
    ("azure", r"AccountKey=[A-Za-z0-9+/]{40,}"),
    ("vault", r"\bhvs\.[A-Za-z0-9_\-]{24,}"),
    ("age", r"AGE-SECRET-KEY-1[A-Z0-9]{50,}"),
    ("basic", r"(?i)authorization[\"']?[ ]?[:=][ ]?[\"']?basic [A-Za-z0-9+/]{8,}"),
)
JWT = r"eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"
PRIVATE_KEY = r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
API_KEY = "|".join(f"(?:{form})" for _, form in KEYS)
JWT_BEGIN, PRIVATE_KEY_BEGIN = "eyJ", "-----BEGIN "
API_KEY_BEGIN = (
    r"A[KSB]IA[A-Z2-7]|ACCA[A-Z2-7]|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|hooks\.slack\.com|[srp]k_(?:live|test)_|whsec_|AIza|ya29\."
    r"|GOCSPX-|\bsk-|npm_|pypi-AgE|SG\.|do[opr]_v1_|hf_|shp(?:at|ca|pa|ss)_|\b[0-9]{8,10}:AA|AccountKey=|hvs\.|AGE-SECRET-KEY-|(?i:authorization)"
)
"""What each of them begins with for certain. The gate looks for that alone: runs of so many letters and digits in one set with words are
more states than it ever knows."""
_KEYS = tuple((name, re.compile(form.encode())) for name, form in KEYS)


def keys(data: bytes, start: int, end: int) -> Iterator[Hit]:
    raw = data[start:end]
    yield Kind.API_KEY, start, end, next((name for name, form in _KEYS if form.match(raw)), "")


def jwts(data: bytes, start: int, end: int) -> Iterator[Hit]:
    yield Kind.JWT, start, end, ""


def private_keys(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """From its first line; whoever releases nothing of a stream that has one needs no more."""
    yield Kind.PRIVATE_KEY, start, end, ""


URL_CREDENTIALS = r"(?i)\b[a-z][a-z0-9+.\-]*://[^\s/?#:@\"'<>]*:[^\s/?#@\"'<>]+@[^\s/?#\"'<>]+"
URL_CREDENTIALS_SIGN = rb"://[^\t\n\f\r /?#:@\"'<>]*:[^\t\n\f\r /?#@\"'<>]+@"
_HIDDEN = re.compile(rb":(?:\*+|x{3,}|\[?<?(?:redacted|hidden|password|masked)>?\]?)@", re.IGNORECASE)


def url_credentials(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """A password between `://` and `@` that nobody has covered already."""
    if _HIDDEN.search(data, start, end) is None:
        yield Kind.URL_CREDENTIALS, start, end, ""


BESIDE = Words(BIRTH, "[0-9]{1,2}")
BIRTH_DATE, BIRTH_WORDS = BESIDE.pattern, BESIDE.words
_YEAR = r"(?:1[89]|20)[0-9]{2}"
_MONTH = r"(?:1[0-2]|0?[1-9])"
_DAY = r"(?:3[01]|[12][0-9]|0?[1-9])"
_NAME = r"[^\W\d_]{3,}"
_OF = r"(?:\w+ )?"
_DATE = re.compile(
    rf"(?:{_YEAR}[-./年년] ?{_MONTH}[-./月월] ?{_DAY}|{_YEAR}{_MONTH}{_DAY}|{_MONTH}[-./]{_DAY}[-./]{_YEAR}"
    rf"|{_DAY}[-./ ]{{1,2}}{_MONTH}[-./ ]{{1,2}}(?:{_YEAR}|[0-9]{{2}})"
    rf"|{_DAY}(?:st|nd|rd|th|er|º|ª|\.)?,? {_OF}{_NAME}\.?,? {_OF}{_YEAR}"
    rf"|{_NAME}\.? {_DAY}(?:st|nd|rd|th)?,? {_YEAR}|{_YEAR}[.,]? {_OF}{_NAME}\.? {_DAY})(?![0-9])"
)
AROUND_BYTES = 64


def birth_dates(data: bytes, start: int, end: int) -> Iterator[Hit]:
    """A date of any usual form at or just around the first digit after the word."""
    near = BESIDE.near(data, start, end)
    if near is None:
        return
    digit, _ = near
    low = max(start, digit - AROUND_BYTES)
    before = data[low:digit].decode("utf-8", "ignore")
    after = data[digit : digit + AROUND_BYTES].decode("utf-8", "ignore")
    found = _DATE.search(before + after)
    if found is None or found.end() <= len(before):
        return
    text = before + after
    begin = (
        digit - len(text[found.start() : len(before)].encode())
        if found.start() < len(before)
        else digit + len(after[: found.start() - len(before)].encode())
    )
    yield Kind.BIRTH_DATE, begin, begin + len(found.group().encode()), ""
