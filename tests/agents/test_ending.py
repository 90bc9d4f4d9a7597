"""A worker ends in time, whatever it waits for, and what is its own is written before Faust takes leave."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace
from typing import Any

import faust
import pytest
from in_loop import in_loop, until

from sealwire.agents.ending import PunctualWorker, end_for_good
from sealwire.agents.sealing import Sealing
from sealwire.agents.worker import BridgeApp, Worker


async def for_ever(*_: object) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("crashed", "ends_for", "code"), [(False, "", 0), (True, "", 1), (False, "twice", 2)])
def test_a_worker_whose_end_hangs_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, crashed: bool, ends_for: str, code: int
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr("sealwire.agents.ending.ENDS_WITHIN", 0.05)
    monkeypatch.setattr(faust.Worker, "stop", for_ever)
    monkeypatch.setattr(PunctualWorker, "crashed", crashed)

    @in_loop
    async def scenario() -> None:
        worker = object.__new__(PunctualWorker)
        worker.app = SimpleNamespace(crashed=False, ends_for=ends_for)
        stops = [asyncio.create_task(worker.stop()) for _ in range(2)]  # asked twice, it ends once
        await until(lambda: codes)
        await asyncio.sleep(0.1)
        for stop in stops:
            stop.cancel()

    scenario()
    assert codes == [code]
    assert "not ended" in caplog.text


@in_loop
async def test_what_is_ours_is_written_before_faust_stops_what_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def note(what: str) -> Any:
        async def noted(*_: object) -> None:
            order.append(what)

        return noted

    monkeypatch.setattr(faust.App, "on_stop", note("Faust"))
    app = BridgeApp("ending")
    app.health = SimpleNamespace(tell=order.append)
    app.worker = SimpleNamespace(stop=note("ours"))
    await app.on_stop()
    assert order == ["STOPPING=1", "ours", "Faust"]


@in_loop
async def test_giving_lanes_up_waits_for_a_cluster_that_is_away_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwire.agents.worker._COMMIT_WITHIN", 0.05)
    moved: dict[Any, Any] = {("orders", 0): 7}
    side = SimpleNamespace(moved=moved, positions=SimpleNamespace(commit=for_ever), _positions_turn=asyncio.Lock())
    side.commit = lambda: Sealing.commit(side)

    async def revoked() -> None:
        side.moved["orders", 1] = 8

    worker: Any = SimpleNamespace(lanes=SimpleNamespace(on_revoked=revoked), side=side)
    async with asyncio.timeout(5):
        await Worker.on_revoked(worker)
    assert side.moved == {("orders", 0): 7, ("orders", 1): 8}  # kept for the next time


def test_what_no_new_start_cures_ends_the_worker_in_order_and_with_a_code_after_which_nobody_starts_it_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, number: asked.append(number))
    app = SimpleNamespace(ends_for="")
    for _ in range(2):
        end_for_good(app, "identity in use twice")
    assert asked == [signal.SIGTERM]
    assert caplog.text.count("identity in use twice") == 1

    def ended(_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr(faust.Worker, "execute_from_commandline", ended)
    for each, code in ((app, 2), (SimpleNamespace(ends_for=""), 0)):
        worker = object.__new__(PunctualWorker)
        worker.app = each
        with pytest.raises(SystemExit) as end:
            worker.execute_from_commandline()
        assert end.value.code == code
