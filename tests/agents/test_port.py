"""The worker's port answers from its first moment on, and takes no orders."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
from in_loop import in_loop, until
from own_broker import free_port

from sealwire.agents import port as module
from sealwire.agents.health import Health
from sealwire.agents.port import Port
from sealwire.agents.settings import Cluster, Settings
from sealwire.agents.status import starting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest


class Asked:
    """A port of a worker whose snapshot and health a test sets."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.snapshot = snapshot
        self.health = Health(SimpleNamespace(), systemd="")
        self.number = free_port()
        self.port = Port("127.0.0.1", self.number, self.health, lambda: self.snapshot)

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://127.0.0.1:{self.number}{path}") as answer,
        ):
            return answer.status, await answer.text()


@asynccontextmanager
async def serving(snapshot: dict[str, Any]) -> AsyncIterator[Asked]:
    asked = Asked(snapshot)
    keeping = asyncio.create_task(asked.port.keep())
    await until(lambda: reachable(asked.number))
    try:
        yield asked
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


def reachable(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


READY = {"direction": "seal", "ready": True, "why": "", "degraded": ["channel orders: 1 source partitions are held"]}


@in_loop
async def test_ready_says_200_with_what_is_degraded_and_503_with_its_why() -> None:
    async with serving(READY) as asked:
        status, body = await asked.get("/health/ready")
        assert (status, json.loads(body)) == (200, {"ready": True, "why": "", "degraded": READY["degraded"]})
        asked.snapshot = {"ready": False, "why": "the cloud cluster does not answer"}
        status, body = await asked.get("/health/ready")
        assert (status, json.loads(body)["why"]) == (503, "the cloud cluster does not answer")


@in_loop
async def test_live_is_not_ready_but_stuck_or_not() -> None:
    async with serving({"ready": False, "why": "the cloud cluster does not answer"}) as asked:
        assert await asked.get("/health/live") == (200, '{"live": true, "why": ""}')
        asked.health.why = "the reader of cloud:1 ended"
        assert await asked.get("/health/live") == (503, '{"live": false, "why": "the reader of cloud:1 ended"}')


def test_a_worker_that_still_waits_for_its_cluster_says_so_everywhere(tmp_path: Path) -> None:
    settings = Settings("acme", "berlin", "producer1", "seal", tmp_path, Cluster("l:1"), Cluster("c:1"))

    @in_loop
    async def asking() -> None:
        async with serving(starting(settings)) as asked:
            assert (await asked.get("/health/ready"))[0] == 503
            told = json.loads((await asked.get("/status/"))[1])
            assert (told["identity"], told["ready"]) == ("producer1", False)
            status, text = await asked.get("/metrics")
            assert status == 200
            assert 'sealwire_ready{direction="seal"} 0.0' in text
            assert 'identity="producer1"' in text

    asking()


@in_loop
async def test_nothing_can_be_changed_there() -> None:
    async with serving(READY) as asked:
        for path in ("/status/", "/metrics", "/health/live"):
            assert (await asked.get(path, "POST"))[0] == 405
        for path in ("/", "/table/", "/router/", "/graph/", "/../status/../x"):
            assert (await asked.get(path))[0] == 404


def test_a_port_that_somebody_else_has_is_told_once_and_taken_when_it_is_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_AGAIN", 0.01)
    caplog.set_level("INFO", "sealwire")  # a command that ran in this process may have left it at errors

    @in_loop
    async def contested() -> None:
        asked = Asked(READY)
        somebody = socket.create_server(("127.0.0.1", asked.number))
        keeping = asyncio.create_task(asked.port.keep())
        await until(lambda: "is taken" in caplog.text or keeping.done())
        await asyncio.sleep(0.05)
        assert caplog.text.count("is taken") == 1
        somebody.close()
        await until(lambda: "is free" in caplog.text or keeping.done())
        assert not keeping.done(), keeping
        assert (await asked.get("/health/live"))[0] == 200
        keeping.cancel()

    contested()
