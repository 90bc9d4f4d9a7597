"""Cursors: written when the sink has acknowledged, read back whole before anything is delivered."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from fake_kafka import FakeCluster, FakeReader, FakeWriter
from in_loop import in_loop, until
from world import World, in_world

from sealwire.agents import cursors
from sealwire.agents.cursors import CursorLog, position_key
from sealwire.agents.records import read
from sealwire.keys.cursor import Cursor
from sealwire.keys.delivery import Delivery, Position, read_record_key, record_key
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.source import SourcePartition

if TYPE_CHECKING:
    from fake_kafka import Partition

TOPIC = "_sealwire.acme.paris.cursors"


def a_log() -> tuple[CursorLog, FakeCluster, Partition]:
    cluster = FakeCluster()
    cluster.make(TOPIC, 2)
    return CursorLog(FakeReader(cluster), FakeWriter(cluster), TOPIC, 1), cluster, cluster.at(TOPIC, 1)


def source(number: int = 0) -> SourcePartition:
    return SourcePartition("orders", "berlin", "orders", bytes(16), number)


def delivery_records(world: World) -> int:
    """How many delivery records are written; positions have record keys of their own."""
    logs = world.paris.kafka.topics[TOPIC][1]
    found = [record for log in logs for batch in log.batches for record in read(memoryview(batch))]
    return sum(bytes(record.record_key or b"")[:2] != b"\0\0" for record in found)


def delivery(offset: int, number: int = 0) -> Delivery:
    return Delivery(Cursor(source(number), next=offset))


@in_loop
async def test_the_last_delivery_record_of_each_source_partition_is_read_back() -> None:
    log, cluster, _ = a_log()
    for offset in range(3):
        for number in range(2):
            log.put(record_key("orders", source(number)), delivery(10 * offset + number, number).encode)
        log.put(position_key("acme.orders", number), Position(bytes(16), offset).encode)
        await log.flush()
    deliveries, positions = await CursorLog(FakeReader(cluster), FakeWriter(cluster), TOPIC, 1).read_back()
    assert [(topic, each.cursor.next) for topic, each in deliveries] == [("orders", 20), ("orders", 21)]
    assert positions == {("acme.orders", 1): Position(bytes(16), 2)}


@in_loop
async def test_what_an_overtaken_worker_writes_behind_its_successor_counts_for_nothing_and_is_put_right() -> None:
    successor, cluster, partition = a_log()
    frozen = CursorLog(FakeReader(cluster), FakeWriter(cluster), TOPIC, 1)
    for log, offset in ((successor, 50), (frozen, 10)):
        log.put(record_key("orders", source()), delivery(offset).encode)
        log.put(record_key("orders", source(1)), delivery(7, 1).encode)
        await log.flush()
    last = CursorLog(FakeReader(cluster), FakeWriter(cluster), TOPIC, 1)
    deliveries, _ = await last.read_back()
    assert sorted(each.cursor.next or 0 for _, each in deliveries) == [7, 50]
    written = partition.end
    await last.flush()
    assert [Delivery.decode(value) for value in partition.values()[written:]] == [delivery(50)]


@in_loop
async def test_a_position_never_stands_before_the_cursors_that_it_rests_on() -> None:
    log, _, partition = a_log()
    partition.acked.clear()  # the flush that is on its way holds up the next one
    log.put(position_key("acme.orders", 1), Position(bytes(16), 1).encode)
    flushing = asyncio.create_task(log.flush())
    await until(lambda: partition.end == 1)
    log.put(position_key("acme.orders", 1), Position(bytes(16), 2).encode)
    log.put(record_key("orders", source()), delivery(5).encode)
    partition.acked.set()
    await flushing
    await log.flush()
    keys = [bytes(record.record_key or b"") for batch in partition.batches for record in read(memoryview(batch))]
    assert keys[1:] == [record_key("orders", source()), position_key("acme.orders", 1)]


@in_loop
async def test_an_empty_cursor_partition_is_read_back_at_once() -> None:
    log, _, _ = a_log()
    assert await log.read_back() == ([], {})


@in_loop
async def test_a_foreign_record_in_the_cursor_topic_is_not_taken_for_a_cursor() -> None:
    log, _, partition = a_log()
    partition.inject(b"hello", record_key("orders", source()))
    with pytest.raises(Rejected) as refusal:
        await log.read_back()
    assert refusal.value.reason is Reason.UNKNOWN_VERSION


@in_loop
async def test_of_several_cursors_of_one_source_partition_only_the_last_is_written() -> None:
    log, _, partition = a_log()
    for offset in range(100):
        log.put(record_key("orders", source()), delivery(offset).encode)
    await until(lambda: partition.end)
    assert [Delivery.decode(value).cursor.next for value in partition.values()] == [99]


@in_loop
async def test_flushing_waits_for_what_was_on_its_way_before() -> None:
    """A lane that is closed in order hands over cursors that are there, not cursors that will be."""
    log, _, partition = a_log()
    partition.acked.clear()
    log.put(record_key("orders", source()), delivery(1).encode)
    await until(lambda: partition.end == 1)
    flushing = asyncio.create_task(log.flush())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not flushing.done()
    partition.acked.set()
    await flushing


@in_loop
async def test_cursors_that_the_local_cluster_refuses_are_kept_and_tried_again() -> None:
    log, _, partition = a_log()
    refusals = iter(["no"])
    partition.refuse = lambda _: next(refusals, "")
    old, cursors._TRY_AGAIN = cursors._TRY_AGAIN, 0.01
    try:
        log.put(record_key("orders", source()), delivery(1).encode)
        await until(lambda: partition.end)
    finally:
        cursors._TRY_AGAIN = old
    assert Delivery.decode(partition.value(0)) == delivery(1)


def test_a_position_is_never_taken_for_a_delivery_record() -> None:
    with pytest.raises(Rejected):
        read_record_key(position_key("acme.orders", 3))


@in_world
async def test_a_cursor_is_written_only_after_the_sink_acknowledged(world: World) -> None:
    _, mirror = await world.flow()
    sink = world.paris.kafka.at("orders")
    sink.acked.clear()
    world.berlin.send(some(5))
    await until(lambda: sink.end == 5)
    await asyncio.gather(*(work._log.flush() for work in mirror.works))
    assert mirror.standing().written.next is None  # type: ignore[union-attr]
    assert delivery_records(world) == 0
    sink.acked.set()
    await until(lambda: mirror.standing().written.next == 5)  # type: ignore[union-attr]
    await until(lambda: delivery_records(world) == 1)


@in_world
async def test_a_mirror_that_dies_at_any_moment_delivers_the_rest_once(world: World) -> None:
    """Where the sink had acknowledged and the cursor was written; nothing is lost in any case."""
    sealer, mirror = await world.flow()
    for at in range(6):
        world.berlin.send(some(3, 3 * at))
        await until(lambda at=at: len(world.paris.got()) >= 3 * at + 3)  # type: ignore[misc]
        await until(lambda at=at, now=mirror: now.standing().written.next == 3 * at + 3)  # type: ignore[misc]
        await asyncio.gather(*(work._log.flush() for work in mirror.works))
        await mirror.kill()
        mirror = world.mirror(mirror.store)
        await mirror.start()
        await until(mirror.seated)
    assert world.paris.got() == some(18)
    assert not sealer.errors


@in_world
async def test_a_mirror_that_stops_in_order_repeats_nothing(world: World) -> None:
    _, mirror = await world.flow()
    sink = world.paris.kafka.at("orders")
    sink.acked.clear()
    world.berlin.send(some(5))
    await until(lambda: sink.end == 5)
    world.spawn_later(sink.acked.set)
    await mirror.stop()
    again = world.mirror(mirror.store)
    await again.start()
    await until(again.seated)
    world.berlin.send(some(5, 5))
    await until(lambda: len(world.paris.got()) >= 10)
    assert world.paris.got() == some(10)


@in_world
async def test_a_cursor_topic_that_cannot_be_read_ends_the_lane_and_not_the_worker(
    world: World,
) -> None:
    for number in range(2):
        world.paris.kafka.at(TOPIC, number).inject(b"hello", record_key("orders", source()))
    mirror = world.mirror()
    logging.getLogger("sealwire").setLevel(logging.ERROR)
    await mirror.start()
    await until(mirror.control.caught_up.is_set)
    await until(lambda: not mirror.lanes.open)
    assert not mirror.errors
