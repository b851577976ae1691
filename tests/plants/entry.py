"""`python -P entry.py MODULE --settings FILE`: runs a module of the product with the mistakes that `plants.json` of its stack's folder
names for this process, or as it is where there are none."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def ignores_the_epoch() -> None:
    """Guard and records API take any decision about a subject that is known here, and statements do not look at the fence's epoch."""
    import cells.shards.core as shards
    import cells.shards.fence as fence

    # Before anything else of the cell is imported, so that everybody gets these.
    shards.check = lambda home, epoch, verb: None
    any_epoch = "f.epoch >= $2::bigint - $2::bigint"
    fence.HELD = fence.HELD.replace("f.epoch = $2::bigint", any_epoch)
    fenced_read = fence.fenced_read

    def read(select: str, returned: str) -> str:
        made = fenced_read(select, returned).replace("SELECT f.epoch,", "SELECT $2::bigint AS epoch,", 1)
        return made.replace("ON f.epoch = $2::bigint", f"ON {any_epoch}")

    fence.fenced_read = read
    import cells.guard.core as guard

    careful = guard.verdict

    def verdict(decision: Any, request: Any, *, known: Any, **more: Any) -> Any:
        answer = careful(decision, request, known=known, **more)
        return guard.Pass() if known is not None and isinstance(answer, guard.Refusal) else answer

    guard.verdict = verdict


def falls_back_to_a_default_cell() -> None:
    """A residence that no cell serves is placed in the first one."""
    import routing_rules.place as placing
    from routing_rules.verdicts import Allowed, NoCell

    careful = placing.place

    def place(facts: Any, rules: Any, at: Any) -> Any:
        answer = careful(facts, rules, at)
        if not isinstance(answer, NoCell):
            return answer
        return Allowed(
            ground="the default cell", valid_until=None, digest=answer.digest, regimes=("eu",), cells=("eu-de",)
        )

    placing.place = place


def drops_an_acknowledged_write() -> None:
    """Every fourth order is answered as stored, and is not."""
    import uuid

    from deploy.local.orders.app import Orders
    from deploy.local.orders.shapes import NewOrder
    from foundation.http import body_json, json_response

    careful = Orders.create_order
    asked = 0

    async def create_order(self: Orders, request: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked % 4:
            return await careful(self, request)
        new = await body_json(request, NewOrder)
        return json_response({"id": str(new.id or uuid.uuid4()), "item": new.item}, 201)

    Orders.create_order = create_order


def forwards_a_body_before_deciding() -> None:
    """A write of somebody away from home goes to the home region with its body, and is turned away afterwards."""
    from foundation.http import client
    from foundation.problems import Code
    from gateway.edge.refusing import Refusing
    from gateway.travel.session import drop_session  # noqa: F401 - the module is loaded before it is patched

    careful = Refusing.turn_away

    async def turn_away(self: Any, request: Any, gathered: Any, refused: Any, body: Any, send: Any) -> None:
        home = refused.problem.extra.get("home") if refused.problem.code is Code.HOME_ELSEWHERE else None
        if request.method == "POST" and refused.problem.code in (Code.HOME_ELSEWHERE, Code.RESIDENCY_REFUSED):
            await body.read_whole(stall_s=60.0, total_s=60.0)
            if home is not None:
                async with client(total_s=5.0) as http:
                    await http.post(f"{home}/orders", content=body.whole or b"")
        await careful(self, request, gathered, refused, body, send)

    Refusing.turn_away = turn_away


def forwards_a_body_without_waiting() -> None:
    """The body of a write is sent to another region as it comes, beside the verdict, which falls as it should."""
    import asyncio
    from urllib.parse import urlsplit

    from gateway.edge.body import Body
    from gateway.edge.walk import Walk

    careful = Walk.decided
    running: set[Any] = set()

    async def send_on(body: Body, origin: str) -> None:
        peer: asyncio.StreamWriter | None = None
        while not body.read and (piece := await body._next()) is not None:
            if peer is None:
                where = urlsplit(origin)
                _, peer = await asyncio.open_connection(where.hostname, where.port)
            peer.write(piece)
        if peer is not None:
            peer.close()

    async def decided(self: Any, request: Any, body: Any, book: Any, send: Any) -> None:
        if request.method == "POST" and body.streams:
            away = next(one.origin for name, one in book.policy.regions.items() if name != self._desk.region)
            task = asyncio.get_running_loop().create_task(send_on(body, away))
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(0)
        await careful(self, request, body, book, send)

    Walk.decided = decided


PLANTS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        ignores_the_epoch,
        falls_back_to_a_default_cell,
        drops_an_acknowledged_write,
        forwards_a_body_before_deciding,
        forwards_a_body_without_waiting,
    )
}


def main() -> None:
    module, settings = sys.argv[1], Path(sys.argv[3])
    file = settings.parent.parent / "plants.json"
    planted = json.loads(file.read_text(encoding="ascii")) if file.exists() else {}
    for plant in planted.get(settings.stem, ()):
        PLANTS[plant]()
    sys.argv = [module, *sys.argv[2:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
