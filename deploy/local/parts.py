"""The stack's processes as specifications: what each runs, how one sees that it is ready, what it needs done before and after."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy.local import loopback, postgres, provision, render
from deploy.local.account import data_folder, unprivileged
from deploy.local.child import Probe, Spec
from deploy.local.keys import Secrets
from deploy.local.layout import REGIONS, SAMPLE_SERVICE, Layout, Paths, ProcessName, process_names
from deploy.local.valkey import ValkeyServer
from foundation.mute import Secret
from foundation.postgres import connect

HERE = Path(__file__).parent
TEMPLATE = HERE / "policy.template.toml"
CONTRACTS = HERE / "contracts"
PRODUCT = HERE / "product"
_MODULES = {
    "directory": "directory",
    "cell": "cells",
    "gateway": "gateway",
    SAMPLE_SERVICE: f"deploy.local.{SAMPLE_SERVICE}",
    "issuer": "deploy.local.issuer",
    "witness": "foundation.ledger.witness",
}


def roots(paths: Paths) -> list[Path]:
    """Folders whose mention on a command line makes a process one of this stack's."""
    servers = data_folder(paths.state, unprivileged())
    return [paths.state / "settings", paths.state / "valkey", servers / "postgres"]


def specifications(layout: Layout, held: Secrets) -> dict[ProcessName, Spec]:
    """Every process of the stack. Raises SettingsError where the servers' wheels are missing."""
    dsns = render.dsns(layout, held.databases)
    caches = valkey_servers(layout, held)
    urls = {region: server.url() for region, server in caches.items()}
    found: dict[ProcessName, Spec] = {}
    for name in process_names():
        kind, _, rest = name.partition("-")
        if kind == "postgres":
            found[name] = _postgres(layout, held, name, rest)
        elif kind == "valkey":
            found[name] = _valkey(layout, name, caches[rest])
        else:
            found[name] = _service(layout, name, render.environment(name, dsns, urls))
    return found


def valkey_servers(layout: Layout, held: Secrets) -> dict[str, ValkeyServer]:
    """One a region."""
    return {
        region.id: ValkeyServer(
            folder=layout.paths.state / "valkey" / region.id,
            port=layout.port(f"valkey-{region.id}"),
            password=held.valkey[region.id],
        )
        for region in REGIONS
    }


def _service(layout: Layout, name: ProcessName, environment: Mapping[str, Secret[str]]) -> Spec:
    module = _MODULES[name.partition("-")[0]]
    return Spec(
        name=name,
        # -P: the working folder is not searched for modules.
        command=(sys.executable, "-P", "-m", module, "--settings", str(layout.paths.settings(name))),
        port=layout.port(name),
        log=layout.paths.log(name),
        probe=_readyz(layout.port(name)),
        environment=environment,
    )


def _readyz(port: int) -> Probe:
    async def probe() -> str | None:
        try:
            answer = await loopback.request(port, "GET", "/readyz")
        except loopback.NoAnswer:
            return "no answer yet"
        return None if answer.status == 200 else loopback.detail_of(answer)

    return probe


def _valkey(layout: Layout, name: ProcessName, server: ValkeyServer) -> Spec:
    async def prepare() -> None:
        server.prepare()

    async def probe() -> str | None:
        return None if await loopback.accepts(server.port) else "no answer yet"

    return Spec(
        name=name,
        command=tuple(server.command()),
        port=server.port,
        log=layout.paths.log(name),
        probe=probe,
        stop=((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)),
        watched=False,
        prepare=prepare,
    )


def _postgres(layout: Layout, held: Secrets, name: ProcessName, rest: str) -> Spec:
    state, account = layout.paths.state, unprivileged()
    passwords = held.databases[rest]
    # Only the account that runs the servers enters the folders below this one.
    folder = data_folder(state, account) / "postgres"
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o711)
    server = postgres.PostgresServer(
        bin=postgres.bin_folder(state, account),
        data=folder / rest / "data",
        port=layout.port(name),
        password=passwords["superuser"],
        account=account,
    )

    async def prepare() -> None:
        await asyncio.to_thread(postgres.prepare, server)
        postgres.clear_stale_pid(server)

    async def set_up() -> None:
        if rest == "directory":
            await provision.directory(server, passwords["owner"])
        else:
            await provision.cell(server, rest, passwords, PRODUCT)

    return Spec(
        name=name,
        command=tuple(server.command()),
        port=server.port,
        log=layout.paths.log(name),
        probe=_takes_sessions(server),
        account=account,
        # Fast shutdown, then immediate, then nothing is asked any more.
        stop=((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)),
        death=signal.SIGINT,
        watched=False,
        prepare=prepare,
        provision=set_up,
    )


def _takes_sessions(server: postgres.PostgresServer) -> Probe:
    """Ready once a session opens, or is refused for a reason that waiting does not mend (provisioning then names it)."""

    async def probe() -> str | None:
        import asyncpg

        if not await loopback.accepts(server.port):
            return "no answer yet"
        try:
            async with connect(server.dsn(), application_name="domicile-probe"):
                return None
        except asyncpg.InvalidPasswordError:
            return None
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            return f"no session yet ({type(exc).__name__})"

    return probe
