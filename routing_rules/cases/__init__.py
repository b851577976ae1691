"""Cases: what an operator expects of the rules, asked and compared. docs/guides/the-law.md shows how they are written.

The files beside this one are those of the release: each expectation was read from the rows that it cites, not from the engine.
"""

from importlib import resources

from routing_rules.cases.read import Case, CaseFile, CasesError, World, read
from routing_rules.cases.run import Difference, Outcome, run

__all__ = ["Case", "CaseFile", "CasesError", "Difference", "Outcome", "World", "read", "run", "shipped"]


def shipped() -> dict[str, str]:
    """File name -> text of the cases and policies of this release (`*.toml`)."""
    here = resources.files(__name__)
    names = sorted(entry.name for entry in here.iterdir() if entry.name.endswith(".toml"))
    return {name: here.joinpath(name).read_text(encoding="utf-8") for name in names}
