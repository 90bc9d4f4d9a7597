"""Reader and writer on Apache Kafka: transactions, outages, refusals, positions."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer, TopicPartition

from sealwire.agents import batches, records
from sealwire.agents.chunks import Chunk, cut
from sealwire.agents.client import Admin, Position, Positions
from sealwire.agents.merging import merge
from sealwire.agents.reader import Fetched, OffsetOutOfRange, RawReader
from sealwire.agents.settings import Cluster
from sealwire.agents.writer import RawWriter, Refused, record_batch

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "agents")]

from batch_made import apart  # noqa: E402
from in_loop import in_loop, until  # noqa: E402
from kafka_cluster import KafkaCluster  # noqa: E402
from traffic import reader  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

# Brokers forget a producer a day after the newest timestamp that they have of it, and with it what it has stored.
NOW = int(time.time() * 1000)


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaCluster]:
    with KafkaCluster("transport") as cluster:
        yield cluster


class Taker:
    """Keeps the values of what it is given, as read_committed shows them."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.chunks: list[Chunk] = []
        self.errors: list[Exception] = []
        self.next = 0

    async def take(self, fetched: Fetched) -> None:
        for chunk in cut(fetched.scan, fetched.first, aborted=fetched.aborted):
            self.chunks.append(chunk)
            for part in chunk.parts:
                self.values += [bytes(record.value or b"") for batch in apart(part) for record in records.read(batch)]
        self.next = fetched.next
        fetched.release()


def write_transactions(kafka: KafkaCluster, topic: str) -> None:
    """Three transactional producers and a plain one, interleaved; every second transaction or so is aborted."""
    settings = {"bootstrap.servers": kafka.bootstrap, "linger.ms": 0}
    producers = [Producer({**settings, "transactional.id": f"{topic}-{i}"}) for i in range(3)]
    for producer in producers:
        producer.init_transactions()
    plain, drawn, open_ones, number = Producer(settings), random.Random(3), set[int](), 0  # noqa: S311
    for _ in range(200):
        chosen = drawn.randrange(4)
        number += 1
        if chosen == 3:
            plain.produce(topic, b"plain %d" % number)
            plain.flush()
            continue
        if chosen not in open_ones:
            producers[chosen].begin_transaction()
            open_ones.add(chosen)
        for part in range(drawn.randrange(1, 6)):
            producers[chosen].produce(topic, b"%d %d %d" % (chosen, number, part), key=b"%d" % chosen)
        producers[chosen].flush()
        if drawn.random() < 0.5:
            open_ones.discard(chosen)
            (producers[chosen].commit_transaction if drawn.random() < 0.5 else producers[chosen].abort_transaction)()
    for chosen in open_ones:
        producers[chosen].abort_transaction()


def committed(kafka: KafkaCluster, topic: str) -> list[bytes]:
    """What librdkafka reads as committed."""
    consumer = reader(kafka)
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []
    while True:
        message = consumer.poll(20)
        assert message is not None
        if message.error():
            consumer.close()
            return found
        found.append(message.value())


def test_what_transactions_committed_is_read_and_nothing_else(kafka: KafkaCluster) -> None:
    kafka.make_topic("transactions")
    kafka.make_topic("copied")
    write_transactions(kafka, "transactions")
    wanted = committed(kafka, "transactions")
    assert len(wanted) > 50

    @in_loop
    async def scenario() -> None:
        cluster, taker = Cluster(kafka.bootstrap), Taker()
        for fetch_bytes in (4 << 20, 2000, 1):
            reader, taker = RawReader(cluster, linger_ms=0, fetch_bytes=fetch_bytes), Taker()
            await reader.start()
            end = await reader.end_offset("transactions", 0, committed=True)
            reader.seat("transactions", 0, 0, taker.take, taker.errors.append)
            await until(lambda taker=taker, end=end: taker.next >= end)  # type: ignore[misc]
            assert taker.values == wanted
            await reader.stop()
        writer, reader, copied = RawWriter(cluster, "test"), RawReader(cluster), Taker()
        await writer.start()
        await reader.start()
        for chunk in taker.chunks:
            view = memoryview(bytearray(b"".join(chunk.parts)))
            for ready in merge((view, header) for header in batches.walk(view, 0, chunk.next)):
                await writer.produce("copied", 0, ready.batch)
        reader.seat("copied", 0, 0, copied.take, copied.errors.append)
        await until(lambda: len(copied.values) >= len(wanted))
        assert copied.values == wanted == committed(kafka, "copied")
        await writer.stop()
        await reader.stop()

    scenario()


