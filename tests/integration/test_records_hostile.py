"""Generated hostile requests against the records API on real Postgres: refused in words or answered with one's own rows only.

A few thousand by default; `make fuzz` asks many more (HOSTILE_REQUESTS, HOSTILE_SEED).
"""

import asyncio
import collections
import os
from pathlib import Path

import pytest

from deploy.local.postgres import PostgresServer
from tests.stands.hostile import Grammar, Request
from tests.stands.oracle import OWN, STRANGERS, leak, refill, strangers
from tests.stands.records import records_stand
from tests.stands.shard import rows

pytestmark = pytest.mark.anyio

NUMBER = int(os.environ.get("HOSTILE_REQUESTS", "3000"))
SEED = int(os.environ.get("HOSTILE_SEED", "20261121"))
AT_ONCE = 8


@pytest.mark.timeout(3_600 if NUMBER > 10_000 else 120)
async def test_hostile_requests_are_refused_in_words_or_answered_with_ones_own_rows(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    async with records_stand(postgres_server, tmp_path) as live:
        identifiers = await strangers(live)
        before = await rows(live.dsns, STRANGERS, live.subject)
        grammar = Grammar(SEED, [*identifiers, live.subject])
        seen: collections.Counter[int] = collections.Counter()
        wrong: list[str] = []

        async def ask(request: Request) -> None:
            headers = live.headers(**request.who) | request.headers
            if request.body is not None:
                headers["content-type"] = "application/json"
            answer = await live.http.request(
                request.method, f"/records/notes{request.query}", headers=headers, content=request.body
            )
            seen[answer.status_code] += 1
            found = leak(str(request), answer.status_code, answer.text, dict(answer.headers), refused=request.refused)
            if found is not None:
                wrong.append(f"{found}: {request}\n  → {answer.status_code} {answer.text[:300]}")

        for start in range(0, NUMBER, 400):
            await refill(live)
            asked = [grammar.request() for _ in range(min(400, NUMBER - start))]

            async def several(part: list[Request]) -> None:
                for request in part:
                    try:
                        await ask(request)
                    except Exception as exc:  # noqa: BLE001 - whatever breaks, the request that did it is told
                        wrong.append(f"{type(exc).__name__} {exc}: {request}")

            async with asyncio.TaskGroup() as group:
                for lane in range(AT_ONCE):
                    group.create_task(several(asked[lane::AT_ONCE]))
            assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong[:20])
        assert await rows(live.dsns, STRANGERS, live.subject) == before
        assert tuple((await rows(live.dsns, OWN, live.subject))[0])[1:] == (0, 0)
        # The grammar is no use if nothing of it is understood.
        assert {200, 201, 204, 400, 403} <= seen.keys(), seen
        assert seen[200] > NUMBER / 20, seen
        print(f"{sum(seen.values())} requests: {dict(sorted(seen.items()))}")
