"""Types whose values cannot be printed by accident: secrets and personal data.

`repr`, `str`, f-strings, `format`, pickling and JSON all fail or show the type's name; only `reveal()` gives the value, so a
search for `reveal(` lists every place where one leaves its wrapper.
"""

from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")


class Mute(Generic[T]):
    """A value that keeps silent. Two are equal if their values are; none can be hashed, so none becomes a dict key or label."""

    __slots__ = ("_value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        return self._value

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __str__(self) -> str:
        raise TypeError(f"{type(self).__name__} does not print; call reveal() where the value may stand")

    def __format__(self, spec: str) -> str:
        raise TypeError(f"{type(self).__name__} does not format; call reveal() where the value may stand")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} does not pickle")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._value == other._value


class Secret(Mute[T]):
    """A key, password or token."""


class Personal(Mute[T]):
    """Personal data in flight."""
