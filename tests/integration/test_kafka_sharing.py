"""Several workers of one site share its lanes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kafka_world import LANES, Node, await_
from traffic import Load, await_more, await_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bridge

pytestmark = pytest.mark.kafka


def shared(nodes: list[Node], topic: str) -> bool:
    """Whether all lanes are covered once, and the partitions of a topic are with more than one worker."""
    lanes = [node.status.get("lanes", []) for node in nodes]
    holders = [set(node.rows(topic)) for node in nodes]
    covered = sorted(lane for each in lanes for lane in each) == list(range(LANES))
    return covered and all(lanes) and all(holders) and sum(map(len, holders)) == 3


@pytest.mark.parametrize("direction", ["seal", "open"])
def test_a_second_member_shares_the_work_and_records_stay_complete(
    bridge: Bridge, direction: str, record_property: Callable[[str, object], None]
) -> None:
    world, first = bridge.world, bridge.sealer if direction == "seal" else bridge.mirror
    name, topic = f"second-{direction}", f"shared-{direction}"
    if direction == "seal":
        world.admit("berlin", name)
        second = world.sealing(name, bridge.topics)
    else:
        world.admit("lisbon", name)
        second = world.opening(name, bridge.topics)
    with Load(world.source, topic, 500) as load:
        await_more(world.sink, topic, 500)
        second.start()
        await_(lambda: shared([first, second], topic), "lanes shared by both workers", every=0.3)
        await_more(world.sink, topic, 1000)
        sent = load.stop()
    together = await_whole(world.source, world.sink, topic)
    record_property("comparison, both there", str(together))
    assert (together.sent, together.missing, together.foreign, together.disordered) == (sent, 0, 0, 0)
    _code, seconds = second.up.stop(within=30)
    record_property("stopped in", seconds)
    # A static member that stops keeps its lanes until its session has ended, in case it comes back.
    await_(lambda: len(first.status.get("lanes", [])) == LANES, "all lanes with the first again")
    with Load(world.source, topic, 500, first=sent) as load:
        await_more(world.sink, topic, 1000)
        sent += load.stop()
    last = await_whole(world.source, world.sink, topic)
    record_property("comparison", str(last))
    assert (last.sent, last.missing, last.foreign, last.disordered) == (sent, 0, 0, 0)
