"""`domicile records`: a person's rows, read through a gateway as that person would; contracts beside it."""

import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import click

from foundation.settings import SettingsError
from gateway.cli.client import addresses, call
from gateway.cli.contracts import contracts
from gateway.cli.options import json_option, print_json, print_table, state_option


@click.group()
def records() -> None:
    """Read a person's rows through a gateway; hold tables and contracts together."""


records.add_command(contracts)


@records.command()
@click.argument("table")
@click.option("--region", required=True, help="The region whose gateway is asked, such as eu.")
@click.option("--token-file", type=click.File("r"), help="File with the person's token; - reads standard input.")
@click.option("--sub", help="Instead of a token: mint one for this `sub` at the region's development issuer.")
@click.option("--issuer", help="With --sub: another region's issuer.")
@click.option("--query", default="", help="The dialect's query: 'select=id,item&limit=10'.")
@state_option
@json_option
def get(
    table: str,
    region: str,
    token_file: Any,
    sub: str | None,
    issuer: str | None,
    query: str,
    state: Path,
    as_json: bool,
) -> None:
    """Read TABLE's rows of one person."""
    if (token_file is None) == (sub is None):
        raise click.UsageError("give either --token-file or --sub")
    regions = addresses(state).regions
    token = token_file.read().strip() if token_file else _minted(regions, issuer or region, str(sub))
    rows = call("GET", f"{_of(regions, region)['gateway']}/records/{table}", token=token, params=parse_qsl(query))
    if as_json or not isinstance(rows, list):
        print_json(rows)
        return
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print_table(columns, [[row.get(name) for name in columns] for row in rows])
    sys.stderr.write(f"{len(rows)} rows\n")


def _of(regions: dict[str, dict[str, str]], region: str) -> dict[str, str]:
    """Raises SettingsError naming the regions that there are."""
    if region not in regions:
        raise SettingsError(f"the stack has no region {region}; its regions are {', '.join(sorted(regions))}")
    return regions[region]


def _minted(regions: dict[str, dict[str, str]], region: str, sub: str) -> str:
    answer = call("POST", f"{_of(regions, region)['issuer']}/mint", body={"sub": sub, "ttl_s": 60})
    return str(answer["access_token"])
