"""Which directory a command speaks to: what is half said or contradicts itself is refused with what to say instead."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.main import cli

URL = "https://directory.example.com:7410"


@pytest.mark.parametrize(
    ("arguments", "env", "told"),
    [
        (("--directory", URL), {}, "--directory goes with --token-file FILE (or DOMICILE_TOKEN_FILE)"),
        ((), {"DOMICILE_DIRECTORY": URL}, "--directory goes with --token-file"),
        (("--token-file", "t"), {}, "--token-file goes with --directory URL (or DOMICILE_DIRECTORY)"),
        (("--state", "x", "--directory", URL), {}, "--state names a stack of this machine"),
        (("--state", "x", "--token-file", "t"), {}, "--state names a stack of this machine"),
        (("--directory", "directory:7410", "--token-file", "t"), {}, "takes scheme, host and port"),
        (("--directory", f"{URL}/v1", "--token-file", "t"), {}, "takes scheme, host and port"),
        (("--directory", "https://a:b@c", "--token-file", "t"), {}, "takes scheme, host and port"),
        (("--directory", "https://[", "--token-file", "t"), {}, "takes scheme, host and port"),
        (("--directory", "https://a:port", "--token-file", "t"), {}, "is no URL"),
    ],
)
@pytest.mark.parametrize("command", [("rules", "history"), ("directory", "list")])
def test_half_a_directory_is_wrong_usage(
    command: tuple[str, ...], arguments: tuple[str, ...], env: dict[str, str], told: str
) -> None:
    done = CliRunner().invoke(cli, [*command, *arguments], env=env)
    assert (done.exit_code, told in " ".join(done.output.split())) == (2, True), done.output


@pytest.mark.parametrize("held", [None, b"", b"\n", b"two words", b"\xff\xfe", b"a\nb", b"x" * 8193])
def test_a_file_that_holds_no_token_is_named_in_a_line(held: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "t.jwt"
    if held is not None:
        path.write_bytes(held)
    done = CliRunner().invoke(cli, ["rules", "history", "--directory", URL, "--token-file", str(path)])
    assert done.exit_code == 1
    assert done.output.startswith(f"Error: {path} ")
    assert done.output.count("\n") == 1


def test_a_token_in_the_environment_alone_leaves_the_stack_to_be_asked(tmp_path: Path) -> None:
    arguments = ["rules", "history", "--state", str(tmp_path / "none")]
    done = CliRunner().invoke(cli, arguments, env={"DOMICILE_TOKEN_FILE": "t", "DOMICILE_DIRECTORY": URL})
    assert (done.exit_code, "there is no stack in" in done.output) == (1, True), done.output


def test_whoever_asks_another_directory_by_a_person_brings_the_keyring_that_blinds(tmp_path: Path) -> None:
    path = tmp_path / "t.jwt"
    path.write_text("token")
    asked = ["directory", "resolve", "--email", "a@example.org", "--directory", URL, "--token-file", str(path)]
    done = CliRunner().invoke(cli, asked)
    assert (done.exit_code, "--blinding-keyring FILE" in done.output) == (2, True), done.output
