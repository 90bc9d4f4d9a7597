"""What anybody may write into a cloud topic is refused by its Reason and counted; the rest goes on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Message, Producer
from kafka_world import await_
from traffic import await_count, differences, read_all

if TYPE_CHECKING:
    from conftest import Bridge
    from kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka

ENVELOPE = 1  # the format number; "SW", this, the suite, 32 bytes of session id
SESSION = slice(4, 36)
BATCH = 500
STRANGE_SESSIONS = 3000
PARKED_MOST = 1024  # sessions a cloud partition waits for at a time
ZEROS = 8_000_000  # a topic of ours takes 8 MiB


def produce(cluster: KafkaCluster, topic: str, values: list[bytes | None], partition: int = 0, **settings: Any) -> None:  # noqa: ANN401
    given = {"bootstrap.servers": cluster.bootstrap, "message.max.bytes": 20 << 20, "log_level": 0, **settings}
    producer, troubles = Producer(given), list[object]()

    def told(error: object, _message: Message) -> None:
        if error is not None:
            troubles.append(error)

    for value in values:
        producer.produce(topic, value, partition=partition, on_delivery=told)
    assert producer.flush(60) == 0
    assert not troubles


def send(bridge: Bridge, topic: str, words: str) -> None:
    """Ten records to each partition of a source topic."""
    for partition in range(3):
        values: list[bytes | None] = [f"{words} {partition} {n}".encode() for n in range(10)]
        produce(bridge.world.source, topic, values, partition)


def test_garbage_in_the_cloud_is_refused_by_its_reason_and_what_follows_arrives(bridge: Bridge) -> None:
    world, mirror, garbled = bridge.world, bridge.mirror, bridge.world.cloud_topic("target")
    for topic in ("target", "neighbour"):
        send(bridge, topic, "before")
    for topic in ("target", "neighbour"):
        await_count(world.sink, topic, 30)
    envelopes = {each: read_all(world.cloud, garbled, raw=True)[each][0].value() for each in (0, 1)}
    of_neighbour = read_all(world.cloud, world.cloud_topic("neighbour"), raw=True)[0][0].value()
    authentic = envelopes[0]
    assert authentic[:3] == b"SW\x01"
    altered = [_altered(authentic, place) for place in (40, 60, len(authentic) // 2, len(authentic) - 1)]
    garbage: dict[str, list[bytes | None]] = {
        "foreign": [b"a plain record", b"{}", b"", None, os.urandom(10), os.urandom(5000), b"SW\xff", bytes(ZEROS)],
        "truncated": [authentic[:cut] for cut in (3, 4, 35, 51, 120)],
        "bad-signature": [*altered, authentic[:-1], authentic[:-200], authentic + b"\0"],
        "misplaced": [envelopes[1], of_neighbour],
        "unknown-version": [b"SW\x02" + authentic[3:]],
        "unknown-suite": [b"SW\x01\x63" + authentic[4:]],
        "parked": [_of_session(authentic, os.urandom(32))],
    }
    before, repeated = mirror.status["refused"], mirror.status["counters"].get("duplicates", 0)
    for values in garbage.values():
        produce(world.cloud, garbled, values)
    produce(
        world.cloud, garbled, [os.urandom(30) for _ in range(BATCH)], **{"compression.type": "zstd", "linger.ms": 200}
    )
    produce(world.cloud, garbled, [bytes(ZEROS)], **{"compression.type": "gzip"})
    produce(world.cloud, garbled, [authentic])  # true, and old news
    send(bridge, "target", "after")
    await_count(world.sink, "target", 60)

    wanted = {reason: len(values) for reason, values in garbage.items()}
    wanted["foreign"] += BATCH + 1
    counted: dict[str, int] = {}

    def all_counted() -> bool:
        status = mirror.status
        counted.clear()
        counted.update({each: status["refused"].get(each, 0) - before.get(each, 0) for each in wanted})
        counted["duplicates"] = status["counters"].get("duplicates", 0) - repeated
        return counted == {**wanted, "duplicates": 1}

    try:
        await_(all_counted, "every piece of garbage counted")
    except AssertionError:
        assert counted == {**wanted, "duplicates": 1}
    assert differences(read_all(world.source, "target"), read_all(world.sink, "target")) == []
    assert mirror.said("refused: foreign") <= 10  # sampled into the log, with the place
    assert mirror.said(f"{garbled}[0] offset") > 0


def test_strange_sessions_are_parked_within_a_bound_and_pin_nothing_that_follows(bridge: Bridge) -> None:
    world, mirror, garbled = bridge.world, bridge.mirror, bridge.world.cloud_topic("neighbour")
    send(bridge, "neighbour", "first")
    await_(lambda: read_all(world.cloud, garbled, raw=True)[2], "an envelope in the cloud")
    authentic = read_all(world.cloud, garbled, raw=True)[2][0].value()
    before = mirror.status["refused"].get("parked", 0)
    produce(world.cloud, garbled, [_of_session(authentic, os.urandom(32)) for _ in range(STRANGE_SESSIONS)], 2)
    send(bridge, "neighbour", "then")
    await_(lambda: mirror.status["refused"].get("parked", 0) >= before + STRANGE_SESSIONS, "all of them seen")
    count = sum(map(len, read_all(world.source, "neighbour").values()))
    await_count(world.sink, "neighbour", count)
    assert differences(read_all(world.source, "neighbour"), read_all(world.sink, "neighbour")) == []
    assert PARKED_MOST <= mirror.status["parked_sessions"] <= PARKED_MOST + 10


def _altered(envelope: bytes, place: int) -> bytes:
    return envelope[:place] + bytes((envelope[place] ^ 1,)) + envelope[place + 1 :]


def _of_session(envelope: bytes, session_id: bytes) -> bytes:
    return envelope[: SESSION.start] + session_id + envelope[SESSION.stop :]
