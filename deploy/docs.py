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
from directory import app as directory_app
from directory import openapi
from directory.operations import Operation
from foundation.ledger import serving
from foundation.ledger.witness import api as witness_api
from foundation.ledger.witness import requests
from foundation.problems import Code, status_of, title_of
from gateway.edge import api as edge_api
from gateway.hints import api as hints_api

API = Path(__file__).parents[1] / "docs" / "api.md"
_NO_LAST_NEWLINE = r"(?!\n)"
"""What patterns end in besides `$`, for dialects in which that also matches before a last newline."""

NOT_YET_GIVEN = frozenset({Code.ALREADY_PLACED})
"""Codes that are reserved and that nothing answers in this release."""

CELL_CALLS = {
    "POST /cell/signup": (
        "a product service with its decision of verb `signup`",
        "`SignUpRequest`; `services` empty = the caller's own",
        '201 `{"subject_id", "epoch", "decision", "questions"}`: the first decision about the new person, verb `write`',
    ),
    "GET /cell/epochs/{subject_id}": (
        "a product service",
        "",
        '200 `{"subject_id", "epoch", "state", "change", "lease_ms"}`; 404 `no_home`',
    ),
    "GET /cell/changes": (
        "a product service",
        f"`?after=N&wait_ms=` (waits at most {cell_api.WAIT_MS_MAX} ms)",
        '200 `{"changes": [{"subject_id", "epoch", "state"}], "next", "reset", "lease_ms"}`',
    ),
    "POST /cell/jobs/decisions": (
        "a product service",
        "`JobRequest`",
        '200 `{"decision"}`, as policy\'s `jobs` allows',
    ),
    "POST /cell/events": ("a gateway of the cell's region", "`EventsRequest`", "204, once the events are durable"),
    "POST /cell/records": (
        "a gateway of the cell's region",
        "`RecordsRequest`",
        "204, once they are durable, to stand in the ledger under one root; repeat with the same id",
    ),
}
CROSSING_CALLS = {
    "POST /cell/crossings": (
        "a gateway of the cell's region",
        f"`CrossingRequest` (≤ {crossings_api.BODY_BYTES_MAX} bytes)",
        (
            "204, once the crossing is durable; 404 `no_home`, `subject_gone`; 409 `conflict`: another crossing has the id, or the "
            "crossing names another cell or no other region; 503 when it is not known to be durable: forward nothing, "
            "repeat with the same id"
        ),
    ),
    "GET /cell/subjects/{subject_id}/crossings": (
        "an operator with a token for this cell alone",
        f"`?after=CURSOR&limit=` (≤ {crossings_api.PAGE_MAX}, usually {crossings_api.PAGE_USUAL})",
        "200 `RecordsOfSubject`: crossings and refusals, newest first; recorded itself",
    ),
}
FENCE_CALLS = {
    "GET /cell/fences": ("an operator with a token for this cell alone", "", '200 `{"shards": […]}`'),
    "GET /cell/fences/{shard}": (
        "the same",
        f"`?after=SUBJECT&limit=` (≤ {fences_api.PAGE_MAX})",
        "200 `FencePage`: fence rows in the order of their ids; 404 where the cell has no such shard",
    ),
    "POST /cell/fences/compare": (
        "the same",
        f"`CompareRequest` (≤ {fences_api.SUBJECTS_MAX} subjects)",
        "200 `CompareAnswer`: how the fences differ from the directory, which says what holds; with `repair` they are raised to it",
    ),
}
STREAMS = egress_streams.STREAMS_MAX
EGRESS_CALLS = {
    "POST /cell/egress/events": (
        "a product service that the contract lets read",
        f"`EgressRequest` (≤ {egress_streams.EVENTS_MAX} events)",
        "200 `EgressAnswer`, once the batch is recorded; 451 for a destination or purpose that policy does not declare",
    ),
    "POST /cell/egress/stream": (
        "the same",
        "`?contract=&to=&purpose=`, events as NDJSON, as many as there are; the answer has to be read meanwhile",
        f"200 `EgressLine` as NDJSON: one for each batch once it is recorded, then `end`; 451 as above; 503 with {STREAMS} open",
    ),
    "GET /cell/egress/plan": (
        "an operator with a token for this cell alone",
        "`?contract=&to=&purpose=&residence=DE&consent=` (usually `unsaid`)",
        "200 `PlanTold`: what each field would become for such a person; 404 where no contract has that name, 451 as above",
    ),
    "GET /cell/egress/runs": (
        "the same",
        f"`?limit=` (≤ {egress_calls.PAGE_MAX}, usually {egress_calls.PAGE_USUAL})",
        "200 `RunList`: runs of releases, newest first",
    ),
    "GET /cell/egress/runs/{run}": (
        "the same",
        "",
        "200 `RunTold` with its `report`; 404 where the cell has no such run",
    ),
    "GET /cell/egress/openapi.json": ("anybody", "", "200 the OpenAPI document of `/cell/egress`"),
}
VIEW_CALLS = {
    "GET /views/{table}/{subject_id}": (
        "a gateway of the cell's region, with a reader's decision for `views`",
        "",
        "200 `ViewAnswer`; 404 where nobody, or no contract, shows that; 451 without a ground where nothing leaves for the reader",
    ),
}
LEDGER_CALLS = {
    "GET /ledger/checkpoint": (
        "an operator with a token for this cell alone",
        "",
        "200 what the cell's log has signed last, a C2SP checkpoint (`text/plain`); 404 where the cell keeps no log",
    ),
    "GET /ledger/cosigned/{quorum}": (
        "the same",
        "`near` or `wide`",
        "200 the newest checkpoint that this quorum of witnesses has cosigned, with the cosignatures (`text/plain`); 404",
    ),
    "GET /ledger/tile/{path:path}": (
        "the same",
        "a path of C2SP tlog-tiles: `0/000`, `entries/x001/234.p/56`",
        "200 the file (`application/octet-stream`), of entries once it is recorded who reads them; 404",
    ),
    "POST /ledger/reads": (
        "the same",
        "`ReadStated`: a reading of the log in its own folder, as `domicile` states it before it shows anything",
        "201 `ReadNoted`, once it is recorded; 404",
    ),
    "POST /ledger/erasures": (
        "the same",
        "`ErasureRequest`: every payload of the log that speaks of a subject is overwritten",
        f"200 `Erasure`; 202 after {serving.ERASE_S_MAX:.0f} s: it goes on by itself, over a restart too; 404",
    ),
    "GET /ledger/erasures/{job}": ("the same", "", "200 `Erasure`, 202 while it goes on; 404 for one of long ago"),
}
RECORDS_CALLS = {
    "GET /records/{table}": "rows that the contract lets the caller read",
    "HEAD /records/{table}": "the same without a body",
    "POST /records/{table}": "inserts one row or several; with `Prefer: resolution=…` upserts",
    "PATCH /records/{table}": "changes the rows that the filter names",
    "PUT /records/{table}": "makes or replaces the row that its key names",
    "DELETE /records/{table}": "deletes the rows that the filter names",
    "GET /records/": "the OpenAPI document of what the caller may do, for its decision's purpose",
    "HEAD /records/": "the same without a body",
    "GET /records": "the same as `/records/`",
    "HEAD /records": "the same without a body",
    "GET /records/rpc/{function}": "400 `PGRST202`: functions are not supported",
    "HEAD /records/rpc/{function}": "the same",
    "POST /records/rpc/{function}": "the same",
}
ALIAS_CALLS = {
    "POST /cell/aliases/claim": (
        "product service",
        "`AliasClaimRequest`: an alias of a person of this cell",
        "201 `ClaimTold`; 409 `key_taken`, 400 where it is no such identifier",
    ),
    "POST /cell/aliases/confirm": (
        "product service",
        "`AliasSettleRequest`, once control of the alias is proven",
        "`ClaimTold`; also after the lease ran out",
    ),
    "POST /cell/aliases/release": (
        "product service",
        "`AliasSettleRequest`: control was not proven, or the alias is the person's no more",
        "`ClaimTold`",
    ),
}
GATEWAY_CALLS = {
    "GET /.well-known/domicile/preview": (
        "`?residence=DE&service=orders`, and what a sign-up takes besides",
        (
            'where a sign-up would go: `{"jurisdiction", "region", "home", "ground", "questions"}`; 400 `residence_required`, '
            "404 `unknown_service`, 451 `no_cell_allowed`"
        ),
    ),
    f"POST {hints_api.PATH}": (
        (
            '`{"kind": "email", "value": "a@example.org"}`; also `phone` (with `country` where it has no +), `handle`, '
            "`external` (with `system`)"
        ),
        (
            'where somebody may sign in: `{"region", "home"}`, for whoever has no home a decoy that stays the same; status, headers, '
            "length and time say nothing of which. 400 where it is no such identifier, 429 `rate_limited` by address and by "
            "identifier, 503 `home_unknown` for everybody while the directory cannot be asked. Where settings have `hints`"
        ),
    ),
}

