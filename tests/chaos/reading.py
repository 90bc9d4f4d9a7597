"""Two clusters read by librdkafka, which knows nothing of us: what a consumer of the sink would see."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from checker import NO_NUMBER, Log, Reading, Where
from confluent_kafka import KafkaError, Message, TopicPartition
from traffic import reader, taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kafka_cluster import KafkaCluster

_WITHIN: Final = 30.0  # seconds for the next record or end
_NOT_THERE: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)


class Follower:
    """Reads partitions on, to their ends of the time, whenever it is asked to. ``logs`` hold what it has read."""

    def __init__(self, cluster: KafkaCluster, places: Sequence[Where], isolation: str) -> None:
        self.logs = {place: Log() for place in places}
        self._next = dict.fromkeys(places, 0)
        self._cluster = cluster
        self._settings = {
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            "queued.max.messages.kbytes": 65536,
        }

    def read_on(self) -> int:
        """Read to the present ends; how many records there are by now."""
        open_ones = set(self.logs)
        consumer = reader(self._cluster, self._settings)
        try:
            consumer.assign([TopicPartition(*place, offset) for place, offset in self._next.items()])
            while open_ones:
                messages = taken(consumer, _WITHIN)
                assert messages, f"{self._cluster.name} cannot be read to its end: {sorted(open_ones)[:5]}"
                for message in messages:
                    self._take(message, open_ones)
        finally:
            consumer.close()
        return sum(map(len, self.logs.values()))

    def _take(self, message: Message, open_ones: set[Where]) -> None:
        topic, partition, offset, error = message.topic(), message.partition(), message.offset(), message.error()
        assert topic is not None
        assert partition is not None
        place = (topic, partition)
        if error is None:
            assert offset is not None
            number, digest = told(message)
            self.logs[place].add(number, digest, offset)
            self._next[place] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF or error.code() in _NOT_THERE:
            open_ones.discard(place)
        else:
            raise AssertionError(f"{self._cluster.name}, {topic}[{partition}]: {error}")


def told(message: Message) -> tuple[int, int]:
    """The number of a record, and a digest of all that a consumer sees of it."""
    key, number = message.key(), NO_NUMBER
    with suppress(TypeError, ValueError):
        number = int(key)  # type: ignore[arg-type]
    whole = repr((key, message.value(), message.headers(), message.timestamp())).encode()
    return number, int.from_bytes(hashlib.blake2b(whole, digest_size=8).digest(), "big")


class Reader:
    """A cluster read both ways."""

    def __init__(self, cluster: KafkaCluster, places: Sequence[Where]) -> None:
        self._places = places
        self.committed = Follower(cluster, places, "read_committed")
        self._everything = Follower(cluster, places, "read_uncommitted")

    def readings(self) -> dict[Where, Reading]:
        """Read the rest of it, and give all."""
        self.committed.read_on()
        self._everything.read_on()
        return {place: Reading(self.committed.logs[place], self._everything.logs[place]) for place in self._places}
