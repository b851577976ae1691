"""How a command of the harness ends: findings as files and on the terminal; exit status 0 clean, 1 a promise broken, 2 could not run."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from foundation.settings import SettingsError
from load_tests.report import page, terminal
from load_tests.report.findings import Findings

CLEAN, BROKEN, NOT_RUN = 0, 1, 2


@contextmanager
def told() -> Iterator[None]:
    """What cannot be run ends the process with one line that says why."""
    try:
        yield
    except SettingsError as exc:
        _not_run(exc)
    except BaseExceptionGroup as exc:
        _not_run(_first(exc))


def _not_run(exc: BaseException) -> NoReturn:
    click.echo(f"domicile load: {exc}", err=True)
    sys.exit(NOT_RUN)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first settings error of a group of faults; a fault of another kind goes on."""
    matched, rest = group.split(SettingsError)
    if matched is None or rest is not None:
        raise group
    found: BaseException = matched
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


def ended(findings: Findings, out: Path) -> NoReturn:
    """`load.json` and `load.html`, a summary, the exit status."""
    (out / "load.json").write_bytes(msgspec.json.format(msgspec.json.encode(findings), indent=1))
    (out / "load.html").write_text(page.html(findings), encoding="utf-8")
    click.echo(terminal.summary(findings))
    click.echo(f"{out / 'load.html'}  {out / 'load.json'}")
    sys.exit(BROKEN if not findings.held else NOT_RUN if findings.faults_failed else CLEAN)
