"""ASGI: what a process is asked for most goes straight to its handler, past the router and the layers for exceptions."""

from collections.abc import Awaitable, Callable, Sequence

from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OnFault = Callable[[Exception, Scope, Receive, Send], Awaitable[None]]
"""Answers a request whose handler raised before it began to answer."""


class Straight:
    """Requests that one of `routes` takes are its application's; all others are for `rest`, as if this were not there.

    A route is a path, or of the form `/prefix/{name}`.
    """

    def __init__(self, routes: Sequence[Route], rest: ASGIApp, on_fault: OnFault) -> None:
        self._exact: dict[str, Route] = {}
        self._below: dict[str, tuple[Route, str]] = {}
        for route in routes:
            prefix, _, last = route.path.rpartition("/")
            if "{" not in route.path:
                self._exact[route.path] = route
            elif last.startswith("{") and last.endswith("}") and ":" not in last and "{" not in prefix:
                self._below[prefix] = route, last[1:-1]
            else:
                raise ValueError(f"{route.path} has another form than /path or /prefix/{{name}}")
        self._rest = rest
        self._on_fault = on_fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = self._route(scope)
        if route is None:
            await self._rest(scope, receive, send)
            return
        scope["route"] = route
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await route.app(scope, receive, watched)
        except Exception as exc:
            if started:
                raise
            await self._on_fault(exc, scope, receive, send)

    def _route(self, scope: Scope) -> Route | None:
        """Whose it is, with what the path names put into the scope."""
        if scope["type"] != "http" or scope["root_path"]:
            return None
        path: str = scope["path"]
        route, params = self._exact.get(path), {}
        if route is None:
            prefix, _, last = path.rpartition("/")
            route, name = self._below.get(prefix, (None, ""))
            params = {name: last}
            if not last:
                return None
        if route is None or scope["method"] not in (route.methods or ()):
            return None
        scope["path_params"] = params
        return route
