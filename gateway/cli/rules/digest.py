"""`domicile rules digest`."""

import json
from pathlib import Path

import click

from gateway.cli.options import json_option
from gateway.cli.rules.reading import loaded, policy_option


@click.command(short_help="Print the digest of the rules that a policy makes.")
@policy_option
@json_option
def digest(policy_file: Path, as_json: bool) -> None:
    """Print the digest of the rules that this policy makes with the bundled pack."""
    found = loaded(policy_file)
    click.echo(json.dumps({"digest": found.digest, "pack": f"sha256:{found.pack.digest}"}) if as_json else found.digest)
