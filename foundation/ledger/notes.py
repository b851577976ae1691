"""C2SP signed notes (https://c2sp.org/signed-note) under Ed25519 keys, which are written as golang.org/x/mod/sumdb/note does. Pure."""

import hashlib
import unicodedata
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from foundation.ledger import encoding
from foundation.mute import Secret

NOTE_BYTES_MAX = 1 << 16
SIGNATURES_MAX = 64
_ED25519 = b"\x01"
_KEY_BYTES = 32
_DASH = "— "


class NoteRefused(Exception):
    """A note is malformed, or no key that is believed has signed it."""


class MalformedKey(Exception):
    """A text is no key for notes."""


class Verifier:
    """A public key and its name; `text` is `<name>+<key id>+<base64 of type and key>`."""

    def __init__(self, name: str, public: bytes) -> None:
        """Raises MalformedKey."""
        self.name = _name(name)
        self.key_id = hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]
        self._public = public
        try:
            self._key = Ed25519PublicKey.from_public_bytes(public)
        except ValueError as exc:
            raise MalformedKey("an Ed25519 public key has 32 bytes") from exc

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """Raises MalformedKey."""
        name, key_id, key = _parts(text.strip())
        verifier = cls(name, key)
        if verifier.key_id.hex() != key_id:
            raise MalformedKey("the key's id is not that of its name and bytes")
        return verifier

    @property
    def text(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encoding.text_of(_ED25519 + self._public)}"

    def verifies(self, text: str, signature: bytes) -> bool:
        try:
            self._key.verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


class Signer:
    """A private key and its name; its text is `PRIVATE+KEY+` before what a verifier's has, with the seed for the key."""

    def __init__(self, name: str, seed: Secret[bytes]) -> None:
        """Raises MalformedKey."""
        try:
            self._key = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        except ValueError as exc:
            raise MalformedKey("an Ed25519 private key has 32 bytes") from exc
        self._seed = seed
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def parse(cls, text: Secret[str]) -> "Signer":
        """Raises MalformedKey."""
        prefix, _, rest = text.reveal().strip().partition("PRIVATE+KEY+")
        if prefix or not rest:
            raise MalformedKey("a private key begins with PRIVATE+KEY+")
        name, key_id, seed = _parts(rest)
        signer = cls(name, Secret(seed))
        if signer.verifier.key_id.hex() != key_id:
            raise MalformedKey("the key's id is not that of its name and bytes")
        return signer

    @property
    def text(self) -> Secret[str]:
        verifier = self.verifier
        seed = encoding.text_of(_ED25519 + self._seed.reveal())
        return Secret(f"PRIVATE+KEY+{verifier.name}+{verifier.key_id.hex()}+{seed}")

    def sign(self, text: str) -> str:
        """The note. Raises ValueError for a text that can be none."""
        if not text.endswith("\n") or _has_controls(text):
            raise ValueError("a note's text ends in a newline and has no other control characters")
        signature = encoding.text_of(self.verifier.key_id + self._key.sign(text.encode()))
        return f"{text}\n{_DASH}{self.verifier.name} {signature}\n"


def opened(note: bytes, verifier: Verifier) -> str:
    """The text that `verifier` has signed; other keys' signatures say nothing. Raises NoteRefused."""
    text, signatures = _taken_apart(note)
    own = [raw for name, raw in signatures if name == verifier.name and raw[:4] == verifier.key_id]
    if not own:
        raise NoteRefused(f"the note bears no signature of {verifier.name}")
    if not all(verifier.verifies(text, raw[4:]) for raw in own):
        raise NoteRefused(f"the signature of {verifier.name} is not one over this text")
    return text


def _taken_apart(note: bytes) -> tuple[str, Sequence[tuple[str, bytes]]]:
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
    return body + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes]:
    dash, _, rest = line.partition(_DASH)
    name, space, encoded = rest.partition(" ")
    try:
        raw = encoding.bytes_of(encoded)
    except ValueError as exc:
        raise NoteRefused("a signature is base64") from exc
    if dash or not name or not space or len(raw) <= 4:
        raise NoteRefused("a line of a signature is a dash, a name and base64")
    return name, raw


def _parts(text: str) -> tuple[str, str, bytes]:
    """Name, key id and key of a text. Raises MalformedKey."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = encoding.bytes_of(encoded)
    except ValueError as exc:
        raise MalformedKey("a key is <name>+<key id>+<base64>") from exc
    if raw[:1] != _ED25519 or len(raw) != 1 + _KEY_BYTES:
        raise MalformedKey("only Ed25519 keys (type 1) are known")
    return name, key_id, raw[1:]


def _name(name: str) -> str:
    """Raises MalformedKey."""
    if not name or "+" in name or any(char.isspace() or unicodedata.category(char) == "Cc" for char in name):
        raise MalformedKey("a key's name has neither spaces nor +")
    return name


def _has_controls(text: str) -> bool:
    return any(char < " " and char != "\n" for char in text)
