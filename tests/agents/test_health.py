"""Alive means that the loop turns, the lanes are given their turns, and nobody of ours ended unseen."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from in_loop import in_loop, until

from sealwire.agents import health as module
from sealwire.agents.health import Health, Stuck

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.005)
    monkeypatch.setattr(module, "_STUCK_AFTER", 1.0)  # a busy machine stalls a loop for a while
    monkeypatch.setattr(module, "_ENDS_AFTER", 60)


def watched(**app: Any) -> tuple[Health, SimpleNamespace, list[str]]:
    health = Health(SimpleNamespace(**{"rebalancing": False, "in_recovery": False, **app}), systemd="")
    lanes, ended = SimpleNamespace(turns=0, open={0: "a lane"}), []  # type: ignore[var-annotated]
    health.watch(lanes, lambda: ended)
    return health, lanes, ended


async def alive_for(health: Health, seconds: float, lanes: SimpleNamespace | None = None) -> bool:
    until_ = time.monotonic() + seconds
    while time.monotonic() < until_:
        if lanes is not None:
            lanes.turns += 1
        if health.why:
            return False
        await asyncio.sleep(0.005)
    return True


@in_loop
async def test_lanes_that_are_given_no_turn_are_stuck_and_those_that_are_again_are_not() -> None:
    health, lanes, _ended = watched()
    keeping = asyncio.create_task(health.keep())
    assert await alive_for(health, 1.3, lanes)
    await until(lambda: "no lane had a turn" in health.why)
    lanes.turns += 1
    await until(lambda: not health.why)
    keeping.cancel()


@in_loop
async def test_a_rebalance_a_recovery_and_a_worker_without_lanes_are_no_reason_to_be_stuck() -> None:
    for excuse in ({"rebalancing": True}, {"in_recovery": True}, {}):
        health, lanes, _ended = watched(**excuse)
        if not excuse:
            lanes.open = {}
        keeping = asyncio.create_task(health.keep())
        assert await alive_for(health, 1.3), excuse
        keeping.cancel()


@in_loop
async def test_a_loop_that_ended_unseen_is_named() -> None:
    health, lanes, ended = watched()
    keeping = asyncio.create_task(health.keep())
    assert await alive_for(health, 0.05, lanes)
    ended.append("the reader of cloud:1")
    await until(lambda: health.why == "the reader of cloud:1 ended")
    keeping.cancel()


def test_what_stays_stuck_ends_the_worker_even_where_it_cannot_end_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[int] = []
    monkeypatch.setattr(module, "_ENDS_AFTER", 0.02)
    monkeypatch.setattr(module, "_GONE_AFTER", 0.02)
    monkeypatch.setattr(os, "_exit", gone.append)

    @in_loop
    async def stuck() -> None:
        health, _lanes, _ended = watched()
        with pytest.raises(Stuck, match="no lane had a turn"):
            await health.keep()
        await until(lambda: gone == [1])

    stuck()


@in_loop
async def test_a_loop_that_was_late_says_by_how_much() -> None:
    health, _lanes, _ended = watched()
    keeping = asyncio.create_task(health.keep())
    await asyncio.sleep(0.02)
    time.sleep(0.1)  # noqa: ASYNC251 - what is to be noticed
    await until(lambda: health.loop_lag >= 0.05)
    keeping.cancel()


def test_systemd_is_told_that_we_are_there_as_long_as_we_are(tmp_path: Path) -> None:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(str(tmp_path / "notify"))
    heard.settimeout(5)

    @in_loop
    async def kept() -> None:
        health, lanes, ended = watched()
        health._systemd = str(tmp_path / "notify")
        keeping = asyncio.create_task(health.keep())
        assert await alive_for(health, 0.03, lanes)
        assert heard.recv(100) == b"READY=1"
        assert heard.recv(100) == b"WATCHDOG=1"
        ended.append("the reader")
        await until(lambda: health.why)
        while _waiting(heard):
            heard.recv(100)
        await asyncio.sleep(0.05)
        assert not _waiting(heard)
        keeping.cancel()

    kept()
    heard.close()


def _waiting(heard: socket.socket) -> bool:
    heard.setblocking(False)
    try:
        heard.recv(100, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


@in_loop
async def test_a_systemd_that_is_away_is_no_trouble() -> None:
    Health(SimpleNamespace(), systemd="@nobody-is-here").tell("READY=1")
