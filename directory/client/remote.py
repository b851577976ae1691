"""The directory as its clients see it: a port, and its HTTP form (docs/architecture.md, "Directory API")."""

import asyncio
from typing import Protocol, TypeVar

import httpx
import msgspec

from directory.placement.core import FeedPage, Resolved, ResolvedSubjects, RulesDocument
from directory.registry.core import UNSTATED, Registry, RegistryAnswer
from foundation.http import HttpClient
from foundation.words import FeedSeq, LookupKey, RulesDigest, SubjectId

ANSWER_BYTES_MAX = 32 << 20
RESOLVE = "/v1/resolve"
RESOLVE_S_MAX = 0.8
FEED_SLACK_S = 2.0
"""How much longer than its own wait a long-poll may take."""

T = TypeVar("T")


class DirectoryUnavailable(Exception):
    """The directory gave no usable answer. `reason`: refused (nobody listens), timeout, broken, malformed, or `status-<n>`."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the directory cannot be asked: {reason}")
        self.reason = reason


class Directory(Protocol):
    """What clients ask of the directory. Every call raises DirectoryUnavailable and ends within its stated bound."""

    async def resolve(self, keys: list[LookupKey]) -> Resolved: ...

    async def resolve_subjects(self, subjects: list[SubjectId]) -> ResolvedSubjects: ...

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int, mark: str = "") -> FeedPage: ...


class HttpDirectory:
    """The directory over HTTP; `http` is `foundation.http.client(base_url, token=TokenFile(...))`."""

    def __init__(self, http: HttpClient, *, resolve_s_max: float = RESOLVE_S_MAX) -> None:
        self._http = http
        self._resolve_s_max = resolve_s_max
        self._headers = dict(http.headers)
        self._prefix = str(http.base_url).rstrip("/")
        self._urls = {RESOLVE: httpx.URL(f"{self._prefix}{RESOLVE}")}

    async def resolve(self, keys: list[LookupKey]) -> Resolved:
        """Every key asked for stands in exactly one of `found` and `absent`; anything else is malformed."""
        answer = await self._ask("POST", RESOLVE, Resolved, timeout_s=self._resolve_s_max, body={"keys": keys})
        _check_complete(keys, [*answer.found, *answer.unresolved], answer.absent)
        return answer

    async def resolve_subjects(self, subjects: list[SubjectId]) -> ResolvedSubjects:
        """The same for subject ids; each placement is of the subject under which it stands."""
        body = {"subjects": subjects}
        answer = await self._ask("POST", RESOLVE, ResolvedSubjects, timeout_s=self._resolve_s_max, body=body)
        _check_complete(subjects, list(answer.found), answer.absent)
        if any(placement.subject_id != asked for asked, placement in answer.found.items()):
            raise DirectoryUnavailable("malformed")
        return answer

    async def feed(self, after: FeedSeq, *, limit: int, wait_ms: int, mark: str = "") -> FeedPage:
        shown = f"&mark={mark}" if mark else ""
        path = f"/v1/feed?after={after}&limit={limit}&wait_ms={wait_ms}{shown}"
        return await self._ask("GET", path, FeedPage, timeout_s=wait_ms / 1000 + FEED_SLACK_S)

    async def rules(self, digest: RulesDigest | None = None) -> RulesDocument:
        """The rules that hold now, or those of one digest. The caller verifies the digest."""
        return await self._ask("GET", f"/v1/rules/{digest or 'current'}", RulesDocument, timeout_s=FEED_SLACK_S)

    async def registry(self) -> Registry:
        """What is stated of regions, cells, shards and services."""
        answer = await self._ask("GET", "/v1/registry", RegistryAnswer, timeout_s=FEED_SLACK_S)
        return Registry(seq=answer.as_of, entries={one.entry: one for one in answer.entries if one.version > UNSTATED})

    async def send(
        self, method: str, path: str, *, timeout_s: float, body: object = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Whatever the directory answers within `timeout_s`. Raises DirectoryUnavailable when it does not."""
        content = None if body is None else msgspec.json.encode(body)
        sent = self._headers | ({} if body is None else {"content-type": "application/json"}) | (headers or {})
        # Made here: what httpx's client does to make one takes more than half of its time (docs/benchmarks/resolve.md).
        url = self._urls.get(path) or httpx.URL(f"{self._prefix}{path}")
        limits = httpx.Timeout(timeout_s).as_dict()
        request = httpx.Request(method, url, content=content, headers=sent, extensions={"timeout": limits})
        try:
            async with asyncio.timeout(timeout_s):
                return await self._http.send(request)
        except httpx.ConnectError as exc:
            raise DirectoryUnavailable("refused") from exc
        except (httpx.TimeoutException, TimeoutError) as exc:
            raise DirectoryUnavailable("timeout") from exc
        except httpx.HTTPError as exc:
            raise DirectoryUnavailable("broken") from exc
        except OSError as exc:  # the token file
            raise DirectoryUnavailable("token") from exc

    async def _ask(self, method: str, path: str, shape: type[T], *, timeout_s: float, body: object = None) -> T:
        response = await self.send(method, path, timeout_s=timeout_s, body=body)
        if response.status_code != 200:
            raise DirectoryUnavailable(f"status-{response.status_code}")
        if len(response.content) > ANSWER_BYTES_MAX:
            raise DirectoryUnavailable("malformed")
        try:
            return msgspec.json.decode(response.content, type=shape)
        except msgspec.MsgspecError as exc:
            raise DirectoryUnavailable("malformed") from exc


def _check_complete(asked: list[T], found: list[T], absent: tuple[T, ...]) -> None:
    if len(found) + len(absent) != len(set(asked)) or {*found, *absent} != set(asked):
        raise DirectoryUnavailable("malformed")
