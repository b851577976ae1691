"""`domicile egress explain`: a release in words, from its manifest alone."""

from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from cells.egress.manifest import MANIFEST, ManifestRefused
from cells.egress.verify import folder_of
from foundation.settings import SettingsError
from gateway.cli.options import json_option, print_json, print_table


class To(msgspec.Struct, frozen=True):
    id: str
    country: str
    subdivision: str | None = None


class Rows(msgspec.Struct, frozen=True):
    """`stayed`: by ground."""

    released: int
    stayed: dict[str, int]


class Held(msgspec.Struct, frozen=True):
    """`found`: field → kind → how often."""

    rows: int
    found: dict[str, dict[str, int]]


class Field(msgspec.Struct, frozen=True):
    name: str
    treatments: tuple[str, ...]
    masking: bool


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """Of a manifest, what is said of it in words. `counts`: field → fate → values."""

    format: Literal["domicile-release/1"]
    id: str
    cell: str
    table: str
    destination: To
    purpose: str
    sealed_at: str
    rules: str
    rows: Rows
    held: tuple[Held, ...]
    ground: tuple[str, ...]
    duties: tuple[str, ...]
    fields: tuple[Field, ...]
    counts: dict[str, dict[str, int]]


@click.command()
@click.argument("release", type=click.Path(path_type=Path, exists=True))
@json_option
def explain(release: Path, as_json: bool) -> None:
    """Say what RELEASE holds: on which ground it left, what is owed for it, what each field became, what stayed. Verifies nothing."""
    try:
        raw = (folder_of(release) / MANIFEST).read_bytes()
        document = msgspec.json.decode(raw, type=dict[str, Any])
        said = msgspec.convert(document, Explained)
    except ManifestRefused as exc:
        raise SettingsError(f"{release}: {exc}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise SettingsError(f"{release}: {MANIFEST} is not that of a release: {exc}") from exc
    except OSError as exc:
        raise SettingsError(f"{release} cannot be read ({exc.strerror})") from exc
    if as_json:
        print_json(document)
        return
    _show(said)


def _show(said: Explained) -> None:
    to = said.destination
    click.echo(f"{said.id}: product.{said.table} of {said.cell} to {to.id} ({to.subdivision or to.country})")
    click.echo(f"for {said.purpose}, sealed {said.sealed_at}, under rules {said.rules}")
    click.echo(f"{said.rows.released:,} rows released")
    for ground, count in said.rows.stayed.items():
        click.echo(f"{count:,} rows stayed: {ground}")
    for one in said.held:
        click.echo(f"{one.rows:,} rows in quarantine: {one.found}")
    print_table(("ground",), [(one,) for one in said.ground])
    print_table(("owed",), [(one,) for one in said.duties], title="obligations")
    fields = [
        (one.name, " ".join(one.treatments) or "-", "yes" if one.masking else "", _fates(said, one.name))
        for one in said.fields
    ]
    print_table(("field", "leaves as", "masked", "values"), fields)


def _fates(said: Explained, name: str) -> str:
    return ", ".join(f"{fate} {count:,}" for fate, count in said.counts.get(name, {}).items())
