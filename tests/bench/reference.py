"""R: librdkafka consuming a topic in a process of its own, every value read. Prints records, CPU seconds, wall seconds.

reference.py BOOTSTRAP TOPIC PARTITIONS COUNT AT_ONCE

AT_ONCE is how many records one call of the client gives at most: 500 is the cheapest way there is (of 1, 500 and 5000
tried), 1 what a plain loop over poll() does.
"""

from __future__ import annotations

import sys
import time

from confluent_kafka import Consumer, Message, TopicPartition

DEADLINE_S = 120.0


def main(bootstrap: str, topic: str, partitions: int, count: int, at_once: int) -> int:
    """Consume ``count`` records; the clock runs from the first to the last."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reference", "enable.auto.commit": False, "log_level": 2}
    )
    consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
    until = time.monotonic() + DEADLINE_S
    seen = size = 0
    began: tuple[float, float] | None = None
    while seen < count:
        messages = _next(consumer, at_once if began else 1)
        if messages and began is None:
            began = time.process_time(), time.monotonic()
        for message in messages:
            value = message.value()
            if value is not None:
                seen += 1
                size += len(value)
        if time.monotonic() > until:
            return 1
    ended = time.process_time(), time.monotonic()
    assert began is not None  # noqa: S101 - there are records
    sys.stdout.write(f"{seen - 1} {ended[0] - began[0]} {ended[1] - began[1]} {size}\n")
    consumer.close()
    return 0


def _next(consumer: Consumer, at_once: int) -> list[Message]:
    if at_once > 1:
        return consumer.consume(at_once, 1.0)
    message = consumer.poll(1.0)
    return [] if message is None else [message]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
