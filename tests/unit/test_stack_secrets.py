"""The stack's secrets: made once, closed to others, derived so that the parties understand each other."""

import stat
import tomllib
from pathlib import Path

import pytest

from cells.breakglass.certificates.authority import FileAuthority
from cells.settings import CellSettings
from deploy.local import access, files, keys, render
from deploy.local.layout import Layout, Paths, fixed_ports, ledger_origin, ledgers, witnesses
from directory.settings import Settings as DirectorySettings
from foundation.clock import ManualClock
from foundation.decision import Decision, RootKey
from foundation.decision_header import CellVerifier, Minter, ServiceVerifier, cell_root, new_decision_id
from foundation.ledger.witness.settings import WitnessSettings
from foundation.settings import KeyringFile, SettingsError, convert, read_keyring
from foundation.tls import Watched, serving
from foundation.tokens import Jwks, TokenVerifier, fetch_jwks_file
from foundation.words import CellId, Epoch, RulesDigest, ServiceId, SubjectId, Verb

pytestmark = pytest.mark.anyio

CELL, ORDERS = CellId("eu-de"), ServiceId("orders")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    state = tmp_path / "state"
    state.mkdir()
    return Paths(state)


def _contents(paths: Paths) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths.secrets.iterdir()}


def test_secrets_are_made_once_and_read_ever_after(paths: Paths) -> None:
    first = keys.ensure(paths)
    before = _contents(paths)
    second = keys.ensure(paths)
    assert _contents(paths) == before
    assert first.databases == second.databases
    assert first.control == second.control


def test_no_secret_is_open_to_others(paths: Paths) -> None:
    held = keys.ensure(paths)
    keys.write_tokens(paths, held.issuer, 0)
    assert stat.S_IMODE(paths.secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths.secrets.iterdir()} == {0o600}


def test_each_logs_settings_name_the_key_whose_public_half_lies_beside_it(paths: Paths) -> None:
    keys.ensure(paths)
    layout = Layout(paths, fixed_ports(7400))
    shapes: dict[str, type[DirectorySettings | CellSettings]] = {
        name: DirectorySettings if name == "directory" else CellSettings for name in ledgers()
    }
    rendered = render.settings(layout, contracts="/contracts")
    for name, shape in shapes.items():
        settings = convert(tomllib.loads(rendered[name]), shape, where=name)
        assert settings.ledger is not None
        assert settings.ledger.signer().verifier.text == paths.ledger_key(name).read_text().strip()
        assert Path(settings.ledger.folder).parent == paths.ledgers
        plan = settings.ledger.plan()
        assert plan is not None
        assert set(plan.witnesses) == set(witnesses())
    for name in witnesses():
        stated = convert(tomllib.loads(rendered[name]), WitnessSettings, where=name)
        assert stated.cosigner().verifier.text == paths.ledger_key(name).read_text().strip()
        assert [verifier.name for verifier in stated.known()] == [ledger_origin(each) for each in ledgers()]


def test_a_damaged_key_of_a_log_is_not_replaced(paths: Paths) -> None:
    keys.ensure(paths)
    paths.signing_key("directory").write_text("nothing")
    with pytest.raises(SettingsError, match="is damaged"):
        keys.ensure(paths)


def test_a_gateways_decision_is_understood_by_the_service_and_the_cell(paths: Paths) -> None:
    keys.ensure(paths)
    (kid, region_root), *_ = read_keyring(paths.keyring("region-eu.root"))
    minter = Minter(CELL, RootKey(kid, type(region_root)(cell_root(region_root.reveal(), CELL))))
    decision = Decision(
        cell=CELL, service=ORDERS, subject=SubjectId("s"), actor=None, epoch=Epoch(1), verb=Verb.READ, purpose="service",
        rules=RulesDigest("sha256:0"), expires=10.0, id=new_decision_id(),
    )  # fmt: skip
    header = minter.mint(decision)
    service_keys = dict(read_keyring(paths.keyring("orders-eu-de.decision")))
    assert ServiceVerifier(CELL, ORDERS, service_keys).verify(header, 1.0) == decision
    roots = tuple(RootKey(kid, key) for kid, key in read_keyring(paths.keyring("cell-eu-de.root")))
    assert CellVerifier(CELL, roots).verify(header, 1.0, service=ORDERS) == decision


