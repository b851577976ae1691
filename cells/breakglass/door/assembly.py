"""The SQL door of a cell put together from its settings."""

import ssl
from pathlib import Path

from cells.breakglass.door.admission import Admission
from cells.breakglass.door.door import Door
from cells.breakglass.door.greeting import ALPN
from cells.breakglass.door.ports import Record, Wall
from cells.breakglass.door.settings import DoorSettings
from cells.breakglass.issuing import Issuing
from foundation.clock import Clock
from foundation.tls import Made, Tls, Watched, serving


def door_of(
    settings: DoorSettings, authority: Path, issuing: Issuing, wall: Wall, record: Record, clock: Clock
) -> Door:
    """`authority`: the certificate that engineers' own are under, PEM. Raises SettingsError."""
    stated = settings.checked()
    return Door(
        settings=stated,
        admission=Admission(issuing),
        wall=wall,
        record=record,
        tls=Watched("access.door.tls", stated.files(authority), _spoken, clock),
        clock=clock,
    )


def _spoken(use: str, files: Tls, now: float) -> Made:
    """As for whoever has to prove itself (TLS 1.3, no tickets), with the protocol that Postgres' clients name. Raises SettingsError."""
    made: tuple[ssl.SSLContext, float] = serving(use, files, now)
    made[0].set_alpn_protocols([ALPN])
    return made
