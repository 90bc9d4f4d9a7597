"""What is written of a lane and read back: cursors of each the last word, the ledger's facts, and what is believed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from fake_kafka import FakeCluster, FakeReader, FakeWriter, Partition
from in_loop import in_loop, until
from world import World, begin_site, in_world

from sealwire.agents import at_least_once
from sealwire.agents.at_least_once import AtLeastOnce
from sealwire.agents.cursors import CursorLog
from sealwire.agents.recorded import Recorded, position_key, read_cursors, read_ledger
from sealwire.agents.records import read
from sealwire.keys.cursor import Cursor
from sealwire.keys.delivery import Delivery, Position, read_record_key, record_key
from sealwire.keys.landmark import BEGUN_KEY, LEDGER_KEY, Begun, LedgerMark
from sealwire.keys.reason import Rejected
from sealwire.keys.source import SourcePartition

if TYPE_CHECKING:
    from world import Station

TOPIC = "_sealwire.acme.paris.cursors"
LEDGER = "_sealwire.acme.paris.ledger"


class Log:
    """A lane's log on a cluster of its own, written at least once."""

    def __init__(self, cluster: FakeCluster | None = None) -> None:
        self.cluster = cluster or FakeCluster()
        if cluster is None:
            begin_site(self.cluster)
        self.log = CursorLog(TOPIC, LEDGER, 1, self._pending)
        self.log.begin(LedgerMark(self.ledger_id, self.ledger.end))
        self.way = AtLeastOnce(FakeWriter(self.cluster), self.log)

    def _pending(self) -> None:
        self.way.pending()

    @property
    def cursors(self) -> Partition:
        return self.cluster.at(TOPIC, 1)

    @property
    def ledger(self) -> Partition:
        return self.cluster.at(LEDGER, 1)

    @property
    def ledger_id(self) -> bytes:
        return self.cluster.topics[LEDGER][0]

    def written(self, since: int = 1) -> list[bytes]:
        """The record keys in the cursor partition, without the mark that says that they begin."""
        batches = self.cursors.committed()
        found = [record for batch in batches for record in read(memoryview(batch))]
        return [bytes(record.record_key or b"") for record in found if record.offset >= since]

    async def read(self) -> Recorded:
        return await read_cursors(FakeReader(self.cluster), TOPIC, 1)

    async def heal(self) -> tuple[Recorded, int]:
        recorded = await self.read()
        return recorded, await read_ledger(FakeReader(self.cluster), LEDGER, self.ledger_id, 1, recorded)


def source(number: int = 0) -> SourcePartition:
    return SourcePartition("orders", "berlin", "orders", bytes(16), number)


def key(number: int = 0) -> bytes:
    return record_key("orders", source(number))


def delivery(offset: int, number: int = 0) -> Delivery:
    return Delivery(Cursor(source(number), next=offset))


def nexts(recorded: Recorded) -> list[int]:
    return sorted(each.cursor.next or 0 for each in recorded.deliveries.values())


def delivery_records(world: World) -> int:
    """How many delivery records are written; positions and marks have record keys of their own."""
    logs = world.paris.kafka.topics[TOPIC][1]
    found = [record for log in logs for batch in log.committed() for record in read(memoryview(batch))]
    return sum(bytes(record.record_key or b"")[:2] != b"\0\0" for record in found)


@in_loop
async def test_the_last_delivery_record_of_each_source_partition_is_read_back() -> None:
    lane = Log()
    for offset in range(3):
        for number in range(2):
            lane.log.put(key(number), delivery(10 * offset + number, number).encode)
        lane.log.put(position_key("acme.orders", number), Position(bytes(16), offset).encode)
        await lane.way.flush()
    recorded = await lane.read()
    assert {read_record_key(each)[0] for each in recorded.deliveries} == {"orders"}
    assert nexts(recorded) == [20, 21]
    assert recorded.positions == {("acme.orders", 1): Position(bytes(16), 2)}
    assert recorded.lost == ""


@in_loop
async def test_at_least_once_what_an_overtaken_worker_writes_behind_its_successor_counts_for_nothing() -> None:
    """In a transaction it would have been fenced; here it shows as a cursor that goes back without an order."""
    successor = Log()
    frozen = Log(successor.cluster)
    for lane, offset in ((successor, 50), (frozen, 10)):
        lane.log.put(key(), delivery(offset).encode)
        lane.log.put(key(1), delivery(7, 1).encode)
        await lane.way.flush()
    recorded = await successor.read()
    assert nexts(recorded) == [7, 50]
    assert recorded.mending == {key()}


@in_loop
async def test_what_a_transaction_says_is_the_last_word_wherever_it_stands() -> None:
    lane = Log()
    lane.log.put(key(), delivery(50).encode)
    await lane.way.flush()
    producer = FakeWriter(lane.cluster).transactions("a")
    await producer.begin()
    await producer.include([lane.log.cursors])
    lane.log.put(key(), delivery(10).encode)
    await lane.log.write(producer.produce)
    await producer.commit()
    assert nexts(await lane.read()) == [10]


