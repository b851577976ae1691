"""What a listener shows and whom it lets in: handshakes in memory, files that change, files that cannot be used."""

import asyncio
import datetime
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from foundation import tls
from foundation.clock import ManualClock, SystemClock
from foundation.metrics import exposition
from foundation.settings import SettingsError
from foundation.tls import Credentials, Tls
from tests.stands.certificates import UNTIL, Authority, serial_of
from tests.stands.waiting import eventually

CLOCK = SystemClock()


def files_of(ours: Authority, *, authorities: Path | None = None) -> Tls:
    certificate, key = ours.sign("gateway")
    return Tls(certificate=certificate, key=key, authorities=authorities)


def trusting(authority: Authority, shows: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.file)
    if shows is not None:
        context.load_cert_chain(*shows)
    return context


class Met:
    """A connection between `client` and what `server` meets it with, in memory. Raises ssl.SSLError as soon as one side gives up."""

    def __init__(self, client: ssl.SSLContext, server: Credentials, *, name: str = "127.0.0.1") -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name)
        self.server = server.context.wrap_bio(to_server, to_client, server_side=True)
        waiting = {self.client, self.server}
        for _ in range(10):
            for side in tuple(waiting):
                try:
                    side.do_handshake()
                    waiting.discard(side)
                except ssl.SSLWantReadError:
                    pass
        assert not waiting
        self.server.write(b"hello")
        assert self.client.read(5) == b"hello"

    @property
    def serial(self) -> int:
        return x509.load_der_x509_certificate(self.client.getpeercert(binary_form=True) or b"").serial_number


def looked(credentials: Credentials) -> None:
    """What the worker does in a little more than a second: a change counts once it has stood still between two looks."""
    credentials.look()
    credentials.look()


def metric(name: str) -> float:
    text = exposition()[0].decode()
    line = next(line for line in text.splitlines() if line.startswith(f'{name}{{use="tls"}}'))
    return float(line.split()[-1])


