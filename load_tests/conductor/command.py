"""The command: options in, a run, its page and its document, exit status out: 0 clean, 1 a promise broken, 2 could not run."""

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from foundation.settings import SettingsError
from load_tests.conductor.run import Options, opened_run
from load_tests.report import page, terminal
from load_tests.report.findings import Findings
from load_tests.scenarios import shape
from load_tests.scenarios.actions import ACTIONS

CLEAN, BROKEN, NOT_RUN = 0, 1, 2
STACK_S_MAX = 240.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--scenario", default="short", show_default=True, help="A scenario by name, or its file.")
@click.option(
    "--stack", type=click.Path(path_type=Path), help="A deployment's stack.json. Default: starts a stack of its own."
)
@click.option("--seconds", type=click.IntRange(5), help="Instead of the scenario's.")
@click.option("--users", type=click.IntRange(1), help="Instead of the scenario's.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("load"), show_default=True, help="Folder for the findings."
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Locust processes.")
@click.option(
    "--web", "web_port", type=click.IntRange(1, 65535), help="Show locust's own pages on this port meanwhile."
)
@click.option(
    "--rate", type=click.FloatRange(0, 10_000), default=0.0, help="Open loop: arrivals a second, without locust."
)
@click.option(
    "--dsns", type=click.Path(path_type=Path), help="JSON of the shards' DSNs, for the sweep of another deployment."
)
@click.option(
    "--directory-token", type=click.Path(path_type=Path), help="The operator's service token of another deployment."
)
@click.option("--list", "listed", is_flag=True, help="List the scenarios and end.")
def run(
    scenario: str,
    stack: Path | None,
    seconds: int | None,
    users: int | None,
    out: Path,
    workers: int,
    web_port: int | None,
    rate: float,
    dsns: Path | None,
    directory_token: Path | None,
    listed: bool,
) -> None:
    """Put load on a deployment, break things meanwhile, and prove that no promise was broken."""
    if listed:
        for name in shape.known():
            click.echo(f"{name:10} {shape.read(name, frozenset(ACTIONS)).about}")
        return
    try:
        chosen = shape.resized(shape.read(scenario, frozenset(ACTIONS)), seconds=seconds, users=users)
        with _stack(stack) as file:
            options = Options(
                scenario=chosen,
                stack=file,
                out=_emptied(out),
                workers=workers,
                web_port=web_port,
                rate=rate,
                dsns=dsns,
                directory_token=directory_token,
            )
            findings = asyncio.run(_played(options))
    except SettingsError as exc:
        click.echo(f"domicile load: {exc}", err=True)
        sys.exit(NOT_RUN)
    except BaseExceptionGroup as exc:
        click.echo(f"domicile load: {_first(exc)}", err=True)
        sys.exit(NOT_RUN)
    write(findings, out)
    click.echo(terminal.summary(findings))
    click.echo(f"{out / 'load.html'}  {out / 'load.json'}")
    sys.exit(BROKEN if not findings.held else NOT_RUN if findings.faults_failed else CLEAN)


async def _played(options: Options) -> Findings:
    async with opened_run(options) as opened:
        return await opened.play(lambda line: click.echo(line, err=True))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first settings error of a group of faults; a fault of another kind goes on."""
    matched, rest = group.split(SettingsError)
    if matched is None or rest is not None:
        raise group
    found: BaseException = matched
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def write(findings: Findings, out: Path) -> None:
    """`load.json` and `load.html`."""
    (out / "load.json").write_bytes(msgspec.json.format(msgspec.json.encode(findings), indent=1))
    (out / "load.html").write_text(page.html(findings), encoding="utf-8")


def _emptied(out: Path) -> Path:
    """The folder without the lines of an earlier run. Raises SettingsError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in (*out.glob("answers-*.ndjson"), out / "processes.ndjson"):
            path.unlink(missing_ok=True)
    except OSError as exc:
        raise SettingsError(f"{out}: {exc.strerror}") from exc
    return out.absolute()


@contextmanager
def _stack(given: Path | None) -> Iterator[Path]:
    """The stack file: the one given, or that of an embedded stack which is started now and thrown away afterwards."""
    if given is not None:
        yield given if given.suffix == ".json" else given / "stack.json"
        return
    folder = Path(tempfile.mkdtemp(prefix="domicile-load-"))
    state = folder / "stack"
    try:
        _domicile("up", "--detach", "--port-base", "0", state=state)
        yield state / "stack.json"
    finally:
        _domicile("reset", "--yes", state=state)
        shutil.rmtree(folder, ignore_errors=True)


def _domicile(*words: str, state: Path) -> None:
    command = [sys.executable, "-P", "-m", "gateway.cli.main", *words, "--state", str(state)]
    done = subprocess.run(  # noqa: S603 - our own module
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=STACK_S_MAX, check=False
    )
    if done.returncode != 0:
        raise SettingsError(f"domicile {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
