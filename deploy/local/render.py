"""The stack's files as text: settings of each process, the policy, Valkey and DSN maps, stack.json. Pure."""

import string
from collections.abc import Mapping
from typing import Any

import msgspec

from deploy.local import access
from deploy.local.layout import (
    AUDIENCE,
    NEAR_S,
    REGIONS,
    SAMPLE_SERVICE,
    SERVICE_AUDIENCE,
    SERVICE_ISSUER,
    SHARDS,
    WIDE_S,
    Layout,
    ProcessName,
    Region,
    database_name,
    egress_origin,
    env_prefix,
    hop_ring,
    ledger_origin,
    ledgers,
    near_witness,
    witnesses,
)
from foundation.mute import Secret
from foundation.settings import SettingsError

ROLES = {"owner": "domicile_owner", "cell": "domicile_cell", "records": "domicile_records"}
SUFFIXES = {role: f"_{role.upper()}" for role in ROLES}
DIRECTORY_ROLE = "domicile_directory"
DIRECTORY_DATABASE = "directory"
LIMITS = {
    "subject": {"per_s": 1_000, "burst": 2_000},
    "address": {"per_s": 2_000, "burst": 4_000},
    "actor": {"per_s": 5_000, "burst": 10_000},
}
"""A runaway client is stopped, a load test is not. Loopback is a trusted proxy here, so whoever comes from this machine without
X-Forwarded-For is not counted by address."""


# --- TOML --------------------------------------------------------------------------------------------------------------------


def toml(value: Mapping[str, Any]) -> str:
    """A flat table of strings, numbers, lists and inline tables as TOML."""
    return "".join(f"{key} = {_toml_value(item)}\n" for key, item in value.items())


def _toml_value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            return toml_string(value)
        case list():
            return f"[{', '.join(_toml_value(item) for item in value)}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml_value(item)}' for key, item in value.items())} }}"
        case _:
            raise TypeError(f"no TOML for a {type(value).__name__}")


def toml_string(text: str) -> str:
    """A basic string (TOML 1.0): quotes, backslashes and control characters escaped."""
    escaped = "".join(
        f"\\{char}" if char in '"\\' else f"\\u{ord(char):04X}" if ord(char) < 0x20 or ord(char) == 0x7F else char
        for char in text
    )
    return f'"{escaped}"'


# --- settings ----------------------------------------------------------------------------------------------------------------


def settings(layout: Layout, *, contracts: str) -> dict[str, str]:
    """Settings files by process name. `contracts` is the folder of contract files."""
    rendered = {"directory": _directory(layout)}
    for region in REGIONS:
        rendered[f"issuer-{region.id}"] = _issuer(layout, region)
        rendered[f"witness-{region.id}"] = _witness(layout, f"witness-{region.id}")
        rendered[f"cell-{region.cell}"] = _cell(layout, region, contracts)
        rendered[f"{SAMPLE_SERVICE}-{region.cell}"] = _orders(layout, region)
        rendered[f"gateway-{region.id}"] = _gateway(layout, region)
    return rendered


def _listen(layout: Layout, name: str) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": layout.port(name)}


def _service_issuers(layout: Layout) -> dict[str, Any]:
    issuer = {"issuer": SERVICE_ISSUER, "audience": SERVICE_AUDIENCE, "jwks": str(layout.paths.service_jwks)}
    return {"service_issuers": [issuer]}


def _directory(layout: Layout) -> str:
    return toml(
        {
            **_listen(layout, "directory"),
            "dsn_env": "DIRECTORY_DSN",
            **_service_issuers(layout),
            "ledger": _ledger(layout, "directory"),
        }
    )


