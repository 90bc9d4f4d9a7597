"""A load over many partitions, and an independent count of what became of it.

What a record holds follows from its partition and its number, so a million of them are compared without being kept.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from confluent_kafka import Message, Producer, TopicPartition
from traffic import reader, taken

if TYPE_CHECKING:
    from kafka_cluster import KafkaCluster

_RUN: Final = 20  # records of one partition after the other
_FIRST_TIMESTAMP: Final = int(time.time() * 1000) - 3_600_000  # retention goes by it


class Size(NamedTuple):
    """How large a load is."""

    topics: int
    partitions: int
    records: int
    per_second: int
    name: str = "fleet"

    @property
    def names(self) -> list[str]:
        return [f"{self.name}{number:02d}" for number in range(self.topics)]

    @property
    def places(self) -> list[tuple[str, int]]:
        return [(topic, partition) for topic in self.names for partition in range(self.partitions)]


def content(topic: str, partition: int, number: int) -> tuple[bytes, bytes, list[tuple[str, bytes]], int]:
    """Record key, value, headers and timestamp of a partition's record; its number is its source offset."""
    digest = hashlib.blake2b(b"%s/%d/%d" % (topic.encode(), partition, number)).hexdigest().encode()
    headers = [("number", b"%d" % number)] if number % 7 == 0 else []
    return b"%d" % number, b"%08d %s" % (number, digest), headers, _FIRST_TIMESTAMP + number


class FleetLoad(threading.Thread):
    """Records to every partition in turn, `per_second` of them (which may change), until it is told to stop."""

    later = 0  # ms by which timestamps are later than content() has them

    def __init__(self, cluster: KafkaCluster, size: Size) -> None:
        super().__init__(daemon=True)
        self._size, self.per_second = size, size.per_second
        self._errors: list[str] = []
        settings = {"bootstrap.servers": cluster.bootstrap, "linger.ms": 20, "compression.type": "lz4", "acks": "all"}
        more = {"enable.idempotence": True, "queue.buffering.max.messages": 200_000, "log_level": 0}
        self._producer = Producer({**settings, **more, "error_cb": lambda error: self._errors.append(str(error))})
        self._ended = threading.Event()
        self.sent: dict[tuple[str, int], int] = dict.fromkeys(size.places, 0)

    @property
    def count(self) -> int:
        return sum(self.sent.values())

    def run(self) -> None:
        due, then = 0.0, time.monotonic()
        while not self._ended.is_set():
            for place in self._size.places:
                while due < _RUN and not self._ended.is_set():
                    self._producer.poll(0.01)
                    now = time.monotonic()
                    due, then = min(due + (now - then) * self.per_second, self.per_second), now
                if self._ended.is_set():
                    break
                due -= _RUN
                self._visit(*place)
        self._producer.flush(60)

    def _visit(self, topic: str, partition: int) -> None:
        first, producer = self.sent[topic, partition], self._through()
        for number in range(first, first + _RUN):
            key, value, headers, timestamp = content(topic, partition, number)
            timestamp += self.later
            while True:
                try:
                    producer.produce(topic, value, key=key, partition=partition, headers=headers, timestamp=timestamp)
                    break
                except BufferError:
                    producer.poll(0.1)
        self.sent[topic, partition] = first + _RUN

    def _through(self) -> Producer:
        """The producer of the next run of records."""
        return self._producer

    def rest(self) -> int:
        """Send nothing for now; gives how many records the source has."""
        self.per_second = 0
        count = -1
        while count != self.count or len(self._producer):
            count = self.count
            time.sleep(0.2)
        return count

    def stop(self) -> int:
        """End it; gives how many records it sent."""
        self._ended.set()
        self.join(120)
        assert not len(self._producer), self._errors[:3]
        return self.count


@dataclass
class Partition:
    """What an independent reader finds in one partition; `next` is the first number that was never seen."""

    next: int = 0
    foreign: int = 0
    disordered: int = 0  # first seen after a later one
    duplicates: int = 0
    broken: int = 0  # duplicates that do not go on where the one before ended
    missing: set[int] = field(default_factory=set)
    rewinds: list[tuple[int, int, int]] = field(default_factory=list)  # sink offset, back from, back to
    _last: int = -1

    def see(self, topic: str, partition: int, message: Message) -> None:
        key, value = message.key(), message.value()
        number = int(key) if key is not None else -1
        found = (key, value, message.headers() or [], message.timestamp()[1])
        if number < 0 or found != content(topic, partition, number):
            self.foreign += 1
            return
        if number >= self.next:
            self.missing.update(range(self.next, number))
            self.next = number + 1
        elif number in self.missing:
            self.missing.discard(number)
            self.disordered += 1
        else:
            self.duplicates += 1
            if number <= self._last:
                self.rewinds.append((message.offset() or 0, self._last, number))
            elif number != self._last + 1:
                self.broken += 1
        self._last = number


def read(cluster: KafkaCluster, size: Size) -> dict[tuple[str, int], Partition]:
    """Read all partitions to their present ends."""
    consumer = reader(cluster, {"queued.max.messages.kbytes": 65536})
    found = {place: Partition() for place in size.places}
    open_ones = set(found)
    try:
        consumer.assign([TopicPartition(*place, 0) for place in size.places])
        while open_ones:
            messages = taken(consumer, 10)
            assert messages, f"{sorted(open_ones)[:5]} cannot be read to their ends"
            for message in messages:
                topic, partition = message.topic(), message.partition()
                assert topic is not None
                assert partition is not None
                if message.error() is not None:
                    open_ones.discard((topic, partition))
                else:
                    found[topic, partition].see(topic, partition, message)
    finally:
        consumer.close()
    return found


class Totals(NamedTuple):
    """What was found in all partitions together."""

    missing: int
    foreign: int
    disordered: int
    broken: int
    duplicates: int


def totals(found: dict[tuple[str, int], Partition]) -> Totals:
    """Add up what was found."""
    each = list(found.values())
    counts = (sum(getattr(one, what) for one in each) for what in ("foreign", "disordered", "broken", "duplicates"))
    return Totals(sum(len(one.missing) for one in each), *counts)
