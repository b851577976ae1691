"""What a pure function gave, by what it was given."""

from collections.abc import Callable
from typing import Any


class Remembered(dict[Any, Any]):
    """Asks the function for what it does not have yet. At most so many values; beyond them it begins anew."""

    __slots__ = ("_function", "_most")

    def __init__(self, function: Callable[[Any], Any], most: int) -> None:
        super().__init__()
        self._function = function
        self._most = most

    def __missing__(self, value: Any) -> Any:
        if len(self) >= self._most:
            self.clear()
        found = self[value] = self._function(value)
        return found
