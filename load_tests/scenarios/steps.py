"""What an action asks its driver for. Actions are generators without I/O: locust's users and the open-loop driver play the same ones."""

from collections.abc import Callable, Generator
from typing import Any

import msgspec

DETAIL_CHARS_MAX = 160


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request. The driver answers with an `Answer`."""

    method: str
    url: str
    token: str | None = None
    token_file: str | None = None
    """Instead of `token`: a file that somebody renews, read by the driver."""
    headers: dict[str, str] = {}
    json: Any = None
    address: str | None = None
    head_only: bool = False
    """Only the head is sent, announcing a body that never comes: a verdict must fall all the same."""
    wait_s: float = 8.0
    """Of `head_only`: how long the verdict may take."""
    quiet: bool = False
    """No part of the load: a token is fetched."""

    def bearer(self, read: Callable[[str], str]) -> str | None:
        """The token to send; `read` gives the content of a file."""
        return self.token if self.token_file is None else read(self.token_file).strip()


class Together(msgspec.Struct, frozen=True):
    """Requests that race. The driver answers with their answers, in this order."""

    asks: tuple[Ask, ...]


class Pause(msgspec.Struct, frozen=True):
    """The driver answers with None after so many seconds."""

    seconds: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back; `status` 0 where the connection broke or nothing came in time. Header names are in lower case."""

    at: float
    ms: float
    status: int
    headers: dict[str, str] = {}
    body: bytes = b""
    whole: bool = True
    body_asked: bool = False
    """Of `head_only` that offered its body (`Expect: 100-continue`): it was asked for before there was a verdict."""

    def json(self) -> Any:
        try:
            return msgspec.json.decode(self.body)
        except msgspec.MsgspecError:
            return None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str | None:
        """The refusal's code; of a broken connection `no_answer`."""
        if self.status == 0:
            return "no_answer"
        if self.status < 400:
            return None
        document = self.json()
        return str(document["code"]) if isinstance(document, dict) and "code" in document else None

    @property
    def detail(self) -> str | None:
        """What a refusal says of itself, cut short."""
        document = self.json() if self.status >= 400 else None
        said = document.get("detail") if isinstance(document, dict) else None
        return said[:DETAIL_CHARS_MAX] if isinstance(said, str) else None

    @property
    def cell(self) -> str | None:
        return self.headers.get("domicile-cell")

    @property
    def epoch(self) -> int | None:
        text = self.headers.get("domicile-epoch", "")
        return int(text) if text.isdigit() else None

    @property
    def verdict(self) -> str | None:
        return self.headers.get("domicile-verdict")


Step = Ask | Together | Pause
Play = Generator[Step, Any, None]
"""An action under way."""
