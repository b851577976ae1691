"""Policy: the operator's half of the rules, as `policy.toml` states it.

`tables` says what a policy is; `reading` makes one of text, or tells every mistake: `shape` looks whether tables have their form, `draft`
collects those that do, `checks` holds them against the pack and each other, `mistakes` and `key_lines` say where in the text each stands.
"""

from routing_rules.policy.tables import (
    DECISION_S_MAX,
    POLICY_BYTES_MAX,
    REF_CHARS_MAX,
    STALE_S_MAX,
    STALE_S_MIN,
    WEIGHT_MAX,
    Actor,
    Cell,
    Destination,
    Directory,
    Instrument,
    Jobs,
    Operator,
    Policy,
    Product,
    Profile,
    Region,
    Service,
    Shard,
    Terms,
    Travel,
)

__all__ = [
    "DECISION_S_MAX",
    "POLICY_BYTES_MAX",
    "REF_CHARS_MAX",
    "STALE_S_MAX",
    "STALE_S_MIN",
    "WEIGHT_MAX",
    "Actor",
    "Cell",
    "Destination",
    "Directory",
    "Instrument",
    "Jobs",
    "Operator",
    "Policy",
    "Product",
    "Profile",
    "Region",
    "Service",
    "Shard",
    "Terms",
    "Travel",
]
