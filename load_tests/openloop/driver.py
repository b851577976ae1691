"""Plays actions on asyncio: sends what they ask for through an httpx client; latency counts from when a request was due."""

import asyncio
from pathlib import Path
from typing import Any

import httpx

from foundation import http
from foundation.clock import Clock
from load_tests.scenarios.steps import Answer, Ask, Pause, Play, Step, Together


class Driver:
    """One client for everybody."""

    def __init__(self, client: http.HttpClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock

    async def play(self, action: Play, due_unix_s: float) -> None:
        """Until the action has ended. Its first request was due at `due_unix_s`; what it asks for afterwards is due when it is asked."""
        due: float | None = due_unix_s
        step = _next(action, None)
        while step is not None:
            match step:
                case Pause(seconds):
                    await asyncio.sleep(seconds)
                    step = _next(action, None)
                case Together(asks):
                    step = _next(action, list(await asyncio.gather(*(self.send(ask, None) for ask in asks))))
                case Ask():
                    answer = await self.send(step, None if step.quiet else due)
                    due = due if step.quiet else None
                    step = _next(action, answer)

    async def send(self, ask: Ask, due: float | None) -> Answer:
        """One request; `ms` counts from `due` where that is given."""
        at = self._clock.unix_s() if due is None else due
        token = ask.bearer(lambda path: Path(path).read_text(encoding="ascii"))
        headers = dict(ask.headers) | ({"authorization": f"Bearer {token}"} if token else {})
        try:
            response = await self._client.request(ask.method, ask.url, headers=headers, json=ask.json)
        except httpx.HTTPError:
            return Answer(at=at, ms=(self._clock.unix_s() - at) * 1000, status=0, whole=False)
        return Answer(
            at=at,
            ms=(self._clock.unix_s() - at) * 1000,
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=response.content,
        )


def _next(action: Play, found: Any) -> Step | None:
    try:
        return action.send(found)
    except StopIteration:
        return None