@in_loop
async def test_a_broker_that_hangs_and_one_that_is_killed_cost_time_and_nothing_else(kafka: KafkaCluster) -> None:
    kafka.make_topic("outage", 2)
    cluster, takers = Cluster(kafka.bootstrap), [Taker(), Taker()]
    writer, reader = RawWriter(cluster, "test"), RawReader(cluster)
    await writer.start()
    await reader.start()
    for partition, taker in enumerate(takers):
        reader.seat("outage", partition, 0, taker.take, taker.errors.append)
    sent: list[asyncio.Task[object]] = []

    async def send(count: int) -> None:
        for _ in range(count):
            for partition in range(2):
                batch = record_batch(b"%d" % (len(sent) // 2), NOW)
                sent.append(asyncio.create_task(writer.produce("outage", partition, batch)))
            await asyncio.sleep(0.002)

    await send(200)
    assert kafka.process is not None
    os.kill(kafka.process.pid, signal.SIGSTOP)
    await send(100)
    await until(lambda: writer.troubles)  # the request has timed out
    os.kill(kafka.process.pid, signal.SIGCONT)
    await send(100)
    kafka.kill()
    await send(100)
    kafka.begin()  # from this thread: the broker ends with the one that began it
    await asyncio.to_thread(kafka.wait)
    await send(100)
    await asyncio.gather(*sent)
    await until(lambda: all(len(taker.values) >= 600 for taker in takers))
    for taker in takers:
        assert taker.values == [b"%d" % i for i in range(600)]
        assert not taker.errors
    await writer.stop()
    await reader.stop()


@in_loop
async def test_refusals_come_in_the_brokers_words_and_offsets_that_are_gone_with_the_place_of_the_log(
    kafka: KafkaCluster,
) -> None:
    kafka.make_topic("refusing", max_message_bytes="20000")
    kafka.make_topic("compacted", cleanup_policy="compact")
    cluster, taker = Cluster(kafka.bootstrap), Taker()
    writer, reader = RawWriter(cluster, "test"), RawReader(cluster)
    await writer.start()
    await reader.start()
    with pytest.raises(Refused, match="(?i)size|large"):
        await writer.produce("refusing", 0, record_batch(bytes(30_000), NOW))
    with pytest.raises(Refused, match="(?i)key"):
        await writer.produce("compacted", 0, record_batch(b"x", NOW))
    assert (await writer.produce("refusing", 0, record_batch(b"x", NOW))).base_offset == 0
    reader.seat("refusing", 0, 50, taker.take, taker.errors.append)
    await until(lambda: taker.errors)
    (error,) = taker.errors
    assert isinstance(error, OffsetOutOfRange)
    assert (error.wanted, error.log_start, error.end) == (50, 0, 1)
    await writer.stop()
    await reader.stop()


@in_loop
async def test_positions_keep_the_words_that_were_committed_with_them(kafka: KafkaCluster) -> None:
    kafka.make_topic("positions", 2)
    positions = Positions(Cluster(kafka.bootstrap), "test", "sealwire.test")
    await positions.commit({("positions", 1): Position(7, "topic id and cluster id")})
    assert await positions.load([("positions", 0), ("positions", 1)]) == {
        ("positions", 1): Position(7, "topic id and cluster id")
    }
    await positions.close()
    shown = await asyncio.to_thread(kafka.groups, "--describe", "--group", "sealwire.test")
    assert "positions" in shown


@in_loop
async def test_topics_are_described_with_ids_that_a_topic_made_anew_does_not_share(kafka: KafkaCluster) -> None:
    admin = Admin(Cluster(kafka.bootstrap))
    kafka.make_topic("described", 3)
    facts = (await admin.describe(["described", "missing"]))["described"]
    assert (facts.partitions, len(facts.topic_id)) == (3, 16)
    assert await admin.cluster_id() == kafka.cluster_id
    await admin.grow("described", 5)
    while (await admin.topics())["described"] < 5:
        await asyncio.sleep(0.05)
    assert (await admin.config("described"))["cleanup.policy"] == "delete"
