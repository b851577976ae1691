"""The rules that hold, parsed once per digest and process."""

import asyncio

from directory.rules import store
from foundation import logs
from foundation.postgres import Pool
from foundation.problems import Code, Problem
from foundation.tasks import SingleFlight
from foundation.words import RulesDigest
from routing_rules.rules import PolicyError, Rules, load

log = logs.get(__name__)


class LiveRules:
    """Asks the database which rules hold, every time (one row); parses only what it has not parsed yet."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._parsed: Rules | None = None
        self._flight = SingleFlight()

    def parsed(self, rules: Rules) -> None:
        """Spares the next placement the parsing of what this process has just published."""
        self._parsed = rules

    async def current(self) -> Rules | Problem:
        """The rules that hold now, or why there are none to place by. Raises DatabaseUnavailable."""
        digest = await store.current_digest(self._pool)
        if digest is None:
            return Problem(code=Code.NOT_READY, detail="no rules published yet", retry_after_s=1)
        if self._parsed is not None and self._parsed.digest == digest:
            return self._parsed
        rules: Rules | Problem = await self._flight.run(digest, lambda: self._parse(digest))
        return rules

    async def _parse(self, digest: RulesDigest) -> Rules | Problem:
        document = await store.by_digest(self._pool, digest)
        try:
            parsed = None if document is None else await asyncio.to_thread(load, document.policy)
        except PolicyError:
            parsed = None
        if parsed is None or parsed.digest != digest:
            # Another release published them: its pack of laws is not ours. Placing by other rules than the published ones is no option.
            log.error("rules_unusable", digest=digest)
            return Problem(
                code=Code.NOT_READY,
                detail="the published rules were made with another release's pack; publish the policy again",
                retry_after_s=5,
            )
        self._parsed = parsed
        return parsed

    async def aclose(self) -> None:
        await self._flight.aclose()
