"""`[ledger]` in a process's settings: where its log lies, under which name and key, and who cosigns it."""

from pathlib import Path

import httpx
import msgspec

from foundation.clock import Clock
from foundation.http import HttpClient
from foundation.ledger.export.settings import ExportSettings, checked
from foundation.ledger.key_files import named_key_in
from foundation.ledger.notes import Signer
from foundation.ledger.witness.asking import WitnessAt
from foundation.ledger.witness.gathering import Gathering, Plan
from foundation.ledger.witness.quorum import Quorum, Reach
from foundation.ledger.witness.settings import witness_key_in
from foundation.settings import SettingsError


class WitnessPlace(msgspec.Struct, frozen=True, kw_only=True):
    """`url`: what stands before `/add-checkpoint`. `key_file`: the witness's public key."""

    url: str
    key_file: str


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`origin`: the log's name, a URL without scheme that is its own for ever. `key_file`: its private key (mode 0600), as
    `PRIVATE+KEY+<origin>+<key id>+<base64>`. `folder`: made when it is not there. `witnesses` by the names that the quorums `near` (inside
    the log's jurisdiction) and `wide` use; with them goes at least one of these. `exports`: where its entries go besides."""

    folder: str
    origin: str
    key_file: str
    witnesses: dict[str, WitnessPlace] = {}
    near: Quorum | None = None
    wide: Quorum | None = None
    exports: tuple[ExportSettings, ...] = ()

    def signer(self) -> Signer:
        """Raises SettingsError, for what is wrong with `exports`, too."""
        checked(self.exports)
        return named_key_in(Path(self.key_file), Signer, "of a log", name=self.origin, setting="origin")

    def gathering(self, http: HttpClient, clock: Clock) -> Gathering | None:
        """None where nobody cosigns. Raises SettingsError."""
        plan = self.plan()
        return None if plan is None else Gathering(plan, Path(self.folder), self.signer().verifier, http, clock)

    def plan(self) -> Plan | None:
        """Raises SettingsError."""
        stated = {Reach.NEAR: self.near, Reach.WIDE: self.wide}
        quorums = {reach: quorum for reach, quorum in stated.items() if quorum is not None}
        mistake = self._mistake(quorums)
        if mistake is not None:
            raise SettingsError(f"ledger: {mistake}")
        if not quorums:
            return None
        witnesses = {
            name: WitnessAt(name=name, url=place.url.rstrip("/"), key=witness_key_in(Path(place.key_file)))
            for name, place in self.witnesses.items()
        }
        keys = [*(at.key.public for at in witnesses.values()), self.signer().verifier.public]
        if len(set(keys)) < len(keys):
            raise SettingsError("ledger: each witness has a key of its own, which is not the log's")
        return Plan(witnesses, quorums)

    def _mistake(self, quorums: dict[Reach, Quorum]) -> str | None:
        if bool(self.witnesses) != bool(quorums):
            return "witnesses go with a quorum, near or wide, and a quorum with witnesses"
        for reach, quorum in quorums.items():
            strange = sorted(set(quorum.of).difference(self.witnesses))
            if strange:
                return f"{reach.value} names {', '.join(strange)}, and witnesses has no such"
            mistake = quorum.mistake()
            if mistake is not None:
                return f"{reach.value}: {mistake}"
        for name, place in self.witnesses.items():
            if not _reachable(place.url):
                return f"witnesses.{name}: url is http:// or https://, a host, and what stands before /add-checkpoint"
        return None


def _reachable(url: str) -> bool:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return parsed.scheme in ("http", "https") and bool(parsed.host) and not parsed.query and not parsed.fragment
