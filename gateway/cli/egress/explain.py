"""`domicile egress explain`: a release in words, from its manifest alone."""

from pathlib import Path
from typing import Any

import click
import msgspec

from cells.egress.manifest import MANIFEST, ManifestRefused
from cells.egress.verify import folder_of
from foundation.settings import SettingsError
from gateway.cli.options import json_option, print_json, print_table


@click.command()
@click.argument("release", type=click.Path(path_type=Path, exists=True))
@json_option
def explain(release: Path, as_json: bool) -> None:
    """Say what RELEASE holds: on which ground it left, what is owed for it, what each field became, what stayed. Verifies nothing."""
    try:
        document = msgspec.json.decode((folder_of(release) / MANIFEST).read_bytes(), type=dict[str, Any])
    except (ManifestRefused, msgspec.MsgspecError) as exc:
        raise SettingsError(f"{release}: {exc}") from exc
    if as_json:
        print_json(document)
        return
    to, rows = document["destination"], document["rows"]
    place = to["subdivision"] or to["country"]
    click.echo(f"{document['id']}: product.{document['table']} of {document['cell']} to {to['id']} ({place})")
    click.echo(f"for {document['purpose']}, sealed {document['sealed_at']}, under rules {document['rules']}")
    click.echo(f"{rows['released']:,} rows released")
    for ground, count in rows["stayed"].items():
        click.echo(f"{count:,} rows stayed: {ground}")
    for one in document["held"]:
        click.echo(f"{one['rows']:,} rows in quarantine: {one['found']}")
    print_table(("ground",), [(one,) for one in document["ground"]])
    print_table(("owed",), [(one,) for one in document["duties"]], title="obligations")
    fields = [
        (
            one["name"],
            " ".join(one["treatments"]) or "-",
            "yes" if one["masking"] else "",
            _fates(document, one["name"]),
        )
        for one in document["fields"]
    ]
    print_table(("field", "leaves as", "masked", "values"), fields)


def _fates(document: dict[str, Any], name: str) -> str:
    return ", ".join(f"{fate} {count:,}" for fate, count in document["counts"].get(name, {}).items())
