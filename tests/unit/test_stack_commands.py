"""The `domicile` command: help without weight, one clear line when something does not hold."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.local import keys, render
from deploy.local.layout import Layout, Paths, ProcessName, fixed_ports
from gateway.cli.client import refusal
from gateway.cli.main import COMMANDS, cli
from tests.stands.servers import free_port


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def test_help_names_every_command() -> None:
    shown = run("--help")
    assert shown.exit_code == 0
    assert all(name in shown.output for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys, gateway.cli.main as m\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'httpx', 'asyncpg', 'rich', 'starlette', 'cryptography'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], check=True, capture_output=True, text=True, timeout=30
    )
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("name", ["up", "down", "status", "reset", "stack", "directory", "records", "rules", "tour"])
def test_every_command_explains_itself(name: str) -> None:
    shown = run(name, "--help")
    assert shown.exit_code == 0, shown.output
    assert "Usage:" in shown.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("stack", "stop", "directory"),
        ("directory", "list"),
        ("records", "get", "orders", "--region", "eu", "--sub", "a"),
    ],
)
def test_without_a_stack_commands_say_how_to_start_one(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, "--state", str(tmp_path / "none"))
    assert done.exit_code == 1
    assert "domicile up" in done.output
    assert len(done.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",),
        ("directory", "show", "not-an-id"),
        ("directory", "resolve"),
        ("directory", "resolve", "--key", "short"),
        ("directory", "freeze", "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"),
        ("records", "get", "orders", "--region", "eu"),
        ("up", "--detach", "--tour"),
    ],
)
def test_wrong_usage_ends_with_status_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    state = () if arguments == ("fly",) else ("--state", str(tmp_path))
    assert run(*arguments, *state).exit_code == 2


def test_a_directory_that_is_down_is_said_in_one_line(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    keys.ensure(paths)
    ports = fixed_ports(7400) | {ProcessName("directory"): free_port()}
    paths.stack.write_bytes(render.stack(Layout(paths, ports), "stopped", None, {}))
    done = run("directory", "list", "--state", str(tmp_path))
    assert done.exit_code == 1
    assert "does not answer" in done.output
    assert "domicile status" in done.output


def test_a_tour_of_a_stack_that_does_not_run_is_not_begun(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    keys.ensure(paths)
    paths.stack.write_bytes(render.stack(Layout(paths, fixed_ports(7400)), "stopped", None, {}))
    done = run("tour", "--state", str(tmp_path))
    assert done.exit_code == 1
    assert "does not run; start it with `domicile up" in done.output


def test_reset_leaves_a_folder_alone_that_is_no_state_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    done = run("reset", "--yes", "--state", str(tmp_path))
    assert done.exit_code == 1
    assert (tmp_path / "photos").is_dir()


@pytest.mark.parametrize("group", [(), ("rules",), ("directory",), ("directory", "services"), ("stack",), ("records",)])
def test_help_says_what_each_command_does_without_breaking_off(group: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(cli, [*group, "--help"], terminal_width=80)
    listed = shown.output.partition("Commands:")[2]
    assert listed
    assert "..." not in listed, listed


def test_a_refusal_is_told_in_the_problems_own_words() -> None:
    document = {"code": "home_elsewhere", "detail": "home is us", "home": "http://us"}
    assert refusal(421, document) == "421 home_elsewhere: home is us (home: http://us)"
    unknown = {"code": "no_cell_allowed", "title": "No", "ground": "policy: no cell serves br"}
    assert refusal(451, unknown) == "451 no_cell_allowed: No (ground: policy: no cell serves br)"
    assert refusal(502, None) == "refused with status 502"