@in_loop
async def test_what_was_aborted_is_not_read_back_and_what_is_open_is_waited_for() -> None:
    lane = Log()
    writer = FakeWriter(lane.cluster)
    for number, offset in enumerate((5, 6)):
        producer = writer.transactions(f"lane{number}")
        await producer.begin()
        await producer.include([lane.log.cursors])
        lane.log.put(key(), delivery(offset).encode)
        await lane.log.write(producer.produce)
        await (producer.abort() if offset == 6 else producer.commit())
    assert nexts(await lane.read()) == [5]
    await producer.include([lane.log.cursors])
    lane.log.put(key(), delivery(7).encode)
    await lane.log.write(producer.produce)
    reading = asyncio.create_task(lane.read())
    await asyncio.sleep(0.1)
    assert not reading.done(), "its own last cursor may be in there"
    await producer.commit()
    assert nexts(await reading) == [7]


@in_loop
async def test_a_position_never_stands_before_the_cursors_that_it_rests_on() -> None:
    lane = Log()
    lane.cursors.acked.clear()  # the flush that is on its way holds up the next one
    lane.log.put(position_key("acme.orders", 1), Position(bytes(16), 1).encode)
    flushing = asyncio.create_task(lane.way.flush())
    await until(lambda: lane.cursors.end == 2)
    lane.log.put(position_key("acme.orders", 1), Position(bytes(16), 2).encode)
    lane.log.put(key(), delivery(5).encode)
    lane.cursors.acked.set()
    await flushing
    await lane.way.flush()
    assert lane.written(2) == [key(), position_key("acme.orders", 1)]


@in_loop
async def test_of_several_cursors_of_one_source_partition_only_the_last_is_written_and_the_ledger_has_all() -> None:
    lane = Log()
    for offset in range(100):
        lane.log.put(key(), delivery(offset).encode)
        lane.log.enter(key(), delivery(offset).encode)
    await until(lambda: lane.cursors.end > 1)
    assert lane.written() == [LEDGER_KEY, key()]
    assert nexts(await lane.read()) == [99]
    assert [Delivery.decode(value).cursor.next for value in lane.ledger.values()] == list(range(100))
    assert (await lane.read()).mark == LedgerMark(lane.ledger_id, 100)


@in_loop
async def test_flushing_waits_for_what_was_on_its_way_before() -> None:
    """A lane that is closed in order hands over cursors that are there, not cursors that will be."""
    lane = Log()
    lane.cursors.acked.clear()
    lane.log.put(key(), delivery(1).encode)
    await until(lambda: lane.cursors.end == 2)
    flushing = asyncio.create_task(lane.way.flush())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not flushing.done()
    lane.cursors.acked.set()
    await flushing


@in_loop
async def test_cursors_that_the_local_cluster_refuses_are_kept_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_least_once, "_TRY_AGAIN", 0.01)
    lane = Log()
    refusals, told = iter(["no"]), []
    lane.cursors.refuse = lambda _: next(refusals, "")
    lane.log.put(key(), delivery(1).encode)
    lane.log.enter(key(), delivery(1).encode)
    lane.log.later(lambda: told.append(lane.cursors.end))
    await until(lambda: told)
    assert told == [3]
    assert nexts(await lane.read()) == [1]


def test_a_position_is_never_taken_for_a_delivery_record() -> None:
    for each in (position_key("acme.orders", 3), BEGUN_KEY, LEDGER_KEY):
        with pytest.raises(Rejected):
            read_record_key(each)


# What the ledger knows beyond the cursors


@in_loop
async def test_a_cursor_topic_restored_from_yesterday_is_healed_from_the_ledger() -> None:
    lane = Log()
    for offset in range(1, 6):
        lane.log.put(key(), delivery(offset).encode)
        lane.log.enter(key(), delivery(offset).encode)
        await lane.way.flush()
    for batch in lane.cursors.batches[-2:]:
        lane.cursors.batches.remove(batch)
    lane.cursors.end = 1 + 3 * 2
    assert nexts(await lane.read()) == [3]
    recorded, adopted = await lane.heal()
    assert (nexts(recorded), adopted) == ([5], 2)
    assert recorded.mending == {key()}
    assert recorded.mark == LedgerMark(lane.ledger_id, 5)


@in_loop
async def test_where_nothing_is_missing_nothing_of_the_ledger_is_adopted() -> None:
    lane = Log()
    lane.log.put(key(), delivery(3).encode)
    lane.log.enter(key(), delivery(3).encode)
    await lane.way.flush()
    recorded, adopted = await lane.heal()
    assert (adopted, recorded.mending) == (0, set())


