"""What a caller may do with the tables under contracts, as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0). Pure.

Only what the caller's grant holds is in it. Requests that fit the document are answered as it says; the dialect has more
(docs/contracts.md): names of one's own, casts, paths into JSON.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from cells.records import shapes
from cells.records.contracts import Contract
from cells.records.core import Grant
from cells.records.dialect import NUMBER_MAX
from foundation.problems import Code, status_of, title_of

_ALWAYS = (
    Code.BAD_REQUEST, Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.SUBJECT_GONE, Code.STALE_EPOCH, Code.RATE_LIMITED,
    Code.NOT_READY, Code.UPSTREAM_TIMEOUT,
)  # fmt: skip
_OF_READS = (Code.NOT_ACCEPTABLE, Code.RANGE_NOT_SATISFIABLE)
_OF_WRITES = (Code.NOT_ACCEPTABLE, Code.CONFLICT, Code.TOO_LARGE)
_MEDIA = ("application/json", "application/vnd.pgrst.array+json")
_OBJECT = "application/vnd.pgrst.object+json"


class Offered(msgspec.Struct, frozen=True, kw_only=True):
    """One table as a caller has it. `makes`: whether this actor can own new rows."""

    contract: Contract
    granted: Grant
    makes: bool

    @property
    def methods(self) -> tuple[str, ...]:
        granted = self.granted
        found = ["get", "head"] if granted.read else []
        if granted.write and self.makes:
            found.append("post")
        if granted.write:
            found.append("patch")
        if "id" in granted.write and "id" in granted.filter and self.makes:
            found.append("put")
        return (*found, "delete") if granted.everything else tuple(found)


def document(offered: Sequence[Offered], *, rows_max: int, version: str) -> dict[str, Any]:
    """The document of one caller's tables; those of which it may do nothing are left out."""
    tables = [one for one in offered if one.methods]
    paths: dict[str, Any] = {"/records/": {"get": _root()}}
    schemas: dict[str, Any] = {"Problem": shapes.PROBLEM}
    for one in tables:
        table = one.contract.table
        paths[f"/records/{table}"] = {method: _call(method, one, rows_max) for method in one.methods}
        schemas[f"{table}.row"] = shapes.row(one.contract, one.granted.read)
        schemas[f"{table}.written"] = shapes.row(one.contract, sorted(one.granted.write), closed=True)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "domicile records",
            "version": version,
            "description": "The rows of one subject in the PostgREST dialect, as far as this caller may touch them for this purpose.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _root() -> dict[str, Any]:
    content = {"application/openapi+json": {"schema": {"type": "object"}}}
    return {
        "operationId": "describe",
        "summary": "this document",
        "responses": {"200": {"description": "done", "content": content}, **_refusals(_ALWAYS)},
    }


_SUMMARIES = {
    "get": "rows",
    "head": "the same without a body",
    "post": "inserts one row or several; with Prefer: resolution=… upserts",
    "patch": "changes the rows that the filters name, or all",
    "put": "makes or replaces the row that its key names",
    "delete": "deletes the rows that the filters name, or all",
}


def _call(method: str, one: Offered, rows_max: int) -> dict[str, Any]:
    table = one.contract.table
    described: dict[str, Any] = {
        "operationId": f"{method}.{table}",
        "summary": _SUMMARIES[method],
        "parameters": _parameters(method, one, rows_max),
        "responses": _responses(method, one),
    }
    written: dict[str, Any] = {"$ref": f"#/components/schemas/{table}.written"}
    if method == "post":
        written = {"anyOf": [written, {"type": "array", "minItems": 1, "maxItems": 1000, "items": written}]}
    elif method == "patch":
        written = {"allOf": [written], "minProperties": 1}
    elif method == "put":
        written = {"allOf": [written], "required": sorted(one.granted.write)}
    if method in ("post", "patch", "put"):
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": written}}}
    return described


