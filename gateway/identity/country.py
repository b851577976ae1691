"""The country that an address is observed in: a hint for the record, which decides nothing."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import geoip2.database
import geoip2.errors
import maxminddb

from foundation.settings import SettingsError
from foundation.words import Country, MalformedWord, parse_country
from gateway.data import COUNTRY_DATABASE
from gateway.identity.address import Address, Network, client_address


class Countries(Protocol):
    """Looks a country up; None where the database knows nothing."""

    def of(self, address: Address) -> Country | None: ...


class Observer:
    """The country that a request's address points at, from the peer's address and its X-Forwarded-For."""

    def __init__(self, countries: Countries, proxies: tuple[Network, ...]) -> None:
        """`proxies` are those whose X-Forwarded-For is believed."""
        self._countries = countries
        self._proxies = proxies

    def __call__(self, peer: str, forwarded_for: Sequence[bytes]) -> Country | None:
        address = client_address(peer, forwarded_for, self._proxies)
        return None if address is None else self._countries.of(address)


class CountryDatabase:
    """A MaxMind DB file: the bundled one, or the operator's GeoLite2 or GeoIP2, told apart by the file's own type."""

    def __init__(self, path: str = "") -> None:
        """Raises SettingsError where the file is none of these."""
        file = Path(path) if path else COUNTRY_DATABASE
        try:
            self._reader: Any = maxminddb.open_database(file)
            kind = self._reader.metadata().database_type
            self._look_up = self._plain
            if kind.startswith(("GeoLite2-", "GeoIP2-", "DBIP-")):
                self._reader.close()
                self._reader = geoip2.database.Reader(file)
                self._look_up = self._geoip2(kind)
        except (OSError, maxminddb.InvalidDatabaseError) as exc:
            raise SettingsError(f"country_database {file}: not a readable MaxMind DB file") from exc

    def of(self, address: Address) -> Country | None:
        """None also where the file has no addresses of this version, or is damaged there."""
        try:
            found = self._look_up(str(address))
            return parse_country(found) if found else None
        except (MalformedWord, ValueError, maxminddb.InvalidDatabaseError):
            return None

    def _plain(self, address: str) -> str | None:
        record = self._reader.get(address)
        code = record.get("country_code") if isinstance(record, dict) else None
        return code if isinstance(code, str) else None

    def _geoip2(self, kind: str) -> Any:
        edition = kind.rpartition("-")[2].lower()
        ask = {"country": "country", "city": "city", "enterprise": "enterprise"}.get(edition)
        if ask is None:
            raise SettingsError(
                f"country_database: {kind} holds no countries; use a Country, City or Enterprise edition"
            )
        look_up = getattr(self._reader, ask)

        def code(address: str) -> str | None:
            try:
                found = look_up(address).country.iso_code
            except geoip2.errors.AddressNotFoundError:
                return None
            return found if isinstance(found, str) else None

        return code

    def close(self) -> None:
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
