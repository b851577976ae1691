"""The tour's people (invented; see people.toml)."""

import tomllib
from importlib import resources

import msgspec


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One person: a name as written at home, a residence, and an address of that country."""

    name: str
    country: str
    locale: str
    address: str
    email: str
    birth_date: str

    @property
    def sub(self) -> str:
        """What the issuer calls this person."""
        return f"tour|{self.email}"


class _File(msgspec.Struct, frozen=True):
    people: tuple[Person, ...]


def everybody() -> tuple[Person, ...]:
    text = resources.files("gateway.cli.tour").joinpath("people.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), _File).people
