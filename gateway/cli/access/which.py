"""Which cell a command asks, and as whom: an engineer of this machine's stack, or by a token of the engineers' sign-in."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from cells.breakglass.words import parse_grant
from deploy.local import access as stack_access
from deploy.local.keys import ServiceIssuer
from deploy.local.layout import Paths
from foundation.clock import SystemClock
from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.words import CellId, MalformedWord, parse_country
from gateway.cli.client import addresses, call
from gateway.cli.options import state_option
from gateway.cli.reach import token_of

F = TypeVar("F", bound=Callable[..., Any])
CERTIFY_S_MAX = 20.0
"""A certificate waits for the ledger."""
_TOKEN_S = 300


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """The options by which commands find a cell and whoever asks."""

    state: Path
    cell: str
    url: str | None
    token_file: Path | None
    name: str
    roles: tuple[str, ...]
    home: str
    seen: str | None
    declared: str | None

    def get(self, path: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value is not None}
        return self._call("GET", path, params=given)

    def post(self, path: str, body: Any, timeout_s: float = 10.0) -> Any:
        return self._call("POST", path, body=body, timeout_s=timeout_s)

    def _call(self, method: str, path: str, **more: Any) -> Any:
        """Raises SettingsError."""
        url, token = self._reached()
        declared = _country(self.declared or (self.seen or self.home if self.url is None else None))
        headers = {"domicile-declared": declared} if declared else {}
        where = f"{url}/access{path}"
        return call(method, where, token=token.reveal(), headers=headers, hint="is it the cell's address?", **more)

    def on_call_proof(self, file: Path | None) -> str:
        """What a file holds; on the stack, where none is named, a statement that the stack's own issuer makes. Raises SettingsError."""
        if file is not None:
            return token_of(file).reveal()
        if self.url is not None:
            raise SettingsError("an emergency goes with --on-call FILE, a signed statement of being on call")
        return self._minted(stack_access.duty_audience(self.cell), (), on_call=True).reveal()

    def _reached(self) -> tuple[str, Secret[str]]:
        if self.url is not None:
            if self.token_file is None:
                raise SettingsError("--url goes with --token-file FILE, a token of the engineers' sign-in")
            return self.url.rstrip("/"), token_of(self.token_file)
        known = addresses(self.state).cells.get(CellId(self.cell))
        if known is None:
            raise SettingsError(f"this stack has no cell {self.cell}")
        return known.service, self._minted(stack_access.audience(self.cell), self.roles, **self._places())

    def _places(self) -> dict[str, str | None]:
        """Raises SettingsError."""
        home = _country(self.home)
        return {"home_country": home, "observed_country": _country(self.seen) or home}

    def _minted(self, audience: str, roles: tuple[str, ...], **claims: Any) -> Secret[str]:
        issuer = ServiceIssuer.read(Paths(self.state.absolute()).service_issuer_key)
        return issuer.mint(self.name, roles, SystemClock().unix_s(), ttl_s=_TOKEN_S, audience=audience, **claims)


def _country(text: str | None) -> str | None:
    """Raises SettingsError."""
    try:
        return None if text is None else parse_country(text)
    except MalformedWord as exc:
        raise SettingsError(f"--from, --seen and --home are countries: {exc}") from exc


def _hex(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Raises SettingsError."""
    try:
        return parse_grant(value)
    except MalformedWord as exc:
        raise SettingsError(
            f"{parameter.human_readable_name} is 32 hex digits, as `domicile access list` and `exempt` print them"
        ) from exc


def id_argument(name: str) -> Callable[[F], F]:
    """The id of a grant or exception, looked at before it becomes a part of an address."""
    return click.argument(name, callback=_hex)


def asker_option(*roles: str) -> Callable[[F], F]:
    """`--cell` and who asks; the command gets `asker`. `roles`: what --as has where --role is not given."""

    def decorate(command: F) -> F:
        @click.option("--from", "declared", metavar="COUNTRY", help="Where you say to be; on the stack, as seen.")
        @click.option("--seen", metavar="COUNTRY", help="With --as: where the sign-in saw you; default: at home.")
        @click.option("--home", metavar="COUNTRY", default="DE", show_default=True, help="With --as: your home.")
        @click.option("--role", "given", multiple=True, help=f"With --as: a role; default: {', '.join(roles)}.")
        @click.option("--as", "name", default="operator", show_default=True, help="On the stack: which engineer asks.")
        @click.option(
            "--token-file",
            type=click.Path(path_type=Path, dir_okay=False),
            envvar="DOMICILE_ACCESS_TOKEN_FILE",
            show_envvar=True,
            help="With --url: the file that holds a token of the engineers' sign-in.",
        )
        @click.option("--url", envvar="DOMICILE_CELL", show_envvar=True, help="Ask this cell service, not the stack's.")
        @click.option("--cell", default="eu-de", show_default=True, help="On the stack: which cell.")
        @state_option
        @functools.wraps(command)
        def asked(
            *args: Any,
            state: Path,
            cell: str,
            url: str | None,
            token_file: Path | None,
            name: str,
            given: tuple[str, ...],
            home: str,
            seen: str | None,
            declared: str | None,
            **others: Any,
        ) -> Any:
            asker = Asker(
                state=state,
                cell=cell,
                url=url,
                token_file=token_file,
                name=name,
                roles=given or roles,
                home=home,
                seen=seen,
                declared=declared,
            )
            return command(*args, asker=asker, **others)

        return asked  # type: ignore[return-value]  # the same command, with its options made one

    return decorate
