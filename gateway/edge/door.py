"""The gateway's HTTP/1.1 protocol: that of every process, with a request's fields sorted once, for the proxied path as well."""

from foundation.problems import Problem
from foundation.wire import door
from foundation.wire.head import RequestHead
from foundation.wire.targets import Asked
from gateway.edge.headers import RequestFields, read_request
from gateway.edge.problems import rendered


class Door(door.Door):
    """Give it to `uvicorn.Config(http=...)`. The sorted fields (`RequestFields`) stand in the scope under `extensions[door.FIELDS]`."""

    def read(self, head: RequestHead, asked: Asked) -> RequestFields | Problem:
        fields = read_request(head.fields, minor=head.minor)
        if isinstance(fields, RequestFields) and asked.authority is not None:
            fields.host = asked.authority  # RFC 9112 section 3.2.2
        return fields

    def refusal(self, problem: Problem) -> bytes:
        return rendered(problem, self.dated())