def _ledger(layout: Layout, name: str) -> dict[str, Any]:
    paths, everybody = layout.paths, list(witnesses())
    return {
        "folder": str(paths.ledger(name)),
        "origin": ledger_origin(name),
        "key_file": str(paths.signing_key(name)),
        "witnesses": {each: {"url": layout.url(each), "key_file": str(paths.ledger_key(each))} for each in everybody},
        "near": {"of": [near_witness(name)], "needed": 1, "within_s": NEAR_S},
        "wide": {"of": everybody, "needed": len(everybody) // 2 + 1, "within_s": WIDE_S},
    }


def _notices(layout: Layout, name: str) -> dict[str, str]:
    return {"name": "notices", "format": "notices", "file": str(layout.paths.notices(name))}


def _witness(layout: Layout, name: str) -> str:
    paths = layout.paths
    return toml(
        {
            **_listen(layout, name),
            "name": ledger_origin(name),
            "key_file": str(paths.signing_key(name)),
            "folder": str(paths.witness(name)),
            "logs": [str(paths.ledger_key(each)) for each in ledgers()],
        }
    )


def _issuer(layout: Layout, region: Region) -> str:
    name = f"issuer-{region.id}"
    return toml(
        {
            **_listen(layout, name),
            "issuer": layout.url(name),
            "audience": AUDIENCE,
            "state_file": str(layout.paths.keyring(name)),
        }
    )


def _cell(layout: Layout, region: Region, contracts: str) -> str:
    name = f"cell-{region.cell}"
    return toml(
        {
            "cell": region.cell,
            **_listen(layout, name),
            "directory": layout.url("directory"),
            "token_file": str(layout.paths.token(name)),
            **_service_issuers(layout),
            "cell_root_keyring": str(layout.paths.keyring(f"{name}.root")),
            "blinding_keyring": str(layout.paths.keyring("blinding")),
            "contracts": contracts,
            "shard_env_suffixes": SUFFIXES,
            "ledger": {**_ledger(layout, name), "exports": [_notices(layout, name)]},
            "access": access.settings(layout.paths, region.cell, layout.port(f"door-{region.cell}")),
            "egress": _egress(layout, region),
        }
    )


def _egress(layout: Layout, region: Region) -> dict[str, str]:
    return {
        "folder": str(layout.paths.egress(region.cell)),
        "origin": egress_origin(region.cell),
        "key_file": str(layout.paths.egress_signing_key(region.cell)),
        "keyring": str(layout.paths.keyring(f"egress-{region.cell}")),
    }


def _orders(layout: Layout, region: Region) -> str:
    name = f"{SAMPLE_SERVICE}-{region.cell}"
    return toml(
        {
            "cell": region.cell,
            "service": SAMPLE_SERVICE,
            **_listen(layout, name),
            "cell_service": layout.url(f"cell-{region.cell}"),
            "token_file": str(layout.paths.token(name)),
            "decision_keyring": str(layout.paths.keyring(f"{name}.decision")),
        }
    )


def _gateway(layout: Layout, region: Region) -> str:
    name = f"gateway-{region.id}"
    peers = [each.id for each in REGIONS if each.id != region.id]
    return toml(
        {
            "region": region.id,
            **_listen(layout, name),
            "directory": layout.url("directory"),
            "token_file": str(layout.paths.token(name)),
            "issuers": [
                {"issuer": url, "audience": AUDIENCE, "jwks": f"{url}/jwks"}
                for url in (layout.url(f"issuer-{each.id}") for each in REGIONS)
            ],
            "region_root_keyring": str(layout.paths.keyring(f"region-{region.id}.root")),
            "blinding_keyring": str(layout.paths.keyring("blinding")),
            "valkey_url_env": valkey_env(region),
            "cache_mac_keyring": str(layout.paths.keyring(f"cache-{region.id}")),
            "trusted_proxies": ["127.0.0.1/32"],
            "country_database": "",
            **_service_issuers(layout),
            "limits": LIMITS,
            "hints": {"keyring": str(layout.paths.keyring("hints"))},
            "hop_keyrings": {peer: str(layout.paths.keyring(hop_ring(region.id, peer))) for peer in peers},
            "hop_routes": {peer: [layout.url(f"gateway-{peer}")] for peer in peers},
        }
    )


def valkey_env(region: Region) -> str:
    return f"GATEWAY_{region.id.upper()}_VALKEY"


def policy(template: str, layout: Layout) -> str:
    """The stack's policy.toml. Raises SettingsError when the template names an address that the stack does not have."""
    values: dict[str, str] = {}
    for region in REGIONS:
        cell = region.cell.replace("-", "_")
        values[f"orders_{cell}"] = layout.address(f"{SAMPLE_SERVICE}-{region.cell}")
        values[f"records_{cell}"] = layout.address(f"cell-{region.cell}")
        values[f"gateway_{region.id}"] = layout.url(f"gateway-{region.id}")
    try:
        return string.Template(template).substitute(values)
    except (KeyError, ValueError) as exc:
        raise SettingsError(f"the policy template cannot be filled in: {exc}") from exc


# --- environments ------------------------------------------------------------------------------------------------------------


def dsns(layout: Layout, passwords: Mapping[str, Mapping[str, Secret[str]]]) -> dict[str, Secret[str]]:
    """Every DSN of the stack by environment variable. `passwords`: server → role → password."""

    def dsn(server: str, user: str, role: str, database: str) -> Secret[str]:
        word = passwords[server][role].reveal()
        return Secret(f"postgresql://{user}:{word}@{layout.address(f'postgres-{server}')}/{database}?sslmode=disable")

    held = {"DIRECTORY_DSN": dsn("directory", DIRECTORY_ROLE, "owner", DIRECTORY_DATABASE)}
    for region in REGIONS:
        for shard in SHARDS:
            for role, user in ROLES.items():
                name = env_prefix(region.cell, shard) + SUFFIXES[role]
                held[name] = dsn(region.cell, user, role, database_name(region.cell, shard))
    return held


def environment(
    name: str, dsn_values: Mapping[str, Secret[str]], valkey_urls: Mapping[str, Secret[str]]
) -> dict[str, Secret[str]]:
    """The secrets that one process finds in its environment: its own, nobody else's."""
    kind, _, rest = name.partition("-")
    if name == "directory":
        return {"DIRECTORY_DSN": dsn_values["DIRECTORY_DSN"]}
    if kind == "cell":
        prefixes = tuple(env_prefix(rest, shard) for shard in SHARDS)
        return {key: value for key, value in dsn_values.items() if key.startswith(prefixes)}
    if kind == "gateway":
        region = next(each for each in REGIONS if each.id == rest)
        return {valkey_env(region): valkey_urls[region.id]}
    return {}


# --- stack.json --------------------------------------------------------------------------------------------------------------


class ProcessView(msgspec.Struct, frozen=True, kw_only=True):
    """One process as stack.json and `domicile status` show it. `state`: waiting, starting, running, restarting, stopping, stopped."""

    pid: int | None
    port: int
    state: str
    restarts: int = 0


def stack(layout: Layout, status: str, supervisor: int | None, processes: Mapping[ProcessName, ProcessView]) -> bytes:
    """stack.json (docs/architecture.md): addresses, ids and pids, no secrets. `status`: starting, ready, stopping, stopped."""
    document = {
        "state": str(layout.paths.state),
        "policy": str(layout.paths.policy),
        "status": status,
        "pid": supervisor,
        "control": {"port": layout.port("control")},
        "directory": {"url": layout.url("directory")},
        "regions": {region.id: _region_entry(layout, region) for region in REGIONS},
        "cells": {region.cell: _cell_entry(layout, region) for region in REGIONS},
        "processes": processes,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def _region_entry(layout: Layout, region: Region) -> dict[str, Any]:
    return {
        "country": region.country,
        "city": region.city,
        "gateway": layout.url(f"gateway-{region.id}"),
        "issuer": layout.url(f"issuer-{region.id}"),
        "audience": AUDIENCE,
        "valkey": layout.address(f"valkey-{region.id}"),
    }


def _cell_entry(layout: Layout, region: Region) -> dict[str, Any]:
    return {
        "region": region.id,
        "service": layout.url(f"cell-{region.cell}"),
        "door": layout.address(f"door-{region.cell}"),
        "services": {SAMPLE_SERVICE: layout.url(f"{SAMPLE_SERVICE}-{region.cell}")},
        "shards": {shard: env_prefix(region.cell, shard) for shard in SHARDS},
    }
