"""A lane's events are numbered: what Faust drops in silence ends the lane, and a new one seats itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from batch_made import some
from in_loop import in_loop, until
from world import Agent, World, in_world

from sealwire.agents.lane import Item, Lane

if TYPE_CHECKING:
    from collections.abc import Iterator


class Ended:
    """Whoever owns a lane, told why it ended."""

    def __init__(self) -> None:
        self.why: list[str] = []

    def __call__(self, lane: Lane, why: str) -> None:
        self.why.append(why)


def a_lane() -> tuple[Lane, Agent, Ended]:
    agent, ended = Agent(), Ended()
    return Lane(agent, "lanes", 3, ended), agent, ended


def items(agent: Agent) -> Iterator[Item]:
    while not agent.queue.empty():
        yield agent.queue.get_nowait().value


@in_loop
async def test_events_are_accepted_in_the_order_of_their_numbers() -> None:
    lane, agent, ended = a_lane()
    for load in "abc":
        await lane.hand(load)
    found = list(items(agent))
    assert [(item.number, item.load) for item in found] == [(1, "a"), (2, "b"), (3, "c")]
    assert all(lane.accept(item) for item in found)
    assert not ended.why


@in_loop
async def test_a_hole_in_a_lane_s_event_numbers_ends_the_lane() -> None:
    lane, agent, ended = a_lane()
    for load in "abc":
        await lane.hand(load)
    first, _, third = items(agent)
    assert lane.accept(first)
    assert not lane.accept(third)
    assert not lane.open
    assert ended.why == ["events 2 to 2 were dropped in a rebalance"]


@in_loop
async def test_a_closed_lane_takes_and_gives_nothing_and_ends_once() -> None:
    lane, agent, ended = a_lane()
    await lane.hand("a")
    lane.fail("tried")
    lane.fail("tried again")
    await lane.hand("b")
    (item,) = items(agent)
    assert not lane.accept(item)
    assert ended.why == ["tried"]


@in_loop
async def test_nothing_is_handed_over_while_faust_rebalances() -> None:
    lane, agent, _ = a_lane()
    agent.rebalancing = True
    handing = asyncio.create_task(lane.hand("a"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert agent.queue.empty()
    agent.rebalancing = False
    await handing
    assert agent.queue.qsize() == 1


@in_loop
async def test_an_event_that_faust_does_not_take_ends_the_lane() -> None:
    lane, agent, ended = a_lane()

    async def unknown(_message: object) -> None:
        raise KeyError("lanes-3")

    agent.callback = unknown  # type: ignore[method-assign, assignment]
    await lane.hand("a")
    assert not lane.open
    assert "could not be handed to Faust" in ended.why[0]


@in_world
async def test_events_that_faust_drops_lose_and_repeat_nothing(world: World) -> None:
    sealer, mirror = await world.flow()
    for at in range(8):
        station = (sealer, mirror)[at % 2]
        station.agent.lose = 1
        world.berlin.send(some(3, 3 * at))
        await until(lambda station=station: not station.agent.lose)  # type: ignore[misc]
        await until(lambda at=at: len(world.paris.got()) >= 3 * at + 3)  # type: ignore[misc]
    assert world.paris.got() == some(24)


@in_world
async def test_a_lane_that_ends_with_deliveries_in_flight_delivers_none_of_them_twice(world: World) -> None:
    _, mirror = await world.flow()
    sink = world.paris.kafka.at("orders")
    sink.acked.clear()
    world.berlin.send(some(3))
    await until(lambda: sink.end == 3)
    world.berlin.send(some(3, 3))
    await until(lambda: mirror.standing().cursor.next == 6)  # type: ignore[union-attr]
    (lane,) = (each for each in mirror.lanes.open.values() if each.work.seats)  # type: ignore[attr-defined]
    lane.fail("tried")
    world.spawn_later(sink.acked.set)
    await until(lambda: mirror.seated() and mirror.lanes.open[lane.number] is not lane)
    world.berlin.send(some(3, 6))
    await until(lambda: len(world.paris.got()) >= 9)
    assert world.paris.got() == some(9)
