"""Reading and writing statements in the cloud's topics, for the command line: blocking, groupless, at its own pace.

Workers do not use this; they follow the same topics with the agents' own reader and writer.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from sealwire.app.clouderrors import LOGIN, SECURITY, away, diagnosis, words
from sealwire.app.cloudrecord import CloudRecord, record_of
from sealwire.app.faults import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealwire.agents.settings import Cluster

POLL_S: Final = 0.5
LOOK_S: Final = 3.0
ATTEMPT_S: Final = 10.0
_BACK: Final = 16  # offsets: the newest ones may be transactions' markers, which are no records
LARGEST: Final = 8 << 20  # bytes of one record: what our cloud topics are made with

_END: Final = KafkaError._PARTITION_EOF  # noqa: SLF001


class CloudLog:
    """The cloud's topics through one producer and short-lived consumers. ``notice`` takes words for a person."""

    def __init__(self, cluster: Cluster, notice: Callable[[str], None]) -> None:
        """Connect lazily: nothing is sent before the first call."""
        self.bootstrap = cluster.bootstrap
        self._cluster = cluster
        self._notice = notice
        self._failed: KafkaError | None = None
        self._away = False
        self._met: set[str] = set()
        self._config: dict[str, Any] = {
            **cluster.security,
            "bootstrap.servers": cluster.bootstrap,
            "client.id": "sealwire",
            "logger": _quiet_logger(),
            "error_cb": self._on_error,
            "reconnect.backoff.ms": 250,
            "reconnect.backoff.max.ms": 5000,
        }
        self._producer: Producer | None = None

    def __enter__(self) -> Self:
        """Use for a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Let go of the connections; nothing is waited for, since `publish` has waited already."""
        if self._producer:
            self._producer.purge(blocking=False)
            self._producer.flush(0)
            self._producer = None

    def wait(self, topic: str, *, seconds: float | None = None) -> None:
        """Wait until the cluster answers and has this topic; says once that it is away, and once that it is back.

        Raises `Failure` when the topic is missing, the login is refused, or the seconds are over (None: for ever).
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        producer = self._producer or self._make_producer()
        self._failed = None
        while True:
            try:
                patience = LOOK_S if deadline is None else min(LOOK_S, max(0.1, deadline - time.monotonic()))
                found = producer.list_topics(topic, timeout=patience).topics[topic]
            except KafkaException as error:
                producer.poll(0)  # for what `error_cb` knows better
                self._refused(self._failed or error.args[0], topic)
            else:
                if found.error is None and found.partitions:
                    break
                self._refused(found.error, topic)
            if deadline is not None and time.monotonic() >= deadline:
                raise self._nobody()
            self._say_away()
            time.sleep(POLL_S)
        self._met.add(topic)
        self._say_back()

    def publish(self, topic: str, record_key: bytes, value: bytes, *, seconds: float | None = None) -> int:
        """Write one record, and return its offset once every in-sync replica has it (acks=all).

        Tried again for as long as it takes, or for so many seconds; then, or when it is refused for good, `Failure`.
        A record may stand twice after a lost acknowledgement: statements bear that.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        if topic not in self._met:
            self.wait(topic, seconds=seconds)
        producer = self._producer or self._make_producer()
        self._failed = None
        while True:
            outcome: list[tuple[KafkaError | None, Message]] = []
            producer.produce(topic, value, record_key, on_delivery=lambda *result: outcome.append(result))  # noqa: B023
            while not outcome:
                producer.poll(POLL_S)
                if self._failed and self._failed.code() in LOGIN:
                    self._refused(self._failed, topic)
            error, message = outcome[0]
            if error is None:
                self._say_back()
                return int(message.offset() or 0)
            self._refused(error, topic)
            if not error.retriable() and error.code() not in (KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT):  # noqa: SLF001
                raise Failure(f"{self.bootstrap} refused a record for topic {topic}: {error.str()}.")
            if deadline is not None and time.monotonic() >= deadline:
                raise self._nobody()
            self._say_away()

    def read_whole(self, topic: str, partition: int = 0) -> list[CloudRecord]:
        """Read a partition from its start to the end that a fetch says it has now."""
        return [record for record in self.follow(topic, partition=partition, to_end=True) if record]

    def read_since(self, topic: str, since: int, partition: int = 0, *, seconds: float = 20) -> list[CloudRecord]:
        """Read the records from a time (ms) on, as the cloud dates them; from the first where it does not tell."""
        self.wait(topic, seconds=seconds)
        place = TopicPartition(topic, partition, since)
        with self._consumer(place) as read:
            try:
                (found,) = read.offsets_for_times([place], timeout=seconds)
            except KafkaException as error:
                self._refused(error.args[0], topic)
                found = TopicPartition(topic, partition, 0)
        offset = 0 if found.error is not None else found.offset  # librdkafka's word for the end where none is so young
        return [each for each in self.follow(topic, offset, partition=partition, to_end=True) if each]

    def follow(
        self, topic: str, offset: int | None = None, *, partition: int = 0, to_end: bool = False
    ) -> Iterator[CloudRecord | None]:
        """Give the records from an offset on (None: the first), and None whenever there is nothing for half a second.

        Ends only with ``to_end``, at the high watermark of a fetch: the one end that every broker tells truly. It is
        that of the first fetch that brought something, so that reading ends where records keep coming.
        Raises `Failure` when the topic is missing or reading it is forbidden.
        """
        if topic not in self._met:
            self.wait(topic)
        # From 0 where no offset is named: a cloud that has deleted so far says so, and the first it keeps comes next.
        # To ask for the beginning instead costs half a second each time, in librdkafka.
        place = TopicPartition(topic, partition, offset or 0)
        with self._consumer(place, quick=to_end) as read:
            end = -1
            while True:
                message = read.poll(POLL_S)
                error = message.error() if message is not None else self._failed
                if message is not None and error is None:
                    self._say_back()
                    if to_end and end < 0:
                        end = read.get_watermark_offsets(place, cached=True)[1]
                    yield (record := record_of(message))
                    if to_end and 0 <= end <= record.offset + 1:
                        return
                    continue
                if error is not None and error.code() == _END:
                    self._say_back()
                    if to_end:
                        return
                elif error is not None:
                    self._refused(error, topic)
                    self._say_away()
                yield None

    def newest(self, topic: str, partition: int = 0, *, seconds: float = 20) -> CloudRecord:
        """Read the newest record; raises `Failure` where there is none, or nobody answers."""
        self.wait(topic, seconds=seconds)
        place = TopicPartition(topic, partition)
        with self._consumer(place) as read:
            try:
                # The end that is told may be short of the true one; it is never short of the last batch's beginning.
                first, end = read.get_watermark_offsets(place, timeout=seconds)
            except KafkaException as error:
                self._refused(error.args[0], topic)
                raise self._nobody() from None
        found = None
        for record in self.follow(topic, max(first, end - _BACK), partition=partition, to_end=True):
            found = record or found
        if found is None:
            raise Failure(f"Partition {partition} of topic {topic} is empty.")
        return found

    def read_one(self, topic: str, partition: int, offset: int, *, seconds: float = 20) -> CloudRecord:
        """Read the record at an offset; raises `Failure` where there is none, or nobody answers in time."""
        self.wait(topic, seconds=seconds)
        deadline = time.monotonic() + seconds
        place = TopicPartition(topic, partition, offset)
        with self._consumer(place) as read:
            while time.monotonic() < deadline:
                message = read.poll(POLL_S)
                error = message.error() if message is not None else None
                if message is not None and error is None:
                    if message.offset() == offset:
                        return record_of(message)
                    break
                first, end = read.get_watermark_offsets(place, cached=True)
                if (error is not None and error.code() == _END) or first > offset or 0 <= end <= offset:
                    break
                self._refused(error, topic)
            else:
                raise self._nobody()
        raise Failure(
            f"Topic {topic} has no record at offset {offset} of partition {partition}.",
            "It is before the first that the cloud keeps, after the last, or one of Kafka's own markers.",
        )

    @contextmanager
    def _consumer(self, place: TopicPartition, *, quick: bool = True) -> Iterator[Consumer]:
        config = {
            "group.id": "sealwire",  # librdkafka asks for one; nothing is subscribed or committed under it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": False,
            "isolation.level": "read_uncommitted",
            "fetch.wait.max.ms": 20 if quick else 500,  # how long a fetch at the end waits for more
        }
        consumer = Consumer({**self._config, **config})
        try:
            consumer.assign([place])
            yield consumer
        finally:
            consumer.close()

    def _make_producer(self) -> Producer:
        config = {
            "acks": "all",
            "enable.idempotence": False,  # the embedded broker has no producer ids, and a copy harms nothing
            "max.in.flight.requests.per.connection": 1,
            "linger.ms": 0,
            "message.max.bytes": LARGEST,
            "message.timeout.ms": int(ATTEMPT_S * 1000),
            "allow.auto.create.topics": False,
        }
        self._producer = Producer({**self._config, **config})
        return self._producer

    def _on_error(self, error: KafkaError) -> None:
        self._failed = error

    def _refused(self, error: KafkaError | None, topic: str) -> None:
        """Raise what no waiting cures; remember the rest."""
        if error is not None:
            self._failed = error
            if error.code() in SECURITY:
                raise self._nobody()
            refusal = words(error, self.bootstrap, topic)
            if refusal:
                raise refusal

    def _nobody(self) -> Failure:
        return away(self._cluster, self._failed.str() if self._failed else "no answer in time")

    def _say_away(self) -> None:
        if not self._away:
            self._away = True
            self._notice(f"{diagnosis(self._cluster) or f'{self.bootstrap} does not answer'}; waiting for it")

    def _say_back(self) -> None:
        self._failed = None
        if self._away:
            self._away = False
            self._notice(f"{self.bootstrap} answers")


def _quiet_logger() -> logging.Logger:
    """Give librdkafka a logger that says nothing: what a person needs to know is said here, once."""
    logger = logging.getLogger("sealwire.librdkafka")
    logger.disabled = True
    return logger
