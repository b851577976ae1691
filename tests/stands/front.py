"""The stock proxy of deploy/front in front of gateways: a real Caddy that runs the file as it is shipped."""

import asyncio
import contextlib
import os
import shutil
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest
from cryptography import x509

import deploy
from foundation.http import HttpClient
from tests.stands.certificates import Authority
from tests.stands.servers import free_port
from tests.stands.waiting import eventually

CADDYFILE = Path(deploy.__file__).parent / "front" / "Caddyfile"
END_S_MAX = 10.0
CADDY = shutil.which("caddy") or ""
needs_caddy = pytest.mark.skipif(not CADDY, reason="no caddy on PATH (Debian and Ubuntu: apt-get install caddy)")


class Front:
    """`files`: the certificate and key that clients meet, of the authority `ours`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ours = Authority(folder, "front-authority")
        self.files = self.ours.sign("front")
        self.port = free_port()
        self.admin = f"127.0.0.1:{free_port()}"
        self.url = f"https://127.0.0.1:{self.port}"
        self.log = folder / "front.log"

    def environment(self, gateways: Sequence[str], inside: dict[str, str]) -> dict[str, str]:
        """Caddy keeps what it would remember in the test's folder."""
        certificate, key = self.files
        home = str(self._folder)
        return {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "XDG_DATA_HOME": home,
            "XDG_CONFIG_HOME": home,
            "FRONT_LISTEN": f":{self.port}",
            "FRONT_ADMIN": self.admin,
            "FRONT_CERTIFICATE": str(certificate),
            "FRONT_KEY": str(key),
            "FRONT_GATEWAYS": " ".join(gateways),
            "FRONT_TRY": "1s",
            **inside,
        }

    def believing(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ours.file)

    def client(self, *, http2: bool = True, address: str | None = None) -> HttpClient:
        """Asks by HTTP/2, or by HTTP/1.1; `address`: of loopback, from which it comes."""
        tls = self.believing()  # the transport adds its protocols to it
        transport = httpx.AsyncHTTPTransport(verify=tls, http1=not http2, http2=http2, local_address=address)
        return HttpClient(base_url=self.url, timeout=20, transport=transport)

    async def reload(self, environment: dict[str, str]) -> None:
        """As `caddy reload` does it: the file is read again, certificates with it."""
        command = ("reload", "--force", "--config", str(CADDYFILE), "--adapter", "caddyfile", "--address", self.admin)
        with (self._folder / "reload.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(CADDY, *command, env=environment, stdout=log, stderr=log)
            assert await process.wait() == 0, (self._folder / "reload.log").read_text()

    async def shown(self) -> int:
        """The serial of the certificate that a new connection is shown."""
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.believing())
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return x509.load_der_x509_certificate(der).serial_number

    async def listens(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(await self.shown())
        return False


@contextlib.asynccontextmanager
async def fronting(folder: Path, gateways: Sequence[str], **inside: str) -> AsyncIterator[tuple[Front, dict[str, str]]]:
    """A running proxy and its environment."""
    front = Front(folder)
    environment = front.environment(gateways, inside)
    with front.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            CADDY, "run", "--config", str(CADDYFILE), "--adapter", "caddyfile", env=environment, stdout=log, stderr=log
        )
        try:
            await eventually(front.listens, s_max=20)
            yield front, environment
        finally:
            await _ended(process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_S_MAX)
        except TimeoutError:
            process.kill()
            await process.wait()
