"""The policy of a bench: one text for all of them, with the cells and services that each needs."""

from collections.abc import Mapping

_PRODUCT = """
[product]
citizenship = "residence"
[directory]
country = "DE"
[operator]
country = "DE"
sectors = []
recipient_classes = []
overlays = []
"""
_REGIONS = {
    "eu": '[regions.eu]\ncountry = "DE"\norigin = "https://eu.example.com"\n',
    "us": '[regions.us]\ncountry = "US"\norigin = "https://america.example.com"\n',
}
_CELL = """
[cells.{cell}]
region = "{region}"
jurisdiction = "{region}"
serves = ["{region}"]
shards = {{ {shards} }}
"""
_SHARD = 's{number} = {{ dsn_env = "{env}_S{number}", country = "{country}" }}'
_COUNTRIES = {"eu": "DE", "us": "US"}


def policy(services: Mapping[str, Mapping[str, str]], *, shards: int = 1) -> str:
    """`services`: the address of each, by cell. A cell is named `<region>-…`, of the regions `eu` and `us`; each has so many `shards`."""
    cells = list(dict.fromkeys(cell for hosts in services.values() for cell in hosts))
    regions = dict.fromkeys(_region(cell) for cell in cells)
    return "".join(
        (
            _PRODUCT,
            *(_REGIONS[region] for region in regions),
            *(_cell(cell, shards) for cell in cells),
            *(_service(name, hosts) for name, hosts in services.items()),
        )
    )


def _region(cell: str) -> str:
    return cell.partition("-")[0]


def _cell(cell: str, shards: int) -> str:
    region, env = _region(cell), cell.upper().replace("-", "_")
    rows = (_SHARD.format(number=number + 1, env=env, country=_COUNTRIES[region]) for number in range(shards))
    return _CELL.format(cell=cell, region=region, shards=", ".join(rows))


def _service(name: str, hosts: Mapping[str, str]) -> str:
    stated = ", ".join(f'{cell} = ["{address}"]' for cell, address in hosts.items())
    return f'[services.{name}]\npurpose = "service"\nhosts = {{ {stated} }}\n'
