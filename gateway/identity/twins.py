"""Lookup keys under a new blinding key for people who are known under an older one: proven by a token, handed to the directory behind
the request that showed it. Losing one costs nothing: the next login shows it again."""

import asyncio
from collections.abc import Sequence

import msgspec
from prometheus_client import Counter

from directory.aliases.answers import TWINS_MAX, TwinKey, Twins, TwinsAnswer, TwinsRequest
from directory.client.remote import DirectoryUnavailable, HttpDirectory
from directory.placement.core import Placement
from foundation import logs
from foundation.tasks import Backoff
from foundation.words import LookupKey
from gateway.edge.ports import Home, Homeless
from gateway.identity.identity import Identity

log = logs.get(__name__)

PENDING_MAX = 10_000
ANSWER_S_MAX = 5.0
TWIN_KEYS = Counter("domicile_gateway_twin_keys_total", "Lookup keys that were proven anew", ["outcome"])


class TwinKeys:
    """A bounded queue of twins. `offer` never waits."""

    def __init__(self) -> None:
        self._pending: dict[LookupKey, Twins] = {}
        self._wake = asyncio.Event()

    def offer(self, who: Identity, homes: Sequence[Home]) -> None:
        """`homes`: what each of the identity's login keys leads to, in the same order."""
        for twins in missing(who, homes):
            if len(self._pending) >= PENDING_MAX:
                return
            self._pending[LookupKey(twins.known)] = twins
            self._wake.set()

    async def deliver(self, directory: HttpDirectory) -> None:
        """For ever."""
        backoff = Backoff(first_s=0.2, max_s=10.0)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = [self._pending[key] for key in list(self._pending)[:TWINS_MAX]]
                try:
                    answer = await _send(directory, batch)
                except DirectoryUnavailable as exc:
                    log.warning("twin_keys_postponed", reason=exc.reason)
                    await asyncio.sleep(backoff.next_s())
                    continue
                backoff.reset()
                TWIN_KEYS.labels("added").inc(answer.added)
                TWIN_KEYS.labels("refused").inc(answer.refused)
                for twins in batch:
                    self._pending.pop(LookupKey(twins.known), None)


def missing(who: Identity, homes: Sequence[Home]) -> list[Twins]:
    """What the directory does not know of this identity yet; nothing while any answer is open. Pure."""
    if len(who.login) < 2 or any(home is Homeless.UNKNOWN for home in homes):
        return []
    known = next((index for index, home in enumerate(homes) if isinstance(home, Placement)), None)
    absent = [index for index, home in enumerate(homes) if home is Homeless.NONE]
    if known is None or not absent:
        return []
    both = [who.login, who.email] if who.email else [who.login]
    return [
        Twins(known=keys[known], keys=tuple(TwinKey(kid=who.kids[index], key=keys[index]) for index in absent))
        for keys in both
    ]


async def _send(directory: HttpDirectory, batch: Sequence[Twins]) -> TwinsAnswer:
    body = TwinsRequest(twins=tuple(batch))
    response = await directory.send("POST", "/v1/aliases/twins", timeout_s=ANSWER_S_MAX, body=body)
    if 400 <= response.status_code < 500:  # never to be taken: left out
        log.error("twin_keys_refused", status=response.status_code)
        return TwinsAnswer(added=0, refused=len(batch))
    if response.status_code != 200:
        raise DirectoryUnavailable(f"status-{response.status_code}")
    try:
        return msgspec.json.decode(response.content, type=TwinsAnswer)
    except msgspec.MsgspecError as exc:
        raise DirectoryUnavailable("malformed") from exc
