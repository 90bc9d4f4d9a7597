"""The sink: order per source partition, small batches merged, topics made when they are needed, refusals told."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from batch_made import NOW, Made, build, some
from in_loop import until
from test_merging import pieces
from world import World, in_world

from sealwire.agents.sink import Staged

if TYPE_CHECKING:
    from world import Station


class Told:
    """An envelope's owner, that is told what became of it."""

    def __init__(self, source: object, *batches: bytes) -> None:
        self.done: tuple[int, int] | None = None
        self.refused: str | None = None
        self.reached = -1
        self.over = False
        self.staged = Staged(
            source,
            pieces(*batches),
            sum(map(len, batches)),
            self._done,
            self._refused,
            lambda: not self.over,
        )

    def _done(self, first: int, following: int) -> None:
        self.done = (first, following)

    def _refused(self, words: str, reached: int, _first: int, _next: int) -> None:
        self.refused, self.reached = words, reached


def stage(station: Station, *told: Told, topic: str = "orders") -> None:
    for each in told:
        station.side.sink.stage(topic, 0, each.staged)  # type: ignore[union-attr]


@in_world
async def test_small_batches_of_one_source_partition_become_one_and_all_owners_are_told(world: World) -> None:
    station = world.mirror()
    told = [Told("a", build(some(2, 2 * at), base=2 * at)) for at in range(3)]
    stage(station, *told)
    await until(lambda: all(each.done for each in told))
    assert world.paris.got() == some(6)
    assert world.paris.kafka.at("orders").produced == 1
    assert {each.done for each in told} == {(0, 6)}


@in_world
async def test_nothing_of_a_refused_source_partition_is_stored_behind_it_and_another_goes_on(world: World) -> None:
    station, log = world.mirror(), world.paris.kafka.at("orders")
    first, second, other = (Told(source, build(some(1, at))) for at, source in enumerate("aab"))
    log.stored.clear()
    log.refuse = lambda batch: "too large" if b"v0" in batch else ""
    stage(station, first)
    await until(log.turn.locked)
    stage(station, other, second)
    log.stored.set()
    await until(lambda: other.done)
    assert (first.refused, second.refused) == ("too large", "")
    assert world.paris.got() == some(1, 2)


@in_world
async def test_what_a_closed_lane_had_staged_is_not_produced(world: World) -> None:
    """Its successor begins at the written cursor, and stages it again."""
    station, log = world.mirror(), world.paris.kafka.at("orders")
    log.stored.clear()
    going, closed = Told("a", build(some(1))), Told("b", build(some(1, 5)))
    stage(station, going)
    await until(log.turn.locked)
    stage(station, closed)
    closed.over = True
    log.stored.set()
    await until(lambda: going.done)
    last = Told("c", build(some(1, 9)))
    stage(station, last)
    await until(lambda: last.done)
    assert world.paris.got() == some(1) + some(1, 9)
    assert closed.done is None
    assert closed.refused is None


@in_world
async def test_a_missing_sink_topic_is_made_with_the_partitions_of_its_cloud_topic(world: World) -> None:
    del world.paris.kafka.topics["orders"]
    world.cloud.grow("acme.orders", 3)
    told = Told("a", build(some(1)))
    station = world.mirror()
    stage(station, told)
    await until(lambda: told.done)
    assert world.paris.kafka.facts()["orders"].partitions == 3


@in_world
async def test_a_partition_that_the_sink_topic_lacks_is_waited_for_and_named(world: World) -> None:
    station, told = world.mirror(), Told("a", build(some(1)))
    station.side.sink.stage("orders", 1, told.staged)  # type: ignore[union-attr]
    await until(lambda: station.side.why_not == "sink topic orders has 1 partitions; 1 waits for growth")
    world.paris.kafka.grow("orders", 2)
    await until(lambda: told.done)
    assert world.paris.got(partition=1) == some(1)
    assert station.side.why_not == ""


@in_world
async def test_records_that_cannot_be_opened_hold_only_their_source_partition(world: World) -> None:
    station = world.mirror()
    broken = bytearray(build(some(3), codec=1))
    broken[80:] = bytes(len(broken) - 80)
    bad, good = Told("a", bytes(broken), build(some(1), codec=1)), Told("b", build(some(2, 7)))
    stage(station, bad, good)
    await until(lambda: good.done)
    assert bad.refused
    assert world.paris.got() == some(2, 7)


@in_world
async def test_with_a_slow_sink_the_bytes_in_flight_stay_under_the_budget(world: World) -> None:
    budget, dice = 1024 * 1024, random.Random(5)
    sealer, mirror = world.sealer(chunk_bytes=60_000), world.mirror(in_flight_bytes=budget)
    await mirror.start()
    await sealer.start()
    await until(lambda: sealer.seated() and mirror.seated())
    log = world.paris.kafka.at("orders")
    log.stored.clear()
    for _ in range(100):
        world.berlin.send([Made(NOW, None, dice.randbytes(4000), []) for _ in range(10)])
    await until(lambda: mirror.side.budget.room < budget // 4 and not mirror.agent.queue.qsize())
    assert world.envelopes.reads < sum(map(len, world.envelopes.batches))
    log.stored.set()
    await until(lambda: log.end == 1000)
    assert mirror.cloud.most <= budget + budget // 4
    await until(lambda: mirror.side.budget.used == 0)
