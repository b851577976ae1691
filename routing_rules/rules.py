"""Rules = pack + policy + digest. `load` makes them of a policy text, or reports every mistake at once."""

import hashlib

import msgspec

from foundation.words import RulesDigest
from routing_rules.law import Law
from routing_rules.pack import Pack, bundled
from routing_rules.policy import Policy
from routing_rules.policy.reading import PolicyError, policy_from

__all__ = ["PolicyError", "Rules", "digest_of", "load"]

_CANONICAL_FORM = "domicile-rules-1"


class Rules(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What `decide` and `place` rest on. Two with one digest answer alike; compare digests, not objects."""

    policy: Policy
    pack: Pack
    law: Law
    digest: RulesDigest


def load(policy_text: str, pack: Pack | None = None) -> Rules:
    """The rules that a policy text makes with a pack (None: the bundled one). Raises PolicyError with every mistake."""
    used = bundled() if pack is None else pack
    policy = policy_from(policy_text, used)
    law = Law(used, policy.product.profile, policy.operator, policy.instruments)
    return Rules(policy=policy, pack=used, law=law, digest=digest_of(policy_text, used))


def digest_of(policy_text: str, pack: Pack) -> RulesDigest:
    """SHA-256 over a canonical form of the pack's digest and the policy text, every byte of it."""
    canonical = msgspec.json.encode([_CANONICAL_FORM, pack.digest, policy_text])
    return RulesDigest(f"sha256:{hashlib.sha256(canonical).hexdigest()}")
