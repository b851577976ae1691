"""The steps by which locks stand and fall, one after the other, as a chain of digests: whoever holds the digest of so many first ones can
tell whether another history begins alike. Pure.

A link is made of what no later version of a step spells otherwise: what it is, when and by whom it was taken, whom or what it is about.
"""

import hashlib

from cells.breakglass.steps import Taken
from foundation.ledger.canonical import canonical

BEGINNING = hashlib.sha256(b"domicile locks").hexdigest()
"""The digest of no steps."""


def linked(before: str, taken: Taken, about: str) -> str:
    """The digest of the steps of `before`, and of one more."""
    link = [before, type(taken.step).__name__.lower(), taken.at_us, taken.by, about]
    return hashlib.sha256(canonical(link)).hexdigest()
