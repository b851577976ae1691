"""Puts the edge together from its parts; opens nothing."""

from collections.abc import Sequence

from starlette.routing import Route

from foundation.clock import Clock
from foundation.http import Ready, application
from foundation.problems import Problem
from gateway.edge import api
from gateway.edge.answerer import Answerer
from gateway.edge.bulkhead import Bulkheads
from gateway.edge.departures import Departures
from gateway.edge.desk import Desk
from gateway.edge.events import Recorder
from gateway.edge.exchanges import Exchanges
from gateway.edge.lane import Lane
from gateway.edge.limits.assembly import unlimited
from gateway.edge.limits.gate import Gate
from gateway.edge.observed import CONNECTIONS, IDENTITIES, UNDER_WAY
from gateway.edge.outbound import Outbound
from gateway.edge.records import Records
from gateway.edge.sockets import Sockets
from gateway.edge.upstream.forwarder import Forwarder
from gateway.edge.upstream.pool import Pools
from gateway.edge.walk import Walk
from gateway.identity.address import Network
from gateway.identity.country import Countries, Observer
from gateway.settings import Upstream, Websockets
from gateway.travel.assembly import Travel, nowhere


def lane(
    *,
    desk: Desk,
    pools: Pools,
    limits: Upstream,
    recorder: Recorder,
    own: bool = False,
    countries: Countries,
    proxies: tuple[Network, ...],
    clock: Clock,
    ready: Ready,
    travel: Travel | None = None,
    gate: Gate | None = None,
    websockets: Websockets | None = None,
    more: Sequence[Route] = (),
) -> Lane:
    """The gateway's ASGI callable. Without `travel` nobody is carried home and no hop is taken; without `gate` nobody asks too often.
    `own`: a person's own requests go on record, too. `more`: further paths of its own. `websockets`: their bounds, if not the usual
    ones."""
    gate = gate or unlimited(clock)
    bulkheads = Bulkheads(limits.exchanges_max)

    def observed_ready() -> Problem | None:
        _observe(desk, pools, bulkheads, gate)
        return ready()

    desk.observe = Observer(countries, proxies)
    outbound = Outbound(proxies)
    sockets = Sockets(websockets or Websockets())
    exchanges = Exchanges(Forwarder(pools), outbound, bulkheads)
    answerer = Answerer(exchanges, sockets, limits)
    records = Records(recorder, countries, proxies, region=desk.region, clock=clock, own=own)
    travel = travel or nowhere(desk.region, clock)
    walk = Walk(
        desk=desk, answerer=answerer, exchanges=exchanges, outbound=outbound, records=records, travel=travel, gate=gate
    )
    bytes_max = limits.body_bytes_max
    departures = Departures(
        desk=desk, exchanges=exchanges, walk=walk, records=records, gate=gate, body_bytes_max=bytes_max
    )
    desk.on_change.append(departures.forget)
    return Lane(
        departures=departures,
        desk=desk,
        walk=walk,
        records=records,
        travel=travel,
        gate=gate,
        control=application([*api.routes(desk), *more], ready=observed_ready),
        ready=observed_ready,
        body_bytes_max=bytes_max,
    )


def _observe(desk: Desk, pools: Pools, bulkheads: Bulkheads, gate: Gate) -> None:
    gate.observe()
    IDENTITIES.set(desk.identities.size)
    for pool in pools.all():
        CONNECTIONS.labels(pool.address, "open").set(pool.open)
        CONNECTIONS.labels(pool.address, "idle").set(pool.idle)
        CONNECTIONS.labels(pool.address, "waiting").set(pool.waiting)
    for bulkhead in bulkheads.all():
        UNDER_WAY.labels(bulkhead.cell, bulkhead.service).set(bulkhead.under_way)
