"""The stage: a running stack's addresses, tokens for people, bounded HTTP, and SQL with the owner's eyes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec

from foundation import http
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.postgres import connect
from foundation.settings import SettingsError, read_secret
from foundation.tokens import TokenFile
from gateway.cli.tour.people import Person
from gateway.cli.tour.report import Report, Sample


class RegionAddress(msgspec.Struct, frozen=True, kw_only=True):
    country: str
    city: str
    gateway: str
    issuer: str
    audience: str


class CellAddress(msgspec.Struct, frozen=True, kw_only=True):
    region: str
    service: str
    services: dict[str, str]
    shards: dict[str, str]


class DirectoryAddress(msgspec.Struct, frozen=True):
    url: str


class StackFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the tour reads of `.domicile/stack.json`."""

    state: str
    directory: DirectoryAddress
    regions: dict[str, RegionAddress]
    cells: dict[str, CellAddress]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A response: status, headers, decoded JSON (or None), and the refusal code that a problem document holds."""

    status: int
    headers: dict[str, str]
    body: Any
    ms: float

    @property
    def code(self) -> str | None:
        if self.status >= 400 and isinstance(self.body, dict):
            return str(self.body.get("code", "")) or None
        return None


class Stage:
    """Everything that scenes act on. One per tour."""

    def __init__(self, stack: StackFile, report: Report, client: http.HttpClient, control: http.HttpClient) -> None:
        self.stack = stack
        self.report = report
        self.control = control
        self._client = client
        self._clock = SystemClock()
        self._tokens: dict[str, str] = {}
        dsns = msgspec.json.decode(
            read_secret(Path(stack.state) / "secrets" / "dsns.json").reveal(), type=dict[str, str]
        )
        self._dsns = {name: Secret(dsn) for name, dsn in dsns.items()}

    def gateway(self, region: str) -> str:
        return self.stack.regions[region].gateway

    def other_region(self, region: str) -> str:
        """A region that is not `region`."""
        return next(name for name in sorted(self.stack.regions) if name != region)

    async def token(self, person: Person, region: str, *, sub: str | None = None) -> str:
        """A token of the region's issuer for this person."""
        name = f"{region} {sub or person.sub}"
        if name not in self._tokens:
            wanted = {"sub": sub or person.sub, "email": person.email, "email_verified": True, "ttl_s": 900}
            response = await self._client.post(f"{self.stack.regions[region].issuer}/mint", json=wanted)
            response.raise_for_status()
            self._tokens[name] = response.json()["access_token"]
        return self._tokens[name]

    async def ask(
        self, method: str, url: str, *, token: str | None = None, address: str | None = None, json: Any = None
    ) -> Answer:
        """One request as a client would send it, sampled for the report. A broken connection is an answer of status 0."""
        headers = {}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if address:
            headers["x-forwarded-for"] = address
        started = self._clock.monotonic_s()
        try:
            response = await self._client.request(method, url, headers=headers, json=json)
        except httpx.HTTPError as exc:
            answer = Answer(status=0, headers={}, body={"error": type(exc).__name__}, ms=self._ms_since(started))
        else:
            is_json = "json" in response.headers.get("content-type", "")
            answer = Answer(
                status=response.status_code,
                headers=dict(response.headers),
                body=response.json() if is_json and response.content else None,
                ms=self._ms_since(started),
            )
        self.report.sample(Sample(status=answer.status, code=answer.code, ms=answer.ms))
        return answer

    def _ms_since(self, started: float) -> float:
        return (self._clock.monotonic_s() - started) * 1000

    async def sql(self, dsn_env: str, query: str, *parameters: object) -> list[Any]:
        """Rows as the owner of that database sees them."""
        async with connect(self._dsns[dsn_env], application_name="domicile-tour") as connection:
            return list(await connection.fetch(query, *parameters))

    async def fenced(self, dsn_env: str, subject_id: str, epoch: int) -> str | None:
        """What a product's transaction on a shard hears from the fence: None when it may go on, else the fence's words."""
        async with connect(self._dsns[dsn_env], application_name="domicile-tour") as connection:
            await connection.execute("SET transaction_timeout = '1s'")
            try:
                await connection.execute("SELECT domicile.fence($1::uuid, $2::bigint)", subject_id, epoch)
            except asyncpg.PostgresError as exc:
                return f"{exc.sqlstate}: {exc.args[0]}"
        return None

    def owner_env(self, cell: str, shard: str) -> str:
        return f"{self.stack.cells[cell].shards[shard]}_OWNER"

    async def command(self, *arguments: str, stateful: bool = False) -> str:
        """What a `domicile` command prints; `stateful`: about this stack. Raises SettingsError with its own words when it fails."""
        status, output, errors = await self.tried(*arguments, stateful=stateful)
        if status != 0:
            raise SettingsError(f"domicile {' '.join(arguments)}: {errors or output}")
        return output

    async def tried(self, *arguments: str, stateful: bool = False) -> tuple[int, str, str]:
        """The same for a command that may fail: its exit status, what it printed, what it said."""
        where = ("--state", self.stack.state) if stateful else ()
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway.cli.main", *arguments, *where,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            output, errors = await child.communicate()
        return child.returncode or 0, output.decode(), errors.decode().strip()

    async def counter(self, base: str, name: str, **labels: str) -> float:
        """The sum of a Prometheus counter at a process's /metrics over series that carry `labels`."""
        response = await self._client.get(f"{base}/metrics")
        total = 0.0
        for line in response.text.splitlines():
            if line.startswith(f"{name}{{") and all(f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total


@asynccontextmanager
async def opened(state: Path, report: Report) -> AsyncIterator[Stage]:
    """The stage over the stack of `state`. Raises SettingsError when none runs there."""
    try:
        stack = msgspec.json.decode((state / "stack.json").read_bytes(), type=StackFile)
    except OSError as exc:
        raise SettingsError(f"no stack in {state}; start one with: domicile up --detach") from exc
    except msgspec.MsgspecError as exc:
        raise SettingsError(f"{state}/stack.json is not a stack file: {exc}") from exc
    operator = TokenFile(Path(stack.state) / "secrets" / "operator.jwt")
    async with (
        http.client(total_s=15.0, connections_max=128) as client,
        http.client(stack.directory.url, token=operator, total_s=10.0) as control,
    ):
        yield Stage(stack, report, client, control)
