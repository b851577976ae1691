"""The guide's program runs as it is printed."""

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from foundation.clock import SystemClock
from foundation.http import client
from foundation.words import ServiceId, Verb
from tests.stands.fake_cell import FakeCell, a_subject, decision, minter, service_keys
from tests.stands.servers import free_port, serving
from tests.stands.service_tokens import ServiceIssuer
from tests.stands.waiting import eventually

pytestmark = pytest.mark.anyio

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "your-own-service.md"
WARES = ServiceId("wares")


def program() -> str:
    return GUIDE.read_text().split("```python\n")[1].split("```")[0]


async def test_the_guides_program_serves_decided_requests_and_no_others(tmp_path: Path) -> None:
    clock, anna = SystemClock(), a_subject(1)
    cell = FakeCell(now=clock.unix_s, service=WARES)
    cell.put(anna, 5)
    keys = {kid: base64.urlsafe_b64encode(key.reveal()).decode() for kid, key in service_keys(service=WARES).items()}
    (tmp_path / "wares.decision.json").write_text(json.dumps({"current": "k1", "keys": keys}))
    (tmp_path / "wares.decision.json").chmod(0o600)
    ServiceIssuer(tmp_path).token_file(tmp_path / "wares.jwt", "service:wares", ["service:wares@eu-de"])
    port = free_port()
    async with serving(cell.app) as cell_port, client(f"http://127.0.0.1:{port}") as http:
        start = (
            f"\nimport asyncio\nasyncio.run(main(Path({str(tmp_path)!r}), {port}, 'http://127.0.0.1:{cell_port}'))\n"
        )
        (tmp_path / "wares.py").write_text(program() + start)
        process = subprocess.Popen([sys.executable, str(tmp_path / "wares.py")])  # noqa: ASYNC220
        try:

            async def ask(path: str, header: str | None = None) -> int:
                headers = {"domicile-decision": header} if header else {}
                with contextlib.suppress(httpx.HTTPError):
                    return (await http.get(path, headers=headers)).status_code
                return 0

            def header(epoch: int) -> str:
                return minter().mint(decision(anna, epoch, Verb.READ, now=clock.unix_s(), service=WARES))

            async def serves() -> bool:
                return await ask("/wares", header(5)) == 200

            await eventually(serves)
            assert await ask("/wares/health") == 200
            assert await ask("/wares") == 401
            assert await ask("/wares", header(4)) == 409
            process.terminate()
            assert await asyncio.to_thread(process.wait, 15) == 0
        finally:
            process.kill()
            process.wait()
