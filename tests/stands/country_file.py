"""Writes small MaxMind DB files (https://maxmind.github.io/MaxMind-DB/, version 2.0) so that an operator's editions can be tested.

IPv6 search tree of 32-bit records with IPv4 networks under ::/96; data types map, string, unsigned integers and array.
"""

import ipaddress
from pathlib import Path
from typing import Any

_MARKER = b"\xab\xcd\xefMaxMind.com"
_MAP, _STRING, _UINT16, _UINT32, _ARRAY, _UINT64 = 7, 2, 5, 6, 11, 9


def write(path: Path, database_type: str, networks: dict[str, dict[str, Any]], *, ip_version: int = 6) -> Path:
    """A file of that type holding a record for each network (CIDR text)."""
    data = b""
    tree: list[list[Any]] = [[None, None]]
    for text, record in networks.items():
        _insert(tree, text, len(data))
        data += _encode(record)
    metadata = {
        "node_count": (_UINT32, len(tree)), "record_size": (_UINT16, 32), "ip_version": (_UINT16, ip_version),
        "database_type": database_type, "languages": ["en"], "binary_format_major_version": (_UINT16, 2),
        "binary_format_minor_version": (_UINT16, 0), "build_epoch": (_UINT64, 1_780_000_000), "description": {"en": "test"},
    }  # fmt: skip
    nodes = b"".join(_record(side, len(tree)) for node in tree for side in node)
    path.write_bytes(nodes + bytes(16) + data + _MARKER + _encode(metadata))
    return path


def _insert(tree: list[list[Any]], text: str, offset: int) -> None:
    network = ipaddress.ip_network(text)
    number, length = int(network.network_address), network.prefixlen + (96 if network.version == 4 else 0)
    node = 0
    for depth in range(length):
        bit = number >> (127 - depth) & 1
        if depth == length - 1:
            tree[node][bit] = ("data", offset)
            return
        if tree[node][bit] is None:
            tree.append([None, None])
            tree[node][bit] = len(tree) - 1
        node = tree[node][bit]


def _record(side: Any, node_count: int) -> bytes:
    if side is None:
        value = node_count
    elif isinstance(side, tuple):
        value = node_count + 16 + side[1]
    else:
        value = side
    return int(value).to_bytes(4, "big")


def _encode(value: Any) -> bytes:
    match value:
        case dict():
            inner = b"".join(_encode(key) + _encode(one) for key, one in value.items())
            return bytes([_MAP << 5 | len(value)]) + inner
        case str():
            raw = value.encode()
            if len(raw) >= 29:
                return bytes([_STRING << 5 | 29, len(raw) - 29]) + raw
            return bytes([_STRING << 5 | len(raw)]) + raw
        case list():
            return bytes([len(value), _ARRAY - 7]) + b"".join(_encode(one) for one in value)
        case (kind, number):
            raw = number.to_bytes(8, "big").lstrip(b"\0")
            head = bytes([kind << 5 | len(raw)]) if kind < 8 else bytes([len(raw), kind - 7])
            return head + raw
    raise TypeError(type(value).__name__)
