"""Writes docs/api.md: `python -m deploy.docs` (`make docs`). Every call, shape and code in it is taken from the program.

The directory's part is its OpenAPI document in prose. Calls of the cell service and of the gateway are taken from their routes; one that
nobody described here, or a description of none, is an error.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from starlette.routing import Route

from cells.aliases import api as aliases_api
from cells.breakglass import operations as access_operations
from cells.breakglass.calls import AccessCalls
from cells.crossings import api as crossings_api
from cells.egress import api as egress_api
from cells.egress import asking as egress_asking
from cells.egress import calls as egress_calls
from cells.egress import streams as egress_streams
from cells.egress import telling as egress_telling
from cells.egress import views
from cells.egress.viewing import ViewAnswer
from cells.fences import api as fences_api
from cells.ledger import api as ledger_api
from cells.records import api as records_api
from cells.service import api as cell_api
from cells.service.signup import SignUpRequest
from deploy import api_calls, api_prose
from deploy.api_shapes import shapes, table, type_of
from directory import app as directory_app
from directory import openapi
from directory.operations import Operation
from foundation.ledger import serving
from foundation.ledger.witness import api as witness_api
from foundation.problems import Code, status_of, title_of
from gateway.edge import api as edge_api
from gateway.hints import api as hints_api

API = Path(__file__).parents[1] / "docs" / "api.md"
NOT_YET_GIVEN = frozenset({Code.ALREADY_PLACED})
"""Codes that are reserved and that nothing answers in this release."""


def document() -> str:
    """The whole file. Pure but for reading the program's own declarations. Raises LookupError where route and description disagree."""
    parts = [
        api_prose.PREFACE,
        *_gateway(),
        *_cell_service(),
        *_access(),
        *_directory(),
        *_witness(),
        api_prose.ISSUER,
        api_prose.HEADERS,
        *_problems(),
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _calls(routes: Iterable[Any]) -> list[str]:
    return [
        f"{method} {route.path}"
        for route in routes
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
        # Starlette adds HEAD to each GET.
        if method != "HEAD" or "GET" not in (route.methods or ())
    ]


def agreed(routes: Sequence[str], described: Mapping[str, Any]) -> None:
    """Raises LookupError unless both name the same calls."""
    if set(routes) != set(described):
        apart = ", ".join(sorted(set(routes) ^ set(described)))
        raise LookupError(f"routes and their descriptions in deploy/api_calls.py differ: {apart}")


def _gateway() -> list[str]:
    # Handlers are not called, so what they work on may be absent; likewise below.
    agreed([*_calls(edge_api.routes(cast("Any", None))), f"POST {hints_api.PATH}"], api_calls.GATEWAY_CALLS)
    rows = [(f"`{call}` {asked}", answer) for call, (asked, answer) in api_calls.GATEWAY_CALLS.items()]
    return [api_prose.GATEWAY + table(("call", "answer"), rows)]


def _cell_service() -> list[str]:
    nothing = cast("Any", None)
    agreed(_calls(cell_api.routes(nothing, nothing)), api_calls.CELL_CALLS)
    agreed(_calls(aliases_api.routes(nothing, nothing)), api_calls.ALIAS_CALLS)
    agreed(_calls(crossings_api.routes(nothing, nothing, nothing)), api_calls.CROSSING_CALLS)
    agreed(_calls(fences_api.routes(nothing, nothing)), api_calls.FENCE_CALLS)
    absent = cast("Any", SimpleNamespace(auth=None))
    agreed(_calls(egress_api.routes(absent, {}, None, nothing)), api_calls.EGRESS_CALLS)
    agreed(_calls(views.routes(nothing, nothing, None, nothing)), api_calls.VIEW_CALLS)
    agreed(_calls(ledger_api.routes(None, nothing)), api_calls.LEDGER_CALLS)
    records = records_api.routes(cast("Any", SimpleNamespace(clock=None)), nothing, nothing)
    methods = {f"{method} {route.path}" for route in records for method in (route.methods or ())}
    agreed(sorted(methods), api_calls.RECORDS_CALLS)
    rows = [
        (f"`{call.replace(':path}', '}')}`", who, asked, answer)
        for call, (who, asked, answer) in {
            **api_calls.CELL_CALLS,
            **api_calls.ALIAS_CALLS,
            **api_calls.CROSSING_CALLS,
            **api_calls.FENCE_CALLS,
            **api_calls.EGRESS_CALLS,
            **api_calls.VIEW_CALLS,
            **api_calls.LEDGER_CALLS,
        }.items()
    ]
    schemas = msgspec.json.schema_components(
        [
            SignUpRequest,
            aliases_api.AliasClaimRequest,
            aliases_api.AliasSettleRequest,
            aliases_api.ClaimTold,
            cell_api.JobRequest,
            cell_api.EventsRequest,
            cell_api.RecordsRequest,
            crossings_api.CrossingRequest,
            crossings_api.RecordsOfSubject,
            fences_api.FencePage,
            fences_api.CompareRequest,
            fences_api.CompareAnswer,
            egress_calls.EgressRequest,
            egress_asking.EgressAnswer,
            egress_streams.EgressLine,
            egress_streams.EgressEnd,
            egress_calls.PlanTold,
            egress_telling.RunList,
            egress_telling.RunTold,
            ViewAnswer,
            serving.ReadStated,
            serving.ReadNoted,
            serving.ErasureRequest,
            serving.Erasure,
        ],
        ref_template="{name}",
    )[1]
    return [
        (
            "## Cell service\n\nCalled by product services with their service token, by gateways, and by operators. "
            "`/records` is what people reach too.\n"
        ),
        table(("call", "caller", "asks", "answer"), rows),
        table(("call", "does"), [(f"`{call}`", does) for call, does in api_calls.RECORDS_CALLS.items()]),
        *shapes(schemas),
    ]


def _witness() -> list[str]:
    agreed(_calls(witness_api.routes(cast("Any", None))), api_calls.WITNESS_CALLS)
    rows = [(f"`{call}`", asked, answer) for call, (asked, answer) in api_calls.WITNESS_CALLS.items()]
    return [api_prose.WITNESS + table(("call", "asks", "answer"), rows)]


def _access() -> list[str]:
    declared = access_operations.operations(cast("Any", AccessCalls.__new__(AccessCalls)))
    return [api_prose.ACCESS, *_operations(declared)]


def _directory() -> list[str]:
    return [api_prose.DIRECTORY, *_operations(directory_app.operations(cast("Any", None)))]


def _operations(declared: Sequence[Operation]) -> list[str]:
    described = openapi.document(declared, version="")
    parts = []
    for one in declared:
        call = described["paths"][one.path][one.method.lower()]
        parts.append(f"### `{one.method} {one.path}`\n\n{one.summary}.\n")
        facts = [("roles", ", ".join(f"`{role}`" for role in one.roles))]
        facts += [(f"{p.place} `{p.name}`", f"{p.description} ({type_of(p.schema)})") for p in one.parameters]
        if one.body is not None:
            facts.append(("body", type_of(call["requestBody"]["content"]["application/json"]["schema"])))
        facts += [
            (f"`{media_type}`", f"MessagePack of `{shape.__name__}`, as {'body' if one.body else 'answer'}")
            for media_type, shape in one.forms.items()
        ]
        answers = {
            status: response
            for status, response in call["responses"].items()
            if "application/json" in response["content"]
        }
        facts += [(status, type_of(each["content"]["application/json"]["schema"])) for status, each in answers.items()]
        facts += [("200", f"a file, `{one.file}`")] if one.file is not None else []
        facts += [(str(status_of(code)), f"`{code.value}`") for code in one.refusals]
        parts.append(table(("", ""), facts))
    return [*parts, *shapes(described["components"]["schemas"])]


def _problems() -> list[str]:
    rows = [
        (str(status_of(code)), f"`{code.value}`", title_of(code) + (" (reserved)" if code in NOT_YET_GIVEN else ""))
        for code in sorted(Code, key=lambda code: (status_of(code), code.value))
    ]
    return [api_prose.PROBLEMS, table(("status", "code", "title"), rows)]


def main() -> int:
    API.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
