"""Records made ahead: values of 1 kB that look like random bytes, or like text of which lz4 saves about half."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VALUE_BYTES: Final = 1000
LARGE_BYTES: Final = 8_000_000  # a record's value
PARTITIONS: Final = 3
_DIFFERENT: Final = 4096  # values that are made; more records repeat them, far apart
_LARGE: Final = 1_000_000
_STILL_S: Final = 10.0
_ROUNDS: Final = 3
JAVA_DEFAULT: Final = 16_384  # bytes: batch.size of Java's producer


@dataclass(frozen=True)
class Kind:
    """How a source topic is filled: its codec, and the most bytes before compression and records of one batch."""

    name: str
    codec: str = "none"
    batch_bytes: int = _LARGE
    batch_records: int = 10_000
    most: int = 1_000_000  # records: no topic of this kind holds more
    max_bytes: Mapping[str, int] = field(default_factory=dict)  # max.message.bytes at a cluster, by its name

    def values(self) -> Sequence[bytes]:
        """Make the values, the same ones each time."""
        chance = random.Random(7)  # noqa: S311 - nothing secret
        if self.codec == "none":
            return [chance.randbytes(VALUE_BYTES) for _ in range(_DIFFERENT)]
        words = [chance.randbytes(chance.randint(1, 4)).hex().encode() for _ in range(2000)]
        return [_text(chance, words) for _ in range(_DIFFERENT)]


KINDS: Final = (
    Kind("none"),
    Kind("lz4", "lz4"),
    Kind("16k", batch_bytes=JAVA_DEFAULT),
    # What a producer without linger makes at a small rate: nothing is merged before it is at the broker.
    Kind("one record", batch_records=1, most=60_000),
    # Neither the cloud nor the sink takes such batches: both sides take every one apart, and make smaller ones.
    Kind("slow path", "lz4", most=100_000, max_bytes={"cloud": 300_000, "sink": 100_000}),
)


def _text(chance: random.Random, words: Sequence[bytes]) -> bytes:
    text = b" ".join(chance.choices(words, k=VALUE_BYTES // 3))
    return text[:VALUE_BYTES]


def fill(
    bootstrap: str, topic: str, kind: Kind, count: int, values: Sequence[bytes], partitions: int = PARTITIONS
) -> None:
    """Produce ``count`` records without record keys, spread evenly, and return when the cluster has them all."""
    small = kind.batch_records == 1
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": kind.codec,
            "batch.size": kind.batch_bytes,
            "batch.num.messages": kind.batch_records,
            "linger.ms": 0 if small else 500,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
            # A request holds one batch a partition: small ones are asked no answer for, but counted.
            **({"acks": 0} if small else {"enable.idempotence": True}),
            "log_level": 2,
        }
    )
    missing = count
    for _ in range(_ROUNDS):
        for number in range(missing):
            # Runs of records to one partition after the other: batches fill up before their linger is over.
            partition = number % partitions if small else number * partitions // missing
            producer.produce(topic, values[number % len(values)], partition=partition)
        left = producer.flush(120)
        missing = count - _await_stored(bootstrap, topic, partitions, count)
        if left or missing <= 0 or not small:  # what nobody confirms may get lost: then its like is sent
            break
    if left or missing > 0:
        message = f"{left or missing} records of {topic} were not stored"
        raise RuntimeError(message)


def _await_stored(bootstrap: str, topic: str, partitions: int, count: int) -> int:
    """Wait until a topic has so many records, or gets no more of them; give how many it has."""
    there, since = -1, time.monotonic()
    while there < count and time.monotonic() < since + _STILL_S:
        if (now := stored(bootstrap, topic, partitions)) != there:
            there, since = now, time.monotonic()
        time.sleep(0.05)
    return there


def fill_large(bootstrap: str, topic: str, each: int, partitions: int) -> None:
    """Produce ``each`` records of 8 MB to every partition, and return when the cluster has them all."""
    settings = {"bootstrap.servers": bootstrap, "message.max.bytes": 9_000_000, "linger.ms": 0, "log_level": 2}
    producer = Producer(settings)
    value = random.Random(8).randbytes(LARGE_BYTES)  # noqa: S311 - nothing secret
    for number in range(each * partitions):
        producer.produce(topic, value, partition=number % partitions)
        producer.flush(60)
    if stored(bootstrap, topic, partitions) != each * partitions:
        message = f"not all large records of {topic} were stored"
        raise RuntimeError(message)


def stored(bootstrap: str, topic: str, partitions: int) -> int:
    """Count the records that a topic has, by its end offsets."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 2})
    asked = {TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)}  # type: ignore[no-untyped-call]
    return sum(answer.result(10).offset for answer in admin.list_offsets(asked, request_timeout=10).values())
