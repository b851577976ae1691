"""Each operation of a product's API has a key, is anonymous by policy, or is exempt until a day; else the check fails."""

import datetime
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from foundation.words import CellId
from gateway.cli.rules import rules as command
from gateway.cli.rules.openapi import DocumentError, Exempt, exemptions, judge, operations, parsed
from routing_rules.policy import Service
from tests.stands.rules import POLICY

DAY = datetime.date(2026, 11, 21)
SERVICE = Service(purpose="service", anonymous=("/orders/health",), hosts={CellId("eu-de"): ("h:1",)})
SCHEMES = {
    "bearer": {"type": "http", "scheme": "Bearer"},
    "oidc": {"type": "openIdConnect", "openIdConnectUrl": "https://issuer.example"},
    "oauth": {"type": "oauth2", "flows": {}},
    "key": {"type": "apiKey", "in": "header", "name": "x-key"},
    "basic": {"type": "http", "scheme": "basic"},
    "ref": {"$ref": "#/components/securitySchemes/bearer"},
    "loop": {"$ref": "#/components/securitySchemes/loop"},
    "away": {"$ref": "https://elsewhere.example/schemes.json"},
}


def api(security: Any = None, path: str = "/carts", **more: Any) -> dict[str, Any]:
    operation = {} if security is None else {"security": security}
    return {"openapi": "3.1.0", "components": {"securitySchemes": SCHEMES}, "paths": {path: {"get": operation}}, **more}


def stands(document: dict[str, Any], *exempt: Exempt) -> str:
    (line,), _ = judge(operations(document, "orders"), SERVICE, exempt, DAY)
    return line.stands


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ([{"bearer": []}], "key"),
        ([{"oidc": []}], "key"),
        ([{"oauth": ["read"]}], "key"),
        ([{"ref": []}], "key"),
        ([{"key": [], "bearer": []}], "key"),
        ([{"bearer": []}, {"oidc": []}], "key"),
        (None, "nothing"),
        ([], "nothing"),
        ([{}], "nothing"),
        ([{"bearer": []}, {}], "nothing"),
        ([{"bearer": []}, {"key": []}], "nothing"),
        ([{"key": []}], "nothing"),
        ([{"basic": []}], "nothing"),
        ([{"undeclared": []}], "nothing"),
        ([{"loop": []}], "nothing"),
        ([{"away": []}], "nothing"),
        ("bearer", "nothing"),
        ([None], "nothing"),
    ],
)
def test_a_key_is_a_bearer_token_in_every_alternative(security: Any, expected: str) -> None:
    assert stands(api(security)) == expected


def test_the_documents_security_holds_where_an_operation_states_none() -> None:
    assert stands(api(security=None)) == "nothing"
    assert stands({**api(), "security": [{"bearer": []}]}) == "key"
    assert stands({**api([]), "security": [{"bearer": []}]}) == "nothing"


@pytest.mark.parametrize(
    ("path", "servers", "seen"),
    [
        ("/carts", [], "/orders/carts"),
        ("/orders/carts", [], "/orders/carts"),
        ("/carts", [{"url": "https://eu.example/orders/"}], "/orders/carts"),
        ("/carts", [{"url": "/v1"}], "/orders/v1/carts"),
        ("/ordersome", [], "/orders/ordersome"),
    ],
)
def test_paths_are_those_that_gateways_see(path: str, servers: list[dict[str, str]], seen: str) -> None:
    (operation,) = operations(api(path=path, servers=servers), "orders")
    assert operation.path == seen


def test_a_path_that_policy_names_anonymous_needs_no_key() -> None:
    assert stands(api(path="/health")) == "anonymous"
    assert stands(api(path="/health/deep")) == "nothing"


def exempt(until: datetime.date = DAY, path: str = "/orders/carts", method: str = "GET") -> Exempt:
    return Exempt(method=method, path=path, reason="old clients", until=until)


def test_an_exemption_holds_to_its_last_day_and_then_is_a_mistake() -> None:
    assert stands(api(), exempt()) == "exempt"
    over = exempt(DAY - datetime.timedelta(days=1))
    lines, mistakes = judge(operations(api(), "orders"), SERVICE, (over,), DAY)
    assert [line.stands for line in lines] == ["nothing"]
    assert mistakes == ["exemption for GET /orders/carts: was good until 2026-11-20 only"]


@pytest.mark.parametrize("wrong", [exempt(path="/orders/cart"), exempt(method="POST")])
def test_an_exemption_for_no_operation_is_a_mistake(wrong: Exempt) -> None:
    _, mistakes = judge(operations(api(), "orders"), SERVICE, (wrong,), DAY)
    assert len(mistakes) == 1
    assert "did you mean GET /orders/carts?" in mistakes[0]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{", "a.json"),
        ("a: [", "a.yaml"),
        ("[]", "a.json"),
        ("{}", "a.json"),
        ('{"swagger": "2.0"}', "a.json"),
        ("", "a.yaml"),
        ("openapi: 2.0", "a.yml"),
    ],
)
def test_what_is_no_openapi_3_document_is_refused(text: str, name: str) -> None:
    with pytest.raises(DocumentError):
        parsed(text, name)


def test_paths_of_another_shape_are_refused_and_empty_ones_are_nothing() -> None:
    with pytest.raises(DocumentError):
        operations({"openapi": "3.1.0", "paths": []}, "orders")
    assert operations({"openapi": "3.1.0"}, "orders") == ()
    assert operations({"openapi": "3.1.0", "paths": {"/a": None, "/b": {"get": 1}}}, "orders") == ()


def files(folder: Path, document: dict[str, Any], until: str) -> list[str]:
    (folder / "policy.toml").write_text(POLICY)
    (folder / "api.json").write_text(json.dumps(document))
    (folder / "exempt.toml").write_text(
        f'[[exempt]]\nmethod = "get"\npath = "/orders/carts"\nreason = "old clients"\nuntil = {until}\n'
    )
    named = {"--policy": "policy.toml", "--openapi": "api.json", "--exemptions": "exempt.toml"}
    options = [one for option, name in named.items() for one in (option, str(folder / name))]
    return ["check", *options, "--service", "orders", "--at", "2026-11-21"]


@pytest.mark.parametrize(
    ("document", "until", "status", "told"),
    [
        (api([]), "2026-12-31", 0, "1 operations, 0 without a key"),
        (api([]), "2026-11-20", 1, "was good until 2026-11-20 only"),
        (api([], path="/till"), "2026-12-31", 1, "1 operations, 1 without a key"),
    ],
)
def test_the_command_fails_where_an_operation_has_no_key(
    document: dict[str, Any], until: str, status: int, told: str, tmp_path: Path
) -> None:
    arguments = files(tmp_path, document, until)
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == status, done.output
    assert told in done.output
    found = json.loads(CliRunner().invoke(command, [*arguments, "--json"]).output)
    assert len(found["api"]["operations"]) == 1


def test_an_unknown_service_is_wrong_usage(tmp_path: Path) -> None:
    arguments = files(tmp_path, api(), "2026-12-31")
    done = CliRunner().invoke(command, [*arguments[:-4], "--service", "order"])
    assert done.exit_code == 2
    assert "did you mean orders?" in done.output


def test_the_guides_exemption_is_one() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "the-law.md"
    blocks = re.findall(r"```toml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    (one,) = exemptions(next(block for block in blocks if "[[exempt]]" in block), "guide")
    assert one.until == datetime.date(2026, 12, 31)
