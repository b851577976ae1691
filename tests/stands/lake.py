"""Somebody who takes files by HTTP, for tests: keeps each whole one in a folder, says no, or dies in the middle of one."""

import base64
import dataclasses
import hashlib
from pathlib import Path
from urllib.parse import unquote

from starlette.types import Receive, Scope, Send


@dataclasses.dataclass
class Lake:
    """An ASGI application. `dies_after`: files that are taken before the next breaks off; `refuses`: the status that files are answered
    with instead; `wants`: the token that has to be shown. `names`: of all files that were taken, in their order."""

    folder: Path
    dies_after: int | None = None
    refuses: int | None = None
    wants: str | None = None
    names: list[str] = dataclasses.field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = self.folder / unquote(scope["path"]).lstrip("/")
        fields = {name.decode(): value.decode() for name, value in scope["headers"]}
        status = 401 if self.wants and fields.get("authorization") != f"Bearer {self.wants}" else 0
        match scope["method"]:
            case _ if status:
                pass
            case "PUT":
                status = self.refuses or await self._taken(path, fields["content-digest"], receive)
                if not status:
                    await send({"type": "http.response.start", "status": 201, "headers": []})
                    raise ConnectionAbortedError("the lake died")  # so that the connection ends without an answer
            case "DELETE":
                status = 204 if path.exists() else 404
                path.unlink(missing_ok=True)
            case "HEAD":
                status = 200 if path.exists() else 404
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def _taken(self, path: Path, digest: str, receive: Receive) -> int:
        """The status of the answer; 0 where it dies with the first piece of the file."""
        content = b""
        more = True
        while more:
            message = await receive()
            content += message["body"]
            more = message["more_body"]
            if self.dies_after is not None and len(self.names) >= self.dies_after:
                return 0
        if digest != f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:":
            return 400
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.names.append(path.name)
        return 201
