"""Which directory a command speaks to: that of the stack in a state folder, or any other by its URL and a token's file."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click
import httpx
import msgspec
from click.core import ParameterSource

from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.tokens import TOKEN_BYTES_MAX
from gateway.cli.options import state_option

F = TypeVar("F", bound=Callable[..., Any])


class Stack(msgspec.Struct, frozen=True):
    """The embedded stack of a state folder; its operator's token is minted for the call."""

    state: Path


class Remote(msgspec.Struct, frozen=True):
    """A directory somewhere: its URL without a trailing slash, and the file that holds a service token for it."""

    url: str
    token_file: Path

    @property
    def host(self) -> str:
        return httpx.URL(self.url).netloc.decode()


Reach: TypeAlias = Stack | Remote


def reach_option(command: F) -> F:
    """`--state`, or `--directory` with `--token-file`; the command gets `reach`."""

    @click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="DOMICILE_TOKEN_FILE",
        show_envvar=True,
        help="With --directory: the file that holds a service token.",
    )
    @click.option(
        "--directory",
        "directory_url",
        metavar="URL",
        envvar="DOMICILE_DIRECTORY",
        show_envvar=True,
        help="Ask this directory instead of the stack's.",
    )
    @state_option
    @functools.wraps(command)
    def reached(*args: Any, state: Path, directory_url: str | None, token_file: Path | None, **given: Any) -> Any:
        return command(*args, reach=_chosen(state, directory_url, token_file), **given)

    return reached  # type: ignore[return-value]  # the same command, with its folder and its URL made one


def _chosen(state: Path, url: str | None, token_file: Path | None) -> Reach:
    """What the command line says goes before the environment. Raises UsageError."""
    by_hand = {name for name in ("state", "directory_url", "token_file") if _by_hand(name)}
    if "state" in by_hand:
        if by_hand & {"directory_url", "token_file"}:
            raise click.UsageError(
                "--state names a stack of this machine; --directory and --token-file another directory"
            )
        return Stack(state)
    if url is None:
        if "token_file" in by_hand:
            raise click.UsageError("--token-file goes with --directory URL (or DOMICILE_DIRECTORY)")
        return Stack(state)
    if token_file is None:
        raise click.UsageError(
            "--directory goes with --token-file FILE (or DOMICILE_TOKEN_FILE), a service token for it"
        )
    return Remote(_url(url), token_file)


def _by_hand(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE


def _url(text: str) -> str:
    """Raises BadParameter."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as exc:
        raise click.BadParameter(f"{text!r} is no URL: {exc}", param_hint="--directory") from exc
    plain = url.path in ("", "/") and not (url.query or url.fragment or url.userinfo or "%" in url.host)
    if url.scheme not in ("http", "https") or not url.host or not plain:
        raise click.BadParameter(
            "takes scheme, host and port, such as https://directory.internal:7410", param_hint="--directory"
        )
    return text.rstrip("/")


def token_of(file: Path) -> Secret[str]:
    """The service token that a file holds. Raises SettingsError."""
    try:
        with file.open("rb") as opened:
            held = opened.read(TOKEN_BYTES_MAX + 1).strip()
    except OSError as exc:
        raise SettingsError(f"{file} cannot be read ({exc.strerror}); it holds the service token") from exc
    if not held or len(held) > TOKEN_BYTES_MAX or not all(33 <= byte <= 126 for byte in held):
        raise SettingsError(f"{file} holds no token: one line of printable ASCII, at most {TOKEN_BYTES_MAX} bytes")
    return Secret(held.decode("ascii"))
