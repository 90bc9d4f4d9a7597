"""Workers that are killed or stopped under load lose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from traffic import Load, await_count, compare, count_of, read_all
from world import await_

if TYPE_CHECKING:
    from conftest import Bridge

pytestmark = pytest.mark.kafka

PER_SECOND = 3000


def test_workers_killed_under_load_lose_nothing_and_keep_the_order(
    bridge: Bridge, record_property: pytest.RecordProperty
) -> None:
    world, load = bridge.world, Load(bridge.world.source, "load", PER_SECOND)
    load.start()
    for node in (bridge.sealer, bridge.mirror, bridge.sealer):
        before = count_of(world.sink, "load")
        await_(lambda: count_of(world.sink, "load") > before + PER_SECOND, "records at the sink")  # noqa: B023
        killed = node.kill_worker()
        await_(lambda: node.pid != killed and node.status.get("ready"), f"a new worker of {node.identity}")  # noqa: B023
    sent = load.stop()
    await_count(world.sink, "load", sent)
    found: list[object] = []

    def whole() -> bool:
        found[:] = [compare(read_all(world.source, "load"), read_all(world.sink, "load"))]
        return found[0].missing == 0

    await_(whole, f"all of {sent} records", within=60, every=1)
    (last,) = found
    record_property("comparison", str(last))
    assert (last.sent, last.missing, last.foreign, last.disordered) == (sent, 0, 0, 0)


def test_sigterm_ends_a_worker_soon_and_nothing_is_lost_or_repeated(bridge: Bridge) -> None:
    world, load = bridge.world, Load(bridge.world.source, "calm", PER_SECOND // 3)
    load.start()
    for node in (bridge.sealer, bridge.mirror):
        before = count_of(world.sink, "calm")
        await_(lambda: count_of(world.sink, "calm") > before + 500, "records at the sink")  # noqa: B023
        code, seconds = node.up.stop(within=30)
        assert code == 0
        assert "killed" not in node.up.text.splitlines()[-1]
        node.start()
    sent = load.stop()
    await_count(world.sink, "calm", sent)
    last = compare(read_all(world.source, "calm"), read_all(world.sink, "calm"))
    assert last == (sent, 0, 0, 0, 0)
