"""Rules = pack + policy + digest. `load` parses a policy, checks everything, and reports every mistake at once."""

import hashlib
import re
import tomllib
from typing import Any

import msgspec

from foundation.words import RulesDigest
from routing_rules.checks import check
from routing_rules.draft import draft_of, policy_of
from routing_rules.law.law import Law
from routing_rules.mistakes import Mistakes
from routing_rules.pack import Pack, bundled
from routing_rules.policy import POLICY_BYTES_MAX, Policy

_KEY_PARTS_MAX = 64
_KEY_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_LONG_KEY = re.compile(rf"""(?<![A-Za-z0-9_"'-])(?:{_KEY_PART}\.[ \t]*+){{{_KEY_PARTS_MAX}}}""")
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
    law: Law
    digest: RulesDigest


def load(policy_text: str, pack: Pack | None = None) -> Rules:
    """The rules that a policy text makes with a pack (None: the bundled one). Raises PolicyError with every mistake."""
    used = bundled() if pack is None else pack
    document = _document(policy_text)
    mistakes = Mistakes(policy_text)
    draft = draft_of(document, mistakes)
    check(draft, used, mistakes)
    found = mistakes.lines()
    if found or draft.product is None or draft.directory is None:
        raise PolicyError(found)
    policy = policy_of(draft, draft.product, draft.directory, used)
    law = Law(used, policy.product.profile, policy.operator, policy.instruments)
    return Rules(policy=policy, pack=used, law=law, digest=digest_of(policy_text, used))


def digest_of(policy_text: str, pack: Pack) -> RulesDigest:
    """SHA-256 over a canonical form of the pack's digest and the policy text, every byte of it."""
    canonical = msgspec.json.encode([_CANONICAL_FORM, pack.digest, policy_text])
    return RulesDigest(f"sha256:{hashlib.sha256(canonical).hexdigest()}")


def _document(text: str) -> dict[str, Any]:
    try:
        if len(text.encode()) > POLICY_BYTES_MAX:
            raise PolicyError((f"the policy is larger than {POLICY_BYTES_MAX} bytes",))
        if _LONG_KEY.search(text):  # the parser's work grows with the square of a key's parts
            raise PolicyError((f"a key of the policy has more than {_KEY_PARTS_MAX} parts",))
        return tomllib.loads(text)
    except UnicodeEncodeError as exc:
        raise PolicyError(("the policy is not Unicode text",)) from exc
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise PolicyError((f"not TOML: {exc}",)) from exc