WITNESS_CALLS = {
    f"POST {requests.PATH}": (
        f"`old <size>`, at most {requests.HASHES_MAX} hashes of the consistency proof in base64, an empty line, the signed checkpoint",
        (
            "200 the line of the cosignature; 400 no such request, or an old size beyond the checkpoint's; 403 no signature of the "
            f"log's key; 404 an unknown log; 409 with the size that was cosigned last (`{requests.SIZE_TYPE}`) where the old size is "
            "another, without it where the log has signed two roots over one size; 422 the proof proves nothing; 503 the disk of the "
            "witness does not take it, or too many wait"
        ),
    ),
}

_PREFACE = """\
# API

<!-- Written by `make docs` from the program; edit deploy/docs.py instead. -->

Every process answers `/healthz` (alive), `/readyz` (would take traffic, else a problem document) and `/metrics` (Prometheus). How the calls
hang together is in [architecture.md](architecture.md); the dialect of `/records` in [contracts.md](contracts.md).
"""

_GATEWAY = """\
## Gateway

What clients call, with `Authorization: Bearer <token of an issuer that the gateway's settings name>`:

| path | goes to |
| --- | --- |
| `/{service}/…` | the service in the cell of the token's person; policy's `anonymous` and `signup` routes need no home |
| `/{service}/…signup route…?residence=DE` | the service in a cell that may hold a person of that residence; see below |
| `/records/{table}` | the records API of the cell of the token's person |
| `/records/` | its OpenAPI document, as far as that person may read and write |

Where the rules ask for more at sign-up: `&subdivision=US-TX` (ISO 3166-2) and `&citizenship=DE`, once for each.

Dot segments, plain or encoded, and ambiguous framing are 400. Inbound `Domicile-*` fields are dropped. With
`Domicile-For` a service that policy names in `[actors]` acts for a subject; from everybody else it is 403, without a token 401.

Its own calls, without a token:

"""

