"""TLS: what a process shows and whom it believes, out of files that are read again when they change, so that a renewal needs no restart."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
from cryptography import x509
from prometheus_client import Gauge

from foundation import logs
from foundation.clock import Clock
from foundation.settings import SettingsError, read_secret, stamp

log = logs.get(__name__)

LOOK_S = 1.0
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2, as RFC 9325 section 4.2 has them: forward secrecy and AEAD; those of 1.3 are all such."""

EXPIRES = Gauge(
    "domicile_tls_certificate_expires_seconds",
    "When the certificate that new connections get runs out, in seconds since the epoch",
    ["use"],
)
UNREAD = Gauge(
    "domicile_tls_reload_failed", "1 while the files of TLS cannot be used and those read before are", ["use"]
)
Made: TypeAlias = tuple[ssl.SSLContext, float]
"""A context, and when its certificate runs out."""


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files. `certificate`: the process's own first, then its intermediates; `key`: of mode 0600, without a passphrase.

    `authorities`: whom the other side has to prove itself under; a listener without them asks nobody for a certificate.
    """

    certificate: Path
    key: Path
    authorities: Path | None = None


class Watched:
    """The context that files make, as they were last read without a fault. `use` names it in settings and metrics.

    It is made whole or not at all, so nobody ever meets a certificate with another one's key.
    """

    def __init__(self, use: str, files: Tls, make: Callable[[str, Tls, float], Made], clock: Clock) -> None:
        """Raises SettingsError."""
        self._use = use
        self._files = files
        self._make = make
        self._clock = clock
        self._seen = self._read = _stamps(files)
        self._said = ""
        self._newest = self._made()

    def newest(self) -> ssl.SSLContext:
        return self._newest

    async def watch(self) -> None:
        """For ever. Files that cannot be used are said once a reason, tried again, and what was read before stays."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Reads files that have changed once they have stood still between two looks: certificate and key come one after the other."""
        stamps = _stamps(self._files)
        still, self._seen = stamps == self._seen, stamps
        if not still or (stamps == self._read and not self._said):
            return
        try:
            self._newest = self._made()
        except SettingsError as exc:
            self._broken(exc)
        else:
            self._read = stamps
            log.info("tls_files_read", file=str(self._files.certificate))

    def _made(self) -> ssl.SSLContext:
        context, expires = self._make(self._use, self._files, self._clock.unix_s())
        self._said = ""
        EXPIRES.labels(self._use).set(expires)
        UNREAD.labels(self._use).set(0)
        return context

    def _broken(self, why: SettingsError) -> None:
        UNREAD.labels(self._use).set(1)
        if str(why) != self._said:
            self._said = str(why)
            log.fault("tls_files_unusable", why, reason=self._said)


class Credentials(Watched):
    """What new connections to a listener are met with. Give `context` to it once.

    Each connection takes the newest context as its handshake begins: in the callback for server names, which OpenSSL calls without a
    name as well.
    """

    def __init__(self, files: Tls, clock: Clock) -> None:
        """Raises SettingsError."""
        super().__init__("tls", files, serving, clock)
        self.context = self.newest()
        self.context.sni_callback = self._meet

    def _meet(self, connection: ssl.SSLObject, _name: str | None, _before: ssl.SSLContext) -> None:
        connection.context = self.newest()


def serving(use: str, files: Tls, now: float) -> Made:
    """For whoever is connected to. Raises SettingsError.

    Where `authorities` are named, by TLS 1.3 alone and without tickets: a resumed session would be let in without being asked for a
    certificate, after its authority has been taken out too.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    expires = _show(use, context, files, now)
    if files.authorities is not None:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED
        _believe(use, context, files.authorities)
    return context, expires


def asking(use: str, files: Tls, now: float) -> Made:
    """For whoever connects: believes `authorities`, or without them the system's. Raises SettingsError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    expires = _show(use, context, files, now)
    if files.authorities is None:
        context.load_default_certs()
    else:
        _believe(use, context, files.authorities)
    return context, expires


def _show(use: str, context: ssl.SSLContext, files: Tls, now: float) -> float:
    """Gives `context` its certificate and key; when they run out. Raises SettingsError."""
    expires = _lasting(use, files.certificate, now)
    read_secret(files.key)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
    except _NeedsPassphrase as exc:
        raise SettingsError(
            f"{use}.key {files.key}: is locked with a passphrase; store it without one, mode 0600"
        ) from exc
    except (OSError, ssl.SSLError) as exc:
        if "MISMATCH" in str(getattr(exc, "reason", "")):
            raise SettingsError(
                f"{use}.key {files.key}: is not the key of {files.certificate}; give both of one renewal"
            ) from exc
        raise SettingsError(f"{use}.key {files.key}: holds no PEM private key that can be used") from exc
    return expires


def _lasting(use: str, path: Path, now: float) -> float:
    """Until when the first certificate of `path` holds. Raises SettingsError unless it holds now."""
    try:
        own = x509.load_pem_x509_certificates(path.read_bytes())[0]
    except OSError as exc:
        raise SettingsError(f"{use}.certificate {path}: cannot be read ({exc.strerror})") from exc
    except ValueError as exc:
        raise SettingsError(
            f"{use}.certificate {path}: holds no PEM certificate; put this process's own first, then its intermediates"
        ) from exc
    since, until = own.not_valid_before_utc, own.not_valid_after_utc
    if until.timestamp() <= now:
        raise SettingsError(f"{use}.certificate {path}: ran out on {until:%Y-%m-%d %H:%M} UTC; renew it")
    if since.timestamp() > now:
        raise SettingsError(f"{use}.certificate {path}: holds only from {since:%Y-%m-%d %H:%M} UTC; check the clock")
    return until.timestamp()


class _NeedsPassphrase(Exception):
    """Said instead of OpenSSL's asking on the terminal."""


def _no_passphrase() -> str:
    raise _NeedsPassphrase


def _believe(use: str, context: ssl.SSLContext, authorities: Path) -> None:
    """Raises SettingsError."""
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as exc:
        raise SettingsError(f"{use}.authorities {authorities}: holds no PEM certificate of an authority") from exc
    except OSError as exc:
        raise SettingsError(f"{use}.authorities {authorities}: cannot be read ({exc.strerror})") from exc


def _stamps(files: Tls) -> Sequence[tuple[int, int, int]]:
    return [stamp(path) for path in (files.certificate, files.key, files.authorities) if path is not None]
