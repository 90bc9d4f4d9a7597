"""Lanes follow Faust's assignment; each change makes new ones, that begin from what is written."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from aiokafka.structs import TopicPartition
from batch_made import some
from in_loop import in_loop, until
from world import LANES, World, a_world, in_world

from sealwire.agents import lanes
from sealwire.agents.blocking import ClusterAway
from sealwire.agents.lanes import PassThrough
from sealwire.agents.mirror import OpenWork
from sealwire.agents.sealing import Sealing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealwire.agents.positions import Position


@in_world
async def test_nothing_is_seated_before_the_worker_has_caught_up(world: World) -> None:
    station = world.mirror()
    station.assign()
    assert station.lanes.open == {}
    station.lanes.begin()
    assert sorted(station.lanes.open) == list(range(LANES))
    await station.lanes.close(orderly=True)


@in_world
async def test_partitions_of_other_topics_are_no_lanes(world: World) -> None:
    station = world.mirror()
    station.lanes.begin()
    station.lanes.on_assigned({TopicPartition("state-changelog", 0), TopicPartition(station.settings.lane_topic, 1)})
    assert sorted(station.lanes.open) == [1]
    await station.lanes.close(orderly=True)


@in_world
async def test_a_revocation_closes_every_lane_and_a_new_assignment_goes_on_where_it_stood(world: World) -> None:
    sealer, mirror = await world.flow()
    for at in range(4):
        world.berlin.send(some(3, 3 * at))
        await until(lambda at=at: len(world.paris.got()) >= 3 * at + 3)  # type: ignore[misc]
        for station in (sealer, mirror):
            await station.lanes.on_revoked()
            assert station.lanes.open == {}
            station.assign()
            await until(station.seated)
    world.berlin.send(some(3, 12))
    await until(lambda: len(world.paris.got()) >= 15)
    assert world.paris.got() == some(15)
    assert mirror.side.counters["duplicates"] == 0


@in_world
async def test_a_lane_that_comes_back_while_its_position_is_on_the_way_seals_nothing_again(world: World) -> None:
    sealer, mirror = await world.flow()
    assert isinstance(sealer.side, Sealing)
    positions, closed, under_way, go = sealer.side.positions, asyncio.Event(), asyncio.Event(), asyncio.Event()
    commit = positions.commit

    async def slow(moved: dict[tuple[str, int], Position]) -> None:
        if not closed.is_set():
            raise ClusterAway("busy")
        under_way.set()
        await go.wait()
        await commit(moved)

    positions.commit = slow  # type: ignore[method-assign]
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    await sealer.lanes.on_revoked()
    closed.set()
    await under_way.wait()
    sealer.assign()
    for _ in range(20):  # turns for a beginning that does not wait
        await asyncio.sleep(0)
    go.set()
    await until(sealer.seated)
    world.berlin.send(some(3, 3))
    await until(lambda: len(world.paris.got()) == 6)
    assert mirror.side.counters["duplicates"] == 0


@in_world
async def test_a_lane_whose_beginning_fails_is_tried_again(world: World) -> None:
    mirror = world.mirror()
    fails = iter(range(3))
    log_start = mirror.cloud.log_start

    async def failing(topic: str, partition: int) -> int:
        if topic == "acme.orders" and next(fails, None) is not None:
            raise OSError("the broker hung up")
        return await log_start(topic, partition)

    mirror.cloud.log_start = failing  # type: ignore[method-assign]
    await mirror.start()
    await until(mirror.seated)
    assert next(fails, None) is None
    assert not mirror.errors


def test_a_lane_that_takes_long_to_begin_is_told_of_until_it_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lanes, "_SEATS_WITHIN", 0.1)

    async def scenario() -> None:
        async with asyncio.timeout(40), a_world(monkeypatch, tmp_path) as world:
            mirror, answered = world.mirror(), asyncio.Event()
            cursors, end_offset = mirror.settings.cursor_topic, mirror.local.end_offset

            async def late(topic: str, partition: int, **committed: bool) -> int:
                if (topic, partition) == (cursors, 1):
                    await answered.wait()
                return await end_offset(topic, partition, **committed)

            monkeypatch.setattr(mirror.local, "end_offset", late)
            await mirror.start()
            await until(lambda: bool(mirror.side.troubles))
            words = f"lane 1 waits for {cursors}[1] to be read back: nothing of it is delivered meanwhile"
            assert mirror.side.troubles == {mirror.settings.lane_topic: words}
            await until(lambda: words in caplog.messages)
            turns = mirror.lanes.turns
            await until(lambda: mirror.lanes.turns > turns + 2)
            assert caplog.messages.count(words) == 1
            answered.set()
            await until(lambda: not mirror.side.troubles)

    asyncio.run(scenario())


@in_world
async def test_a_lane_whose_beginning_hangs_begins_once_more_and_is_given_longer_each_time(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_BEGINS_WITHIN", 0.1)
        mirror, begun = world.mirror(), []
        begin = OpenWork.begin

        async def hanging(work: OpenWork) -> None:
            begun.append(time.monotonic())
            if len(begun) <= 3:
                await asyncio.Event().wait()
            await begin(work)

        patch.setattr(OpenWork, "begin", hanging)
        mirror.lanes.begin()
        mirror.lanes.on_assigned({TopicPartition(mirror.settings.lane_topic, 0)})
        lane = mirror.lanes.open[0]
        await until(lambda: lane.begun)
        assert mirror.lanes.open[0] is lane
        first, second, third, fourth = begun
        assert second - first < third - second < fourth - third
        await mirror.lanes.close(orderly=True)


@in_world
async def test_a_lane_whose_beginning_is_cancelled_by_somebody_else_begins_anew(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        mirror, begun = world.mirror(), 0
        begin = OpenWork.begin

        async def cancelled(work: OpenWork) -> None:
            nonlocal begun
            begun += 1
            if begun == 1:
                raise asyncio.CancelledError
            await begin(work)

        patch.setattr(OpenWork, "begin", cancelled)
        mirror.lanes.begin()
        mirror.lanes.on_assigned({TopicPartition(mirror.settings.lane_topic, 0)})
        await until(lambda: 0 in mirror.lanes.open and mirror.lanes.open[0].begun)
        assert begun == 2
        await mirror.lanes.close(orderly=True)


@in_world
async def test_workers_that_take_the_lanes_from_each_other_all_the_time_are_told_of_a_twin(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_RESTLESS_FOR", 0.5)
        for station in (world.sealer(), world.mirror()):
            for _ in range(9):
                station.assign()
                await station.lanes.on_revoked()
            assert not station.side.troubles
            station.assign()
            assert "two workers of this identity" in station.side.troubles[station.settings.lane_topic]
            await until(lambda station=station: not station.side.troubles)  # type: ignore[misc]
            await station.lanes.close(orderly=True)


@in_world
async def test_topics_that_come_later_are_dealt_without_a_rebalance(world: World) -> None:
    del world.berlin.kafka.topics["orders"]
    sealer, mirror = world.sealer(), world.mirror()
    await mirror.start()
    await sealer.start()
    await until(lambda: mirror.seated() and len(sealer.lanes.open) == LANES)
    before = dict(sealer.lanes.open)
    world.berlin.kafka.make("orders")
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    assert sealer.lanes.open == before


@in_world
async def test_table_rows_are_written_under_the_events_of_their_lane(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(sealer.table) == len(mirror.table) == 1)


@in_world
async def test_what_the_table_has_no_room_for_is_written_with_a_later_event_and_holds_up_nothing(world: World) -> None:
    _sealer, mirror = await world.flow()
    mirror.table_has_room = False
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    turns = mirror.lanes.turns
    await until(lambda: mirror.lanes.turns > turns + LANES)
    assert not mirror.table
    mirror.table_has_room = True
    await until(lambda: len(mirror.table) == 1)


@in_loop
async def test_a_lane_s_event_carries_the_very_object_that_was_handed_over() -> None:
    thing = object()
    app = SimpleNamespace(create_event=lambda _key, value, _headers, _message: value)
    decode = PassThrough().compile(app)
    assert await decode(SimpleNamespace(value=thing)) is thing


@in_world
async def test_others_have_their_turn_in_the_middle_of_a_long_event(world: World) -> None:
    mirror = world.mirror()
    mirror.assign()
    mirror.lanes.begin()
    lane, turns = mirror.lanes.open[0], 0

    def long(_load: object) -> Iterator[None]:
        until_then = time.monotonic() + 0.2
        while time.monotonic() < until_then:
            time.sleep(0.001)
            yield
        mirror.spawn(mirror.lanes.close(orderly=True))

    async def neighbour() -> None:
        nonlocal turns
        while lane.open:
            turns += 1
            await asyncio.sleep(0)

    lane.work.take = long  # type: ignore[method-assign]
    mirror.spawn(neighbour())
    mirror.spawn(mirror.lanes.follow(mirror.agent, mirror.table.update))
    await lane.hand(object())
    await until(lambda: not lane.open)
    assert turns > 10


@in_world
async def test_a_lane_that_ends_in_the_middle_of_an_event_does_nothing_more_of_it(world: World) -> None:
    mirror, done = world.mirror(), []

    def ending(_load: object) -> Iterator[None]:
        lane.fail("it ends here")
        yield
        done.append("more")
        yield

    mirror.assign()
    mirror.lanes.begin()
    lane = mirror.lanes.open[0]
    lane.work.take = ending  # type: ignore[method-assign]
    mirror.spawn(mirror.lanes.follow(mirror.agent, mirror.table.update))
    await lane.hand(object())
    await until(lambda: mirror.lanes.open.get(0) not in {None, lane})
    assert not done
    await mirror.lanes.close(orderly=True)
