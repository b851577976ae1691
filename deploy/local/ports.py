"""Ports of a stack: fixed ones from a base, or free ones; kept in `ports.json`, since a development issuer's name is its address."""

import random
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from deploy.local import files
from deploy.local.layout import PORT_BASE, ProcessName, fixed_ports
from foundation.settings import SettingsError

_RANDOM_LOW, _RANDOM_HIGH = 10_240, 32_000
"""Below Linux's range for outgoing connections (32768 on), so that no client takes a port between choice and use."""
BASE_MAX = 65_000


class PortsTaken(SettingsError):
    """Other processes hold ports of the stack; the message names ports, who needs them and, where known, who holds them."""


def choose(path: Path, base: int | None) -> dict[ProcessName, int]:
    """The stack's ports: `base` fixed ones, 0 free ones (those of last time where still free), None those of last time or the default
    base. Raises SettingsError, PortsTaken."""
    held = files.read_json(path, dict[str, int]) or {}
    last = {name: held[name] for name in fixed_ports(0) if name in held}
    if base == 0:
        ports = free_ports(last, is_free)
    elif base is None and len(last) == len(fixed_ports(0)):
        ports = last
    else:
        ports = fixed_ports(_checked(PORT_BASE if base is None else base))
    taken = {name: port for name, port in ports.items() if not is_free(port)}
    if taken:
        raise PortsTaken(taken_message(taken, holders(set(taken.values()))))
    return ports


def issuers_moved(path: Path, ports: Mapping[ProcessName, int]) -> bool:
    """Whether an issuer that once ran on this state will have another address: its people's logins then name somebody else."""
    held = files.read_json(path, dict[str, int]) or {}
    return any(held.get(name, port) != port for name, port in ports.items() if name.startswith("issuer-"))


def _checked(base: int) -> int:
    if not 1024 <= base <= BASE_MAX:
        raise SettingsError(f"--port-base is 0 (free ports) or a number from 1024 to {BASE_MAX}")
    return base


def free_ports(last: Mapping[ProcessName, int], free: Callable[[int], bool]) -> dict[ProcessName, int]:
    """Ports for every process: those of last time that are free still, others by chance. Raises SettingsError."""
    chosen: dict[ProcessName, int] = {}
    for name in fixed_ports(0):
        port = last.get(name)
        if port is None or port in chosen.values() or not free(port):
            port = _by_chance(set(chosen.values()) | set(last.values()), free)
        chosen[name] = port
    return chosen


def _by_chance(used: set[int], free: Callable[[int], bool]) -> int:
    for _ in range(1000):
        port = random.randint(_RANDOM_LOW, _RANDOM_HIGH)  # noqa: S311 - spread, not secrecy
        if port not in used and free(port):
            return port
    raise SettingsError("no free port was found on 127.0.0.1")


def is_free(port: int) -> bool:
    """Whether we could listen on the port just now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def holders(ports: set[int]) -> dict[int, str]:
    """Who listens on these ports, as far as we may see."""
    found: dict[int, str] = {}
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return found
    for connection in connections:
        if connection.laddr and connection.laddr.port in ports and connection.status == psutil.CONN_LISTEN:
            try:
                name = psutil.Process(connection.pid).name() if connection.pid else ""
            except psutil.Error:
                name = ""
            if name:
                found[connection.laddr.port] = f"{name}, pid {connection.pid}"
    return found


def taken_message(taken: Mapping[ProcessName, int], holding: Mapping[int, str]) -> str:
    """One line: which ports, for what, held by whom, what to do. Pure."""
    parts = [
        f"{port} (for {name}{f'; held by {holding[port]}' if port in holding else ''})" for name, port in taken.items()
    ]
    ports = "port is" if len(parts) == 1 else "ports are"
    return f"{ports} taken: {', '.join(parts)}. Stop what listens there, or choose others with --port-base N (0: free ones)"
