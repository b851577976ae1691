"""Requests that schemathesis makes of an OpenAPI document, asked of an ASGI application, and its judgement of the answers."""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Err, Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

BASE = "http://asked"
CONFORMING = [status_code_conformance, content_type_conformance, response_schema_conformance]
NO_FAULT = [not_a_server_error]

Send = Callable[[httpx.Request], Coroutine[Any, Any, httpx.Response]]
"""Sends with whatever credentials the caller has; may raise what is wrong with the answer."""


async def explore(
    document: dict[str, Any], send: Send, checks: list[Any], *, fitting: int, violating: int
) -> Counter[tuple[str, int]]:
    """So many requests of every operation, `fitting` the document and `violating` it; answers how many got which status.

    Raises what schemathesis found to be against the document.
    """
    schema = schemathesis.openapi.from_dict(document)
    seen: Counter[tuple[str, int]] = Counter()
    for operation in _operations(schema):
        for mode, number in ((GenerationMode.POSITIVE, fitting), (GenerationMode.NEGATIVE, violating)):
            if number:
                await anyio.to_thread.run_sync(_ask, operation, mode, number, send, checks, seen)
    return seen


def _operations(schema: OpenApiSchema) -> Iterator[Any]:
    """Every operation of the document. Raises where schemathesis cannot read one."""
    for result in schema.get_all_operations():
        match result:
            case Ok():
                yield result.ok()
            case Err():
                raise result.err()


def _ask(
    operation: Any, mode: GenerationMode, number: int, send: Send, checks: list[Any], seen: Counter[tuple[str, int]]
) -> None:
    strategy = operation.as_strategy(generation_mode=mode)
    if mode is GenerationMode.POSITIVE:
        strategy = st.one_of(strategy, *operation.get_strategies_from_examples())

    @settings(
        max_examples=number, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def asked(case: Any) -> None:
        prepared = requests.Request(**case.as_transport_kwargs(base_url=BASE)).prepare()
        headers = {str(name): str(value) for name, value in prepared.headers.items() if name.lower() != "authorization"}
        body: Any = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
        request = httpx.Request(str(prepared.method), str(prepared.url), headers=headers, content=body)
        answer = anyio.from_thread.run(send, request)
        seen[str(prepared.method), answer.status_code] += 1
        # OpenAPI cannot say that a status comes with a body or without, as Prefer: return asks.
        case.validate_response(answer, checks=checks if answer.content else [status_code_conformance])

    asked()
