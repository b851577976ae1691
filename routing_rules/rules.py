"""Rules = pack + policy + digest. `load` parses a policy, checks everything, and reports every mistake at once."""

import hashlib
import tomllib
from typing import Any, TypeVar

import msgspec

from foundation.words import CellId, RegionId, RulesDigest, ServiceId
from routing_rules.checks import Declared, Draft, check
from routing_rules.mistakes import Mistakes, nearest, shown
from routing_rules.pack import Pack, bundled
from routing_rules.policy import (
    POLICY_BYTES_MAX,
    Cell,
    Directory,
    Operator,
    Policy,
    Product,
    Region,
    Service,
)
from routing_rules.shape import read

S = TypeVar("S", bound=msgspec.Struct)
K = TypeVar("K", bound=str)
_CANONICAL_FORM = "domicile-rules-1"


class PolicyError(Exception):
    """The policy cannot be used. `mistakes` are all of them, each with its place and what to do."""

    def __init__(self, mistakes: tuple[str, ...]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class Rules(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What `decide` and `place` rest on. Two with one digest answer alike; compare digests, not objects."""

    policy: Policy
    pack: Pack
    digest: RulesDigest


def load(policy_text: str, pack: Pack | None = None) -> Rules:
    """The rules that a policy text makes with a pack (None: the bundled one). Raises PolicyError with every mistake."""
    used = bundled() if pack is None else pack
    mistakes = Mistakes(policy_text)
    draft = _draft(_document(policy_text), mistakes)
    check(draft, used, mistakes)
    found = mistakes.lines()
    if found or draft.product is None or draft.directory is None:
        raise PolicyError(found)
    policy = Policy(
        product=draft.product,
        regions=dict(draft.regions),
        directory=draft.directory,
        cells=dict(draft.cells),
        services=dict(draft.services),
        operator=draft.operator or Operator(),
    )
    return Rules(policy=policy, pack=used, digest=digest_of(policy_text, used))


def digest_of(policy_text: str, pack: Pack) -> RulesDigest:
    """SHA-256 over a canonical form of the pack's digest and the policy text, every byte of it."""
    canonical = msgspec.json.encode([_CANONICAL_FORM, pack.digest, policy_text])
    return RulesDigest(f"sha256:{hashlib.sha256(canonical).hexdigest()}")


def _document(text: str) -> dict[str, Any]:
    try:
        if len(text.encode()) > POLICY_BYTES_MAX:
            raise PolicyError((f"the policy is larger than {POLICY_BYTES_MAX} bytes",))
        return tomllib.loads(text)
    except UnicodeEncodeError as exc:
        raise PolicyError(("the policy is not Unicode text",)) from exc
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise PolicyError((f"not TOML: {exc}",)) from exc


def _draft(document: dict[str, Any], mistakes: Mistakes) -> Draft:
    known = [field.encode_name for field in msgspec.structs.fields(Policy)]
    for key in document:
        if key not in known:
            mistakes.add((key,), f"unknown key{nearest(key, known)}")
    if "directory" not in document:
        mistakes.add(("directory", "country"), "is missing; say where the directory runs, its rows are personal data")
    return Draft(
        product=read(document.get("product", {}), Product, ("product",), mistakes),
        regions={RegionId(k): v for k, v in _entries(document, "regions", Region, mistakes).items()},
        directory=_section(document, "directory", Directory, mistakes),
        cells={CellId(k): v for k, v in _entries(document, "cells", Cell, mistakes).items()},
        services={ServiceId(k): v for k, v in _entries(document, "services", Service, mistakes).items()},
        operator=_section(document, "operator", Operator, mistakes),
        declared=Declared(
            regions=_names(document, "regions"),
            cells=_names(document, "cells"),
            services=_names(document, "services"),
        ),
    )


def _section(document: dict[str, Any], key: str, shape: type[S], mistakes: Mistakes) -> S | None:
    return read(document[key], shape, (key,), mistakes) if key in document else None


def _entries(document: dict[str, Any], table: str, shape: type[S], mistakes: Mistakes) -> dict[str, S]:
    """The well-shaped entries of a table of tables."""
    entries = document.get(table, {})
    if not isinstance(entries, dict):
        mistakes.add((table,), f"is {shown(entries)}, but must be a table")
        return {}
    found = {name: read(entry, shape, (table, name), mistakes) for name, entry in entries.items()}
    return {name: entry for name, entry in found.items() if entry is not None}


def _names(document: dict[str, Any], table: str) -> frozenset[str]:
    entries = document.get(table, {})
    return frozenset(entries) if isinstance(entries, dict) else frozenset()
