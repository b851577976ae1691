"""What people do, as generators without I/O: each asks its driver, judges the answer by the oracle, and writes down what came."""

from collections.abc import Callable

from load_tests.scenarios.at_home import (
    read_many,
    read_notes,
    read_orders,
    read_profile,
    stream,
    write_note,
    write_order,
)
from load_tests.scenarios.away import acting, aliases, expiry, nowhere, stranger, travel, travel_head
from load_tests.scenarios.person import Person
from load_tests.scenarios.steps import Play

ACTIONS: dict[str, Callable[[Person, float], Play]] = {
    one.__name__: one
    for one in (
        read_orders, write_order, read_profile, read_notes, write_note, read_many, stream, travel, travel_head, stranger,
        nowhere, aliases, acting, expiry,
    )
}  # fmt: skip
"""By the name that a scenario's mix gives."""
