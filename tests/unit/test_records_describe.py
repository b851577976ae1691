"""The OpenAPI document of the records API: what the grant holds, and nothing else."""

import json
from typing import Any

from cells.records.core import grant
from cells.records.describe import Offered, document
from foundation.words import RECORDS, ServiceId
from tests.stands.shard import notes


def described(service: str, purpose: str = "service", *, makes: bool = True) -> dict[str, Any]:
    granted = grant(notes(), ServiceId(service), purpose)
    return document([Offered(contract=notes(), granted=granted, makes=makes)], rows_max=100, version="1")


def calls(found: dict[str, Any]) -> set[str]:
    return set(found["paths"].get("/records/notes", {}))


def parameters(found: dict[str, Any], method: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in found["paths"]["/records/notes"][method]["parameters"]}


def test_methods_are_those_that_the_grant_allows() -> None:
    assert calls(described("orders")) == {"get", "head", "post", "patch", "put", "delete"}
    assert calls(described("orders", makes=False)) == {"get", "head", "patch", "delete"}
    # A person does not write the key.
    assert calls(described(RECORDS)) == {"get", "head", "post", "patch"}
    assert calls(described("analytics", "analytics")) == {"get", "head"}
    assert calls(described("warehouse")) == set()
    assert set(described("warehouse")["components"]["schemas"]) == {"Problem"}


def test_a_column_that_the_caller_may_not_touch_does_not_appear() -> None:
    for service, purpose, hidden in (
        ("orders", "service", {"shadow"}),
        ("orders", "analytics", {"shadow", "body"}),
        ("analytics", "analytics", {"shadow", "body", "total", "card", "span"}),
    ):
        text = json.dumps(described(service, purpose))
        assert not [name for name in hidden if f'"{name}"' in text or f"|{name}" in text or f"({name}" in text]


def test_columns_carry_class_type_and_seal_and_sealed_ones_have_no_filter() -> None:
    found = described("orders")
    row = found["components"]["schemas"]["notes.row"]["properties"]
    assert {name: one["x-domicile-class"] for name, one in row.items()} == {
        name: str(column.klass) for name, column in notes().columns.items() if column.klass is not None
    }
    assert [name for name, one in row.items() if "x-domicile-sealed" in one] == ["card"]
    assert row["stay"]["x-domicile-type"] == "tstzrange"
    for method in ("get", "patch", "delete"):
        assert "card" not in parameters(found, method)
        assert "span" in parameters(found, method)
    assert "card" not in parameters(found, "get")["order"]["schema"]["pattern"]


def test_filters_name_the_operators_of_their_type() -> None:
    found = parameters(described("orders"), "get")
    assert "adj" in found["span"]["schema"]["pattern"]
    assert "adj" not in found["body"]["schema"]["pattern"]
    assert "imatch" in found["body"]["schema"]["pattern"]
    assert "like" not in found["rank"]["schema"]["pattern"]


def test_written_rows_hold_what_may_be_written_and_a_put_all_of_it() -> None:
    found = described("orders")
    granted = grant(notes(), ServiceId("orders"), "service")
    assert set(found["components"]["schemas"]["notes.written"]["properties"]) == granted.write
    put = found["paths"]["/records/notes"]["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(put["required"]) == granted.write
    person = described(RECORDS)["components"]["schemas"]["notes.written"]
    assert (set(person["properties"]), person["additionalProperties"]) == ({"body", "done", "due"}, False)
