"""The directory service's settings (docs/architecture.md, "Settings")."""

import msgspec

from foundation.tokens import Issuer


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`dsn_env` names the environment variable with the DSN of the database's owner. Waits are in seconds."""

    host: str
    port: int
    dsn_env: str
    service_issuers: list[Issuer]
    pool_size_max: int = 10
    start_s_max: float = 60.0
    drain_s: float = 0.0
