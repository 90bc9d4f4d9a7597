"""Small traffic at an even pace: each record says when it was made, and a consumer at the other site when it came."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

from backlog import PARTITIONS, VALUE_BYTES
from confluent_kafka import Consumer, Producer, TopicPartition

if TYPE_CHECKING:
    from bridge import Bridge


class Arrival(NamedTuple):
    """One record that came: its partition, and when it was made and came, in seconds of time.time()."""

    partition: int
    made: float
    came: float


class Steady:
    """Produces to a topic of the source and consumes the same topic of the sink, read_committed, until it is left."""

    def __init__(self, bridge: Bridge, topic: str, a_second: int) -> None:
        self.arrivals: list[Arrival] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._produce, args=(bridge.source.bootstrap, topic, a_second)),
            threading.Thread(target=self._consume, args=(bridge.sink.bootstrap, topic)),
        ]

    def __enter__(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def delays(self) -> list[float]:
        """Give the seconds that each record was on its way, the shortest first; never an empty list."""
        return sorted(each.came - each.made for each in self.arrivals) or [float("inf")]

    def again(self, since: float) -> float | None:
        """Tell how many seconds after a moment each partition had something made later; None while one had not."""
        first: dict[int, float] = {}
        for each in list(self.arrivals):
            if each.made > since:
                first.setdefault(each.partition, each.came - since)
        return max(first.values()) if len(first) == PARTITIONS else None

    def _produce(self, bootstrap: str, topic: str, a_second: int) -> None:
        producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "log_level": 2})
        rest = bytes(VALUE_BYTES - 8)
        began, number = time.monotonic(), 0
        while not self._over.is_set():
            due = began + number / a_second
            time.sleep(max(due - time.monotonic(), 0))
            producer.produce(topic, time.time_ns().to_bytes(8, "big") + rest, partition=number % PARTITIONS)
            producer.poll(0)
            number += 1
        producer.flush(10)

    def _consume(self, bootstrap: str, topic: str) -> None:
        settings = {"bootstrap.servers": bootstrap, "group.id": "delays", "fetch.wait.max.ms": 50, "log_level": 2}
        consumer = Consumer(settings)
        consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
        while not self._over.is_set():
            for message in consumer.consume(100, 0.005):
                value, partition = message.value(), message.partition()
                if value is not None and partition is not None:
                    self.arrivals.append(Arrival(partition, int.from_bytes(value[:8], "big") / 1e9, time.time()))
        consumer.close()
