"""When requests are due. Pure."""

from collections.abc import Iterator


def due(rate: float, seconds: float) -> Iterator[float]:
    """Seconds after the start, evenly: `rate` of them each second."""
    for number in range(int(rate * seconds)):
        yield number / rate
