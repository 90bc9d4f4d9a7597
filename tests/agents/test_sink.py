"""The sink: order per source partition, small batches merged, topics made when they are needed, refusals told."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from batch_made import NOW, Made, build, some
from fake_kafka import FakeAdmin
from in_loop import until
from test_merging import pieces
from world import World, in_world

from sealwire.agents.at_least_once import AtLeastOnce
from sealwire.agents.cursors import CursorLog
from sealwire.agents.sink import Staged

if TYPE_CHECKING:
    from pathlib import Path

    from world import Station


class Told:
    """An envelope's owner, that is told what became of it."""

    def __init__(self, source: object, *batches: bytes) -> None:
        self.done: tuple[int, int] | None = None
        self.refused: str | None = None
        self.reached = -1
        self.over = False
        self.dropped = False
        self.staged = Staged(
            source,
            pieces(*batches),
            sum(map(len, batches)),
            None,  # type: ignore[arg-type] # the way is the station's
            self._done,
            self._refused,
            lambda: not self.over,
            self._dropped,
        )

    def _done(self, first: int, following: int) -> None:
        self.done = (first, following)

    def _refused(self, words: str, reached: int, _first: int, _next: int) -> None:
        self.refused, self.reached = words, reached

    def _dropped(self) -> None:
        self.dropped = True


def stage(station: Station, *told: Told, partition: int = 0) -> None:
    way = AtLeastOnce(station.local_writer, CursorLog("cursors", "ledger", 0, lambda: None))
    for each in told:
        each.staged.via = way
        station.side.sink.stage("orders", partition, each.staged)  # type: ignore[union-attr]


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
async def test_what_stands_before_a_refused_record_is_stored_and_its_owners_are_told(world: World) -> None:
    """Merged with its neighbours it is refused with them: they are given again, one by one."""
    station, log = world.mirror(), world.paris.kafka.at("orders")
    log.refuse = lambda batch: "out of bounds" if b"v5v5" in batch else ""
    told = [Told("a", build(some(2, at), at), build(some(2, at + 2), at + 2)) for at in range(0, 12, 4)]
    stage(station, *told)
    await until(lambda: told[2].refused is not None)
    assert world.paris.got() == some(4)
    assert told[0].done == (0, 4)
    assert [(each.refused, each.reached) for each in told[1:]] == [("out of bounds", 4), ("out of bounds", -1)]
    log.refuse = lambda batch: "out of bounds" if b"v7v7" in batch else ""
    again = [Told("b", build(some(2, at), at), build(some(2, at + 2), at + 2)) for at in range(4, 12, 4)]
    stage(station, *again)
    await until(lambda: again[1].refused is not None)
    assert world.paris.got() == some(6)
    assert (again[0].refused, again[0].reached, again[1].reached) == ("out of bounds", 6, -1)


@pytest.mark.parametrize("may_ask", [True, False])
def test_a_batch_larger_than_the_sink_topic_takes_is_cut_and_the_limit_remembered(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    may_ask: bool,  # noqa: FBT001
) -> None:
    @in_world
    async def scenario(world: World) -> None:
        FakeAdmin.may_ask = may_ask
        station, log = world.mirror(), world.paris.kafka.at("orders")
        log.most = 20_000
        made = some(400, size=400)
        first, second = (
            Told("a", build(made, 10)),
            Told("a", *(build(made[at : at + 1], 410 + at) for at in range(400))),
        )
        stage(station, first)
        await until(lambda: first.done or first.refused)
        refused = log.refused
        stage(station, second)
        await until(lambda: second.done or second.refused)
        assert world.paris.got() == made + made
        assert max(map(len, log.batches)) <= 20_000
        assert log.produced < 50
        assert log.refused == refused <= (1 if may_ask else 6), "what is too large is not tried for ever"

    scenario(monkeypatch, tmp_path)


@pytest.mark.parametrize("may_ask", [True, False])
def test_one_record_larger_than_the_sink_topic_takes_is_named_with_both_limits(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    may_ask: bool,  # noqa: FBT001
) -> None:
    @in_world
    async def scenario(world: World) -> None:
        FakeAdmin.may_ask = may_ask
        station, log = world.mirror(), world.paris.kafka.at("orders")
        log.most = 3000
        made = [*some(5), Made(NOW, b"k", b"x" * 5000, []), *some(5, 5)]
        bad, other = Told("a", build(made, 10)), Told("b", build(some(2)))
        stage(station, bad, other)
        await until(lambda: other.done)
        assert world.paris.got() == some(5) + some(2)
        assert bad.reached == 15
        assert bad.refused is not None
        assert "source offset 15 makes a batch of 50" in bad.refused
        assert ("3000 are allowed" if may_ask else "too large") in bad.refused
        assert "max.message.bytes" in bad.refused

    scenario(monkeypatch, tmp_path)


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
    assert closed.dropped


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
    stage(station, told, partition=1)
    words = "sink topic orders has 1 partitions: grow it with Kafka's tools, the rest waits"
    await until(lambda: station.side.why_not == words)
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
    assert bad.refused.startswith("the batch at source offset 0 cannot be opened: ")
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
    await until(lambda: len(world.paris.got()) == 1000)
    assert mirror.cloud.most <= budget + budget // 4
    await until(lambda: mirror.side.budget.used == 0)