def _parameters(method: str, one: Offered, rows_max: int) -> list[dict[str, Any]]:
    reads = method in ("get", "head")
    found = [_prefer(method)]
    if one.granted.read:
        found.append(_query("select", shapes.names(one.granted.read, star=True), "columns to return"))
    if reads:
        limit = {"type": "integer", "minimum": 0, "maximum": NUMBER_MAX}
        found += [
            _query("limit", limit, f"rows; at most {rows_max} an answer"),
            _query("offset", limit, "rows to leave out"),
            {"name": "Range", "in": "header", "schema": {"type": "string", "pattern": "^[0-9]{1,9}-$"}},
        ]
        if one.granted.filter:
            found.append(_query("order", shapes.ordered(_in_order(one)), "by what rows are ordered"))
    if reads or method in ("patch", "delete"):
        trees = {"type": "string", "pattern": r"^\(.+\)$"}
        found += [
            _query(name, trees, "a tree of filters: (a.eq.1,not.and(b.gt.2,c.is.null))") for name in ("or", "and")
        ]
        columns = one.contract.columns
        found += [_query(name, shapes.filtered(columns[name].type), "a filter") for name in _in_order(one)]
    if method == "put":
        key = {"type": "string", "pattern": f"^eq\\.{shapes.UUID}$"}
        found.append(_query("id", key, "the row's key, also in the body") | {"required": True})
    if method in ("post", "patch") and one.granted.write:
        found.append(_query("columns", shapes.names(sorted(one.granted.write)), "what to take from the body"))
    if method == "post" and one.granted.filter:
        found.append(_query("on_conflict", shapes.names(_in_order(one)), "a unique key, for an upsert"))
    return found


def _in_order(one: Offered) -> list[str]:
    return [name for name in one.granted.read if name in one.granted.filter]


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


_PREFERENCES = {
    "get": ["count=exact", "handling=strict"],
    "head": ["count=exact", "handling=strict"],
    "post": ["return=representation", "return=minimal", "return=headers-only", "resolution=merge-duplicates",
             "resolution=ignore-duplicates", "missing=default", "count=exact", "max-affected=1"],
    "patch": ["return=representation", "return=minimal", "missing=default", "count=exact", "max-affected=1"],
    "put": ["return=representation", "return=minimal", "missing=default"],
    "delete": ["return=representation", "return=minimal", "count=exact", "max-affected=1"],
}  # fmt: skip


def _prefer(method: str) -> dict[str, Any]:
    one = "|".join(_PREFERENCES[method])
    schema = {"type": "string", "pattern": f"^({one})(, ({one}))*$", "examples": _PREFERENCES[method]}
    return {"name": "Prefer", "in": "header", "required": False, "schema": schema}


def _responses(method: str, one: Offered) -> dict[str, Any]:
    row = {"$ref": f"#/components/schemas/{one.contract.table}.row"}
    rows: dict[str, Any] = {name: {"schema": {"type": "array", "items": row}} for name in _MEDIA}
    rows[_OBJECT] = {"schema": row}
    given = {"description": "rows", "content": rows}
    nothing = {"description": "done"}
    paged = {"headers": {"Content-Range": {"schema": {"type": "string"}}}}
    match method:
        case "get":
            return {"200": given | paged, "206": given | paged, **_refusals(_ALWAYS + _OF_READS)}
        case "head":
            statuses = sorted({status_of(code) for code in _ALWAYS + _OF_READS})
            return {str(status): nothing for status in (200, 206, *statuses)}
        case "post":
            # Without return=representation there is no body.
            return {"201": given, **_refusals(_ALWAYS + _OF_WRITES)}
        case "put":
            return {
                "200": given,
                "201": given,
                "204": nothing,
                **_refusals((*_ALWAYS, *_OF_WRITES, Code.METHOD_NOT_ALLOWED)),
            }
        case _:
            return {"200": given, "204": nothing, **_refusals(_ALWAYS + _OF_WRITES)}


def _refusals(codes: Sequence[Code]) -> dict[str, Any]:
    told: dict[int, list[str]] = {}
    for code in codes:
        told.setdefault(status_of(code), []).append(title_of(code))
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {str(status): {"description": "; ".join(words), "content": content} for status, words in told.items()}
