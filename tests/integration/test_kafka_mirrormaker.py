"""What people expect who come from MirrorMaker 2: the scenarios of its own tests, where they apply, as claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from kafka_world import await_, sealwire
from traffic import Seen, await_count, count_of, differences, read_all

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Bridge
    from kafka_cluster import KafkaCluster
    from kafka_world import World

pytestmark = pytest.mark.kafka

TOPIC, PARTITIONS = "moving", 3
MOVED = "moved-on"
EMPTY = 1  # the partition that gets nothing
GROUP = "an-application"


def fill(cluster: KafkaCluster, topic: str, first: int, following: int) -> None:
    """Records with headers, some of them tombstones, to every partition but one."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 5})
    for n in range(first, following):
        value = None if n % 10 == 9 else b"value %d" % n
        headers: list[tuple[str, bytes | None]] = [("id", b"%d" % n), ("absent", None)]
        producer.produce(topic, value, b"key-%d" % (n % 20), (0, 2)[n % 2], headers=headers)
    assert producer.flush(30) == 0


def consume(cluster: KafkaCluster, topic: str, most: int) -> list[Message]:
    """Take some records of each partition as an application of a group does, and commit."""
    consumer = Consumer(
        {"bootstrap.servers": cluster.bootstrap, "group.id": GROUP, "auto.offset.reset": "earliest", "log_level": 0}
    )
    consumer.subscribe([topic])
    found: list[Message] = []
    try:
        while len(found) < most:
            message = consumer.poll(30)
            assert message is not None, f"{len(found)} of {most} records"
            assert message.error() is None
            found.append(message)
        reached = {message.partition() or 0: (message.offset() or 0) + 1 for message in found}
        consumer.commit(offsets=[TopicPartition(topic, *each) for each in reached.items()], asynchronous=False)
    finally:
        consumer.close()
    return found


def positions(cluster: KafkaCluster, topic: str) -> list[TopicPartition]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": GROUP, "log_level": 0})
    try:
        return consumer.committed([TopicPartition(topic, each) for each in range(PARTITIONS)], timeout=20)
    finally:
        consumer.close()


def test_a_topic_arrives_with_its_partitions_the_empty_one_too_and_with_headers_and_tombstones(bridge: Bridge) -> None:
    source, sink = bridge.world.source, bridge.world.sink
    before = count_of(source, TOPIC)
    fill(source, TOPIC, 0, 200)
    await_count(sink, TOPIC, before + 200)
    sent, got = read_all(source, TOPIC), read_all(sink, TOPIC)
    assert sorted(got) == [0, EMPTY, 2]
    assert not got[EMPTY]
    assert differences(sent, got) == []
    assert sum(each.value is None for records in got.values() for each in records) >= 20
    assert all(dict(each.headers)["absent"] is None for records in got.values() for each in records)


def test_a_topic_that_no_mapping_names_stays_where_it_is(bridge: Bridge) -> None:
    source, cloud, sink = bridge.world.source, bridge.world.cloud, bridge.world.sink
    source.make_topic("private", PARTITIONS)
    fill(source, "private", 0, 20)
    before = count_of(sink, TOPIC)
    fill(source, TOPIC, 200, 220)
    await_count(sink, TOPIC, before + 20)  # what was written later is there
    assert read_all(sink, "private") == {}
    assert read_all(cloud, bridge.world.cloud_topic("private")) == {}


def test_an_application_that_moves_to_the_sink_goes_on_at_the_offsets_it_has(another: Callable[[str], World]) -> None:
    """Delivered at least once, a source log that was never cleaned, nor written by transactions, keeps its offsets.

    Exactly once they lie further on at the sink: each transaction leaves a marker in the log.
    """
    world = another("mover")
    source, sink = world.source, world.sink
    world.make_source_topics([MOVED], PARTITIONS)
    world.admit("berlin", "away")
    world.admit("lisbon", "there")
    sealer, mirror = world.sealing("away", [MOVED]), world.opening("there", [MOVED])
    mirror.file.write_text(mirror.file.read_text().replace(f"to: {MOVED}", f"to: {MOVED}, delivery: at-least-once"))
    sealwire("topics", "apply", "--yes", sealer.file)
    for node in (sealer, mirror):
        sealwire("site", "init", node.file)
        node.start(ready=False)
    fill(source, MOVED, 0, 400)
    await_count(sink, MOVED, 400)
    read = consume(source, MOVED, 120)
    committed = positions(source, MOVED)
    assert sum(each.offset for each in committed if each.offset > 0) == 120
    mover = Consumer({"bootstrap.servers": sink.bootstrap, "group.id": GROUP, "log_level": 0})
    try:
        mover.commit(offsets=[each for each in committed if each.offset > 0], asynchronous=False)
    finally:
        mover.close()
    rest = consume(sink, MOVED, 280)
    taken = {0: [], EMPTY: [], 2: []}
    for message in [*read, *rest]:
        headers = tuple(message.headers() or ())
        taken[message.partition()].append(Seen(message.key(), message.value(), headers, message.timestamp()))
    assert differences(read_all(source, MOVED), taken) == []


def test_workers_that_were_away_go_on_where_they_were_and_repeat_nothing(bridge: Bridge) -> None:
    source, sink = bridge.world.source, bridge.world.sink
    before = count_of(source, TOPIC)
    for node in (bridge.sealer, bridge.mirror):
        code, _ = node.up.stop()
        assert code == 0
    fill(source, TOPIC, before, before + 100)
    for node in (bridge.mirror, bridge.sealer):
        node.start(ready=False)
    for node in (bridge.mirror, bridge.sealer):
        node.await_ready()
    await_count(sink, TOPIC, before + 100)
    await_(lambda: bridge.mirror.rows(TOPIC)[0]["lag"] == 0, "nothing left to deliver")
    assert differences(read_all(source, TOPIC), read_all(sink, TOPIC)) == []
