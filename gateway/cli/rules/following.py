"""Which gateways hold the rules that were published, and how long that took."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import msgspec

from foundation.clock import SystemClock
from gateway.cli.client import addresses, believed
from gateway.cli.reach import Reach, Stack
from routing_rules.rules import Rules

FOLLOW_S_MAX = 5.0
ASK_S_MAX = 1.0
POLL_S = 0.01
_AT_ONCE_MAX = 16
_GAUGE = "domicile_gateway_rules_seq"


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """`ms` from before the publishing until the gateway of `region` held the rules; None: not within FOLLOW_S_MAX.

    `unchecked`: why nobody could ask it, so that nothing is known of it. An origin may lead to several gateways: then one of them answered.
    """

    region: str
    gateway: str
    ms: float | None
    unchecked: str | None = None


class Watched(msgspec.Struct, frozen=True):
    """Gateways that can be asked, by region, and those that cannot. `asked` values are URLs."""

    asked: Mapping[str, str]
    unseen: tuple[Followed, ...]


def watched(reach: Reach, after: Rules) -> Watched:
    """A stack's gateways all count, also those that are silent. Of another directory's, the origins that show their rules from here."""
    if isinstance(reach, Stack):
        return Watched({name: region["gateway"] for name, region in addresses(reach.state).regions.items()}, ())
    origins = {str(name): region.origin for name, region in sorted(after.policy.regions.items())}
    with ThreadPoolExecutor(max_workers=_AT_ONCE_MAX) as pool:
        shown = dict(zip(origins, pool.map(_shown, origins.values()), strict=True))
    unseen = tuple(
        Followed(region=name, gateway=origins[name], ms=None, unchecked=told)
        for name, told in shown.items()
        if isinstance(told, str)
    )
    return Watched({name: url for name, url in origins.items() if isinstance(shown[name], float)}, unseen)


def followed(watching: Watched, seq: int, started: float) -> Iterator[Followed]:
    """Each gateway once its own gauge says that it holds the rules of feed event `seq` or later ones; the unseen at the end."""
    waiting, clock = dict(watching.asked), SystemClock()
    while waiting and clock.monotonic_s() - started < FOLLOW_S_MAX:
        for name, url in list(waiting.items()):
            held = _shown(url)
            if isinstance(held, float) and held >= seq:
                del waiting[name]
                yield Followed(region=name, gateway=url, ms=(clock.monotonic_s() - started) * 1000)
        if waiting:
            time.sleep(POLL_S)
    for name, url in waiting.items():
        yield Followed(region=name, gateway=url, ms=None)
    yield from watching.unseen


def _shown(url: str) -> float | str:
    """The feed position of the rules that hold at a gateway, or in words why it does not say."""
    try:
        with httpx.Client(timeout=ASK_S_MAX, trust_env=False, verify=believed(url)) as client:
            answer = client.get(f"{url}/metrics")
    except httpx.HTTPError as exc:
        return f"does not answer ({type(exc).__name__})"
    values = [line.split()[-1] for line in answer.text.splitlines() if line.startswith(f"{_GAUGE} ")]
    try:
        return float(values[0])
    except (IndexError, ValueError):
        return f"shows no metrics of a gateway (status {answer.status_code})"


def told(one: Followed) -> str:
    """In a line for people."""
    if one.unchecked is not None:
        return f"gateway {one.region}: not checked: {one.gateway} {one.unchecked}"
    took = f"after {one.ms:.0f} ms" if one.ms is not None else f"not within {FOLLOW_S_MAX:g} s"
    return f"gateway {one.region}: {took}"
