"""The OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0), made from the declared operations and their msgspec shapes. Pure."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from directory.operations import Operation
from foundation.problems import Code, status_of, title_of

_EVERYWHERE = (Code.BAD_REQUEST, Code.UNAUTHENTICATED, Code.FORBIDDEN, Code.NOT_READY, Code.INTERNAL)
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_REF = "#/components/schemas/{name}"


class Problem(msgspec.Struct, kw_only=True):
    """A refusal (RFC 9457). `code` is stable; further members depend on it."""

    type: str
    title: str
    status: int
    detail: str
    code: str


_TITLE = "domicile directory"
_DESCRIPTION = "Knows where, never what: lookup keys, subject ids and digests only. Every answer carries the feed number it is as of."


def document(
    operations: Sequence[Operation], *, version: str, title: str = _TITLE, description: str = _DESCRIPTION
) -> dict[str, Any]:
    shapes: list[Any] = [Problem]
    for one in operations:
        shapes += [*one.answers.values(), *one.alternatives, *([one.body] if one.body else []), *one.forms.values()]
    schemas, components = msgspec.json.schema_components(list(dict.fromkeys(shapes)), ref_template=_REF)
    refs = dict(zip(dict.fromkeys(shapes), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"service": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"service": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(one: Operation, refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": f"Roles: {', '.join(one.roles)}.",
        "parameters": [*_path_parameters(one.path), *_parameters(one)],
        "responses": _responses(one, refs),
    }
    content: dict[str, Any] = {}
    if one.body is not None:
        content = {"application/json": {"schema": refs[one.body]}} | _forms(one, refs)
    if one.takes is not None:
        content[one.takes] = {}
    if content:
        described["requestBody"] = {"required": True, "content": content}
    return described


def _forms(one: Operation, refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    """MessagePack, whose bytes JSON Schema has no type for: it shows them as text in base64."""
    return {media_type: {"schema": refs[shape]} for media_type, shape in one.forms.items()}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PATH_PARAMETER.findall(path)
    ]


def _parameters(one: Operation) -> list[dict[str, Any]]:
    return [
        {"name": p.name, "in": p.place, "required": p.required, "schema": p.schema, "description": p.description}
        for p in one.parameters
    ]


def _responses(one: Operation, refs: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, shape in one.answers.items():
        schemas = [refs[shape], *(refs[other] for other in one.alternatives)]
        schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        responses[str(status)] = {"description": "done", "content": {"application/json": {"schema": schema}}}
    if one.file is not None:
        responses.setdefault("200", {"description": "the file", "content": {}})["content"][one.file] = {}
    if one.forms and one.body is None:
        responses["200"]["content"] |= _forms(one, refs)
    for code in (*_EVERYWHERE, *one.refusals):
        refusal = responses.setdefault(
            str(status_of(code)),
            {"description": "", "content": {"application/problem+json": {"schema": refs[Problem]}}},
        )
        told = f"`{code.value}`: {title_of(code)}"
        refusal["description"] = f"{refusal['description']}; {told}" if refusal["description"] else told
    return responses
