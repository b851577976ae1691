"""The pack: facts of law as rows, each with source, date and confidence. Compiled by non-lawyers; not legal advice.

`rows` says what a row is, `read` makes rows of text, `prose` holds the words behind them, `pack` puts all together, `check` looks for
mistakes in it. README.md beside the files says what they mean.
"""

from routing_rules.pack.pack import FILES, Pack, build, bundled, bundled_texts, parse
from routing_rules.pack.prose import Prose
from routing_rules.pack.read import PackError
from routing_rules.pack.rows import Fact, Jurisdiction, Kind, Status

__all__ = [
    "FILES",
    "Fact",
    "Jurisdiction",
    "Kind",
    "Pack",
    "PackError",
    "Prose",
    "Status",
    "build",
    "bundled",
    "bundled_texts",
    "parse",
]
