"""What the command shows fits the terminal that it is shown on, and it says so where there is nothing to show."""

import asyncio
import io
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner
from rich.console import Console

from deploy.local import keys, render
from deploy.local.layout import Layout, Paths, ProcessName, fixed_ports, process_names
from deploy.local.supervisor import StackView
from foundation.clock import ManualClock
from gateway.cli.display import LiveTable, fitting
from gateway.cli.main import cli
from gateway.cli.options import print_table
from gateway.cli.tour import command
from gateway.cli.tour.report import Report

LAYOUT = Layout(Paths(Path("/srv/.domicile")), fixed_ports(61000))
SUBJECT = "0b4a1f6e-52b1-4c59-9a35-0a2f6a1d3c77"


def view(**states: str) -> StackView:
    processes = {
        name: render.ProcessView(
            pid=123456, port=LAYOUT.port(name), state=states.get(name.replace("-", "_"), "running")
        )
        for name in process_names()
    }
    details = {ProcessName("gateway-eu"): "an explanation that is far longer than what the last column can hold"}
    return StackView(layout=LAYOUT, status="ready", processes=processes, details=details)


def shown(seen: StackView, *, height: int, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=width, height=height)
    table = LiveTable(console, ManualClock())
    table.show(seen)
    with console.capture() as captured:
        console.print(table._render())
    return captured.get().splitlines()


@pytest.mark.parametrize("height", [10, 24, 27, 30, 50])
@pytest.mark.parametrize("states", [{}, {"gateway_eu": "restarting", "cell_eu_de": "starting"}])
def test_the_live_table_leaves_nothing_of_its_foot_out(height: int, states: dict[str, str]) -> None:
    lines = shown(view(**states), height=height)
    # A live table that is higher than its terminal is cut at its foot.
    assert len(lines) <= height
    assert lines[-1].strip() == "Ctrl-C ends it"
    assert sum("/mint" in line for line in lines) == 3
    assert all(len(line) <= 80 for line in lines)


def test_what_does_not_run_is_listed_where_not_all_fits() -> None:
    listed, left_out = fitting(view(gateway_eu="restarting"), 10)
    assert listed == ["gateway-eu"]
    assert left_out == len(process_names()) - 1
    assert any(
        "gateway-eu" in line and "restarting" in line for line in shown(view(gateway_eu="restarting"), height=24)
    )


def test_an_empty_answer_says_that_it_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("subject", "cell"), [])
    assert capsys.readouterr().out == "none\n"


def test_a_long_promise_goes_on_under_its_own_beginning() -> None:
    out = io.StringIO()
    Report(Console(file=out, width=60, color_system=None)).check("a promise that is kept " * 4, True, 1)
    first, *further = out.getvalue().rstrip().splitlines()
    assert further
    assert first.startswith("   ✓ a")
    assert all(line.startswith("     ") and line[5] != " " for line in further)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("resolve", "--email", "nobody"), "name@domain"),
        (("resolve", "--issuer", "nowhere", "--sub", "a"), "takes a region (eu"),
        (("freeze", SUBJECT, "--reason", " "), "says why"),
        (("epoch", SUBJECT, "--reason", "two\nlines"), "says why"),
        (("epoch", SUBJECT, "--reason", "a", "--epoch", "0"), "x>=1"),
    ],
)
def test_what_the_directory_would_misunderstand_or_refuse_is_said_before_it_is_asked(
    arguments: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    paths = Paths(tmp_path)
    keys.ensure(paths)
    paths.stack.write_bytes(render.stack(Layout(paths, fixed_ports(7400)), "stopped", None, {}))
    done = CliRunner().invoke(cli, ("directory", *arguments, "--state", str(tmp_path)))
    assert done.exit_code == 2, done.output
    assert told in done.output


def test_a_tour_on_which_nobody_finds_a_home_ends_with_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stack of which little runs; further scenes need somebody."""
    out = io.StringIO()
    report = Report(Console(file=out, width=100, color_system=None))

    async def nobody(*_: object) -> list[object]:
        report.check("60 people have a home", False, 0)
        return []

    monkeypatch.setattr(command.scenes, "sign_up_everybody", nobody)
    asyncio.run(command._scenes(cast("Any", None), report))
    assert [check.promise for check in report.broken] == ["60 people have a home"]
    assert "domicile status" in out.getvalue()
