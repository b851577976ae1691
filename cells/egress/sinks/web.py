"""A service that takes files by HTTP: `PUT`, `DELETE` and `HEAD` of `URL/RELEASE/FILE`. Each file comes with its digest (RFC 9530)."""

import base64
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from cells.egress.manifest import MANIFEST, SIGNATURE
from cells.egress.runs import measured
from cells.egress.sinks.port import SinkFailed
from foundation.tokens import TokenFile

CONNECT_S_MAX = 5.0
SILENT_S_MAX = 60.0
"""Longest wait for one piece to be taken, and for the answer once all of them were."""


class HttpSink:
    """Implements `Sink`. A file is taken where the answer is 2xx; redirects are not followed, proxies of the environment not asked."""

    puts = True

    def __init__(self, url: str, token: TokenFile | None) -> None:
        """`token` is shown as a bearer token, read for each request."""
        self._url = url.rstrip("/")
        self._host = urlsplit(url).netloc
        self._token = token
        # Made once: reading a machine's authorities takes longer than a request.
        self._tls: ssl.SSLContext | bool = ssl.create_default_context() if url.startswith("https:") else False

    def put(self, release: str, file: Path, sha256: str) -> None:
        digest = base64.b64encode(bytes.fromhex(sha256)).decode()
        headers = {"content-digest": f"sha-256=:{digest}:", "content-type": "application/octet-stream"}
        with file.open("rb") as content:
            answer = self._asked("PUT", release, file.name, headers=headers, content=content)
        if not answer.is_success:
            raise self._refused(file.name, answer)

    def remove(self, release: str, name: str) -> None:
        answer = self._asked("DELETE", release, name)
        if not answer.is_success and answer.status_code not in (404, 410):
            raise self._refused(name, answer)

    def publish(self, release: str, staging: Path) -> None:
        for name in (SIGNATURE, MANIFEST):
            _, sha256 = measured(staging / name)
            self.put(release, staging / name, sha256)

    def holds(self, release: str) -> bool:
        answer = self._asked("HEAD", release, MANIFEST)
        if not answer.is_success and answer.status_code not in (404, 410):
            raise self._refused(MANIFEST, answer)
        return answer.is_success

    def _asked(self, method: str, release: str, name: str, **more: Any) -> httpx.Response:
        headers = more.pop("headers", {})
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token.token().reveal()}"
        waits = httpx.Timeout(SILENT_S_MAX, connect=CONNECT_S_MAX)
        url = f"{self._url}/{quote(release)}/{quote(name)}"
        try:
            with (
                httpx.Client(trust_env=False, timeout=waits, verify=self._tls) as http,
                http.stream(method, url, headers=headers, **more) as answer,
            ):
                return answer  # what it says beside its status is not read
        except httpx.HTTPError as exc:
            raise SinkFailed(f"{self._host} did not take {method} {name} ({type(exc).__name__})") from exc

    def _refused(self, name: str, answer: httpx.Response) -> SinkFailed:
        return SinkFailed(f"{self._host} answered {answer.status_code} to {answer.request.method} {name}")
