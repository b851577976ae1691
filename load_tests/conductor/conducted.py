"""What the process that conducts knows of a run beside the workers' lines: a file, so that a run can be judged later, with lines of workers
on other machines."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from foundation.settings import SettingsError
from load_tests.conductor.stated import Stated
from load_tests.faults.window import Cut, Window
from load_tests.oracle.judge import Judge
from load_tests.oracle.ledger import Line
from load_tests.oracle.proven import UNEXPLAINED_MAX
from load_tests.report.findings import Findings, Grown
from load_tests.sweep.found import Found

FILE = "conducted.json"


class Conducted(msgspec.Struct, frozen=True, kw_only=True):
    """`stated`: what the rules said when it began; `cuts`: the fences that were seen; `mix`: actions that people were to do."""

    scenario: str
    about: str
    began: float
    ended: float
    rate: float
    stated: Stated
    windows: tuple[Window, ...]
    cuts: tuple[Cut, ...]
    mix: frozenset[str] = frozenset()
    unexplained_max: float = UNEXPLAINED_MAX
    faults_failed: tuple[str, ...] = ()
    processes: tuple[Grown, ...] = ()
    memory: dict[str, list[float]] = {}
    memory_step_s: float = 1.0


def write(conducted: Conducted, folder: Path) -> None:
    """In one step: whoever reads meanwhile has the one before."""
    fresh = folder / f"{FILE}.new"
    fresh.write_bytes(msgspec.json.encode(conducted))
    fresh.replace(folder / FILE)


def read(folders: Iterable[Path]) -> Conducted:
    """The one that lies in exactly one of the folders. Raises SettingsError."""
    found = [path for folder in folders if (path := folder / FILE).exists()]
    if len(found) != 1:
        told = ", ".join(map(str, found)) or "none of them"
        raise SettingsError(f"one of the folders must hold {FILE} of the run that conducted; it lies in {told}")
    try:
        return msgspec.json.decode(found[0].read_bytes(), type=Conducted)
    except (OSError, msgspec.MsgspecError) as exc:
        raise SettingsError(f"{found[0]}: {exc}") from exc


def judged(conducted: Conducted, lines: Iterable[Line], found: Found | None) -> Findings:
    """`found` is None where nobody could sweep."""
    judge = Judge(conducted.windows, conducted.cuts, conducted.stated.allowed, conducted.stated.grounds)
    for line in lines:
        judge.take(line)
    findings = judge.findings(found)
    findings.scenario, findings.about = conducted.scenario, conducted.about
    findings.began, findings.ended = conducted.began, conducted.ended
    if conducted.rate:
        findings.open_loop = judge.open_loop()
    findings.processes, findings.memory = list(conducted.processes), conducted.memory
    findings.memory_step_s = conducted.memory_step_s
    findings.faults_failed, findings.cuts = list(conducted.faults_failed), len(conducted.cuts)
    findings.unproven = list(
        judge.proven.missing(
            conducted.mix,
            answers=findings.answers,
            unexplained=findings.unexplained,
            unexplained_max=conducted.unexplained_max,
        )
    )
    return findings
