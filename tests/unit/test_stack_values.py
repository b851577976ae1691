"""The embedded stack as values: ports, names, settings files, the policy, who finds which secret."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from cells.settings import CellSettings
from deploy.local import layout, parts, ports, render
from deploy.local.issuer import IssuerSettings, Mint, claims_of, rotated
from deploy.local.issuer import _Generation as Generation
from deploy.local.layout import Layout, Paths, ProcessName, fixed_ports, matching, process_names, stop_waves
from deploy.local.leftovers import is_ours
from deploy.local.orders.settings import OrdersSettings
from directory.settings import Settings as DirectorySettings
from foundation.ledger.witness.settings import WitnessSettings
from foundation.mute import Secret
from foundation.problems import ProblemError
from foundation.settings import SettingsError, convert
from gateway.settings import Settings as GatewaySettings
from routing_rules.rules import load as load_rules

STACK = Layout(Paths(Path('/srv/a "quoted" folder/.domicile')), fixed_ports(7400))
SHAPES: dict[str, type[msgspec.Struct]] = {
    "directory": DirectorySettings,
    "issuer": IssuerSettings,
    "witness": WitnessSettings,
    "cell": CellSettings,
    "orders": OrdersSettings,
    "gateway": GatewaySettings,
}


def test_every_process_has_a_port_of_its_own() -> None:
    doors = {f"door-{region.cell}" for region in layout.REGIONS}  # where a cell's process listens, too
    assert set(process_names()) == set(STACK.ports) - {layout.CONTROL, *doors}
    assert len(set(STACK.ports.values())) == len(STACK.ports)


def test_every_process_leaves_in_exactly_one_wave_and_callers_before_those_they_call() -> None:
    waves = stop_waves()
    assert sorted(name for wave in waves for name in wave) == sorted(process_names())
    order = {name: number for number, wave in enumerate(waves) for name in wave}
    assert order[ProcessName("gateway-eu")] < order[ProcessName("cell-eu-de")] < order[ProcessName("directory")]
    assert order[ProcessName("directory")] < order[ProcessName("postgres-directory")]


def test_patterns_name_several_processes_and_a_wrong_name_is_told_the_nearest() -> None:
    assert matching("valkey-*") == ("valkey-eu", "valkey-us", "valkey-in")
    with pytest.raises(ValueError, match="did you mean directory"):
        matching("direktory")


def test_every_settings_file_is_accepted_by_the_process_that_reads_it() -> None:
    files = render.settings(STACK, contracts="/x")
    assert set(files) == {name for name in process_names() if name.partition("-")[0] in SHAPES}
    for name, text in files.items():
        convert(tomllib.loads(text), SHAPES[name.partition("-")[0]], where=name)


def test_every_log_has_its_own_regions_witness_near_and_a_majority_of_all_of_them_wide() -> None:
    files = {name: tomllib.loads(text) for name, text in render.settings(STACK, contracts="/x").items()}
    near = {
        "directory": "witness-eu",
        "cell-eu-de": "witness-eu",
        "cell-us-va": "witness-us",
        "cell-in-mum": "witness-in",
    }
    for name, witness in near.items():
        ledger = files[name]["ledger"]
        assert ledger["near"] == {"of": [witness], "needed": 1, "within_s": layout.NEAR_S}
        assert (ledger["wide"]["of"], ledger["wide"]["needed"]) == (["witness-eu", "witness-us", "witness-in"], 2)
        assert ledger["witnesses"][witness]["url"] == STACK.url(witness)
    known = {str(STACK.paths.ledger_key(name)) for name in near}
    assert all(set(files[witness]["logs"]) == known for witness in set(near.values()))


def test_settings_name_the_neighbours_addresses() -> None:
    gateway = tomllib.loads(render.settings(STACK, contracts="/x")["gateway-us"])
    assert gateway["directory"] == "http://127.0.0.1:7410"
    assert [issuer["issuer"] for issuer in gateway["issuers"]] == [f"http://127.0.0.1:742{n}" for n in range(3)]
    cell = tomllib.loads(render.settings(STACK, contracts="/x")["cell-in-mum"])
    assert cell["token_file"] == str(STACK.paths.secrets / "cell-in-mum.jwt")


def test_the_policy_template_renders_to_rules_that_hold() -> None:
    rules = load_rules(render.policy(parts.TEMPLATE.read_text(), STACK))
    assert {str(cell) for cell in rules.policy.cells} == {"eu-de", "us-va", "in-mum"}
    assert rules.policy.regions["us"].origin == STACK.url("gateway-us")  # type: ignore[index]


def test_a_template_that_names_an_unknown_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="orders_fr"):
        render.policy("x = $orders_fr", STACK)


def _dsns() -> dict[str, Secret[str]]:
    servers = ("directory", "eu-de", "us-va", "in-mum")
    roles = ("superuser", "owner", "cell", "records")
    return render.dsns(STACK, {server: {role: Secret(f"{server}.{role}") for role in roles} for server in servers})


def test_each_process_finds_its_own_secrets_and_nobody_elses() -> None:
    urls = {region: Secret(region) for region in ("eu", "us", "in")}
    found = {name: set(render.environment(name, _dsns(), urls)) for name in process_names()}
    assert found[ProcessName("directory")] == {"DIRECTORY_DSN"}
    assert found[ProcessName("cell-eu-de")] == {
        f"EU_DE_{shard}_{role}" for shard in ("S1", "S2") for role in ("OWNER", "CELL", "RECORDS")
    }
    assert found[ProcessName("gateway-eu")] == {"GATEWAY_EU_VALKEY"}
    assert found[ProcessName("orders-eu-de")] == set()


def test_dsns_name_the_role_the_server_and_the_shard() -> None:
    assert _dsns()["IN_MUM_S2_RECORDS"] == Secret(
        "postgresql://domicile_records:in-mum.records@127.0.0.1:7408/in_mum_s2?sslmode=disable"
    )
    assert len(_dsns()) == 1 + 3 * 2 * 3


def test_stack_json_holds_addresses_as_documented_and_no_secrets() -> None:
    view = render.ProcessView(pid=1, port=7430, state="running")
    document = msgspec.json.decode(render.stack(STACK, "ready", 9, {ProcessName("gateway-eu"): view}))
    assert document["control"] == {"port": 7400}
    assert document["directory"] == {"url": "http://127.0.0.1:7410"}
    assert document["regions"]["eu"]["valkey"] == "127.0.0.1:7425"
    assert document["cells"]["eu-de"] == {
        "region": "eu",
        "service": "http://127.0.0.1:7440",
        "door": "127.0.0.1:7445",
        "services": {"orders": "http://127.0.0.1:7450"},
        "shards": {"s1": "EU_DE_S1", "s2": "EU_DE_S2"},
    }
    assert document["processes"]["gateway-eu"]["state"] == "running"


# --- ports -------------------------------------------------------------------------------------------------------------------


def test_free_ports_keep_those_of_last_time_that_are_free_still() -> None:
    last = fixed_ports(20_000)
    chosen = ports.free_ports(last, lambda port: port != 20_010)
    assert chosen[ProcessName("directory")] != 20_010
    assert {name: port for name, port in chosen.items() if name != "directory"} == {
        name: port for name, port in last.items() if name != "directory"
    }
    assert len(set(chosen.values())) == len(chosen)


def test_no_free_port_at_all_is_said() -> None:
    with pytest.raises(SettingsError, match="no free port"):
        ports.free_ports({}, lambda port: False)


def test_the_message_about_taken_ports_names_port_process_and_holder() -> None:
    message = ports.taken_message(
        {ProcessName("directory"): 7410, ProcessName("gateway-eu"): 7430}, {7410: "nginx, pid 5"}
    )
    assert "7410 (for directory; held by nginx, pid 5)" in message
    assert "7430 (for gateway-eu)" in message
    assert "--port-base" in message


@pytest.mark.parametrize("base", [1, 1023, 65_001, -5])
def test_a_port_base_outside_the_range_is_refused(base: int, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--port-base"):
        ports.choose(tmp_path / "ports.json", base)


# --- leftovers ---------------------------------------------------------------------------------------------------------------

ROOTS = [Path("/s t/.domicile/settings"), Path("/s t/.domicile/valkey"), Path("/var/tmp/d/postgres")]


@pytest.mark.parametrize(
    "words",
    [
        ["/v/bin/python", "-P", "-m", "gateway", "--settings", "/s t/.domicile/settings/gateway-eu.toml"],
        ["/v/bin/python", "-P", "-m", "deploy.local.orders", "--settings", "/s t/.domicile/settings/orders-eu-de.toml"],
        ["/w/postgres", "-D", "/var/tmp/d/postgres/eu-de/data", "-p", "7406"],
        ["/w/initdb", "-D", "/var/tmp/d/postgres/eu-de/data.partial"],
        ["/w/valkey-server", "/s t/.domicile/valkey/eu/valkey.conf"],
    ],
)
def test_parts_of_this_stack_are_known_by_their_command_line(words: list[str]) -> None:
    assert is_ours(words, ROOTS)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["/w/postgres", "-D", "/var/tmp/other/postgres/eu-de/data"],
        ["/w/valkey-server", "127.0.0.1:6379"],
        ["vim", "/s t/.domicile/settings/gateway-eu.toml"],
        ["/v/bin/python", "-m", "gateway", "--settings", "/s t/.domicile-other/settings/gateway-eu.toml"],
        ["/v/bin/python", "-m", "http.server", "/s t/.domicile/settings/x"],
    ],
)
def test_other_peoples_processes_are_left_alone(words: list[str]) -> None:
    assert not is_ours(words, ROOTS)


# --- the issuer's values -----------------------------------------------------------------------------------------------------


def _generation(kid: str, retired_at: float | None = None) -> Generation:
    return Generation(kid=kid, rsa="", ec="", retired_at=retired_at)


def test_a_rotation_keeps_old_keys_for_a_while_and_then_lets_them_go() -> None:
    after = rotated((_generation("b"), _generation("a", retired_at=0.0)), _generation("c"), 90_000.0)
    assert [(each.kid, each.retired_at) for each in after] == [("c", None), ("b", 90_000.0)]


def test_rotations_without_end_keep_the_key_set_bounded() -> None:
    held: tuple[Generation, ...] = ()
    for number in range(50):
        held = rotated(held, _generation(str(number)), float(number))
    assert len(held) == 8
    assert held[0].kid == "49"


def test_a_token_states_what_was_asked_for() -> None:
    mint = Mint(sub="anna", email="a@example.com", claims={"tenant": "t"}, ttl_s=60)
    assert claims_of(mint, issuer="i", audience="a", now=100.9) == {
        "iss": "i", "aud": "a", "sub": "anna", "iat": 100, "exp": 160, "tenant": "t",
        "email": "a@example.com", "email_verified": False,
    }  # fmt: skip


@pytest.mark.parametrize("mint", [Mint(sub=""), Mint(sub="a", ttl_s=0), Mint(sub="a", claims={"iss": "other"})])
def test_a_token_that_may_not_be_is_refused(mint: Mint) -> None:
    with pytest.raises(ProblemError):
        claims_of(mint, issuer="i", audience="a", now=0)
