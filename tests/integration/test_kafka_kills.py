"""Workers that are killed or stopped under load lose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kafka_world import await_
from traffic import Load, await_more, await_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bridge
    from kafka_world import Node

pytestmark = pytest.mark.kafka

PER_SECOND = 3000


def test_workers_killed_under_load_lose_nothing_and_keep_the_order(
    bridge: Bridge, record_property: Callable[[str, object], None]
) -> None:
    world = bridge.world
    with Load(world.source, "load", PER_SECOND) as load:
        for node in (bridge.sealer, bridge.mirror, bridge.sealer):
            await_more(world.sink, "load", PER_SECOND)
            killed = node.kill_worker()
            await_(lambda: _is_back(node, killed), f"a new worker of {node.identity}")  # noqa: B023
        sent = load.stop()
    last = await_whole(world.source, world.sink, "load")
    record_property("comparison", str(last))
    assert (last.sent, last.missing, last.foreign, last.disordered) == (sent, 0, 0, 0)


def _is_back(node: Node, killed: int) -> bool:
    return node.pid != killed and bool(node.status.get("ready"))


def test_sigterm_ends_a_worker_soon_and_nothing_is_lost_or_repeated(
    bridge: Bridge, record_property: Callable[[str, object], None]
) -> None:
    world = bridge.world
    with Load(world.source, "calm", PER_SECOND // 3) as load:
        for node in (bridge.sealer, bridge.mirror):
            await_more(world.sink, "calm", 500)
            code, seconds = node.up.stop(within=30)
            record_property(f"{node.identity} stopped in", seconds)
            assert code == 0
            assert not node.said("worker killed")
            node.start()
        sent = load.stop()
    last = await_whole(world.source, world.sink, "calm")
    record_property("comparison", str(last))
    assert last == (sent, 0, 0, 0, 0)
