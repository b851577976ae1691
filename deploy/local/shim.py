"""Runs before each child: `python -I -S shim.py PARENT SIGNAL UID:GID -- COMMAND…`. Gives up privileges, asks the kernel to signal the
process when its supervisor dies (Linux: prctl(2) PR_SET_PDEATHSIG), then becomes the command. Standard library only; never imported.

The order matters: a change of user id clears the parent-death signal, and a parent that died in between is noticed by asking who the
parent is after the signal was set.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def _main(arguments: list[str]) -> int:
    parent, number, account = int(arguments[0]), int(arguments[1]), arguments[2]
    command = arguments[4:]
    if account != "-":
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        return 125
    try:
        os.execv(command[0], command)  # noqa: S606 - the whole point
    except OSError as exc:
        sys.stderr.write(f"{command[0]}: cannot be run ({exc.strerror})\n")
        return 126


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
