"""A release put together from a cell's settings: contract digest, keys, the treater."""

import datetime

import msgspec

from cells.egress.keys import keys_for
from cells.egress.manifest import digest
from cells.egress.plan import Release
from cells.egress.treating import Treater
from cells.egress.treatments import Means
from cells.egress.values import OF_DATABASE
from cells.records.contracts import Contract
from foundation.ledger.canonical import canonical
from foundation.mute import Secret
from foundation.words import DestinationId
from gateway.cli.egress.which import Which
from routing_rules.rules import Rules


def contract_digest(contract: Contract) -> str:
    """Over what it says, however it is written."""
    return digest(canonical(msgspec.to_builtins(contract)))


def keys(which: Which, purpose: str) -> dict[str | None, Secret[bytes]]:
    """Raises SettingsError."""
    stated = which.egress
    return keys_for(stated.root(), which.settings.cell, purpose, stated.joins())


def treater(
    which: Which,
    contract: Contract,
    to: DestinationId,
    purpose: str,
    rules: Rules,
    day: datetime.date,
) -> Treater:
    """Raises SettingsError."""
    return Treater(
        contract,
        Release(cell=which.settings.cell, destination=to, purpose=purpose),
        rules,
        day,
        means=Means(day, keys(which, purpose), contract.hierarchies),
        readers=OF_DATABASE,
        scan=which.egress.scanner(),
    )


def today(now_s: float) -> datetime.date:
    return datetime.datetime.fromtimestamp(now_s, datetime.UTC).date()
