"""The operator's own country database: GeoLite2 and GeoIP2 editions through geoip2, others refused with what to do."""

import ipaddress
from pathlib import Path

import pytest

from foundation.settings import SettingsError
from gateway.identity.country import CountryDatabase
from tests.stands.country_file import write

GERMANY = {"country": {"iso_code": "DE", "geoname_id": (6, 2921044), "names": {"en": "Germany"}}}
INDIA = {"country": {"iso_code": "IN"}, "registered_country": {"iso_code": "US"}}
NETWORKS = {"192.0.2.0/24": GERMANY, "2001:db8:7::/48": INDIA, "198.51.100.0/25": {"continent": {"code": "EU"}}}


@pytest.mark.parametrize("edition", ["GeoLite2-Country", "GeoIP2-Country", "GeoLite2-City", "GeoIP2-Enterprise"])
def test_an_operators_edition_tells_the_country_of_the_address(tmp_path: Path, edition: str) -> None:
    path = write(tmp_path / "own.mmdb", edition, NETWORKS)
    with CountryDatabase(str(path)) as countries:
        seen = [countries.of(ipaddress.ip_address(text)) for text in ("192.0.2.9", "2001:db8:7::1")]
        assert seen == ["DE", "IN"]


def test_an_address_without_a_country_is_observed_nowhere(tmp_path: Path) -> None:
    path = write(tmp_path / "own.mmdb", "GeoLite2-Country", NETWORKS)
    with CountryDatabase(str(path)) as countries:
        assert countries.of(ipaddress.ip_address("198.51.100.1")) is None
        assert countries.of(ipaddress.ip_address("203.0.113.1")) is None


@pytest.mark.parametrize("edition", ["GeoLite2-Country", "of countries"])
def test_a_file_of_older_addresses_alone_observes_nothing_of_others(tmp_path: Path, edition: str) -> None:
    path = write(tmp_path / "own.mmdb", edition, NETWORKS, ip_version=4)
    with CountryDatabase(str(path)) as countries:
        assert countries.of(ipaddress.ip_address("2001:db8:7::1")) is None


def test_an_edition_without_countries_is_refused_with_those_that_have(tmp_path: Path) -> None:
    path = write(tmp_path / "asn.mmdb", "GeoLite2-ASN", {"192.0.2.0/24": {"autonomous_system_organization": "x"}})
    with pytest.raises(SettingsError, match="Country, City or Enterprise"):
        CountryDatabase(str(path))


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database")
    with pytest.raises(SettingsError, match=r"notes\.txt"):
        CountryDatabase(str(path))
