"""Processes of an earlier supervisor that was killed: found by what they run and on whose state, then ended.

A process counts as ours when its command line runs one of the stack's programs on a file or folder of this very state folder. Nothing
is inferred from recorded process ids, which the system gives to others.
"""

import os
import signal
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

from foundation.clock import SystemClock

_SERVERS = frozenset({"postgres", "initdb", "valkey-server"})
_MODULE_ROOTS = ("cells", "deploy.", "directory", "gateway")
TERM_S_MAX = 5.0
KILL_S_MAX = 5.0


def is_ours(words: Sequence[str], roots: Iterable[Path]) -> bool:
    """Whether the command line `words` runs a part of the stack whose folders are `roots`. Pure."""
    if not words:
        return False
    program = words[0].rsplit("/", 1)[-1]
    runs_part = program in _SERVERS or any(
        word == "-m" and following.startswith(_MODULE_ROOTS) for word, following in pairwise(words)
    )
    if not runs_part:
        return False
    # valkey-server may still show its first title; both name the configuration file.
    return any(word.startswith(f"{root}/") for root in roots for word in words[1:])


def find(roots: Sequence[Path]) -> list[psutil.Process]:
    """Live processes of this stack that we may signal, postmasters and services alike."""
    found = []
    mine = os.geteuid()
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or (mine not in (0, process.uids().effective)):
                continue
            if is_ours(process.cmdline(), roots) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def end(roots: Sequence[Path]) -> int:
    """Ends them (Postgres by a fast shutdown), waits, and returns how many there were."""
    found = find(roots)
    for process in found:
        _signal(process, _first_signal(process))
    alive = _wait(found, TERM_S_MAX)
    for process in alive:
        _signal(process, signal.SIGQUIT if _is_postgres(process) else signal.SIGKILL)
    alive = _wait(alive, KILL_S_MAX)
    for process in alive:
        _signal(process, signal.SIGKILL)
    _wait(alive, KILL_S_MAX)
    return len(found)


def process(pid: int | None) -> psutil.Process | None:
    """The process with this id just now, if there is one."""
    try:
        return None if pid is None else psutil.Process(pid)
    except psutil.Error:
        return None


def _first_signal(process: psutil.Process) -> signal.Signals:
    """A half made data folder is thrown away anyhow; Postgres shuts down fast; the rest drains."""
    if any(word.endswith(".partial") for word in _words(process)):
        return signal.SIGKILL
    return signal.SIGINT if _is_postgres(process) else signal.SIGTERM


def _is_postgres(process: psutil.Process) -> bool:
    return _words(process)[:1] != [] and _words(process)[0].endswith("/postgres")


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _wait(processes: list[psutil.Process], s_max: float) -> list[psutil.Process]:
    """Those that still run after at most `s_max` seconds. One that waits for its parent to notice (a zombie) runs no more."""
    clock = SystemClock()
    deadline = clock.monotonic_s() + s_max
    alive = processes
    while alive and clock.monotonic_s() < deadline:
        alive = [process for process in alive if runs(process)]
        time.sleep(0.02)
    return alive


def runs(process: psutil.Process) -> bool:
    """Whether this very process runs still: neither gone, nor a zombie, nor another under the same id."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)  # psutil refuses when the id has been given to another process
    except psutil.Error:
        return
