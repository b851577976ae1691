"""The stack's secrets: made once, kept in `secrets/`, derived keys written anew at each start; service tokens."""

import base64
import itertools
import secrets
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from deploy.local import files
from deploy.local.layout import (
    REGIONS,
    SAMPLE_ACTOR,
    SAMPLE_SERVICE,
    SERVICE_AUDIENCE,
    SERVICE_ISSUER,
    Paths,
    hop_ring,
    ledger_origin,
    ledgers,
    witnesses,
)
from foundation.decision_header import cell_root, service_key
from foundation.ledger.notes import MalformedKey, PrivateKey, Signer
from foundation.ledger.witness.cosignatures import Cosigner
from foundation.mute import Secret
from foundation.settings import KeyringFile, SettingsError
from foundation.words import CellId, ServiceId

TOKEN_S = 600
"""Lifetime of a service token; the longest that docs/architecture.md allows."""
TOKEN_RENEW_S = 240
"""Age at which the supervisor writes a new one."""
DATABASE_SERVERS = ("directory", *(region.cell for region in REGIONS))
DATABASE_ROLES = ("superuser", "owner", "cell", "records")


# --- keyrings and passwords --------------------------------------------------------------------------------------------------


def new_keyring() -> KeyringFile:
    return KeyringFile(current="k1", keys={"k1": _b64(secrets.token_bytes(32))})


def derived(parent: KeyringFile, step: Any) -> KeyringFile:
    """The same generations, each key put through `step(bytes) -> bytes`."""
    return KeyringFile(
        current=parent.current, keys={kid: _b64(step(_unb64(text))) for kid, text in parent.keys.items()}
    )


def derived_rings(roots: dict[str, KeyringFile]) -> dict[str, KeyringFile]:
    """Keyring files by name that follow from the region roots (by region): cell roots, and each service's decision keys."""
    rings: dict[str, KeyringFile] = {}
    for region in REGIONS:
        cell, service = CellId(region.cell), ServiceId(SAMPLE_SERVICE)
        root = derived(roots[region.id], lambda key, cell=cell: cell_root(key, cell))
        rings[f"cell-{cell}.root"] = root
        rings[f"{service}-{cell}.decision"] = derived(root, lambda key, service=service: service_key(key, service))
    return rings


class Secrets(msgspec.Struct, frozen=True):
    """What the supervisor itself needs: passwords, the control channel's token, and the service issuer."""

    databases: dict[str, dict[str, Secret[str]]]
    valkey: dict[str, Secret[str]]
    control: Secret[str]
    issuer: "ServiceIssuer"


def ensure(paths: Paths) -> Secrets:
    """Makes what is missing in `secrets/` and reads the rest. Raises SettingsError, OSError."""
    paths.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.secrets.chmod(0o700)
    paths.ledgers.mkdir(mode=0o700, exist_ok=True)
    files.sweep_partials(paths.secrets)
    roots = {region.id: _kept_ring(paths.keyring(f"region-{region.id}.root")) for region in REGIONS}
    _kept_ring(paths.keyring("blinding"))
    _kept_ring(paths.keyring("hints"))
    for region in REGIONS:
        _kept_ring(paths.keyring(f"cache-{region.id}"))
    for one, other in itertools.combinations(REGIONS, 2):
        _kept_ring(paths.keyring(hop_ring(one.id, other.id)))
    for name in ledgers():
        _kept_signer(paths, name, Signer)
    for name in witnesses():
        _kept_signer(paths, name, Cosigner)
    for name, ring in derived_rings(roots).items():
        files.write_if_changed(paths.keyring(name), msgspec.json.encode(ring).decode())
    databases = {server: dict.fromkeys(DATABASE_ROLES, "") for server in DATABASE_SERVERS}
    issuer = ServiceIssuer.kept(paths.service_issuer_key)
    files.write_if_changed(paths.service_jwks, issuer.jwks(), mode=files.OPEN)
    return Secrets(
        databases={
            server: {role: Secret(word) for role, word in words.items()}
            for server, words in _kept_words(paths.keyring("databases"), databases).items()
        },
        valkey={
            region: Secret(words["password"])
            for region, words in _kept_words(
                paths.keyring("valkey"), {region.id: {"password": ""} for region in REGIONS}
            ).items()
        },
        control=_kept_token(paths.control_token),
        issuer=issuer,
    )


def _kept_ring(path: Path) -> KeyringFile:
    ring = files.read_json(path, KeyringFile)
    if ring is None:
        ring = new_keyring()
        files.write(path, msgspec.json.encode(ring))
    return ring


