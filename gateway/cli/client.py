"""How commands reach the APIs of a stack, or of any directory: an address, a service token, one bounded call at a time."""

import ssl
from pathlib import Path
from typing import Any

import httpx
import msgspec

from deploy.local import lock
from deploy.local.keys import OPERATOR, ServiceIssuer
from deploy.local.layout import SERVICE_AUDIENCE, Paths
from foundation.blinding import Blinder, BlindingKey
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.settings import SettingsError, read_keyring
from foundation.tokens import cell_audience
from foundation.words import CellId
from gateway.cli.reach import Reach, Remote, Stack, token_of

CALL_S_MAX = 10.0


class CellAddress(msgspec.Struct, frozen=True):
    """The part of a cell's entry that commands need: its service's URL, and HOST:PORT of its SQL door."""

    service: str
    door: str = ""


class StackAddresses(msgspec.Struct, frozen=True):
    """The part of stack.json that commands need."""

    directory: dict[str, str]
    regions: dict[str, dict[str, str]]
    cells: dict[CellId, CellAddress] = {}


def addresses(state: Path) -> StackAddresses:
    """Raises SettingsError where no stack was ever started."""
    try:
        return msgspec.json.decode(Paths(state.absolute()).stack.read_bytes(), type=StackAddresses)
    except OSError as exc:
        raise SettingsError(f"there is no stack in {state}; start one with `domicile up`") from exc
    except msgspec.MsgspecError as exc:
        raise SettingsError(f"{state}/stack.json is not a stack file: {exc}") from exc


def refuse_unless_running(state: Path) -> None:
    """Raises SettingsError where a stack was started once and does not run now."""
    paths = Paths(state.absolute())
    if paths.stack.exists() and not lock.is_held(paths.lock):
        raise SettingsError(f"the stack in {state} does not run; start it with `domicile up --detach`")


def call(
    method: str,
    url: str,
    *,
    token: str | None = None,
    body: Any = None,
    params: Any = None,
    headers: dict[str, str] | None = None,
    hint: str = "see `domicile status`",
    timeout_s: float = CALL_S_MAX,
) -> Any:
    """The answer's JSON. Raises SettingsError with the refusal's own words, or that nobody answers."""
    try:
        response = httpx.request(
            method,
            url,
            json=None if isinstance(body, bytes) else body,
            content=body if isinstance(body, bytes) else None,
            params=params,
            headers={**(headers or {}), **({"authorization": f"Bearer {token}"} if token else {})},
            timeout=timeout_s,
            trust_env=False,
            verify=believed(url),
        )
    except httpx.InvalidURL as exc:
        raise SettingsError(f"{url} is no address: {exc}") from exc
    except httpx.HTTPError as exc:
        raise SettingsError(f"{httpx.URL(url).netloc.decode()} does not answer ({_why(exc)}); {hint}") from exc
    if 300 <= response.status_code < 400:
        raise SettingsError(f"{url} answers {response.status_code}, which leads elsewhere; name the address itself")
    try:
        document = response.json() if response.content else None
    except ValueError as exc:
        raise SettingsError(f"{url} answers {response.status_code} without JSON") from exc
    if response.status_code >= 400:
        raise SettingsError(refusal(response.status_code, document))
    return document


def refusal(status: int, document: Any) -> str:
    """A problem document in one line. Pure."""
    if not isinstance(document, dict):
        return f"refused with status {status}"
    line = f"{status} {document.get('code', '')}: {document.get('detail') or document.get('title', '')}"
    told = [f"{name}: {document[name]}" for name in ("ground", "home") if isinstance(document.get(name), str)]
    told += [
        f"{name}: {', '.join(map(str, document[name]))}" for name in ("rules", "shards") if _listed(document.get(name))
    ]
    return f"{line} ({'; '.join(told)})" if told else line


def _listed(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def believed(url: str) -> ssl.SSLContext:
    """Whose certificates count: the system's, or those that SSL_CERT_FILE and SSL_CERT_DIR name. For plain http nobody's: reading them,
    which httpx would do for each call, takes 30 ms."""
    return ssl.create_default_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _why(exc: httpx.HTTPError) -> str:
    certificate = isinstance(exc.__cause__, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(exc)
    return f"{type(exc).__name__}: {exc}" if certificate else type(exc).__name__


class Service:
    """One API under one token. Refusals and silence raise SettingsError."""

    def __init__(self, url: str, token: Secret[str], *, hint: str) -> None:
        self._url = url
        self._token = token
        self._hint = hint

    def get(self, path: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        return call("GET", f"{self._url}{path}", token=self._token.reveal(), params=given, hint=self._hint)

    def post_bytes(self, path: str, body: bytes, media_type: str, *, timeout_s: float) -> Any:
        """What is encoded already, for calls that take their time."""
        token, sent = self._token.reveal(), {"content-type": media_type}
        url = f"{self._url}{path}"
        return call("POST", url, token=token, body=body, headers=sent, hint=self._hint, timeout_s=timeout_s)

    def put(self, path: str, body: Any, headers: dict[str, str]) -> Any:
        token = self._token.reveal()
        return call("PUT", f"{self._url}{path}", token=token, body=body, headers=headers, hint=self._hint)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        token = self._token.reveal()
        return call("POST", f"{self._url}{path}", token=token, body=body, headers=headers, hint=self._hint)


class Directory(Service):
    """A directory's API: as the operator of this machine's stack, or by the token of a file."""

    def __init__(self, reach: Reach) -> None:
        """Raises SettingsError."""
        match reach:
            case Stack(state):
                paths = Paths(state.absolute())
                url = addresses(state).directory["url"]
                # Minted here rather than read: the file may be older than its token's life where the supervisor was suspended.
                issuer = ServiceIssuer.read(paths.service_issuer_key)
                token = issuer.mint(*OPERATOR, SystemClock().unix_s(), ttl_s=60)
                super().__init__(f"{url}/v1", token, hint=f"see `domicile status --state {state}`")
            case Remote(url, token_file):
                super().__init__(f"{url}/v1", token_of(token_file), hint="is --directory its address?")


class DirectoryItself(Service):
    """The directory of this machine's stack outside of `/v1`, as its operator."""

    def __init__(self, state: Path) -> None:
        """Raises SettingsError."""
        url = addresses(state).directory["url"]
        issuer = ServiceIssuer.read(Paths(state.absolute()).service_issuer_key)
        token = issuer.mint(*OPERATOR, SystemClock().unix_s(), ttl_s=60)
        super().__init__(url, token, hint=f"see `domicile status --state {state}`")


def blinder_of(keyring: Path) -> Blinder:
    """Directories take lookup keys only, so identifiers are blinded here. Raises SettingsError."""
    return Blinder(tuple(BlindingKey(kid, key) for kid, key in read_keyring(keyring)))


class CellService(Service):
    """One cell's service as the operator of this machine's stack, under a credential that opens no other cell and no directory."""

    def __init__(self, state: Path, cell: CellId) -> None:
        """Raises SettingsError."""
        known = addresses(state).cells.get(cell)
        if known is None:
            raise SettingsError(f"this stack has no cell {cell}")
        issuer = ServiceIssuer.read(Paths(state.absolute()).service_issuer_key)
        audience = cell_audience(SERVICE_AUDIENCE, cell)
        token = issuer.mint(OPERATOR[0], ("operator",), SystemClock().unix_s(), ttl_s=60, audience=audience)
        super().__init__(known.service, token, hint=f"see `domicile status --state {state}`")
