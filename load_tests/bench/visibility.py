"""How soon a change is visible on every gateway: `python -m load_tests.bench.visibility [--state DIR]`, on a running stack after a tour.

One subject's epoch is changed again and again; from the moment at which the change is sent until each gateway's own metric says that
its feed has taken it in (polled, so the figure includes up to one poll). Milliseconds, nothing asserted.
"""

import argparse
import asyncio
from pathlib import Path

import msgspec

from foundation import http
from foundation.clock import SystemClock
from foundation.tokens import TokenFile

_POSITION = "domicile_feed_position "


async def measure(state: Path, changes: int) -> dict[str, list[float]]:
    """Milliseconds by gateway, one figure a change."""
    stack = msgspec.json.decode((state / "stack.json").read_bytes())
    gateways = {name: region["gateway"] for name, region in stack["regions"].items()}
    operator = TokenFile(Path(stack["state"]) / "secrets" / "operator.jwt")
    found: dict[str, list[float]] = {name: [] for name in gateways}
    clock = SystemClock()
    async with http.client(stack["directory"]["url"], token=operator) as directory, http.client() as client:
        page = (await directory.get("/v1/subjects", params={"state": "active", "limit": "1"})).json()
        subject, epoch = page["subjects"][0]["subject_id"], page["subjects"][0]["epoch"]

        async def until_visible(name: str, seq: int, sent: float) -> None:
            while await _position(client, gateways[name]) < seq:  # noqa: ASYNC110 - it is another process that is watched
                await asyncio.sleep(0.002)
            found[name].append((clock.monotonic_s() - sent) * 1000)

        for _ in range(changes):
            sent = clock.monotonic_s()
            body = {"epoch": epoch, "reason": "measuring visibility"}
            answer = (await directory.post(f"/v1/subjects/{subject}/epoch", json=body)).json()
            epoch = answer["placement"]["epoch"]
            await asyncio.gather(*(until_visible(name, answer["as_of"], sent) for name in gateways))
    return found


async def _position(client: http.HttpClient, gateway: str) -> float:
    text = (await client.get(f"{gateway}/metrics")).text
    line = next(line for line in text.splitlines() if line.startswith(_POSITION))
    return float(line.removeprefix(_POSITION))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--state", type=Path, default=Path(".domicile"))
    parser.add_argument("--changes", type=int, default=200)
    options = parser.parse_args()
    for name, values in asyncio.run(measure(options.state, options.changes)).items():
        ordered = sorted(values)
        p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
        print(
            f"gateway {name}: {len(ordered)} changes, visible p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {ordered[-1]:.1f} ms"
        )


if __name__ == "__main__":
    main()
