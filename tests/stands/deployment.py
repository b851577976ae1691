"""A deployment of one region with one cell, in memory and on a real server: what the harness asks of gateways and issuers, and no more."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from load_tests.scenarios.shape import Scenario
from tests.stands.servers import free_port, serving

CELL = "eu-de"


class Deployment:
    """`fails`: every request after sign-up is answered with 500. `mute`: no answer states its verdict."""

    def __init__(self, url: str, *, fails: bool = False, mute: bool = False) -> None:
        self.url = url
        self.fails = fails
        self.mute = mute
        self._orders: dict[str, list[dict[str, Any]]] = {}

    def routes(self) -> list[Route]:
        return [
            Route("/mint", self.mint, methods=["POST"]),
            Route("/.well-known/domicile/preview", self.preview),
            Route("/orders/sign-up", self.sign_up, methods=["POST"]),
            Route("/orders", self.read_orders),
            Route("/orders", self.write_order, methods=["POST"]),
        ]

    async def mint(self, request: Request) -> JSONResponse:
        return JSONResponse({"access_token": (await request.json())["sub"]})

    async def preview(self, request: Request) -> JSONResponse:
        return JSONResponse({"home": self.url, "jurisdiction": "eu"})

    async def sign_up(self, request: Request) -> JSONResponse:
        placed = {"subject_id": _subject(request), "cell": CELL, "epoch": 7}
        return JSONResponse(placed, status_code=201, headers=_stated("serve"))

    async def read_orders(self, request: Request) -> JSONResponse:
        mine = self._orders.get(_subject(request), [])
        return self._answered({"orders": mine[::-1][: int(request.query_params["limit"])]}, 200)

    async def write_order(self, request: Request) -> JSONResponse:
        new = await request.json()
        if not self.fails:
            self._orders.setdefault(_subject(request), []).append({"subject_id": _subject(request), "id": new["id"]})
        return self._answered(new, 201)

    def _answered(self, document: dict[str, Any], status: int) -> JSONResponse:
        if self.fails:
            return JSONResponse({"code": "internal"}, status_code=500, headers={"domicile-verdict": "refuse"})
        return JSONResponse(document, status_code=status, headers=_stated(None if self.mute else "serve"))


def _subject(request: Request) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, request.headers["authorization"]))


def _stated(verdict: str | None) -> dict[str, str]:
    return {"domicile-cell": CELL, "domicile-epoch": "7"} | ({} if verdict is None else {"domicile-verdict": verdict})


class Deployed(msgspec.Struct):
    """A deployment that answers, and its stack file."""

    deployment: Deployment
    stack: Path


@asynccontextmanager
async def deployed(folder: Path, **knobs: bool) -> AsyncIterator[Deployed]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    deployment = Deployment(url, **knobs)
    stack = folder / "stack.json"
    stated = {
        "directory": {"url": url},
        "regions": {"eu": {"gateway": url, "issuer": url}},
        "cells": {CELL: {"region": "eu", "shards": {}}},
    }
    stack.write_bytes(msgspec.json.encode(stated))
    async with serving(Starlette(routes=deployment.routes()), port=port):
        yield Deployed(deployment, stack)


def scenario(**changes: Any) -> Scenario:
    """Five seconds of a few people who read and write."""
    plain = Scenario(
        about="a few people", seconds=5, users=4, people={"DE": 1}, mix={"read_orders": 1, "write_order": 1}, name="few"
    )
    return msgspec.structs.replace(plain, **changes)
