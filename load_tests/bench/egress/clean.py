"""Clean logs: nothing in them is about anybody, and much of it looks as if it were. Out of a seed."""

import base64
import datetime
import json
import uuid
from collections.abc import Callable
from random import Random

_EPOCH_S = 1_760_000_000
_SERVICES = (
    "api",
    "checkout",
    "ledger",
    "worker-7",
    "ingest",
    "cardinality-job",
    "telemetry",
    "hotel-sync",
    "scorecard",
)
_METHODS = ("GET", "POST", "PUT", "DELETE")


def _time(chance: Random) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(_EPOCH_S + chance.random() * 4e7, datetime.UTC)


def stamp(chance: Random) -> str:
    at = _time(chance)
    return chance.choice((
        at.isoformat(timespec="milliseconds"), at.strftime("%Y-%m-%d %H:%M:%S,%f")[:-3], at.strftime("%d/%b/%Y:%H:%M:%S +0200"), at.strftime("%b %d %H:%M:%S"),
    ))  # fmt: skip


def _hex(chance: Random, size: int) -> str:
    return "".join(chance.choice("0123456789abcdef") for _ in range(size))


def _uuid(chance: Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _version(chance: Random) -> str:
    parts = [str(chance.randint(0, 40)) for _ in range(chance.choice((2, 3, 3, 4)))]
    return "v" + ".".join(parts) + chance.choice(("", "", "-rc.1", f"+build.{chance.randint(1, 9999)}"))


def _order(chance: Random) -> str:
    return chance.choice((
        f"ORD-{chance.randint(10**7, 10**9)}", str(chance.randint(10**7, 10**10)), f"{chance.randint(2024, 2026)}-{chance.randint(1, 10**6):07}",
        f"{_time(chance):%Y%m%d}{chance.randint(1, 9999):04}", f"SO{chance.randint(10**5, 10**6)}/{chance.randint(1, 99)}", f"{chance.randint(10**11, 10**12)}",
    ))  # fmt: skip


def _trace(chance: Random) -> str:
    return chance.choice((
        f"00-{_hex(chance, 32)}-{_hex(chance, 16)}-01", str(chance.getrandbits(64)), str(chance.getrandbits(63)), _hex(chance, 32),
        f"1-{_hex(chance, 8)}-{_hex(chance, 24)}", f"req_{base64.b32encode(chance.randbytes(10)).decode()}",
    ))  # fmt: skip


def _request(chance: Random) -> str:
    path = chance.choice(
        (
            f"/v2/orders/{_order(chance)}",
            f"/items/{_uuid(chance)}?page={chance.randint(1, 90)}&q=blue%20lamp%2C%20small",
            "/healthz",
        )
    )
    agent = f"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chance.randint(90, 140)}.0.0.0 Safari/537.36"
    return f'127.0.0.1 - - [{stamp(chance)}] "{chance.choice(_METHODS)} {path} HTTP/1.1" {chance.choice((200, 204, 404))} {chance.randint(1, 10**6)} "{agent}"'


def structured(chance: Random) -> str:
    return json.dumps({
        "ts": _EPOCH_S + chance.random() * 4e7, "ts_ms": int(_time(chance).timestamp() * 1000), "trace_id": _trace(chance), "span": str(chance.getrandbits(63)),
        "version": _version(chance), "latency_ms": chance.random() * 900, "ratio": [chance.random(), chance.random()], "order": _order(chance),
        "etag": f'W/"{_hex(chance, 32)}"', "digest": f"sha256:{_hex(chance, 64)}", "rows": chance.randint(0, 10**9), "nested": json.dumps({"job": _uuid(chance)}),
    })  # fmt: skip


def plain(chance: Random) -> str:
    service = chance.choice(_SERVICES)
    return f"{stamp(chance)} INFO {service} {_trace(chance)} order={_order(chance)} took {chance.random() * 900:.3f} ms, {chance.randint(1, 10**12)} bytes, build {_version(chance)}"


def _epochs(chance: Random) -> str:
    at = _EPOCH_S + chance.random() * 4e7
    return f"lease from={int(at)} until={int(at * 1000)} us={int(at * 1e6)} ns={int(at * 1e9)} clock={at:.6f} lsn={chance.getrandbits(32):X}/{chance.getrandbits(32):X}"


def _hashes(chance: Random) -> str:
    integrity = base64.b64encode(chance.randbytes(48)).decode()
    semver = ".".join(str(chance.randint(0, 40)) for _ in range(3))
    return f"resolved lib-{chance.randint(1, 99)}@{semver} sha512-{integrity} commit {_hex(chance, 40)} md5={_hex(chance, 32)} etag={_hex(chance, 24).upper()}"


def _code(chance: Random) -> str:
    return f"thread 'main' panicked at src/core.rs:{chance.randint(1, 999)}:{chance.randint(1, 99)}: std::result::unwrap dead::beef 0x{_hex(chance, 12)} C:\\new\\tables\\{_hex(chance, 6)}"


def _container(chance: Random) -> str:
    return f"pod/{chance.choice(_SERVICES)}-{_hex(chance, 10)}-{_hex(chance, 5)} image=registry/app:{_version(chance)}@sha256:{_hex(chance, 64)} port=0.0.0.0:{chance.randint(1024, 65535)} restarts={chance.randint(0, 9)}"


def _metric(chance: Random) -> str:
    return f'http_requests_total{{code="200",le="0.{chance.randint(1, 99)}"}} {chance.random() * 1e6:.4f} {int(_time(chance).timestamp() * 1000)} phone_verified=true cards_total={chance.randint(0, 10**6)}'


_LINES: tuple[Callable[[Random], str], ...] = (
    _request,
    structured,
    plain,
    plain,
    _epochs,
    _hashes,
    _code,
    _container,
    _metric,
)


def clean_logs(seed: int, size: int) -> bytes:
    """At least `size` bytes of lines."""
    chance, lines, written = Random(seed), [], 0
    while written < size:
        line = chance.choice(_LINES)(chance).encode() + b"\n"
        lines.append(line)
        written += len(line)
    return b"".join(lines)