@in_loop
async def test_a_ledger_made_anew_is_read_whole_and_one_that_was_cut_from_its_start() -> None:
    lane = Log()
    lane.log.put(key(), delivery(3).encode)
    lane.log.enter(key(), delivery(3).encode)
    await lane.way.flush()
    lane.cluster.make(LEDGER, 2)
    again = Log(lane.cluster)
    again.log.enter(key(), delivery(9).encode)
    await again.log.write(FakeWriter(lane.cluster).produce)
    lane.cluster.at(TOPIC, 1).batches.pop()
    lane.cluster.at(TOPIC, 1).end -= 1
    recorded, adopted = await lane.heal()
    assert (adopted, nexts(recorded)) == (1, [9])
    lane.ledger.truncate(1)
    assert (await lane.heal())[1] == 0


# What is not believed


@in_loop
async def test_an_empty_cursor_partition_is_believed_only_where_it_says_that_it_begins() -> None:
    lane = Log()
    assert (await lane.read()).lost == ""
    lane.cursors.truncate(1)
    assert (await lane.read()).lost == "it does not say where its cursors begin"


@in_loop
async def test_cursors_of_somebody_else_are_not_believed_until_they_are_written_over() -> None:
    lane = Log()
    lane.cursors.inject(b"hello", key())
    assert "offset 1: unknown-version" in (await lane.read()).lost
    lane.cursors.inject(b"\x01hello", b"anything")
    assert "2 of its cursors are not ours" in (await lane.read()).lost
    lane.cursors.inject(None, b"anything")
    lane.log.put(key(), delivery(3).encode)
    await lane.way.flush()
    assert (await lane.read()).lost == ""


@in_world
async def test_a_lane_without_its_cursors_delivers_nothing_and_says_what_helps(world: World) -> None:
    _, mirror = await flowing(world)
    await mirror.stop()
    for number in range(2):
        log = world.paris.kafka.at(TOPIC, number)
        log.truncate(log.end)
    again = world.mirror(mirror.store)
    await again.start()
    await until(lambda: "sealwire site restore" in again.side.why_not)
    world.berlin.send(some(1, 1))
    await until(lambda: world.envelopes.end == 2)
    await asyncio.sleep(0.1)
    assert len(world.paris.got()) == 1
    assert not again.errors
    begin_site_again(world)
    await until(lambda: len(world.paris.got()) == 2)
    assert world.paris.got() == some(2)
    assert again.side.why_not == ""


def begin_site_again(world: World) -> None:
    """Say that cursors begin here; what the ledger has behind no mark is adopted then."""
    for number in range(2):
        world.paris.kafka.at(TOPIC, number).inject(Begun(2, 1).encode(), BEGUN_KEY)


async def flowing(world: World) -> tuple[Station, Station]:
    sealer, mirror = await world.flow()
    world.berlin.send(some(1))
    await until(lambda: mirror.standing() and mirror.standing().written.next == 1)  # type: ignore[union-attr]
    return sealer, mirror


# In a world


@in_world
async def test_a_cursor_is_written_only_after_the_sink_acknowledged(world: World) -> None:
    _, mirror = await world.flow()
    sink = world.paris.kafka.at("orders")
    sink.acked.clear()
    world.berlin.send(some(5))
    await until(lambda: sink.end == 5)
    await asyncio.sleep(0.05)
    assert mirror.standing().written.next is None  # type: ignore[union-attr]
    assert delivery_records(world) == 0
    sink.acked.set()
    await until(lambda: mirror.standing().written.next == 5)  # type: ignore[union-attr]
    assert delivery_records(world) == 1


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_mirror_that_dies_between_two_deliveries_goes_on_where_it_stood(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object, delivery: str
) -> None:
    @in_world
    async def scenario(world: World) -> None:
        sealer, mirror = world.sealer(), world.mirror(delivery=delivery)
        await mirror.start()
        await sealer.start()
        for at in range(6):
            world.berlin.send(some(3, 3 * at))
            await until(
                lambda at=at, now=mirror: now.standing() and now.standing().written.next == 3 * at + 3  # type: ignore[misc]
            )
            await mirror.kill()
            mirror = world.mirror(mirror.store, delivery=delivery)
            await mirror.start()
            await until(mirror.seated)
        assert world.paris.got() == some(18)
        assert not sealer.errors

    scenario(monkeypatch, tmp_path)


@in_world
async def test_a_mirror_that_stops_in_order_repeats_nothing(world: World) -> None:
    _, mirror = await world.flow()
    sink = world.paris.kafka.at("orders")
    sink.acked.clear()
    world.berlin.send(some(5))
    await until(lambda: sink.end == 5)
    world.spawn_later(sink.acked.set)
    await mirror.stop()
    assert world.paris.got() == some(5)
    again = world.mirror(mirror.store)
    await again.start()
    await until(again.seated)
    world.berlin.send(some(5, 5))
    await until(lambda: len(world.paris.got()) >= 10)
    assert world.paris.got() == some(10)
