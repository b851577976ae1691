"""May it be transferred? docs/evaluation.md, section 4.

`transfers` asks each regime in turn; `rows` are what a regime says of a destination, `cover` which of them is relied on for what,
`why_open` what keeps the rest from answering.
"""

from routing_rules.law.transfer.rows import rows_of_regimes
from routing_rules.law.transfer.transfers import Transfers

__all__ = ["Transfers", "rows_of_regimes"]
