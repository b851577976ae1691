"""The embedded stack as values: regions, cells, processes, ports and paths. Pure."""

import difflib
import fnmatch
from collections.abc import Mapping
from pathlib import Path
from typing import NewType

import msgspec

ProcessName = NewType("ProcessName", str)
"""What `domicile stack stop` takes, log files are called, and stack.json lists: `gateway-eu`, `postgres-directory` …"""

PORT_BASE = 7400
AUDIENCE = "domicile-demo"
"""`aud` of people's tokens from the development issuers."""
SERVICE_ISSUER = "urn:domicile:local:services"
SERVICE_AUDIENCE = "domicile"
CONTROL = ProcessName("control")
SHARDS = ("s1", "s2")
SUPERUSER = "domicile"
"""Of the stack's database servers."""
SAMPLE_SERVICE = "orders"
SAMPLE_ACTOR = "support-desk"
"""The service of the policy's `[actors]` that acts for people."""


class Region(msgspec.Struct, frozen=True):
    """A place of the demonstration, with the cell it holds."""

    id: str
    country: str
    city: str
    cell: str


REGIONS = (
    Region("eu", "DE", "Frankfurt", "eu-de"),
    Region("us", "US", "Virginia", "us-va"),
    Region("in", "IN", "Mumbai", "in-mum"),
)

DIRECTORY_REGION = "eu"
"""Where the policy's `[directory]` says that it runs."""
NEAR_S, WIDE_S = 10.0, 60.0
"""How long an entry of the stack's logs may wait for each quorum of their witnesses."""

# Distances from the port base, in the order of REGIONS where there is one a region or cell.
_OFFSETS: dict[str, int] = {"control": 0, "postgres-directory": 5, "directory": 10}
_PER_REGION = {"issuer": 20, "valkey": 25, "gateway": 30, "witness": 35}
_PER_CELL = {"postgres": 6, "cell": 40, "door": 45, SAMPLE_SERVICE: 50}


def process_names() -> tuple[ProcessName, ...]:
    """Every process of the stack, in the order people read them: servers, issuers, witnesses, directory, cells, services, gateways."""
    regions = [region.id for region in REGIONS]
    cells = [region.cell for region in REGIONS]
    names = [
        "postgres-directory",
        *(f"postgres-{cell}" for cell in cells),
        *(f"valkey-{region}" for region in regions),
        *(f"issuer-{region}" for region in regions),
        *(f"witness-{region}" for region in regions),
        "directory",
        *(f"cell-{cell}" for cell in cells),
        *(f"{SAMPLE_SERVICE}-{cell}" for cell in cells),
        *(f"gateway-{region}" for region in regions),
    ]
    return tuple(ProcessName(name) for name in names)


def fixed_ports(base: int) -> dict[ProcessName, int]:
    """The port of every process for one base, of the control channel, and of each cell's SQL door."""
    ports = {ProcessName(name): base + offset for name, offset in _OFFSETS.items()}
    for index, region in enumerate(REGIONS):
        ports |= {ProcessName(f"{kind}-{region.id}"): base + offset + index for kind, offset in _PER_REGION.items()}
        ports |= {ProcessName(f"{kind}-{region.cell}"): base + offset + index for kind, offset in _PER_CELL.items()}
    return ports


def matching(pattern: str) -> tuple[ProcessName, ...]:
    """Processes that `pattern` names: one by its name, several with `*`. Raises ValueError naming the nearest."""
    names = process_names()
    found = tuple(name for name in names if fnmatch.fnmatchcase(name, pattern))
    if found:
        return found
    close = difflib.get_close_matches(pattern, names, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]}?" if close else f"; the processes are {', '.join(names)}"
    raise ValueError(f"no process is called {pattern}{hint}")


def ledgers() -> tuple[str, ...]:
    """The processes that keep a log."""
    return ("directory", *(f"cell-{region.cell}" for region in REGIONS))


def witnesses() -> tuple[str, ...]:
    """The processes that cosign all of these."""
    return tuple(f"witness-{region.id}" for region in REGIONS)


def near_witness(name: str) -> str:
    """The witness in the region of a log; the directory's region is its country's."""
    cells = {f"cell-{region.cell}": region.id for region in REGIONS}
    return f"witness-{cells.get(name, DIRECTORY_REGION)}"


