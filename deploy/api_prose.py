"""What stands in docs/api.md between the tables."""

PREFACE = """\
# API

<!-- Written by `make docs` from the program; edit deploy/docs.py and what it imports instead. -->

Every process answers `/healthz` (alive), `/readyz` (would take traffic, else a problem document) and `/metrics` (Prometheus). How the calls
hang together is in [architecture.md](architecture.md); the dialect of `/records` in [contracts.md](contracts.md).
"""

GATEWAY = """\
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

DIRECTORY = """\
## Directory

Its OpenAPI document is at `/openapi.json`. Every call needs a service token; any of the roles opens the door. Each may also answer
400 `bad_request`, 401 `unauthenticated`, 403 `forbidden`, 500 `internal`, 503 `not_ready`.
"""

WITNESS = """\
## Witness

[C2SP tlog-witness](https://c2sp.org/tlog-witness), without a token: the signature under the checkpoint is what counts. Answers are text.

"""

ACCESS = """\
## Break-glass

Calls of a cell service whose settings have `access`. Its OpenAPI document is at `/access/openapi.json`. Every call takes a token of the
engineers' sign-in; `roles` open the door, policy and the state machine decide ([0019](decisions/0019-break-glass.md)). A refusal has a
`reason`, and `rules` where policy forbids. Each may also answer 400 `bad_request`, 401 `unauthenticated`, 403 `forbidden`, 500 `internal`,
503 `not_ready`.
"""

HEADERS = """\
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

PROBLEMS = """\
## Problem codes

Refusals are problem documents (RFC 9457, `application/problem+json`): `type` (`urn:domicile:problem:<code>`), `title`, `status`,
`detail`, and `code`, which is stable. Further members: `home` (an origin) and `ground` with 421; `ground` with 451, and where instruments
would open a cell `lacks`; `epoch` with `stale_epoch`; `epoch`, of rules `digest`, of locks `number` with `precondition_failed`;
`kinds` with `key_taken`; `state` with `conflict` of a state call. The records API adds PostgREST's `message`, `details`, `hint`;
where the dialect or Postgres refuses, `code` is PostgREST's or the SQLSTATE.
"""

ISSUER = """\
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
