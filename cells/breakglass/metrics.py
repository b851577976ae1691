"""Metrics of break-glass."""

from collections import Counter

from prometheus_client import Gauge

from cells.breakglass.book import Book
from cells.breakglass.words import ENDED, Phase

GRANTS = Gauge("domicile_access_grants", "Requests and grants that have not ended", ["phase"])
LOCKED = Gauge("domicile_access_locked", "Persons who are locked")
REVIEWS_OVERDUE = Gauge("domicile_access_reviews_overdue", "Emergencies whose review is overdue")


def observe(book: Book, at_us: int) -> None:
    """Sets them to what a book says at a time."""
    phases = Counter(grant.phase(at_us) for grant in book.grants.values())
    for phase in Phase:
        if phase not in ENDED:
            GRANTS.labels(phase.value).set(phases[phase])
    dues = (grant.review_due_us() for grant in book.grants.values())
    REVIEWS_OVERDUE.set(sum(due is not None and at_us >= due for due in dues))
    LOCKED.set(len(book.locks))
