"""May it be kept and handled there? docs/evaluation.md, section 5.

`storages` asks; `bindings` are the rules that bind this data, `sites` where it lies and is handled, held against them.
"""

from routing_rules.law.storage.storages import Storages

__all__ = ["Storages"]
