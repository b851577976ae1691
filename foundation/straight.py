"""ASGI: what a process is asked for most goes straight to its handler, past the router and the layers for exceptions."""

from collections.abc import Awaitable, Callable

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OnFault = Callable[[Exception, Scope, Receive, Send], Awaitable[None]]
"""Answers a request whose handler broke before it began to answer."""


class Straight:
    """Requests that `route` takes are its application's; all others are for `rest`, as if this were not there.

    The route is of the form `/prefix/{name}`, its endpoint an ASGI application that answers its own refusals.
    """

    def __init__(self, route: Route, rest: ASGIApp, on_fault: OnFault) -> None:
        prefix, _, name = route.path.rpartition("/")
        if not (name.startswith("{") and name.endswith("}")) or ":" in name or "{" in prefix:
            raise ValueError(f"{route.path} has another form than /prefix/{{name}}")
        self._route = route
        self._prefix = f"{prefix}/"
        self._name = name[1:-1]
        self._methods = frozenset(route.methods or ())
        self._rest = rest
        self._on_fault = on_fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        last = path[len(self._prefix) :]
        if (
            not path.startswith(self._prefix)
            or not last
            or "/" in last
            or scope["type"] != "http"
            or scope["method"] not in self._methods
            or scope["root_path"]
        ):
            await self._rest(scope, receive, send)
            return
        scope["route"] = self._route
        scope["path_params"] = {self._name: last}
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._route.app(scope, receive, watched)
        except Exception as exc:
            if started:
                raise
            await self._on_fault(exc, scope, receive, send)
