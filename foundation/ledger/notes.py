"""C2SP signed notes (https://c2sp.org/signed-note) under Ed25519 keys, which are written as golang.org/x/mod/sumdb/note does. Pure."""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import ClassVar, Generic, NamedTuple, Self, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from foundation.ledger import encoding
from foundation.mute import Secret

NOTE_BYTES_MAX = 1 << 17
"""Room for sixteen signatures of the largest kinds, as the specification asks, and then some."""
SIGNATURES_MAX = 64
_KEY_BYTES = 32
_DASH = "— "


class NoteRefused(Exception):
    """A note is malformed, or no key that is believed has signed it."""


class MalformedKey(Exception):
    """A text is no key for notes."""


class PublicKey:
    """An Ed25519 key of one type, and its name; `text` is `<name>+<key id>+<base64 of type and key>`."""

    TYPE: ClassVar[bytes]

    def __init__(self, name: str, public: bytes) -> None:
        """Raises MalformedKey."""
        self.name = _name(name)
        self.key_id = hashlib.sha256(name.encode() + b"\n" + self.TYPE + public).digest()[:4]
        self.public = public
        try:
            self._key = Ed25519PublicKey.from_public_bytes(public)
        except ValueError as exc:
            raise MalformedKey("an Ed25519 public key has 32 bytes") from exc

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises MalformedKey."""
        name, key_id, key = _parts(text.strip(), cls.TYPE)
        found = cls(name, key)
        if found.key_id.hex() != key_id:
            raise MalformedKey("the key's id is not that of its name and bytes")
        return found

    @property
    def text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encoding.text_of(self.TYPE + self.public)}"

    def made(self, line: "Line") -> bool:
        """Whether a line bears the name and id of this key; what it signs, `checks` says."""
        return line.name == self.name and line.raw[:4] == self.key_id

    def checks(self, message: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


class Verifier(PublicKey):
    """A key that signs notes themselves: a log's."""

    TYPE = b"\x01"


P = TypeVar("P", bound=PublicKey)


class PrivateKey(Generic[P]):
    """A private key and its name; its text is `PRIVATE+KEY+` before what a public one's has, with the seed for the key."""

    PUBLIC: type[P]

    def __init__(self, name: str, seed: Secret[bytes]) -> None:
        """Raises MalformedKey."""
        try:
            self._key = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        except ValueError as exc:
            raise MalformedKey("an Ed25519 private key has 32 bytes") from exc
        self._seed = seed
        self.verifier = self.PUBLIC(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, text: Secret[str]) -> Self:
        """Raises MalformedKey."""
        prefix, _, rest = text.reveal().strip().partition("PRIVATE+KEY+")
        if prefix or not rest:
            raise MalformedKey("a private key begins with PRIVATE+KEY+")
        name, key_id, seed = _parts(rest, cls.PUBLIC.TYPE)
        signer = cls(name, Secret(seed))
        if signer.verifier.key_id.hex() != key_id:
            raise MalformedKey("the key's id is not that of its name and bytes")
        return signer

    @property
    def text(self) -> Secret[str]:
        verifier = self.verifier
        seed = encoding.text_of(verifier.TYPE + self._seed.reveal())
        return Secret(f"PRIVATE+KEY+{verifier.name}+{verifier.key_id.hex()}+{seed}")

    def line(self, signed: bytes) -> str:
        """The line of a note that holds what this key has signed."""
        return f"{_DASH}{self.verifier.name} {encoding.text_of(self.verifier.key_id + signed)}\n"


class Signer(PrivateKey[Verifier]):
    """A key that signs notes themselves: a log's."""

    PUBLIC = Verifier

    def sign(self, text: str) -> str:
        """The note. Raises ValueError for a text that can be none."""
        if not text.endswith("\n") or _has_controls(text):
            raise ValueError("a note's text ends in a newline and has no other control characters")
        return f"{text}\n{self.line(self._key.sign(text.encode()))}"


class Line(NamedTuple):
    """A line of signatures: whose it says it is, and the key id with what follows it."""

    name: str
    raw: bytes

    @property
    def text(self) -> str:
        return f"{_DASH}{self.name} {encoding.text_of(self.raw)}\n"


def opened(note: bytes, verifier: Verifier) -> str:
    """The text that `verifier` has signed; other keys' signatures say nothing. Raises NoteRefused."""
    text, lines = taken_apart(note)
    own = [line for line in lines if verifier.made(line)]
    if not own:
        raise NoteRefused(f"the note bears no signature of {verifier.name}")
    if not all(verifier.checks(text.encode(), line.raw[4:]) for line in own):
        raise NoteRefused(f"the signature of {verifier.name} is not one over this text")
    return text


def taken_apart(note: bytes) -> tuple[str, Sequence[Line]]:
    """Text and lines of signatures, which say nothing by themselves. Raises NoteRefused."""
    if len(note) > NOTE_BYTES_MAX:
        raise NoteRefused(f"a note has at most {NOTE_BYTES_MAX} bytes")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise NoteRefused("a note is UTF-8") from exc
    body, blank, signed = whole.rpartition("\n\n")
    if _has_controls(whole) or not blank or not signed.endswith("\n"):
        raise NoteRefused("a note is text, an empty line and lines of signatures")
    lines = signed.removesuffix("\n").split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise NoteRefused(f"a note has at most {SIGNATURES_MAX} signatures")
    return body + "\n", [_line(line) for line in lines]


def lines_in(raw: bytes) -> Sequence[Line]:
    """Lines of signatures without the note that they belong to. Raises NoteRefused."""
    return taken_apart(b"-\n\n" + raw)[1]


def _line(line: str) -> Line:
    dash, _, rest = line.partition(_DASH)
    name, space, encoded = rest.partition(" ")
    try:
        raw = encoding.bytes_of(encoded)
    except ValueError as exc:
        raise NoteRefused("a signature is base64") from exc
    if dash or not _is_name(name) or not space or len(raw) <= 4:
        raise NoteRefused("a line of a signature is a dash, a name and base64")
    return Line(name, raw)


def _parts(text: str, kind: bytes) -> tuple[str, str, bytes]:
    """Name, key id and key of a text. Raises MalformedKey."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = encoding.bytes_of(encoded)
    except ValueError as exc:
        raise MalformedKey("a key is <name>+<key id>+<base64>") from exc
    if raw[:1] != kind or len(raw) != 1 + _KEY_BYTES:
        raise MalformedKey(f"only Ed25519 keys of type {kind[0]} are known here")
    return name, key_id, raw[1:]


def _name(name: str) -> str:
    """Raises MalformedKey."""
    if not _is_name(name) or any(unicodedata.category(char) == "Cc" for char in name):
        raise MalformedKey("a key's name has neither spaces nor +")
    return name


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(char.isspace() for char in name)


def _has_controls(text: str) -> bool:
    return any(char < " " and char != "\n" for char in text)