_DIRECTORY = """\
## Directory

Its OpenAPI document is at `/openapi.json`. Every call needs a service token; any of the roles opens the door. Each may also answer
400 `bad_request`, 401 `unauthenticated`, 403 `forbidden`, 500 `internal`, 503 `not_ready`.
"""

_WITNESS = """\
## Witness

[C2SP tlog-witness](https://c2sp.org/tlog-witness), without a token: the signature under the checkpoint is what counts. Answers are text.

"""

_ACCESS = """\
## Break-glass

Calls of a cell service whose settings have `access`. Its OpenAPI document is at `/access/openapi.json`. Every call takes a token of the
engineers' sign-in; `roles` open the door, policy and the state machine decide ([0019](decisions/0019-break-glass.md)). A refusal has a
`reason`, and `rules` where policy forbids. Each may also answer 400 `bad_request`, 401 `unauthenticated`, 403 `forbidden`, 500 `internal`,
503 `not_ready`.
"""

_HEADERS = """\
## Response headers

| field | on | says |
| --- | --- | --- |
| `Domicile-Verdict` | every answer to a request for a service | `serve`; `hairpin` (carried); `redirect` (421, 308); else `refuse` |
| `Domicile-Cell` | answers that came from a cell | which cell served |
| `Domicile-Epoch` | the same, where a subject was decided about | the epoch of the decision |
| | `stale_epoch` of a guard or the records API | the epoch that holds |
| `Domicile-Refusal` | refusals of guards and of the records API, towards the gateway only | the code: not the service's own answer |
| `ETag` | `GET /v1/subjects/{id}` and answers that changed one | the epoch, for `If-Match` |
| | answers with rules | their digest |
| `Idempotent-Replayed` | `POST /v1/subjects` | `true`: an earlier request with this key had the effect |
| `Retry-After` | 503 that will pass, 429 | seconds |
| `WWW-Authenticate` | 401 | `Bearer` |
"""

