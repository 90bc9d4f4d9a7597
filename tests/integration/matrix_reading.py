"""Topics read by librdkafka, read_committed, as running digests: a topic of any size costs 16 bytes a record."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import TopicPartition
from matrix_records import canonical
from traffic import reader

if TYPE_CHECKING:
    from confluent_kafka import Message
    from kafka_cluster import KafkaCluster

READ_WITHIN: Final = 120.0
_SETTINGS: Final = {
    "auto.offset.reset": "earliest",
    "fetch.message.max.bytes": 16 << 20,
    "receive.message.max.bytes": 200 << 20,
}


@dataclass
class Reading:
    """One partition: a digest of each record, one of them all, and where they lie."""

    records: list[bytes] = field(default_factory=list)
    whole: Any = field(default_factory=hashlib.sha256)
    first: int = -1
    last: int = -1
    size: int = 0

    def take(self, message: Message) -> None:
        record = canonical_of(message)
        self.records.append(hashlib.blake2b(record, digest_size=16).digest())
        self.whole.update(record)
        self.size += len(record)
        offset = message.offset()
        assert offset is not None
        self.first = offset if self.first < 0 else self.first
        self.last = offset

    @property
    def sum(self) -> tuple[int, str]:
        """How many records, and the SHA-256 of all of them in order."""
        return len(self.records), self.whole.hexdigest()


def canonical_of(message: Message) -> bytes:
    _, timestamp = message.timestamp()
    headers: tuple[Any, ...] = tuple(message.headers() or ())
    return canonical(timestamp, message.key(), message.value(), headers)  # type: ignore[arg-type]


def read(cluster: KafkaCluster, topic: str) -> dict[int, Reading]:
    """Read a topic from its log start to where a read_committed reader ends now; {} when it is not there."""
    consumer = reader(cluster, _SETTINGS)
    try:
        shown = consumer.list_topics(topic, timeout=20).topics[topic]
        if shown.error is not None:
            return {}
        found = {partition: Reading() for partition in shown.partitions}
        consumer.assign([TopicPartition(topic, each, 0) for each in found])
        left, until = set(found), time.monotonic() + READ_WITHIN
        while left:
            for message in consumer.consume(500, 0.05):
                partition = message.partition()
                assert partition is not None
                if message.error() is not None:
                    left.discard(partition)
                else:
                    found[partition].take(message)
            assert time.monotonic() < until, f"{topic} of {cluster.name} cannot be read to its end"
    finally:
        consumer.close()
    return found


def differing(source: dict[int, Reading], sink: dict[int, Reading]) -> dict[int, list[int]]:
    """List by partition the numbers of the records that are not the same at both ends."""
    found = {}
    for partition in sorted(source | sink):
        ours, theirs = (each.get(partition, Reading()) for each in (source, sink))
        if ours.sum != theirs.sum:
            pairs = enumerate(zip_longest(ours.records, theirs.records))
            found[partition] = [number for number, (one, other) in pairs if one != other]
    return found


def show(cluster: KafkaCluster, topic: str, partition: int, number: int) -> str:
    """One record in words, for who has to find out why it differs."""
    consumer, at = reader(cluster, _SETTINGS), 0
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        while True:
            some = consumer.consume(500, 10.0)
            if not some:
                return "no such record"
            for message in some:
                if message.error() is not None:
                    return "no such record"
                if at == number:
                    shape = f"offset {message.offset()}, time {message.timestamp()}, headers {message.headers()}"
                    return f"{shape}, record key {message.key()!r}, value {message.value()!r}"[:600]
                at += 1
    finally:
        consumer.close()
