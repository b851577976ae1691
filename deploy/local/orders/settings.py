"""Settings of the sample product service (docs/architecture.md)."""

from pathlib import Path

import msgspec

from foundation.settings import SettingsError, load
from foundation.words import CellId, MalformedWord, ServiceId, parse_slug


class OrdersSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`token_file` is the service's own token, `decision_keyring` its decision key in each generation."""

    cell: str
    service: str
    host: str
    port: int
    cell_service: str
    token_file: str
    decision_keyring: str

    @property
    def cell_id(self) -> CellId:
        return CellId(self.cell)

    @property
    def service_id(self) -> ServiceId:
        return ServiceId(self.service)


def read(path: Path) -> OrdersSettings:
    """Raises SettingsError."""
    settings = load(path, OrdersSettings)
    try:
        parse_slug(settings.cell, "cell")
        parse_slug(settings.service, "service")
    except MalformedWord as exc:
        raise SettingsError(f"{path}: {exc}") from exc
    if not settings.cell_service.startswith(("http://", "https://")):
        raise SettingsError(f"{path}: cell_service is a URL such as http://127.0.0.1:7440")
    return settings