def test_http_1_1_is_what_a_client_of_several_protocols_gets(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    client = trusting(ours)
    client.set_alpn_protocols(["h2", "http/1.1"])
    met = Met(client, Credentials(files_of(ours), CLOCK))
    assert met.client.selected_alpn_protocol() == "http/1.1"
    assert met.client.version() == "TLSv1.3"


def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption_alone(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    credentials = Credentials(files_of(ours), CLOCK)
    client = trusting(ours)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    cipher = Met(client, credentials).client.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE-")
    client.set_ciphers("ECDHE+AES:!AESGCM:!AESCCM")
    with pytest.raises(ssl.SSLError):
        Met(client, credentials)


def test_nothing_older_than_tls_1_2_is_spoken(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    client = trusting(ours)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    client.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        Met(client, Credentials(files_of(ours), CLOCK))


def test_a_client_of_another_authority_does_not_believe_it(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    with pytest.raises(ssl.SSLCertVerificationError):
        Met(trusting(theirs), Credentials(files_of(ours), CLOCK))


def test_where_authorities_are_named_only_who_proves_itself_is_let_in(tmp_path: Path) -> None:
    ours, theirs = Authority(tmp_path, "ours"), Authority(tmp_path, "theirs")
    credentials = Credentials(files_of(ours, authorities=theirs.file), CLOCK)
    assert Met(trusting(ours, theirs.sign("proxy")), credentials).server.getpeercert()
    for shown in (None, ours.sign("proxy")):
        with pytest.raises(ssl.SSLError):
            Met(trusting(ours, shown), credentials)
    old = trusting(ours, theirs.sign("proxy"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2  # could resume a session without showing anything
    with pytest.raises(ssl.SSLError):
        Met(old, credentials)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_new_connections_see_the_new_certificate_with_and_without_a_server_name(tmp_path: Path, name: str) -> None:
    ours = Authority(tmp_path, "ours")
    files = files_of(ours)
    credentials = Credentials(files, CLOCK)
    client = trusting(ours)
    client.check_hostname = False
    for _ in range(3):
        assert Met(client, credentials, name=name).serial == serial_of(files.certificate)
        ours.sign("gateway")
        looked(credentials)


def test_new_connections_are_held_to_the_new_authorities(tmp_path: Path) -> None:
    ours, former, theirs = (Authority(tmp_path, name) for name in ("ours", "former", "theirs"))
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(former.file.read_bytes())
    credentials = Credentials(files_of(ours, authorities=authorities), CLOCK)
    client = trusting(ours, former.sign("proxy"))
    session = Met(client, credentials).client.session
    assert session is None or not session.has_ticket
    authorities.write_bytes(theirs.file.read_bytes())
    looked(credentials)
    with pytest.raises(ssl.SSLError):
        Met(client, credentials)
    Met(trusting(ours, theirs.sign("proxy")), credentials)


def test_a_certificate_that_has_come_without_its_key_yet_is_waited_for(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    files = files_of(ours)
    credentials = Credentials(files, CLOCK)
    before, key = serial_of(files.certificate), files.key.read_bytes()
    ours.sign("gateway")
    renewed = files.key.read_bytes()
    files.key.write_bytes(key)
    credentials.look()
    assert metric("domicile_tls_reload_failed") == 0  # it may still be under way
    assert Met(trusting(ours), credentials).serial == before
    files.key.write_bytes(renewed)
    looked(credentials)
    assert Met(trusting(ours), credentials).serial == serial_of(files.certificate) != before


def test_files_that_cannot_be_used_leave_those_before_in_service_and_are_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ours = Authority(tmp_path, "ours")
    files = files_of(ours)
    credentials = Credentials(files, CLOCK)
    serial, good = serial_of(files.certificate), files.certificate.read_bytes()
    assert metric("domicile_tls_reload_failed") == 0
    for broken in (b"-----BEGIN CERTIFICATE-----\n", ours.file.read_bytes()):
        caplog.clear()
        files.certificate.write_bytes(broken)
        for _ in range(3):
            looked(credentials)
        assert Met(trusting(ours), credentials).serial == serial
        assert metric("domicile_tls_reload_failed") == 1
        assert [record.message for record in caplog.records] == ["tls_files_unusable"]
    files.certificate.write_bytes(good)
    looked(credentials)
    assert metric("domicile_tls_reload_failed") == 0
    assert Met(trusting(ours), credentials).serial == serial


def test_when_the_certificate_runs_out_is_a_metric(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    credentials = Credentials(files_of(ours), CLOCK)
    assert metric("domicile_tls_certificate_expires_seconds") == UNTIL.replace(tzinfo=datetime.UTC).timestamp()
    sooner = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
    ours.sign("gateway", until=sooner)
    looked(credentials)
    assert metric("domicile_tls_certificate_expires_seconds") == sooner.timestamp()


def test_a_certificate_holds_from_its_first_to_its_last_day(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    since, until = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2030, 2031))
    certificate, key = ours.sign("gateway", since=since, until=until)
    files = Tls(certificate=certificate, key=key)
    Credentials(files, ManualClock(since.timestamp()))
    with pytest.raises(SettingsError, match="holds only from 2030-01-01 00:00 UTC"):
        Credentials(files, ManualClock(since.timestamp() - 1))
    with pytest.raises(SettingsError, match="ran out on 2031-01-01 00:00 UTC; renew it"):
        Credentials(files, ManualClock(until.timestamp()))


def test_a_renewal_that_holds_only_later_is_taken_then(tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    clock = ManualClock()
    files = files_of(ours)
    credentials = Credentials(files, clock)
    before = serial_of(files.certificate)
    ours.sign("gateway", since=datetime.datetime.fromtimestamp(clock.unix_s() + 60, tz=datetime.UTC))
    looked(credentials)
    client = trusting(ours)
    client.verify_mode = ssl.CERT_REQUIRED
    assert Met(client, credentials).serial == before
    clock.advance(61)
    credentials.look()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE  # whose clock is another
    assert Met(client, credentials).serial == serial_of(files.certificate) != before


def locked(folder: Path, ours: Authority) -> Tls:
    certificate, key = ours.sign("gateway")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )
    return Tls(certificate=certificate, key=key)


def mismatched(folder: Path, ours: Authority) -> Tls:
    return Tls(certificate=ours.sign("gateway")[0], key=ours.sign("other")[1])


def absent(folder: Path, ours: Authority) -> Tls:
    return Tls(certificate=folder / "nothing.pem", key=ours.sign("gateway")[1])


def keyless(folder: Path, ours: Authority) -> Tls:
    return Tls(certificate=ours.sign("gateway")[0], key=folder / "nothing.key")


def swapped(folder: Path, ours: Authority) -> Tls:
    certificate, key = ours.sign("gateway")
    return Tls(certificate=key, key=certificate)


def no_key(folder: Path, ours: Authority) -> Tls:
    certificate, _ = ours.sign("gateway")
    return Tls(certificate=certificate, key=certificate)


def open_key(folder: Path, ours: Authority) -> Tls:
    files = files_of(ours)
    files.key.chmod(0o644)
    return files


def no_authority(folder: Path, ours: Authority) -> Tls:
    files = files_of(ours)
    return Tls(certificate=files.certificate, key=files.key, authorities=files.key)


def absent_authority(folder: Path, ours: Authority) -> Tls:
    return files_of(ours, authorities=folder / "nothing.pem")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (absent, r"tls\.certificate .*nothing\.pem: cannot be read \(No such file or directory\)"),
        (swapped, r"tls\.certificate .*gateway\.key: holds no PEM certificate; put"),
        (keyless, r"secret file .*nothing\.key: cannot be read"),
        (no_key, r"tls\.key .*gateway\.pem: holds no PEM private key"),
        (open_key, r"gateway\.key is open to others; run chmod 600 on it"),
        (locked, r"tls\.key .*gateway\.key: is locked with a passphrase; store it without one"),
        (mismatched, r"tls\.key .*other\.key: is not the key of .*gateway\.pem; give both of one renewal"),
        (no_authority, r"tls\.authorities .*gateway\.key: holds no PEM certificate"),
        (absent_authority, r"tls\.authorities .*nothing\.pem: cannot be read"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_used_are_refused_at_the_start_in_one_line(
    tmp_path: Path, made: Callable[[Path, Authority], Tls], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        Credentials(made(tmp_path, Authority(tmp_path, "ours")), CLOCK)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.anyio
async def test_the_worker_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.0)
    ours = Authority(tmp_path, "ours")
    files = files_of(ours)
    credentials = Credentials(files, CLOCK)
    ours.sign("gateway")
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(credentials.watch())
        await eventually(lambda: Met(trusting(ours), credentials).serial == serial_of(files.certificate))
        watching.cancel()
