"""Running database servers as root: Postgres refuses to, so it gets an unprivileged account and paths that it can reach.

As an ordinary user nothing here changes anything. As root, `nobody` runs the servers; where the project or its virtual environment lies
under a folder that only root may enter (such as /root), binaries and data live under `/var/tmp/domicile-<digest of the state folder>`.
"""

import hashlib
import os
import pwd
import shutil
import stat
from pathlib import Path

import msgspec

from foundation.settings import SettingsError

_ACCOUNT = "nobody"
_OUTSIDE = Path("/var/tmp")  # noqa: S108 - the folder below it is root's and named by digest


class Account(msgspec.Struct, frozen=True):
    """The account that runs database servers."""

    uid: int
    gid: int


def unprivileged() -> Account | None:
    """None for an ordinary user (servers run as that user), `nobody` for root. Raises SettingsError if there is no such account."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_ACCOUNT)
    except KeyError as exc:
        raise SettingsError(
            f"Postgres does not run as root and this machine has no account {_ACCOUNT!r} to run it as"
        ) from exc
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def reachable(path: Path, account: Account | None) -> bool:
    """Whether `account` may enter every folder on the way to `path` (and into it, if it is there)."""
    if account is None:
        return True
    for folder in (path, *path.parents):
        try:
            status = folder.stat()
        except FileNotFoundError:
            continue
        except PermissionError:
            return False
        if not _may_enter(status, account):
            return False
    return True


def _may_enter(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def outside(state: Path) -> Path:
    """The folder that stands in for `state` where the account cannot reach that; `domicile reset` removes it too."""
    return _OUTSIDE / f"domicile-{hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]}"


def data_folder(state: Path, account: Account | None) -> Path:
    """Where the servers' data lives: `state` itself, or its stand-in; made if missing, entered by the account."""
    folder = state if reachable(state, account) else _secured(outside(state))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _secured(folder: Path) -> Path:
    """Makes `folder` as root's own; refuses one that somebody else put there."""
    folder.mkdir(mode=0o755, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise SettingsError(f"{folder} is not a folder of this user; remove it")
    folder.chmod(0o755)  # whatever the umask was
    return folder


def owned_folder(folder: Path, account: Account | None) -> Path:
    """A folder of mode 0700 that belongs to the account (or to us)."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    return folder


def executable_tree(tree: Path, state: Path, account: Account | None, *, beside: tuple[Path, ...] = ()) -> Path:
    """`tree` (a folder of binaries in an installed package), or a copy of it that the account can reach.

    `beside` are folders of libraries that the binaries find relative to themselves; they are copied to the same distance.
    """
    if all(reachable(folder, account) for folder in (tree, *beside)):
        return tree
    packages = tree.parent.parent
    # Another version of the wheel is another copy.
    stamp = hashlib.sha256(f"{packages}{tree.stat().st_mtime_ns}".encode()).hexdigest()[:8]
    copy = _secured(outside(state)) / f"programs-{stamp}"
    if not copy.exists():
        partial = copy.with_name(copy.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        for folder in (tree, *beside):
            shutil.copytree(folder, partial / folder.relative_to(packages), symlinks=True)
        _open_to_readers(partial)
        partial.rename(copy)
    return copy / tree.relative_to(packages)


def _open_to_readers(tree: Path) -> None:
    """Everybody may read and enter: the wheel may have been installed under a umask that shut others out."""
    tree.chmod(0o755)
    for path in tree.rglob("*"):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)
