"""Rules of a running stack, changed from the command line: compared first, followed by every gateway, and back again."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from deploy.local.keys import OPERATOR, ServiceIssuer
from foundation.clock import SystemClock
from gateway.cli.client import Directory
from gateway.cli.main import cli
from gateway.cli.reach import Stack
from tests.stands.stack import Run, stack

PARTS = ("postgres-directory", "directory", "gateway-*", "issuer-*", "valkey-*")
OPEN, CLOSED = '"eu->us" = "hairpin"', '"eu->us" = "refuse"'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with stack(tmp_path_factory.mktemp("rules") / "st", *PARTS) as run:
        yield run


def rules(run: Run, *arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli, ["rules", *arguments, "--state", str(run.paths.state)], input=answer)


def told(run: Run, *arguments: str) -> dict[str, object]:
    done = rules(run, *arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def entries(run: Run) -> list[dict[str, object]]:
    found = told(run, "history")["entries"]
    assert isinstance(found, list)
    return found


def policy(run: Run, folder: Path, *change: str) -> str:
    path = folder / "policy.toml"
    text = run.paths.policy.read_text(encoding="utf-8")
    path.write_text(text.replace(*change) if change else text, encoding="utf-8")
    return str(path)


@pytest.mark.timeout(180)
def test_a_route_is_closed_seen_by_every_gateway_and_opened_again(running: Run, tmp_path: Path) -> None:
    before = entries(running)[0]
    closed = told(running, "apply", policy(running, tmp_path, OPEN, CLOSED), "--yes", "--reason", "close it")
    assert closed["before"] == before["digest"]
    assert {change["after"] for change in closed["changes"]} == {"refused (residency_refused)"}  # type: ignore[attr-defined]
    assert {one["region"] for one in closed["gateways"] if one["ms"] is not None} == {"eu", "us", "in"}  # type: ignore[attr-defined]
    assert (entries(running)[0]["digest"], entries(running)[0]["reason"]) == (closed["digest"], "close it")

    shown = rules(running, "show")
    assert CLOSED in shown.stdout
    across = rules(running, "diff", str(before["digest"]), f"@{closed['seq']}")
    assert "eu 38 countries" in across.output
    assert "orders, records, views in us: carried home -> refused (residency_refused)" in across.output

    back = told(running, "rollback", "--previous", "--yes")
    assert back["digest"] == before["digest"]
    assert {change["after"] for change in back["changes"]} == {"carried home"}  # type: ignore[attr-defined]
    assert len(back["gateways"]) == 3  # type: ignore[arg-type]
    assert told(running, "rollback", f"@{closed['seq']}", "--yes")["digest"] == closed["digest"]
    assert told(running, "apply", policy(running, tmp_path), "--yes")["digest"] == before["digest"]


@pytest.mark.timeout(180)
def test_what_is_not_confirmed_has_mistakes_or_holds_already_changes_nothing(running: Run, tmp_path: Path) -> None:
    before = entries(running)
    for answer in ("n\n", "\n", ""):
        declined = rules(running, "apply", policy(running, tmp_path, OPEN, CLOSED), answer=answer)
        assert declined.exit_code == 1
        assert "carried home -> refused" in declined.output
        assert "nothing was published" in declined.output
    bad = rules(running, "apply", policy(running, tmp_path, "decision_s = 15", "decision_s = 31"), "--yes")
    assert bad.exit_code == 1
    assert "has 1 mistake" in bad.output
    assert rules(running, "apply", policy(running, tmp_path, OPEN, CLOSED), "--json").exit_code == 2
    same = rules(running, "apply", policy(running, tmp_path), "--yes")
    assert (same.exit_code, "hold already" in same.output) == (0, True)
    unknown = rules(running, "rollback", "@999999", "--yes")
    assert (unknown.exit_code, "no rules were published as @999999" in unknown.output) == (1, True)
    never = rules(running, "rollback", f"sha256:{'0' * 64}", "--yes")
    assert never.exit_code == 1
    assert rules(running, "rollback").exit_code == 2
    for command in (["rollback", "@1x"], ["show", "sha256:12"], ["diff", "@1", "@"]):
        nonsense = rules(running, *command)
        assert (nonsense.exit_code, "names no rules" in nonsense.output) == (2, True), nonsense.output
    assert entries(running) == before


class LateYes(io.BytesIO):
    """Somebody who says yes only after something else has happened."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(b"y\n")
        self._meanwhile = meanwhile

    def read1(self, size: int | None = -1, /) -> bytes:
        if self.tell() == 0:
            self._meanwhile()
        return super().read1(-1 if size is None else size)


@pytest.mark.timeout(180)
def test_rules_that_others_changed_meanwhile_are_not_overwritten(running: Run, tmp_path: Path) -> None:
    directory = Directory(Stack(running.paths.state))
    baseline = running.paths.policy.read_text(encoding="utf-8")
    other = {"policy": f"# somebody else's\n{baseline}", "reason": "meanwhile"}
    slow = LateYes(lambda: directory.post("/rules", other))
    arguments = ["rules", "apply", policy(running, tmp_path, OPEN, CLOSED), "--state", str(running.paths.state)]
    done = CliRunner().invoke(cli, arguments, input=slow)
    assert done.exit_code == 1, done.output
    assert "precondition_failed" in done.output
    assert entries(running)[0]["reason"] == "meanwhile"
    directory.post("/rules", {"policy": baseline, "reason": "as it was"})


