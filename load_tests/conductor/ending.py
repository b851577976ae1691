"""How a command of the harness ends: findings as files and on the terminal; exit status 0 clean, 1 a promise broken, 2 could not run as
asked, or proved nothing."""

import sys
import traceback
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
    """What cannot be run ends the process with one line that says why, a fault of the harness with its trace: no broken promise."""
    try:
        yield
    except Exception as exc:  # noqa: BLE001 - whatever it is, the exit status must not say that a promise was broken
        why = _settings_error(exc)
        click.echo("".join(traceback.format_exception(exc)) if why is None else f"domicile load: {why}", err=True)
        sys.exit(NOT_RUN)


def _settings_error(exc: BaseException) -> SettingsError | None:
    """It, or the first one in a group of nothing else."""
    if isinstance(exc, SettingsError):
        return exc
    if not isinstance(exc, BaseExceptionGroup):
        return None
    found = [_settings_error(one) for one in exc.exceptions]
    return None if None in found else found[0]


def ended(findings: Findings, out: Path) -> NoReturn:
    """`load.json` and `load.html`, a summary, the exit status."""
    (out / "load.json").write_bytes(msgspec.json.format(msgspec.json.encode(findings), indent=1))
    (out / "load.html").write_text(page.html(findings), encoding="utf-8")
    click.echo(terminal.summary(findings))
    click.echo(f"{out / 'load.html'}  {out / 'load.json'}")
    sys.exit(BROKEN if not findings.held else CLEAN if findings.as_asked else NOT_RUN)
