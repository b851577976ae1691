"""A request's head as an ASGI application is told of it (ASGI 3.0, HTTP 2.3)."""

from urllib.parse import unquote

from starlette.types import Scope

from foundation.wire.framing import Framed
from foundation.wire.head import RequestHead
from foundation.wire.switch import LINE, Line
from foundation.wire.targets import Asked

Address = tuple[str, int]
FIELDS = "domicile.fields"
"""Under which extension of the scope `Door.read` gave what it read."""
SENT = "domicile.sent"
"""And path and query as they came: without a query, and with an empty one, are two."""


def scope_of(
    head: RequestHead,
    asked: Asked,
    fields: Framed,
    line: Line,
    *,
    client: Address | None,
    server: tuple[str, int | None] | None,
    scheme: str,
) -> Scope:
    """`path` is decoded, for applications that match it; `raw_path` is what was sent."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1" if head.minor else "1.0",
        "server": server,
        "client": client,
        "scheme": scheme,
        "method": asked.method,
        "root_path": "",
        "path": unquote(asked.path.decode("ascii")),
        "raw_path": asked.path,
        "query_string": asked.query,
        "headers": head.fields,
        "state": {},
        "extensions": {FIELDS: fields, LINE: line, SENT: asked.sent},
    }
