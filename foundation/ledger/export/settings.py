"""`[[ledger.exports]]` in a process's settings: what of its log goes where."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx
import msgspec

from foundation.ledger.export.forms import Format
from foundation.settings import SettingsError
from foundation.webhooks import keys_in
from foundation.words import MalformedWord, parse_slug, parse_subject_id

ROTATE_BYTES_USUAL = 64 << 20
ROTATE_BYTES_MIN = 1 << 10
KEEP_USUAL = 32


class ExportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One sink: `file` or `url`. `name`: a slug, its own in the metrics and in the name of its position.

    `payloads`: what entries commit to goes, too: ids of people, and who did what to whom. To a `url` then only where `country` says that
    it stands in a country of the log's own cell (or of the directory). `since`: where to begin. `token_file`: a bearer token for `url`,
    read again when it changes; `signing_file`: keys that sign what goes there (`foundation.webhooks`). `subjects`: with the format
    `notices`, whose. A `file` of `rotate_bytes` is put aside; of those `keep` stay.
    """

    name: str
    file: str = ""
    url: str = ""
    format: Format = Format.OCSF
    payloads: bool = False
    country: str = ""
    since: int = 0
    token_file: str = ""
    signing_file: str = ""
    subjects: tuple[str, ...] = ()
    rotate_bytes: int = ROTATE_BYTES_USUAL
    keep: int = KEEP_USUAL

    @property
    def shows(self) -> bool:
        """Whether what entries commit to goes: always of notices, which are nothing without it."""
        return self.payloads or self.format is Format.NOTICES

    def mistake(self) -> str | None:
        """What shapes alone do not tell."""
        try:
            parse_slug(self.name, "sink")
        except MalformedWord as exc:
            return f"exports: name: {exc}"
        if bool(self.file) == bool(self.url):
            return f"export {self.name}: say either file or url"
        if self.url and not _is_address(self.url):
            return f"export {self.name}: url is an address such as https://siem.internal:8088/domicile"
        if (self.token_file or self.signing_file) and not self.url:
            return f"export {self.name}: token_file and signing_file go with url"
        if self.shows and self.url and not self.country:
            return f"export {self.name}: payloads go to a url only where country says where it stands"
        if self.subjects and self.format is not Format.NOTICES:
            return f"export {self.name}: subjects goes with the format notices"
        if self.since < 0 or self.keep < 1 or self.rotate_bytes < ROTATE_BYTES_MIN:
            return f"export {self.name}: since is from 0, keep from 1, rotate_bytes from {ROTATE_BYTES_MIN}"
        return self._mistaken()

    def _mistaken(self) -> str | None:
        """What a look at the words and files themselves tells."""
        try:
            for subject in self.subjects:
                parse_subject_id(subject)
            if self.signing_file:
                keys_in(Path(self.signing_file))
        except (MalformedWord, SettingsError) as exc:
            return f"export {self.name}: {exc}"
        return None


def checked(exports: Sequence[ExportSettings]) -> None:
    """Raises SettingsError."""
    for one in exports:
        mistake = one.mistake()
        if mistake is not None:
            raise SettingsError(mistake)
    names, files = [one.name for one in exports], [Path(one.file).absolute() for one in exports if one.file]
    if len(set(names)) < len(names) or len(set(files)) < len(files):
        raise SettingsError("exports: each has a name and a file of its own")


def abroad(exports: Iterable[ExportSettings], countries: Iterable[str]) -> list[ExportSettings]:
    """Those that would carry payloads out of these countries."""
    allowed = frozenset(countries)
    return [one for one in exports if one.shows and one.url and one.country not in allowed]


def _is_address(text: str) -> bool:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return url.scheme in ("http", "https") and bool(url.host) and not url.userinfo and not url.fragment
