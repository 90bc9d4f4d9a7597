"""One record followed through all three clusters by ordinary clients."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from sealwire.app.demo_check import client
from sealwire.app.demo_process import DemoFailed
from sealwire.app.demo_records import PARTITIONS, TOPICS
from sealwire.app.demo_stage import SITES, Stage, cloud_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from confluent_kafka import KafkaError, Message

    from sealwire.app.demo_records import Line

ONE_RECORD_S: Final = 30.0
STALLED_S: Final = 30.0  # nothing new at site B for so long: what is missing is lost, and the check will say so
QUEUE_FULL_S: Final = 0.05
BATCH: Final = 1_000
_LARGEST: Final = 8 << 20


@dataclass(frozen=True)
class Views:
    """One record as it was produced, as the cloud has it, and as it was delivered; times in ms after producing."""

    line: Line
    produced: Message  # as its producer's delivery report has it: place only
    stored: Message
    delivered: Message
    stored_ms: float
    delivered_ms: float


class Traffic:
    """An ordinary producer at site A, and ordinary consumers at the cloud and at site B."""

    def __init__(self, stage: Stage) -> None:
        """Connect the clients; they read from the first record on, so that nothing slips past them."""
        self._stage = stage
        settings = {
            "linger.ms": 5,
            "acks": "all",
            "message.max.bytes": _LARGEST,
            "log_level": 0,
        }
        self._producer = Producer({"bootstrap.servers": stage.source.bootstrap, **settings})
        self._cloud = _reader(stage.cloud.bootstrap, [cloud_topic(topic) for topic in TOPICS])
        self._sink = _reader(stage.sink.bootstrap, TOPICS)
        self._failed: KafkaError | None = None
        self.produced = 0
        self.delivered = 0
        self.bytes = 0  # of record keys, values and headers, as an application counts them

    def close(self) -> None:
        """Let go of the connections."""
        self._producer.purge()
        self._producer.flush(0)
        self._cloud.close()
        self._sink.close()

    def follow(self, line: Line) -> Views:
        """Send one record and wait until it is delivered. Raises DemoFailed, naming where it stayed."""
        self._drain()
        acknowledged: list[Message] = []
        began = time.monotonic()
        self._send(line, acknowledged.append)
        until = began + ONE_RECORD_S
        while not acknowledged:
            self._producer.poll(0.01)
            self._look(until, f"the broker of site {SITES[0]}", "did not take a record")
        produced = acknowledged[0]
        stored: Message | None = None
        delivered: Message | None = None
        stored_ms = 0.0
        while stored is None or delivered is None:
            if stored is None:
                message = self._cloud.poll(0.001)
                if message is not None and message.error() is None and message.partition() == produced.partition():
                    stored, stored_ms = message, _since(began)
            message = self._sink.poll(0.001)
            if message is not None and message.error() is None:
                self.delivered += 1
                delivered = message if message.key() == line.record_key else delivered
                delivered_ms = _since(began)
            where = 1 if stored is not None else 0
            words = "did not deliver it" if stored is not None else "did not seal the record"
            self._look(until, self._stage.workers[where].name, words, where)
        return Views(line, produced, stored, delivered, stored_ms, delivered_ms)

    def stream(self, lines: Iterator[Line], progress: Callable[[int, int], None]) -> tuple[float, float]:
        """Send all lines and take in what is delivered, until all is or nothing more comes.

        Gives the seconds until the last acknowledgement at site A, and until the last record at site B.
        """
        began = latest = time.monotonic()
        sent_s = 0.0
        done = False
        while not done or self.delivered < self.produced:
            for _ in range(BATCH if not done else 0):
                line = next(lines, None)
                if line is None:
                    self._producer.flush(ONE_RECORD_S)
                    sent_s, done = time.monotonic() - began, True
                    break
                self._send(line)
            came = self._take_in(0.0 if not done else 0.05)
            now = time.monotonic()
            latest = now if came or not done else latest
            progress(self.produced, self.delivered)
            self._stage.check()
            if self._failed:
                raise DemoFailed(self._stage.source.name, f"refused a record: {self._failed.str()}")
            if now - latest > STALLED_S:
                break
        return sent_s, latest - began

    def _drain(self) -> None:
        # A record followed alone must be the only news: what came before is taken off first.
        while self._cloud.consume(BATCH, 0.05):
            pass
        self._take_in(0.0)

    def _take_in(self, patience_s: float) -> int:
        came = sum(message.error() is None for message in self._sink.consume(BATCH * 5, patience_s))
        self.delivered += came
        return came

    def _send(self, line: Line, acknowledged: Callable[[Message], None] | None = None) -> None:
        def report(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed = error
            elif acknowledged is not None:
                acknowledged(message)

        while True:
            try:
                self._producer.produce(
                    line.topic,
                    line.value,
                    line.record_key,
                    on_delivery=report,
                    timestamp=line.timestamp,
                    headers=list(line.headers),
                )
                break
            except BufferError:
                self._producer.poll(QUEUE_FULL_S)
            except KafkaException as error:
                raise DemoFailed(self._stage.source.name, f"refused a record: {error.args[0].str()}") from None
        self._producer.poll(0)
        self.produced += 1
        self.bytes += len(line.record_key) + len(line.value)
        self.bytes += sum(len(name) + len(value or b"") for name, value in line.headers)

    def _look(self, until: float, part: str, words: str, worker: int | None = None) -> None:
        self._stage.check()
        if self._failed:
            raise DemoFailed(self._stage.source.name, f"refused a record: {self._failed.str()}")
        if time.monotonic() > until:
            tail = self._stage.workers[worker].tail() if worker is not None else self._stage.source.tail()
            raise DemoFailed(part, f"{words} within {ONE_RECORD_S:.0f} s", tail)


def _reader(bootstrap: str, topics: list[str] | tuple[str, ...]) -> Consumer:
    consumer = Consumer(client(bootstrap))
    consumer.assign([TopicPartition(topic, partition, 0) for topic in topics for partition in range(PARTITIONS)])
    return consumer


def _since(began: float) -> float:
    return (time.monotonic() - began) * 1000