def _kept_signer(paths: Paths, name: str, kind: type[PrivateKey[Any]]) -> None:
    """The key of a log or of a witness, and beside the logs its public half."""
    path = paths.signing_key(name)
    try:
        signer = kind.parse(Secret(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        signer = kind(ledger_origin(name), Secret(secrets.token_bytes(32)))
        files.write(path, signer.text.reveal())
    except (MalformedKey, UnicodeDecodeError) as exc:
        raise SettingsError(f"{path} is damaged ({exc}); `domicile reset` makes a new state folder") from exc
    files.write_if_changed(paths.ledger_key(name), f"{signer.verifier.text}\n", mode=files.OPEN)


def _kept_words(path: Path, wanted: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Passwords by server and role: those of the file, new ones where `wanted` names more."""
    held = files.read_json(path, dict[str, dict[str, str]]) or {}
    whole = {
        server: {role: held.get(server, {}).get(role) or secrets.token_urlsafe(24) for role in roles}
        for server, roles in wanted.items()
    }
    if whole != held:
        files.write(path, msgspec.json.encode(whole))
    return whole


def _kept_token(path: Path) -> Secret[str]:
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = ""
    if not text:
        text = secrets.token_urlsafe(32)
        files.write(path, text)
    return Secret(text)


# --- service tokens ----------------------------------------------------------------------------------------------------------


class _IssuerFile(msgspec.Struct, frozen=True):
    """The service issuer's key: kid and PKCS #8 PEM."""

    kid: str
    pem: str


class ServiceIssuer:
    """Signs service tokens (ES256) for the processes of this stack and for its operator."""

    def __init__(self, kid: str, key: ec.EllipticCurvePrivateKey) -> None:
        self._kid = kid
        self._key = key

    @classmethod
    def kept(cls, path: Path) -> "ServiceIssuer":
        """The key of the file, made if it is not there. Raises SettingsError."""
        held = files.read_json(path, _IssuerFile)
        if held is None:
            held = _IssuerFile(kid=f"services-{secrets.token_hex(4)}", pem=_new_pem())
            files.write(path, msgspec.json.encode(held))
        return cls._from(held, path)

    @classmethod
    def read(cls, path: Path) -> "ServiceIssuer":
        """The key of the file. Raises SettingsError when there is none."""
        held = files.read_json(path, _IssuerFile)
        if held is None:
            raise SettingsError(f"{path} is not there; start the stack once with `domicile up`")
        return cls._from(held, path)

    @classmethod
    def _from(cls, held: _IssuerFile, path: Path) -> "ServiceIssuer":
        try:
            key = serialization.load_pem_private_key(held.pem.encode(), password=None)
        except ValueError as exc:
            raise SettingsError(f"{path} holds no private key") from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SettingsError(f"{path} holds a key of another kind than P-256")
        return cls(held.kid, key)

    def mint(
        self,
        actor: str,
        roles: tuple[str, ...],
        now_unix_s: float,
        *,
        ttl_s: int = TOKEN_S,
        audience: str = SERVICE_AUDIENCE,
    ) -> Secret[str]:
        """A service token (docs/architecture.md "Service tokens"); `audience` of a cell (`cell_audience`) for its records."""
        claims = {
            "iss": SERVICE_ISSUER,
            "aud": audience,
            "sub": actor,
            "roles": list(roles),
            "iat": int(now_unix_s),
            "exp": int(now_unix_s) + ttl_s,
        }
        return Secret(jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._kid}))

    def jwks(self) -> str:
        """The public half as a JWKS document (RFC 7517)."""
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return msgspec.json.encode({"keys": [{**public, "kid": self._kid, "alg": "ES256", "use": "sig"}]}).decode()


def _new_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


OPERATOR = ("operator:cli", ("operator", "rules", "resolver"))


def credentials() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Who gets a service token: file name → (actor, roles)."""
    held: dict[str, tuple[str, tuple[str, ...]]] = {"operator": OPERATOR}
    held[SAMPLE_ACTOR] = (f"service:{SAMPLE_ACTOR}", (f"actor:{SAMPLE_ACTOR}",))
    for region in REGIONS:
        cell = region.cell
        held[f"gateway-{region.id}"] = (f"gateway:{region.id}", ("resolver", f"gateway:{region.id}"))
        held[f"cell-{cell}"] = (f"cell:{cell}", ("resolver", f"cell:{cell}", f"signup:{cell}"))
        held[f"{SAMPLE_SERVICE}-{cell}"] = (f"service:{SAMPLE_SERVICE}", (f"service:{SAMPLE_SERVICE}@{cell}",))
    return held


def write_tokens(paths: Paths, issuer: ServiceIssuer, now_unix_s: float) -> None:
    """New tokens for every process and the operator. Raises OSError."""
    for name, (actor, roles) in credentials().items():
        files.write(paths.token(name), issuer.mint(actor, roles, now_unix_s).reveal())


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
