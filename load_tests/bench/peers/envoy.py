"""Envoy: jwt_authn, then a table from `sub` to a cell in Lua."""

import contextlib
import json
from collections.abc import Iterator

from load_tests.bench.edge import AUDIENCE, ISSUER
from load_tests.bench.peers.starting import CELL, Given, Running, command, family, port_free, program


def envoy_config(given: Given, port: int) -> dict[str, object]:
    """jwt_authn, then a table from `sub` to a cell in Lua, as a filter's table would be kept."""
    homes = ",".join(f'["{sub}"]="{CELL}"' for sub in given.subs)
    lua = (
        f"local homes = {{{homes}}}\n"
        "function envoy_on_request(handle)\n"
        '  local meta = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")\n'
        '  local cell = meta and homes[meta["claims"]["sub"]]\n'
        '  if not cell then handle:respond({[":status"] = "401"}, "") else handle:headers():replace("domicile-cell", cell) end\n'
        "end\n"
    )
    http = "type.googleapis.com/envoy.extensions.filters"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    service = {"socket_address": {"address": "127.0.0.1", "port_value": given.upstream}}
    filters = [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": f"{http}.http.jwt_authn.v3.JwtAuthentication",
                "providers": {
                    "issuer": {
                        "issuer": ISSUER,
                        "audiences": [AUDIENCE],
                        "forward": True,
                        "payload_in_metadata": "claims",
                        "local_jwks": {"inline_string": given.jwks.read_text()},
                    }
                },
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
            },
        },
        {
            "name": "envoy.filters.http.lua",
            "typed_config": {"@type": f"{http}.http.lua.v3.Lua", "default_source_code": {"inline_string": lua}},
        },
        {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{http}.http.router.v3.Router"}},
    ]
    manager = {
        "@type": f"{http}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "shop",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "shop",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "service"}}],
                }
            ]
        },
        "http_filters": filters,
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    endpoint = {"lb_endpoints": [{"endpoint": {"address": service}}]}
    return {
        "static_resources": {
            "listeners": [{"name": "shop", "address": address, "filter_chains": [chain]}],
            "clusters": [
                {
                    "name": "service",
                    "type": "STATIC",
                    "connect_timeout": "2s",
                    "load_assignment": {"cluster_name": "service", "endpoints": [endpoint]},
                }
            ],
        }
    }


@contextlib.contextmanager
def envoy(given: Given) -> Iterator[Running]:
    port = port_free()
    config = given.folder / "envoy.json"
    config.write_text(json.dumps(envoy_config(given, port)))
    words = [program("envoy") or "", "-c", str(config), "--concurrency", "1", "-l", "error", "--disable-hot-restart"]
    with command(given, "envoy", words, port) as pid:
        yield Running(port, family(pid))