@pytest.mark.timeout(180)
def test_a_gateway_that_does_not_follow_is_named_and_the_status_says_so(running: Run, tmp_path: Path) -> None:
    at, before = ("--state", str(running.paths.state)), entries(running)[0]
    assert CliRunner().invoke(cli, ["stack", "stop", "gateway-in", *at]).exit_code == 0
    done = rules(running, "apply", policy(running, tmp_path, OPEN, CLOSED), "--yes")
    assert done.exit_code == 1
    assert "gateway in: not within 5 s" in done.output
    assert "gateway eu: after" in done.output
    assert CliRunner().invoke(cli, ["stack", "start", "gateway-in", *at]).exit_code == 0
    rules(running, "rollback", "--previous", "--yes")  # whether the gateway is back in time or not
    assert entries(running)[0]["digest"] == before["digest"]


@pytest.fixture
def elsewhere(running: Run, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who knows the directory's URL and holds a token, and nothing of the stack."""
    return {
        "DOMICILE_DIRECTORY": running.document()["directory"]["url"],
        "DOMICILE_TOKEN_FILE": token(running, tmp_path),
    }


def token(run: Run, folder: Path, *roles: str) -> str:
    path = folder / "service.jwt"
    issuer = ServiceIssuer.read(run.paths.service_issuer_key)
    held = issuer.mint(OPERATOR[0], roles or OPERATOR[1], SystemClock().unix_s())
    path.write_text(f"{held.reveal()}\n", encoding="ascii")
    return str(path)


def outside(*arguments: str, env: dict[str, str] | None = None, answer: str | None = None) -> Result:
    return CliRunner().invoke(cli, list(arguments), env=env, input=answer)


@pytest.mark.timeout(180)
def test_rules_of_any_directory_are_changed_by_its_url_and_a_token(
    running: Run, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    before = entries(running)[0]
    closing = policy(running, tmp_path, OPEN, CLOSED)
    url, held = elsewhere["DOMICILE_DIRECTORY"], elsewhere["DOMICILE_TOKEN_FILE"]
    closed = outside("rules", "apply", closing, "--yes", "--directory", url, "--token-file", held)
    assert closed.exit_code == 0, closed.output
    for region in ("eu", "us", "in"):  # reached at policy's origins
        assert f"gateway {region}: after" in closed.output
    assert f"taken back by: domicile rules rollback @{before['seq']}" in closed.output
    assert CLOSED in outside("rules", "show", env=elsewhere).stdout
    back = outside("rules", "rollback", f"@{before['seq']}", env=elsewhere, answer="y\n")
    assert (back.exit_code, "Publish to 127.0.0.1:" in back.output) == (0, True), back.output
    assert entries(running)[0]["digest"] == before["digest"]
    assert outside("directory", "list", env=elsewhere).output == "none\n"


@pytest.mark.timeout(180)
def test_gateways_whose_origins_do_not_show_their_rules_are_said_to_be_unchecked(
    running: Run, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    before = entries(running)[0]
    regions = running.document()["regions"]
    nobodys = "https://127.0.0.1:1"
    moved = policy(running, tmp_path, f'origin = "{regions["eu"]["gateway"]}"', f'origin = "{nobodys}"')
    text = Path(moved).read_text(encoding="utf-8")
    Path(moved).write_text(text.replace(regions["us"]["gateway"], elsewhere["DOMICILE_DIRECTORY"], 1), encoding="utf-8")
    done = outside("rules", "apply", moved, "--yes", env=elsewhere)
    assert done.exit_code == 0, done.output
    assert f"gateway eu: not checked: {nobodys} does not answer" in done.output
    assert f"gateway us: not checked: {elsewhere['DOMICILE_DIRECTORY']} shows no metrics of a gateway" in done.output
    assert "gateway in: after" in done.output
    back = told(running, "rollback", "--previous", "--yes")
    assert back["digest"] == before["digest"]


@pytest.mark.timeout(180)
def test_a_token_without_the_role_and_addresses_that_are_no_directorys_are_told_in_a_line(
    running: Run, elsewhere: dict[str, str], tmp_path: Path
) -> None:
    before = entries(running)
    (tmp_path / "lesser").mkdir()
    lesser = elsewhere | {"DOMICILE_TOKEN_FILE": token(running, tmp_path / "lesser", "resolver")}
    refused = outside("rules", "apply", policy(running, tmp_path, OPEN, CLOSED), "--yes", env=lesser)
    assert (refused.exit_code, "Error: 403 forbidden: needs one of the roles: rules" in refused.output) == (1, True)
    gateway = running.document()["regions"]["eu"]["gateway"]
    for url in (gateway, "http://127.0.0.1:1", elsewhere["DOMICILE_DIRECTORY"].replace("http:", "https:")):
        lost = outside("rules", "history", env=elsewhere | {"DOMICILE_DIRECTORY": url})
        assert (lost.exit_code, lost.output.count("\n"), lost.output.startswith("Error: ")) == (1, 1, True), lost.output
    # What is named on the command line goes before the environment.
    mine = outside("rules", "history", "--state", str(running.paths.state), env=lesser)
    assert mine.exit_code == 0, mine.output
    assert entries(running) == before
