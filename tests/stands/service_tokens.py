"""Service tokens for tests: an issuer with its own ES256 key and a JWKS file, as the stack's service issuer has.

`ServiceIssuer(tmp_path).issuer` goes into a process's `service_issuers`; `.token(...)` and `.token_file(...)` make what callers present.
"""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from foundation.clock import SystemClock
from foundation.tokens import Issuer, TokenFile

ISSUER = "urn:domicile:test:services"
AUDIENCE = "domicile"


class ServiceIssuer:
    """Mints service tokens that a process configured with `.issuer` accepts."""

    def __init__(self, folder: Path, *, issuer: str = ISSUER, audience: str = AUDIENCE) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._kid = secrets.token_hex(4)
        public = jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        jwks = folder / f"service-jwks-{self._kid}.json"
        jwks.write_text(json.dumps({"keys": [public | {"kid": self._kid, "alg": "ES256", "use": "sig"}]}))
        self.issuer = Issuer(issuer=issuer, audience=audience, jwks=str(jwks))

    def token(self, actor: str, roles: Iterable[str], ttl_s: float = 600, **claims: Any) -> str:
        """A signed token; a negative `ttl_s` makes one that has run out, `claims` add to or replace the usual ones."""
        now = int(SystemClock().unix_s())
        payload: dict[str, Any] = {
            "iss": self.issuer.issuer,
            "aud": self.issuer.audience,
            "sub": actor,
            "roles": list(roles),
            "iat": now,
            "exp": now + ttl_s,
        }
        return jwt.encode(payload | claims, self._key, algorithm="ES256", headers={"kid": self._kid})

    def key_file(self, path: Path) -> None:
        """Writes the key as the stack keeps its service issuer's, so that the command line signs with it."""
        pem = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps({"kid": self._kid, "pem": pem.decode()}))

    def headers(self, actor: str, roles: Iterable[str]) -> dict[str, str]:
        """The Authorization header of a request by `actor`."""
        return {"authorization": f"Bearer {self.token(actor, roles)}"}

    def token_file(self, path: Path, actor: str, roles: Iterable[str], ttl_s: float = 600) -> TokenFile:
        """Writes a token to `path` (0600) and returns what `foundation.http.client(token=…)` takes."""
        path.touch(mode=0o600)
        path.chmod(0o600)
        path.write_text(self.token(actor, roles, ttl_s), encoding="ascii")
        return TokenFile(path)
