"""What docs/api.md says of each call of the cell service, the gateway and a witness: who calls, what they ask, what is answered."""

from cells.crossings import api as crossings_api
from cells.egress import calls as egress_calls
from cells.egress import streams as egress_streams
from cells.fences import api as fences_api
from cells.service import api as cell_api
from foundation.ledger import serving
from foundation.ledger.witness import requests
from gateway.hints import api as hints_api

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
        f"`EgressRequest` (≤ {egress_streams.EVENTS_MAX} events), or `?contract=&to=&purpose=` and `{egress_calls.ARROW}`",
        "200 `EgressAnswer`, once the batch is recorded (Arrow: the same, `EgressSaid` in its metadata); 451 for an aim not in policy",
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
        "200 the file (`application/octet-stream`), of entries once it is recorded who reads them, with gzip where that is accepted; 404",
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
    "GET /ledger/openapi.json": ("anybody", "", "200 the OpenAPI document of `/ledger`"),
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
