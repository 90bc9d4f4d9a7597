"""Records made ahead: values of 1 kB that look like random bytes, or like text of which lz4 saves about half."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import Producer

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUE_BYTES: Final = 1000
PARTITIONS: Final = 3
_DIFFERENT: Final = 4096  # values that are made; more records repeat them, far apart
_LARGE: Final = 1_000_000
JAVA_DEFAULT: Final = 16_384  # bytes: batch.size of Java's producer


@dataclass(frozen=True)
class Kind:
    """How a source topic is filled: its codec, and the most bytes of one batch before compression."""

    name: str
    codec: str = "none"
    batch_bytes: int = _LARGE

    def values(self) -> Sequence[bytes]:
        """Make the values, the same ones each time."""
        chance = random.Random(7)  # noqa: S311 - nothing secret
        if self.codec == "none":
            return [chance.randbytes(VALUE_BYTES) for _ in range(_DIFFERENT)]
        words = [chance.randbytes(chance.randint(1, 4)).hex().encode() for _ in range(2000)]
        return [_text(chance, words) for _ in range(_DIFFERENT)]


KINDS: Final = (Kind("none"), Kind("lz4", "lz4"), Kind("16k", batch_bytes=JAVA_DEFAULT))


def _text(chance: random.Random, words: Sequence[bytes]) -> bytes:
    text = b" ".join(chance.choices(words, k=VALUE_BYTES // 3))
    return text[:VALUE_BYTES]


def fill(
    bootstrap: str, topic: str, kind: Kind, count: int, values: Sequence[bytes], partitions: int = PARTITIONS
) -> None:
    """Produce ``count`` records without record keys, spread evenly, and return when the cluster has them all."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": kind.codec,
            "batch.size": kind.batch_bytes,
            "batch.num.messages": 10_000,
            "linger.ms": 500,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
            "enable.idempotence": True,
            "log_level": 2,
        }
    )
    # Runs of records to one partition after the other: batches fill up before their linger is over.
    for number in range(count):
        producer.produce(topic, values[number % len(values)], partition=number * partitions // count)
    left = producer.flush(120)
    if left:
        message = f"{left} records of {topic} were not stored"
        raise RuntimeError(message)
