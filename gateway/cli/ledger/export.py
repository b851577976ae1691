"""`domicile ledger export`: a log's entries into a file or an HTTP collector, up to what is signed now."""

import asyncio
import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import click

from foundation.http import client
from foundation.ledger.export import position
from foundation.ledger.export.forms import Form, Format
from foundation.ledger.export.position import SinkRefused
from foundation.ledger.export.settings import KEEP_USUAL, ROTATE_BYTES_MIN, ROTATE_BYTES_USUAL, ExportSettings
from foundation.ledger.export.sinks import POST_S_MAX, FileSink, HttpSink, SinkUnavailable
from foundation.ledger.export.taking import Batch, batches, openings_in
from foundation.ledger.export.worker import CONNECT_S_MAX
from foundation.settings import SettingsError
from foundation.tasks import Backoff
from foundation.tokens import TokenFile
from gateway.cli.ledger.which import Asked, told, which_option
from gateway.cli.options import json_option, print_json

FILE = click.Path(path_type=Path, dir_okay=False)
TRIES_MAX = 5
"""Of one batch, before the command gives up and says where to go on."""


@click.command()
@click.argument("log")
@click.option(
    "--format",
    "as_format",
    type=click.Choice([one.value for one in Format]),
    default=Format.OCSF.value,
    show_default=True,
)
@click.option(
    "--out", type=FILE, help="Append lines of JSON to this file; its position lies beside it, as FILE.position."
)
@click.option("--to", "url", metavar="URL", help="POST batches of lines there instead.")
@click.option("--to-token-file", type=FILE, help="With --to: the file that holds a bearer token for it.")
@click.option(
    "--since", type=click.IntRange(min=0), help="The entry to begin at. Default: where the file stands, else 0."
)
@click.option("--payloads", is_flag=True, help="With --out: what entries commit to goes, too: who did what to whom.")
@click.option(
    "--rotate-bytes",
    type=click.IntRange(min=ROTATE_BYTES_MIN),
    default=ROTATE_BYTES_USUAL,
    show_default=True,
    help="With --out: a file of so many bytes is put aside.",
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=KEEP_USUAL,
    show_default=True,
    help="Of files put aside, so many stay.",
)
@which_option
@json_option
def export(
    log: str,
    as_format: str,
    out: Path | None,
    url: str | None,
    to_token_file: Path | None,
    since: int | None,
    payloads: bool,
    rotate_bytes: int,
    keep: int,
    which: Asked,
    as_json: bool,
) -> None:
    """Give out the entries of LOG, a line of JSON each, up to what is signed now.

    As OCSF events (https://schema.ocsf.io) for a SIEM, or as they stand in the log. Each has the digest of its event's id, by which a
    repeat is known: whatever was not known to have arrived is given again. A process follows its log into a file or a URL by itself
    where its settings have `exports`. Notices to subjects go alone, whole, each with its proof.
    """
    payloads = payloads or as_format == Format.NOTICES.value
    _check(out, url, to_token_file, payloads)
    chosen = which.log(log)
    if payloads and chosen.folder is None:
        raise SettingsError("behind a URL there are no payloads")
    with told():
        reader = chosen.reader()
    checkpoint = reader.checkpoint
    form = Form(
        Format(as_format),
        payloads,
        checkpoint.origin,
        importlib.metadata.version("domicile"),
    )
    first = _begin(out, checkpoint.origin) if since is None else since
    if first > checkpoint.size:
        raise SettingsError(f"{checkpoint.origin} has {checkpoint.size} entries, and none is at {first}")
    chosen.state_reading("export", first, checkpoint.size - first, payloads=form.payloads)
    found = batches(reader, form, openings_in(chosen.folder if form.payloads else None), first)
    if out is not None:
        _into_file(FileSink(out, checkpoint.origin, rotate_bytes=rotate_bytes, keep=keep), out, found)
    elif url is not None:
        asyncio.run(_post(url, checkpoint.origin, to_token_file, found))
    if as_json:
        print_json({"origin": checkpoint.origin, "first": first, "following": checkpoint.size})
        return
    click.echo(f"{checkpoint.size - first:,} entries of {checkpoint.origin}; the next is {checkpoint.size}")


def _check(out: Path | None, url: str | None, token_file: Path | None, payloads: bool) -> None:
    """Raises UsageError, SettingsError."""
    if (out is None) == (url is None):
        raise click.UsageError("say either --out FILE or --to URL")
    if payloads and url is not None:
        raise click.UsageError(
            "payloads go with --out: to a URL they go by `exports` in settings, which say in what country it stands"
        )
    if url is None:
        if token_file is not None:
            raise click.UsageError("--to-token-file goes with --to URL")
        return
    mistake = ExportSettings(name="to", url=url).mistake()
    if mistake is not None:
        raise SettingsError(mistake)


def _begin(out: Path | None, origin: str) -> int:
    """Raises SettingsError."""
    try:
        held = None if out is None else position.read(out.with_name(out.name + ".position"), origin)
    except (SinkRefused, OSError) as exc:
        raise SettingsError(str(exc)) from exc
    return held or 0


def _into_file(sink: FileSink, out: Path, found: Iterator[Batch]) -> None:
    """Raises SettingsError."""
    with told():
        for batch in found:
            try:
                sink.write(batch)
            except SinkRefused as exc:
                raise SettingsError(str(exc)) from exc
            except OSError as exc:
                raise SettingsError(
                    f"{out} cannot be written ({exc.strerror}); go on with --since {batch.first}"
                ) from exc


async def _post(url: str, origin: str, token_file: Path | None, found: Iterator[Batch]) -> None:
    """Raises SettingsError that says where to go on."""
    token = None if token_file is None else TokenFile(token_file)
    async with client(total_s=POST_S_MAX, connect_s=CONNECT_S_MAX, connections_max=1) as http:
        sink = HttpSink(http, url, origin, None, token)
        with told():
            for batch in found:
                await _taken(sink, batch)


async def _taken(sink: HttpSink, batch: Batch) -> None:
    backoff = Backoff(first_s=0.2, max_s=2.0)
    for attempt in range(1, TRIES_MAX + 1):
        try:
            await sink.take(batch)
        except SinkUnavailable as exc:
            if attempt == TRIES_MAX:
                raise SettingsError(f"the batch was not taken ({exc}); go on with --since {batch.first}") from exc
            await asyncio.sleep(backoff.next_s())
        else:
            return
