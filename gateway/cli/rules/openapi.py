"""Does every operation of a product's API have a key? An OpenAPI 3 document against policy's anonymous paths and dated exemptions. Pure.

A key is a credential that a gateway resolves: a security scheme of type `http` with scheme `bearer`, `oauth2` or `openIdConnect`
(OpenAPI 3.1 section 4.8.27). Of several alternatives each must have one: an empty one lets the operation be called without.
"""

import datetime
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from routing_rules.hints import nearest, shown
from routing_rules.policy import Service

DOCUMENT_BYTES_MAX = 8 << 20
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_REF_HOPS_MAX = 8


class DocumentError(Exception):
    """The document or the exemptions cannot be used; the message says why."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """`path`: as gateways see it, below `/<service>/`. `keyless`: why it may be called without a key, None where it has one."""

    method: str
    path: str
    keyless: str | None


class Exempt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An operation that may stay without a key until a day (the last one), and why."""

    method: str
    path: str
    reason: str
    until: datetime.date


class _Exemptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    exempt: tuple[Exempt, ...] = ()


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One operation's line. `stands`: key, anonymous, exempt, or nothing."""

    method: str
    path: str
    stands: str
    detail: str

    @property
    def fails(self) -> bool:
        return self.stands == "nothing"


def parsed(text: str, name: str) -> Mapping[str, Any]:
    """A JSON or YAML document. Raises DocumentError."""
    if len(text.encode(errors="surrogatepass")) > DOCUMENT_BYTES_MAX:
        raise DocumentError(f"{name} is larger than {DOCUMENT_BYTES_MAX} bytes")
    try:
        document = msgspec.json.decode(text) if PurePosixPath(name).suffix == ".json" else yaml.safe_load(text)
    except (msgspec.DecodeError, yaml.YAMLError, RecursionError, ValueError) as exc:
        raise DocumentError(f"{name} is not {'JSON' if name.endswith('.json') else 'YAML'}: {exc}") from exc
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3."):
        raise DocumentError(f"{name} is no OpenAPI 3 document; `openapi` must say 3.x")
    return document


def exemptions(text: str, name: str) -> tuple[Exempt, ...]:
    """Raises DocumentError."""
    try:
        return msgspec.convert(tomllib.loads(text), _Exemptions).exempt
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as exc:
        raise DocumentError(f"{name}: {exc}") from exc


def operations(document: Mapping[str, Any], service: str) -> tuple[Operation, ...]:
    """Every operation, in the order of the document. Raises DocumentError."""
    paths = document.get("paths", {})
    if not isinstance(paths, dict):
        raise DocumentError("`paths` must be an object")
    base = _base(document)
    found = []
    for path, unresolved in paths.items():
        item = _resolved(unresolved, document)
        for method in METHODS:
            operation = item.get(method)
            if isinstance(operation, dict):
                security = operation.get("security", document.get("security"))
                found.append(
                    Operation(
                        method=method.upper(),
                        path=_below(service, base + str(path)),
                        keyless=_keyless(security, document),
                    )
                )
    return tuple(found)


def judge(
    found: tuple[Operation, ...], service: Service, exempt: tuple[Exempt, ...], at: datetime.date
) -> tuple[list[Judged], list[str]]:
    """A line per operation, and the mistakes of the exemptions: expired, or for no operation of the document."""
    granted = {(one.method.upper(), one.path): one for one in exempt}
    lines = [_judged(one, service, granted.get((one.method, one.path)), at) for one in found]
    known = {(one.method, one.path) for one in found}
    mistakes = []
    for (method, path), one in granted.items():
        if (method, path) not in known:
            hint = nearest(f"{method} {path}", [f"{m} {p}" for m, p in known])
            mistakes.append(f"exemption for {method} {shown(path)}: no such operation{hint}")
        elif one.until < at:
            mistakes.append(f"exemption for {method} {path}: was good until {one.until} only")
    return lines, mistakes


def _judged(one: Operation, service: Service, exempt: Exempt | None, at: datetime.date) -> Judged:
    if one.keyless is None:
        return Judged(method=one.method, path=one.path, stands="key", detail="bearer token")
    if one.path in service.anonymous:
        return Judged(method=one.method, path=one.path, stands="anonymous", detail="policy names it anonymous")
    if exempt is not None and at <= exempt.until:
        detail = f"until {exempt.until}: {exempt.reason}"
        return Judged(method=one.method, path=one.path, stands="exempt", detail=detail)
    return Judged(method=one.method, path=one.path, stands="nothing", detail=one.keyless)


def _base(document: Mapping[str, Any]) -> str:
    """The path of the first server, without a slash at its end; the document's paths stand below it."""
    servers = document.get("servers")
    url = servers[0].get("url", "") if isinstance(servers, list) and servers and isinstance(servers[0], dict) else ""
    try:
        return urlsplit(str(url)).path.rstrip("/")
    except ValueError as exc:
        raise DocumentError(f"the server's URL {shown(url)} is none: {exc}") from exc


def _below(service: str, path: str) -> str:
    return path if path.startswith(f"/{service}/") or path == f"/{service}" else f"/{service}{path}"


def _keyless(security: Any, document: Mapping[str, Any]) -> str | None:
    if not isinstance(security, list) or not security:
        return "no security is stated"
    for alternative in security:
        if not isinstance(alternative, dict) or not alternative:
            return "one alternative asks for no key"
        if not any(_is_key(scheme) for scheme in _schemes(alternative, document)):
            return f"{', '.join(sorted(map(str, alternative)))} is no bearer token"
    return None


def _schemes(alternative: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    components = document.get("components")
    declared = components.get("securitySchemes") if isinstance(components, dict) else None
    for name in alternative:
        yield _resolved(declared.get(name) if isinstance(declared, dict) else None, document)


def _is_key(scheme: Mapping[str, Any]) -> bool:
    match scheme.get("type"):
        case "http":
            return str(scheme.get("scheme", "")).lower() == "bearer"
        case "oauth2" | "openIdConnect":
            return True
        case _:
            return False


def _resolved(value: Any, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`value` with `$ref`s inside the document followed; an empty object where they lead nowhere."""
    for _ in range(_REF_HOPS_MAX):
        if not isinstance(value, dict):
            return {}
        ref = value.get("$ref")
        if not isinstance(ref, str):
            return value
        value = document if ref.startswith("#/") else None
        for part in ref.removeprefix("#/").split("/"):
            value = value.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
    return {}
