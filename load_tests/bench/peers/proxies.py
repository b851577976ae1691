"""The proxies, each with one worker, keep-alive on both sides, no access log, in front of the same service."""

import contextlib
import multiprocessing
import sys
from collections.abc import Callable, Iterator

import msgspec

from load_tests.bench.edge import AUDIENCE, ISSUER, gateway_process
from load_tests.bench.peers.envoy import envoy
from load_tests.bench.peers.starting import (
    CELL,
    Given,
    NotStarted,
    Running,
    command,
    family,
    listening,
    port_free,
    program,
)

Start = Callable[[Given], contextlib.AbstractContextManager[Running]]


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """`needs`: a program on PATH, or in the virtual environment of the peers, without which it is left out."""

    name: str
    work: str
    needs: str | None = None
    start: Start

    @property
    def missing(self) -> str | None:
        return self.needs if self.needs is not None and program(self.needs) is None else None


# --- this gateway ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def gateway(given: Given) -> Iterator[Running]:
    port = port_free()
    process = multiprocessing.get_context("spawn").Process(
        target=gateway_process, args=(port, given.upstream, str(given.jwks), list(given.subs)), daemon=True
    )
    process.start()
    try:
        if not listening(port):
            raise NotStarted("the gateway does not listen")
        yield Running(port, (process.pid or 0,))
    finally:
        process.terminate()
        process.join(10)


# --- nginx -------------------------------------------------------------------------------------------------------------------

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err error;
events {{ worker_connections 10240; }}
http {{
    access_log off; client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-f; uwsgi_temp_path {folder}/nginx-u; scgi_temp_path {folder}/nginx-s;
    client_max_body_size 0; keepalive_requests 1000000; keepalive_timeout 600;
    upstream service {{ server 127.0.0.1:{upstream}; keepalive 128; keepalive_requests 1000000; }}
    {decisions}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            {ask}
            proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_request_buffering off; proxy_buffering on;
        }}
        {asked}
    }}
}}
"""
DECISIONS = "upstream decisions {{ server 127.0.0.1:{port}; keepalive 128; keepalive_requests 1000000; }}"
ASK = "auth_request /decide; auth_request_set $cell $upstream_http_domicile_cell; proxy_set_header Domicile-Cell $cell;"
ASKED = """
location = /decide {
    internal; proxy_pass http://decisions; proxy_http_version 1.1; proxy_set_header Connection "";
    proxy_pass_request_body off; proxy_set_header Content-Length "";
}
"""


@contextlib.contextmanager
def nginx(given: Given, *, decisions: int | None = None) -> Iterator[Running]:
    port = port_free()
    config = given.folder / f"nginx-{port}.conf"
    asks = decisions is not None
    config.write_text(
        NGINX.format(
            folder=given.folder,
            upstream=given.upstream,
            port=port,
            decisions=DECISIONS.format(port=decisions) if asks else "",
            ask=ASK if asks else "",
            asked=ASKED if asks else "",
        )
    )
    with command(
        given, f"nginx-{port}", [program("nginx") or "", "-c", str(config), "-p", str(given.folder)], port
    ) as pid:
        yield Running(port, family(pid, workers=1))


@contextlib.contextmanager
def nginx_asking(given: Given) -> Iterator[Running]:
    port = port_free()
    words = [
        sys.executable, "-P", "-m", "uvicorn", "--factory", "load_tests.bench.peers.upstream:decision_service",
        "--port", str(port), "--no-access-log", "--log-level", "error", "--loop", "uvloop", "--http", "httptools",
    ]  # fmt: skip
    with command(given, "decisions", words, port) as pid, nginx(given, decisions=port) as proxy:
        yield Running(proxy.port, (*proxy.pids, *family(pid)))


# --- HAProxy -----------------------------------------------------------------------------------------------------------------

HAPROXY = """
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend shop
    bind 127.0.0.1:{port}
    {verify}
    default_backend service
backend service
    server one 127.0.0.1:{upstream} pool-max-conn 128
"""
HAPROXY_VERIFY = """
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request set-var(txn.sub) var(txn.bearer),jwt_payload_query('$.sub')
    http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.iss') -m str {issuer} }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_payload_query('$.aud') -m str {audience} }}
    http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,"{pem}") 1 }}
    http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 0 }}
    http-request set-header Domicile-Cell %[var(txn.sub),map_str({homes})]
"""


@contextlib.contextmanager
def haproxy(given: Given) -> Iterator[Running]:
    port = port_free()
    homes = given.folder / "homes.map"
    homes.write_text("".join(f"{sub} {CELL}\n" for sub in given.subs))
    verify = HAPROXY_VERIFY.format(issuer=ISSUER, audience=AUDIENCE, pem=given.pem, homes=homes)
    config = given.folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, upstream=given.upstream, verify=verify))
    with command(given, "haproxy", [program("haproxy") or "", "-db", "-f", str(config)], port) as pid:
        yield Running(port, family(pid))


# --- Caddy -------------------------------------------------------------------------------------------------------------------

CADDY = """
{{
    admin off
    auto_https off
    log {{
        level ERROR
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{upstream} {{
        flush_interval -1
        transport http {{
            keepalive_idle_conns_per_host 128
        }}
    }}
}}
"""


@contextlib.contextmanager
def caddy(given: Given) -> Iterator[Running]:
    port = port_free()
    config = given.folder / "Caddyfile"
    config.write_text(CADDY.format(port=port, upstream=given.upstream))
    words = [program("caddy") or "", "run", "--adapter", "caddyfile", "--config", str(config)]
    with command(given, "caddy", words, port) as pid:
        yield Running(port, family(pid))


# --- Granian and httpx -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def granian(given: Given) -> Iterator[Running]:
    port = port_free()
    words = [
        program("granian") or "", "--interface", "asgi", "--port", str(port), "--workers", "1", "--loop", "uvloop", "--no-ws",
        "--log-level", "error", "--factory", "load_tests.bench.peers.upstream:httpx_proxy",
    ]  # fmt: skip
    with command(given, "granian", words, port) as pid:
        yield Running(port, family(pid))


PROXIES = (
    Proxy(
        name="domicile", work="verify, resolve, decide, epoch, decision header, metrics, access record", start=gateway
    ),
    Proxy(name="nginx", work="none", needs="nginx", start=nginx),
    Proxy(
        name="nginx + auth_request", work="verify and resolve in a uvicorn service", needs="nginx", start=nginx_asking
    ),
    Proxy(name="HAProxy", work="verify (ES256 each time), a map", needs="haproxy", start=haproxy),
    Proxy(name="Envoy", work="jwt_authn, a table in Lua", needs="envoy", start=envoy),
    Proxy(name="Caddy", work="none", needs="caddy", start=caddy),
    Proxy(name="Granian + httpx", work="verify and resolve", needs="granian", start=granian),
)
