"""When requests are due. Pure."""

from collections.abc import Iterator


def number(rate: float, seconds: float) -> int:
    """How many arrivals there are."""
    return int(rate * seconds)


def due(rate: float, seconds: float) -> Iterator[float]:
    """Seconds after the start, evenly: `rate` of them each second."""
    for one in range(number(rate, seconds)):
        yield one / rate
