"""What a cloud can do to the envelopes that it keeps: repeat them, put them in another order, lose them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from kafka_cluster import KafkaCluster

_WITHIN: Final = 30.0  # seconds: its broker may have been restarted just before
_LARGEST: Final = 16 << 20


class Meddler:
    """Has the cloud in hand, beside every worker."""

    def __init__(self, cloud: KafkaCluster) -> None:
        self._bootstrap = {"bootstrap.servers": cloud.bootstrap, "log_level": 0}
        self._admin = AdminClient(self._bootstrap)

    def ends(self, topic: str) -> dict[int, tuple[int, int]]:
        """The offsets that each partition has, as [first, next)."""
        partitions = self._insist(lambda: self._admin.list_topics(topic, timeout=5).topics[topic].partitions)
        earliest, latest = (self._offsets(topic, list(partitions), spec) for spec in ("earliest", "latest"))
        return {partition: (earliest[partition], latest[partition]) for partition in partitions}

    def read(self, topic: str, partition: int, first: int, until: int) -> list[Message]:
        """The records of a span as they are stored."""
        consumer = Consumer({**self._bootstrap, "group.id": "meddler", "enable.auto.commit": False})
        found: list[Message] = []
        deadline = time.monotonic() + _WITHIN
        try:
            consumer.assign([TopicPartition(topic, partition, first)])
            while first < until and time.monotonic() < deadline:
                message = consumer.poll(1)
                if message is not None and message.error() is None:
                    first = (message.offset() or 0) + 1
                    found += [message] if first <= until else []
        finally:
            consumer.close()
        return found

    def put(self, records: Sequence[Message]) -> None:
        """Store these again at the end of their partitions, in this order, byte for byte."""
        producer = Producer({**self._bootstrap, "message.max.bytes": _LARGEST, "enable.idempotence": True})
        for each in records:
            topic = each.topic()
            assert topic is not None
            where: dict[str, Any] = {"partition": each.partition(), "timestamp": each.timestamp()[1]}
            producer.produce(topic, each.value(), key=each.key(), headers=each.headers() or [], **where)
        assert producer.flush(_WITHIN) == 0, "the cloud does not take the copies"

    def delete(self, topic: str, before: dict[int, int]) -> None:
        """Delete what is before an offset of each partition."""
        wanted = [TopicPartition(topic, partition, offset) for partition, offset in before.items()]
        if wanted:
            self._insist(lambda: [each.result(5) for each in self._admin.delete_records(wanted).values()])

    def recreate(self, topic: str) -> None:
        """Delete a topic with all that it holds, and make one of its name, size and settings."""
        size = len(self.ends(topic))
        resource = ConfigResource(ResourceType.TOPIC, topic)
        (described,) = self._admin.describe_configs([resource]).values()
        dynamic = 1  # ConfigSource: set for this topic
        settings = {name: each.value for name, each in described.result(_WITHIN).items() if each.source == dynamic}
        self._insist(lambda: self._delete_topic(topic))
        new = NewTopic(topic, size, 1, config=settings)
        self._insist(lambda: [each.result(5) for each in self._admin.create_topics([new]).values()])

    def _delete_topic(self, topic: str) -> None:
        (deleted,) = self._admin.delete_topics([topic]).values()
        try:
            deleted.result(5)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # else it was done, and nobody heard of it
                raise

    def _offsets(self, topic: str, partitions: Sequence[int], which: str) -> dict[int, int]:
        def ask() -> dict[int, int]:
            spec = OffsetSpec.earliest() if which == "earliest" else OffsetSpec.latest()  # type: ignore[no-untyped-call]
            wanted = dict.fromkeys((TopicPartition(topic, each) for each in partitions), spec)
            found = self._admin.list_offsets(wanted, request_timeout=5)
            return {each.partition: future.result().offset for each, future in found.items()}

        return dict(self._insist(ask))

    def _insist(self, what: Callable[[], Any]) -> Any:
        """Try until it is done: deletion takes a moment, and a broker may be starting."""
        deadline = time.monotonic() + _WITHIN
        while True:
            try:
                return what()
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)
