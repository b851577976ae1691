"""How many connections of clients a process takes at once, and what it says of those that are too many."""

import logging
import subprocess
import sys
from typing import Any, cast

import pytest

from foundation.wire.serving import State

SAYS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
from foundation.wire.serving import clients_max
print(clients_max(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("soft", [256, 512])
def test_three_quarters_of_the_files_that_it_may_ever_have_are_for_clients(soft: int) -> None:
    """In a process of its own: a hard limit that was lowered stays so."""
    command = [sys.executable, "-c", SAYS, str(soft), "512"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.split() == ["384", "512", "512"]


def test_the_log_is_told_once_when_one_is_refused_and_once_when_half_of_them_are_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    state = State()
    state.connections_max = 4

    def refuses(count: int) -> bool:
        """Whether the last of so many is."""
        state.connections = cast("set[Any]", set(range(count)))
        return state.refuses()

    assert [refuses(count) for count in (4, 5, 6, 5, 4, 5, 2, 3, 5)] == [
        False, True, True, True, False, True, False, False, True,
    ]  # fmt: skip
    said = [record.message for record in caplog.records]
    assert said == ["connections_full", "connections_free", "connections_full"]
