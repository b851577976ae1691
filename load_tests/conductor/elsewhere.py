"""Load from several machines: workers that join a run, and the judging of what all of them wrote down."""

import asyncio
import itertools
import os
from contextlib import AsyncExitStack
from pathlib import Path

import click
import msgspec

from foundation.settings import SettingsError
from load_tests import plan, target
from load_tests.conductor import conducted, swarm
from load_tests.conductor.ending import ended, told
from load_tests.faults.directory import opened
from load_tests.oracle import ledger
from load_tests.sweep.found import Found
from load_tests.sweep.reading import swept

PATH = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--master", required=True, metavar="HOST:PORT", help="Where the run listens (`--listen`).")
@click.option("--plan", "file", type=PATH, required=True, help="The run's plan.json, copied here.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Locust processes here.")
@click.option("--out", type=PATH, default=Path("load"), show_default=True, help="Folder for their lines.")
def work(master: str, file: Path, workers: int, out: Path) -> None:
    """Join a run that another machine conducts.

    The lines of these workers stay here, for `judge`.
    """
    with told():
        host, port = swarm.address(master)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise SettingsError(f"{out}: {exc.strerror}") from exc
        own = out.absolute() / "plan.json"
        plan.write(plan.here(plan.read(file), out.absolute()), own)
    words = swarm.joining(host, port, workers=workers)
    os.execve(words[0], words, {**os.environ, plan.ENVIRONMENT: str(own)})  # noqa: S606 - locust, by our own words


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, required=True, type=PATH, metavar="DIR...")
@click.option("--stack", type=PATH, help="The deployment's stack.json, to sweep it. Default: nothing is swept.")
@click.option("--dsns", type=PATH, help="JSON of the shards' DSNs, for the sweep of another deployment.")
@click.option("--directory-token", type=PATH, help="The operator's service token of another deployment.")
@click.option("--out", type=PATH, default=Path("judged"), show_default=True, help="Folder for the findings.")
def judge(
    folders: tuple[Path, ...], stack: Path | None, dsns: Path | None, directory_token: Path | None, out: Path
) -> None:
    """Judge the lines of several machines together.

    DIR... are the folders that the run and each `work` wrote to, brought together on this machine.
    """
    with told():
        known = conducted.read(folders)
        empty = [str(folder) for folder in folders if not any(folder.glob(ledger.PATTERN))]
        if empty:
            raise SettingsError(f"no worker wrote anything to {', '.join(empty)}")
        found = None if stack is None else asyncio.run(_swept(target.read(_file(stack)), dsns, directory_token))
        try:
            findings = conducted.judged(known, itertools.chain.from_iterable(map(ledger.lines, folders)), found)
            out.mkdir(parents=True, exist_ok=True)
        except (OSError, msgspec.MsgspecError) as exc:
            raise SettingsError(f"{exc}") from exc
    ended(findings, out)


def _file(stack: Path) -> Path:
    return stack if stack.suffix == ".json" else stack / "stack.json"


async def _swept(stack: target.Target, dsns: Path | None, directory_token: Path | None) -> Found | None:
    """Raises SettingsError."""
    token = target.token_file(stack, directory_token)
    async with AsyncExitStack() as held:
        directory = None if token is None else await held.enter_async_context(opened(stack.directory_url, token))
        return await swept(stack, target.dsns(stack, dsns), directory)
