"""Servers that run as another account than root: what that account cannot reach is copied to where it can."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.account import Account, executable_tree, outside, reachable

STRANGER = Account(uid=os.geteuid() + 54_321, gid=os.getegid() + 54_321)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """An installed package with a program and the library that it finds two folders up, shut to everybody else."""
    folder = tmp_path / "site-packages"
    (folder / "server" / "install" / "bin").mkdir(parents=True)
    (folder / "server" / "install" / "bin" / "run").write_text("#!/bin/sh\n")
    (folder / "server" / "install" / "bin" / "run").chmod(0o700)
    (folder / "server.libs").mkdir()
    (folder / "server.libs" / "lib.so").write_text("lib")
    (folder / "server.libs" / "lib.so").chmod(0o600)
    tmp_path.chmod(0o700)
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    shutil.rmtree(outside(folder), ignore_errors=True)


def test_a_folder_behind_a_closed_door_is_not_reachable(packages: Path) -> None:
    assert not reachable(packages, STRANGER)
    assert reachable(packages, None)


def test_programs_are_copied_with_their_libraries_at_the_same_distance(packages: Path, state: Path) -> None:
    tree = executable_tree(packages / "server" / "install", state, STRANGER, beside=(packages / "server.libs",))
    assert tree != packages / "server" / "install"
    assert (tree / "bin" / "run").stat().st_mode & 0o777 == 0o755
    assert (tree / "bin" / "../../../server.libs/lib.so").read_text() == "lib"
    assert (tree / ".." / ".." / "server.libs" / "lib.so").stat().st_mode & 0o777 == 0o644
    assert reachable(tree, STRANGER)


def test_a_copy_is_made_once_and_anew_for_another_version(packages: Path, state: Path) -> None:
    installed = packages / "server" / "install"
    first = executable_tree(installed, state, STRANGER)
    assert executable_tree(installed, state, STRANGER) == first
    os.utime(installed, ns=(1, 1))
    assert executable_tree(installed, state, STRANGER) != first


def test_what_can_be_reached_is_used_where_it_is(packages: Path, state: Path) -> None:
    assert executable_tree(packages / "server" / "install", state, None) == packages / "server" / "install"
    assert not outside(state).exists()