def ledger_origin(name: str) -> str:
    """What the log of a process is called, and a witness."""
    return f"domicile.local/{name}"


def egress_origin(cell: str) -> str:
    """What signs the releases of a cell is called."""
    return f"domicile.local/egress/{cell}"


def hop_ring(one: str, other: str) -> str:
    """The keyring that the gateways of two regions share, by name."""
    return "hop-{}-{}".format(*sorted((one, other)))


def env_prefix(cell: str, shard: str) -> str:
    """Policy's `dsn_env` of a shard: `EU_DE_S1`."""
    return f"{cell}_{shard}".replace("-", "_").upper()


def database_name(cell: str, shard: str) -> str:
    return f"{cell}_{shard}".replace("-", "_")


class Paths(msgspec.Struct, frozen=True):
    """Where things lie in the state folder."""

    state: Path

    @property
    def stack(self) -> Path:
        return self.state / "stack.json"

    @property
    def policy(self) -> Path:
        return self.state / "policy.toml"

    @property
    def ports(self) -> Path:
        return self.state / "ports.json"

    @property
    def lock(self) -> Path:
        return self.state / "lock"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def dsns(self) -> Path:
        return self.secrets / "dsns.json"

    @property
    def control_token(self) -> Path:
        return self.secrets / "control.token"

    @property
    def service_issuer_key(self) -> Path:
        return self.secrets / "service-issuer.json"

    @property
    def service_jwks(self) -> Path:
        return self.state / "service-jwks.json"

    @property
    def ledgers(self) -> Path:
        return self.state / "ledger"

    def ledger(self, name: str) -> Path:
        """The log of a process: `directory`, `cell-eu-de`."""
        return self.ledgers / name

    def notices(self, name: str) -> Path:
        """Where a cell's notices to subjects go, a line each."""
        return self.ledgers / f"{name}.notices.ndjson"

    def witness(self, name: str) -> Path:
        """What a witness has cosigned: `witness-eu`."""
        return self.state / "witness" / name

    def ledger_key(self, name: str) -> Path:
        """The public key of that log, or of a witness; the private one is among the secrets."""
        return self.ledgers / f"{name}.vkey"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    def settings(self, name: str) -> Path:
        return self.state / "settings" / f"{name}.toml"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def token(self, name: str) -> Path:
        return self.secrets / f"{name}.jwt"

    def keyring(self, name: str) -> Path:
        return self.secrets / f"{name}.json"

    def egress(self, cell: str) -> Path:
        """The journals of a cell's releases."""
        return self.state / "egress" / cell

    def egress_key(self, cell: str) -> Path:
        """The public key of a cell's releases; the private one is among the secrets."""
        return self.state / "egress" / f"{cell}.vkey"

    def egress_signing_key(self, cell: str) -> Path:
        return self.secrets / f"cell-{cell}.egress-key"

    def signing_key(self, name: str) -> Path:
        """The private key of a process's log, or of a witness."""
        return self.secrets / f"{name}.ledger-key"


class Layout(msgspec.Struct, frozen=True):
    """One stack: where its state lies and which ports it uses."""

    paths: Paths
    ports: Mapping[ProcessName, int]

    def port(self, name: str) -> int:
        return self.ports[ProcessName(name)]

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.port(name)}"

    def url(self, name: str) -> str:
        return f"http://{self.address(name)}"


def dependencies(name: ProcessName) -> tuple[ProcessName, ...]:
    """What must answer before `name` is first started; everything else waits for its neighbours by itself."""
    kind, _, rest = name.partition("-")
    if name == "directory":
        return (ProcessName("postgres-directory"),)
    if kind == "cell":
        return (ProcessName(f"postgres-{rest}"),)
    return ()


def stop_waves() -> tuple[tuple[ProcessName, ...], ...]:
    """The order of leaving: who is called leaves after who calls, so that nobody drains a caller that is still there."""
    kinds = (("gateway", SAMPLE_SERVICE), ("cell",), ("directory", "issuer"), ("postgres", "valkey", "witness"))
    return tuple(tuple(name for name in process_names() if name.partition("-")[0] in wave) for wave in kinds)