_PROBLEMS = """\
## Problem codes

Refusals are problem documents (RFC 9457, `application/problem+json`): `type` (`urn:domicile:problem:<code>`), `title`, `status`,
`detail`, and `code`, which is stable. Further members: `home` (an origin) and `ground` with 421; `ground` with 451, and where instruments
would open a cell `lacks`; `epoch` with `stale_epoch`; `epoch` or, of rules, `digest` with `precondition_failed`; `kinds` with
`key_taken`; `state` with `conflict` of a state call. The records API adds PostgREST's `message`, `details`, `hint`;
where the dialect or Postgres refuses, `code` is PostgREST's or the SQLSTATE.
"""

_ISSUER = """\
## Development token issuer

Part of the embedded stack only: it gives a token to whoever asks.

| call | answer |
| --- | --- |
| `GET /.well-known/openid-configuration` | OIDC discovery |
| `GET /jwks` | its public keys |
| `POST /mint` `{"sub", "email", "email_verified", "claims", "ttl_s", "alg"}` | `{"access_token", "token_type", "expires_in"}` |
| `POST /rotate` | new signing keys; the older ones stay in `/jwks` for a day |

All members of a `/mint` but `sub` are optional.
"""


def document() -> str:
    """The whole file. Pure but for reading the program's own declarations. Raises LookupError where route and description disagree."""
    parts = [
        _PREFACE, *_gateway(), *_cell_service(), *_access(), *_directory(), *_witness(), _ISSUER, _HEADERS, *_problems(),
    ]  # fmt: skip
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
        raise LookupError(f"routes and their descriptions in deploy/docs.py differ: {apart}")


def _gateway() -> list[str]:
    # Handlers are not called, so what they work on may be absent; likewise below.
    agreed([*_calls(edge_api.routes(cast("Any", None))), f"POST {hints_api.PATH}"], GATEWAY_CALLS)
    rows = [(f"`{call}` {asked}", answer) for call, (asked, answer) in GATEWAY_CALLS.items()]
    return [_GATEWAY + _table(("call", "answer"), rows)]