def test_derived_rings_follow_a_new_generation_of_the_region_root(paths: Paths) -> None:
    keys.ensure(paths)
    path = paths.keyring("region-us.root")
    ring = files.read_json(path, KeyringFile)
    assert ring is not None
    files.write(path, b'{"current":"k2","keys":{"k1":"%s","k2":"%s"}}' % (ring.keys["k1"].encode(), b"A" * 43))
    before = dict(read_keyring(paths.keyring("cell-us-va.root")))
    keys.ensure(paths)
    after = dict(read_keyring(paths.keyring("cell-us-va.root")))
    assert set(after) == {"k1", "k2"}
    assert after["k1"] == before["k1"]


async def test_service_tokens_hold_under_the_published_keys(paths: Paths) -> None:
    held = keys.ensure(paths)
    clock = ManualClock()
    keys.write_tokens(paths, held.issuer, clock.unix_s())
    jwks = Jwks(fetch_jwks_file(paths.service_jwks), clock)
    verifier = TokenVerifier({"urn:domicile:local:services": ("domicile", jwks)}, clock)
    claims = await verifier.verify(paths.token("cell-eu-de").read_text())
    assert (claims["sub"], claims["roles"]) == ("cell:eu-de", ["resolver", "cell:eu-de", "signup:eu-de"])
    assert claims["exp"] - claims["iat"] <= 600
    operator = await verifier.verify(paths.token("operator").read_text())
    assert operator["sub"] == "operator:cli"


def test_a_damaged_secret_is_named_and_the_way_out_too(paths: Paths) -> None:
    keys.ensure(paths)
    paths.keyring("blinding").write_text("{")
    with pytest.raises(SettingsError, match=r"blinding\.json is damaged.*domicile reset"):
        keys.ensure(paths)


def test_what_a_killed_writer_left_is_swept_and_nothing_else(paths: Paths) -> None:
    keys.ensure(paths)
    kept = _contents(paths)
    (paths.secrets / ".blinding.json.0123456789ab").write_text("half")
    keys.ensure(paths)
    assert _contents(paths) == kept


def test_tokens_of_two_processes_differ_and_last_ten_minutes_at_most() -> None:
    credentials = keys.credentials()
    assert credentials["orders-us-va"] == ("service:orders", ("service:orders@us-va",))
    assert credentials["gateway-in"] == ("gateway:in", ("resolver", "gateway:in"))
    assert keys.TOKEN_S <= 600
    assert keys.TOKEN_RENEW_S < keys.TOKEN_S


def test_two_regions_share_a_hop_keyring_that_no_third_holds(paths: Paths) -> None:
    keys.ensure(paths)
    rings = [read_keyring(paths.keyring(name)) for name in ("hop-eu-us", "hop-eu-in", "hop-in-us")]
    assert len({ring[0][1].reveal() for ring in rings}) == 3


def test_each_cells_access_settings_name_an_authority_that_is_made_once(paths: Paths) -> None:
    keys.ensure(paths)
    for at_us in (1_800_000_000_000_000, 1_900_000_000_000_000):
        access.ensure(paths, (CELL,), at_us)
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths.secrets.iterdir()} == {0o600}
    layout = Layout(paths, fixed_ports(7400))
    text = render.settings(layout, contracts="/contracts")[f"cell-{CELL}"]
    settings = convert(tomllib.loads(text), CellSettings, where="cell").access
    assert settings is not None
    stated = settings.checked()
    made = FileAuthority(Path(stated.authority_key), Path(stated.authority_certificate)).certificate
    assert int(made.not_valid_before_utc.timestamp()) == 1_800_000_000
    assert Path(stated.exception_keys[0]).read_text().strip() == access.owner(paths).verifier.text
    assert Path(stated.tickets.file).exists()
    assert stated.door is not None
    assert stated.door.port == layout.port(f"door-{CELL}")
    Watched("door", stated.door.checked().files(Path(stated.authority_certificate)), serving, ManualClock())
