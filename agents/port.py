"""The worker's port: its snapshot, its metrics, and whether it is alive and ready. It takes no orders.

On localhost unless told otherwise: names of topics, sites and members are to be seen here, never a secret or a record.
It answers from the worker's first moment to its last, whatever the clusters do.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aiohttp import web

from sealwire.agents import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.health import Health

_log = logging.getLogger(__name__)
_AGAIN = 5.0  # seconds before a port that somebody else has is tried again
_CLOSE_WITHIN = 0.5  # seconds


class Port:
    """Serves GET /status/, /metrics, /health/live and /health/ready at one address."""

    def __init__(self, host: str, port: int, health: Health, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._host, self._port = host, port
        self._health, self._snapshot = health, snapshot
        self._runner: web.AppRunner | None = None

    async def keep(self) -> None:
        """Serve, for ever; a port that is taken is tried again, and data flows meanwhile."""
        said = False
        try:
            while not await self._begin():
                if not said:
                    _log.error("port %d of %s is taken: no status, no metrics; trying again", self._port, self._host)
                    said = True
                await asyncio.sleep(_AGAIN)
            if said:
                _log.warning("port %d of %s is free: status and metrics are there", self._port, self._host)
            await asyncio.Event().wait()
        finally:
            if self._runner is not None:
                await self._runner.cleanup()

    async def _begin(self) -> bool:
        served = web.Application()
        served.add_routes(
            [
                web.get("/status/", self._status),
                web.get("/status", self._status),
                web.get("/metrics", self._metrics),
                web.get("/health/live", self._live),
                web.get("/health/ready", self._ready),
            ]
        )
        self._runner = web.AppRunner(served, access_log=None, handle_signals=False, shutdown_timeout=_CLOSE_WITHIN)
        await self._runner.setup()
        with suppress(OSError):
            await web.TCPSite(self._runner, self._host, self._port).start()
            return True
        await self._runner.cleanup()
        return False

    async def _status(self, _request: web.Request) -> web.Response:
        return web.json_response(self._snapshot())

    async def _metrics(self, request: web.Request) -> web.Response:
        accept = ",".join(request.headers.getall("Accept", []))
        body, content_type = await asyncio.to_thread(metrics.encode, self._snapshot(), accept)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _live(self, _request: web.Request) -> web.Response:
        why = self._health.why
        return web.json_response({"live": not why, "why": why}, status=503 if why else 200)

    async def _ready(self, _request: web.Request) -> web.Response:
        told = self._snapshot()
        found = {"ready": told["ready"], "why": told["why"], "degraded": told.get("degraded", [])}
        return web.json_response(found, status=200 if told["ready"] else 503)
