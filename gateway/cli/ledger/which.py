"""Which log a command reads: one of the stack's, by its folder; any other folder, or any URL, by its public key; and who is told of it."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx
import msgspec

from deploy.local import lock
from deploy.local.layout import Paths, ledgers, witnesses
from foundation.ledger.entries import MalformedEntry
from foundation.ledger.files import LogDamaged
from foundation.ledger.merkle import ProofRefused
from foundation.ledger.notes import NoteRefused, Verifier
from foundation.ledger.reading import Absent, Fetch, LogReader, of_folder
from foundation.ledger.tiles import ENTRY_BYTES_MAX, WIDTH, MalformedTile
from foundation.ledger.witness.cosignatures import WitnessKey
from foundation.ledger.witness.settings import verifier_in, witness_key_in
from foundation.mute import Secret
from foundation.settings import SettingsError
from foundation.words import CellId
from gateway.cli.client import CALL_S_MAX, CellService, DirectoryItself, Service, believed
from gateway.cli.options import state_option
from gateway.cli.reach import token_of

DIRECTORY = "directory"
"""As a LOG: that of the stack's directory."""
F = TypeVar("F", bound=Callable[..., Any])
FILE_BYTES_MAX = WIDTH * (2 + ENTRY_BYTES_MAX)
"""The longest file of a log that is served: a bundle of the longest entries."""


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """A log by what the command line says. `folder` is None for one behind a URL. `witnesses`: whose cosignatures are believed; `ours`:
    whether it is a log of the stack. `keeper`: the process that keeps a folder's log, while it runs."""

    fetch: Fetch
    verifier: Verifier
    folder: Path | None
    witnesses: tuple[WitnessKey, ...] = ()
    ours: bool = False
    keeper: Callable[[], Service] | None = None

    def reader(self, note: bytes | None = None) -> LogReader:
        """As of an earlier checkpoint of the log where one is given."""
        return LogReader(self.fetch, self.verifier, note)

    def state_reading(self, command: str, first: int, count: int, *, payloads: bool) -> None:
        """Has a reading of a folder recorded, before anything of it is shown; behind a URL that is its service's to do.

        Raises SettingsError where the keeper runs and does not record it.
        """
        if self.folder is None:
            return
        if self.keeper is None:
            click.echo("this reading is not recorded: no process that keeps the log was asked", err=True)
            return
        stated = {"command": command, "first": first, "count": count, "payloads": payloads}
        self.keeper().post("/ledger/reads", stated)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The options by which commands find a log."""

    state: Path
    key: Path | None
    token_file: Path | None
    witnesses: tuple[Path, ...] = ()

    def log(self, log: str) -> Which:
        """Raises SettingsError."""
        with told():
            chosen = choose(log, self.state, self.key, self.token_file)
        given = self.witness_keys()
        return msgspec.structs.replace(chosen, witnesses=given) if given else chosen

    def witness_keys(self) -> tuple[WitnessKey, ...]:
        """Those of --witness. Raises SettingsError."""
        found = tuple(witness_key_in(path) for path in self.witnesses)
        if len({key.public for key in found}) < len(found):
            raise SettingsError("--witness names one key twice, and would count it twice")
        return found

    def verifier(self) -> Verifier:
        """That of --key, for what is no log. Raises SettingsError."""
        if self.key is None:
            raise SettingsError("a proof goes with --key FILE, the log's public key")
        return verifier_in(self.key)


def which_option(command: F) -> F:
    """`--state`, `--key`, `--token-file` and `--witness`; the command gets them as `which`."""

    @click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="With a URL: the file that holds a service token of role operator.",
    )
    @click.option(
        "--witness",
        type=click.Path(path_type=Path, dir_okay=False),
        multiple=True,
        help="File with the public key of a witness; several times. For logs of the stack, the stack's own.",
    )
    @click.option(
        "--key",
        type=click.Path(path_type=Path, dir_okay=False),
        help="File with the log's public key; for logs of the stack, the stack's own.",
    )
    @state_option
    @functools.wraps(command)
    def chosen(
        *args: Any, state: Path, key: Path | None, token_file: Path | None, witness: tuple[Path, ...], **given: Any
    ) -> Any:
        which = Asked(state=state, key=key, token_file=token_file, witnesses=witness)
        return command(*args, which=which, **given)

    return chosen  # type: ignore[return-value]  # the same command, with four options made one


def choose(log: str, state: Path, key: Path | None, token_file: Path | None) -> Which:
    """Raises SettingsError."""
    if log.startswith(("http://", "https://")):
        if key is None or token_file is None:
            raise SettingsError("a URL goes with --key FILE and --token-file FILE")
        return Which(fetch=_of_url(log.rstrip("/"), token_of(token_file)), verifier=verifier_in(key), folder=None)
    paths = Paths(state.absolute())
    named = {name.removeprefix("cell-"): name for name in ledgers()}
    if log in named:
        name = named[log]
        if not paths.ledger(name).is_dir():
            raise SettingsError(f"there is no log of {log} in {state}; start a stack with `domicile up`")
        folder = paths.ledger(name)
        known = tuple(witness_key_in(file) for file in map(paths.ledger_key, witnesses()) if file.exists())
        return Which(
            fetch=of_folder(folder),
            verifier=verifier_in(key or paths.ledger_key(name)),
            folder=folder,
            witnesses=known,
            ours=True,
            keeper=functools.partial(keeper_of, log, state) if lock.is_held(paths.lock) else None,
        )
    folder = Path(log)
    if not folder.is_dir():
        raise SettingsError(f"{log} is no folder, no URL, and no log of the stack: those are {', '.join(named)}")
    if key is None:
        raise SettingsError("a folder goes with --key FILE, the log's public key")
    return Which(fetch=of_folder(folder), verifier=verifier_in(key), folder=folder)


def keeper_of(log: str, state: Path) -> Service:
    """The service of the stack that keeps one of its logs, as an operator. Raises SettingsError."""
    return DirectoryItself(state) if log == DIRECTORY else CellService(state, CellId(log))


@contextmanager
def told() -> Iterator[None]:
    """What does not hold in a log, in one line. Raises SettingsError."""
    try:
        yield
    except Absent as exc:
        raise SettingsError(f"the log has no {exc}") from exc
    except (NoteRefused, ProofRefused, LogDamaged, MalformedTile, MalformedEntry) as exc:
        raise SettingsError(f"does not hold: {exc}") from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise SettingsError(f"does not hold: a payload is no JSON: {exc}") from exc
    except OSError as exc:
        raise SettingsError(f"the log cannot be read: {exc}") from exc


def _of_url(prefix: str, token: Secret[str]) -> Fetch:
    checked = believed(prefix)

    def fetch(name: str) -> bytes:
        url, content = f"{prefix}/{name}", bytearray()
        headers = {"authorization": f"Bearer {token.reveal()}"}
        try:
            with httpx.stream(
                "GET", url, headers=headers, timeout=CALL_S_MAX, trust_env=False, verify=checked
            ) as answer:
                if answer.status_code == 404:
                    raise Absent(name)
                if answer.status_code != 200:
                    raise SettingsError(f"{url} answers {answer.status_code}")
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > FILE_BYTES_MAX:
                        raise SettingsError(f"{url} answers with more than a file of a log holds")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise SettingsError(f"{url} does not answer ({type(exc).__name__})") from exc
        return bytes(content)

    return fetch