def _cell_service() -> list[str]:
    nothing = cast("Any", None)
    agreed(_calls(cell_api.routes(nothing, nothing)), CELL_CALLS)
    agreed(_calls(aliases_api.routes(nothing, nothing)), ALIAS_CALLS)
    agreed(_calls(crossings_api.routes(nothing, nothing, nothing)), CROSSING_CALLS)
    agreed(_calls(fences_api.routes(nothing, nothing)), FENCE_CALLS)
    absent = cast("Any", SimpleNamespace(auth=None))
    agreed(_calls(egress_api.routes(absent, nothing, None, nothing)), EGRESS_CALLS)
    agreed(_calls(views.routes(nothing, nothing, None, nothing)), VIEW_CALLS)
    agreed(_calls(ledger_api.routes(None, nothing)), LEDGER_CALLS)
    records = records_api.routes(cast("Any", SimpleNamespace(clock=None)), nothing, nothing)
    methods = {f"{method} {route.path}" for route in records for method in (route.methods or ())}
    agreed(sorted(methods), RECORDS_CALLS)
    rows = [
        (f"`{call.replace(':path}', '}')}`", who, asked, answer)
        for call, (who, asked, answer) in {
            **CELL_CALLS,
            **ALIAS_CALLS,
            **CROSSING_CALLS,
            **FENCE_CALLS,
            **EGRESS_CALLS,
            **VIEW_CALLS,
            **LEDGER_CALLS,
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
        _table(("call", "caller", "asks", "answer"), rows),
        _table(("call", "does"), [(f"`{call}`", does) for call, does in RECORDS_CALLS.items()]),
        *_shapes(schemas),
    ]


def _witness() -> list[str]:
    agreed(_calls(witness_api.routes(cast("Any", None))), WITNESS_CALLS)
    rows = [(f"`{call}`", asked, answer) for call, (asked, answer) in WITNESS_CALLS.items()]
    return [_WITNESS + _table(("call", "asks", "answer"), rows)]


def _access() -> list[str]:
    declared = access_operations.operations(cast("Any", AccessCalls.__new__(AccessCalls)))
    return [_ACCESS, *_operations(declared)]


def _directory() -> list[str]:
    return [_DIRECTORY, *_operations(directory_app.operations(cast("Any", None)))]


def _operations(declared: Sequence[Operation]) -> list[str]:
    described = openapi.document(declared, version="")
    parts = []
    for one in declared:
        call = described["paths"][one.path][one.method.lower()]
        parts.append(f"### `{one.method} {one.path}`\n\n{one.summary}.\n")
        facts = [("roles", ", ".join(f"`{role}`" for role in one.roles))]
        facts += [(f"{p.place} `{p.name}`", f"{p.description} ({_type(p.schema)})") for p in one.parameters]
        if one.body is not None:
            facts.append(("body", _type(call["requestBody"]["content"]["application/json"]["schema"])))
        facts += [
            (f"`{media_type}`", f"MessagePack of `{shape.__name__}`, as {'body' if one.body else 'answer'}")
            for media_type, shape in one.forms.items()
        ]
        answers = {
            status: response
            for status, response in call["responses"].items()
            if "application/json" in response["content"]
        }
        facts += [(status, _type(each["content"]["application/json"]["schema"])) for status, each in answers.items()]
        facts += [("200", f"a file, `{one.file}`")] if one.file is not None else []
        facts += [(str(status_of(code)), f"`{code.value}`") for code in one.refusals]
        parts.append(_table(("", ""), facts))
    return [*parts, *_shapes(described["components"]["schemas"])]


def _shapes(schemas: Mapping[str, Any]) -> list[str]:
    parts = ["### Shapes\n"]
    for name, schema in sorted(schemas.items()):
        if "properties" not in schema:
            parts.append(f"`{name}`: {_type(schema)}\n")
            continue
        told = " ".join(str(schema.get("description", "")).split())
        required = schema.get("required", [])
        rows = [
            (f"`{field}`{'' if field in required else ' (optional)'}", _type(kind))
            for field, kind in schema["properties"].items()
        ]
        parts.append(f"`{name}`{f': {told}' if told else ''}\n\n{_table(('member', 'is'), rows)}")
    return parts


def _type(schema: Mapping[str, Any]) -> str:
    """A JSON Schema in words. Pure."""
    if "$ref" in schema:
        return f"`{schema['$ref'].rsplit('/', 1)[-1]}`"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "anything")
    if kind == "array":
        inner = schema.get("items")
        return (
            f"list{_bounds(schema)} of {_type(inner)}"
            if isinstance(inner, dict) and inner
            else f"list{_bounds(schema)}"
        )
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {_type(values)}" if isinstance(values, dict) and values else "object"
    pattern = schema.get("pattern", "").removesuffix(_NO_LAST_NEWLINE)
    return f"{kind}{_bounds(schema)}" + (f", like `{pattern}`" if pattern else "")


def _bounds(schema: Mapping[str, Any]) -> str:
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        least, most = schema.get(low), schema.get(high)
        unit = " characters" if low == "minLength" else ""
        if least is not None and most is not None:
            return f" ({least}{unit})" if least == most else f" ({least} to {most}{unit})"
        if most is not None:
            return f" (≤ {most}{unit})"
        if least is not None:
            return f" (≥ {least}{unit})"
    return ""


def _problems() -> list[str]:
    rows = [
        (str(status_of(code)), f"`{code.value}`", title_of(code) + (" (reserved)" if code in NOT_YET_GIVEN else ""))
        for code in sorted(Code, key=lambda code: (status_of(code), code.value))
    ]
    return [_PROBLEMS, _table(("status", "code", "title"), rows)]


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    escaped = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
    return "".join(f"| {line} |\n" for line in escaped)


def main() -> int:
    API.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
