"""Processes of an earlier supervisor that was killed: found by what they run and on whose state, then ended.

A process counts as ours when its command line runs one of the stack's programs on a file or folder of this very state folder. Nothing
is inferred from recorded process ids, which the system gives to others.
"""

import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import psutil

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
        _signal(process, 2 if "postgres" in process.name() else 15)
    _, alive = psutil.wait_procs(found, timeout=TERM_S_MAX)
    for process in alive:
        _signal(process, 3 if "postgres" in process.name() else 9)
    _, alive = psutil.wait_procs(alive, timeout=KILL_S_MAX)
    for process in alive:
        _signal(process, 9)
    psutil.wait_procs(alive, timeout=KILL_S_MAX)
    return len(found)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)  # psutil refuses when the id has been given to another process
    except psutil.Error:
        return
