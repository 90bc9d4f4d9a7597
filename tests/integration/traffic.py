"""Records on real clusters: produced with plain clients, read by independent ones, compared whole."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_world import WITHIN, await_

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafka_cluster import KafkaCluster

_LARGE: Final = {"fetch.message.max.bytes": 20 << 20, "receive.message.max.bytes": 100 << 20}


class Seen(NamedTuple):
    """A record as a reader sees it, without its offset."""

    record_key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: tuple[int, int]


Partitions = dict[int, list[Seen]]


def reader(cluster: KafkaCluster, settings: Mapping[str, str | int] | None = None) -> Consumer:
    """A reader of committed records that is told of each partition's end, to be assigned; nobody moves its offsets."""
    return Consumer(
        {
            "bootstrap.servers": cluster.bootstrap,
            "group.id": "independent-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,  # the end of a partition is told by an answer without records
            "isolation.level": "read_committed",
            "log_level": 0,
            **(settings or {}),
        }
    )


def read_all(cluster: KafkaCluster, topic: str, *, raw: bool = False) -> dict[int, list[Any]]:
    """Read a topic from its beginning to its present end; by partition, in order. `raw` gives confluent's messages."""
    consumer = reader(cluster, {**_LARGE, "auto.offset.reset": "earliest"})
    found: dict[int, list[Any]] = {}
    try:
        shown = consumer.list_topics(topic, timeout=20).topics[topic]
        if shown.error is not None:
            return {}
        found = {partition: [] for partition in shown.partitions}
        ends = {partition: _ends(consumer, topic, partition)[1] for partition in found}
        consumer.assign([TopicPartition(topic, partition, 0) for partition in found])
        open_ones = set(found)
        while open_ones:
            message = consumer.poll(20)
            assert message is not None, f"{topic} cannot be read to its end"
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            if message.error() is not None:
                open_ones.discard(partition)
                continue
            found[partition].append(message if raw else _seen(message))
            if offset + 1 >= ends[partition]:  # where records keep coming no fetch may ever find the end
                open_ones.discard(partition)
    finally:
        consumer.close()
    return found


def _seen(message: Message) -> Seen:
    headers: tuple[Any, ...] = tuple(message.headers() or ())
    return Seen(message.key(), message.value(), headers, message.timestamp())


_MOMENT: Final = 0.05  # seconds
_counted: dict[tuple[str, str], dict[int, tuple[int, int, int]]] = {}  # by topic: log start, position, records


def count_of(cluster: KafkaCluster, topic: str) -> int:
    """How many committed records a topic has, without what was deleted; 0 where it is not there yet.

    What was counted before is not read again: offsets would count the markers of transactions too.
    """
    consumer = reader(cluster, _LARGE)
    try:
        shown = consumer.list_topics(topic, timeout=20).topics[topic]
        if shown.error is not None:
            return 0
        known = _counted.setdefault((_id_of(cluster, topic), topic), {})
        ends: dict[int, int] = {}
        for partition in shown.partitions:
            low, ends[partition] = _ends(consumer, topic, partition)
            start, position, _count = known.get(partition, (-1, -1, 0))
            if start != low or not low <= position <= ends[partition]:
                known[partition] = low, low, 0
        consumer.assign([TopicPartition(topic, partition, known[partition][1]) for partition in shown.partitions])
        _count_on(consumer, known, ends)
        return sum(known[partition][2] for partition in shown.partitions)
    finally:
        consumer.close()


def taken(consumer: Consumer, within: float) -> list[Message]:
    """What has come, as soon as anything has; [] where nothing has within so many seconds.

    `consume` itself waits for all that it may take, or as long as it may.
    """
    until = time.monotonic() + within
    while True:
        messages = consumer.consume(5000, _MOMENT)
        if messages or time.monotonic() > until:
            return messages


def _ends(consumer: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """The offsets of a partition's log start, and after its last committed record."""
    low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=20)
    return low, high


def _count_on(consumer: Consumer, known: dict[int, tuple[int, int, int]], ends: dict[int, int]) -> None:
    """Count up to these ends: where records keep coming no fetch may ever find that there is no more."""
    left = set(ends)
    while left:
        messages = taken(consumer, 20)
        if not messages:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        for message in messages:
            partition, error, offset = message.partition(), message.error(), message.offset()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            assert partition is not None
            assert offset is not None
            start, position, count = known[partition]
            if error is not None:
                known[partition] = start, max(position, offset), count
                left.discard(partition)
            else:
                known[partition] = start, offset + 1, count + 1
                if offset + 1 >= ends[partition]:
                    left.discard(partition)


def _id_of(cluster: KafkaCluster, topic: str) -> str:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    # The request ends first, with an error of Kafka's: who waits for a cluster knows that one.
    return str(admin.describe_topics(TopicCollection([topic]), request_timeout=10)[topic].result(60).topic_id)


def await_count(cluster: KafkaCluster, topic: str, count: int, within: float = WITHIN) -> None:
    """Wait until a topic has so many records, or more."""
    seen: list[int] = []

    def enough() -> bool:
        with suppress(KafkaException):  # its leaders are being chosen
            seen[:] = [count_of(cluster, topic)]
        return bool(seen) and seen[0] >= count

    try:
        await_(enough, f"{count} records in {topic} of {cluster.name}", within, every=0.3)
    except AssertionError:
        raise AssertionError(f"{topic} of {cluster.name} has {seen} of {count} records") from None


def differences(source: Partitions, sink: Partitions) -> list[str]:
    """Say where two readings differ; [] when every record and the order of every partition are the same."""
    found = []
    for partition in sorted(source | sink):
        ours, theirs = source.get(partition, []), sink.get(partition, [])
        if len(ours) != len(theirs):
            found.append(f"[{partition}]: {len(ours)} records, then {len(theirs)}")
        found += [
            f"[{partition}] record {number}: {one} became {other}"
            for number, (one, other) in enumerate(zip(ours, theirs, strict=False))
            if one != other
        ]
    return found[:10]


class Comparison(NamedTuple):
    """What became of a load whose every record is unlike all others of its partition."""

    sent: int
    missing: int
    foreign: int
    disordered: int
    duplicates: int


def compare(source: Partitions, sink: Partitions) -> Comparison:
    """Compare where duplicates may be: what is seen for the first time must come in the source's order."""
    missing = foreign = disordered = duplicates = 0
    for partition, ours in source.items():
        known, firsts = set(ours), dict[Seen, None]()
        assert len(known) == len(ours), f"the load repeats itself: {Counter(ours).most_common(3)}"
        for each in sink.get(partition, []):
            if each in firsts:
                duplicates += 1
            elif each not in known:
                foreign += 1
            else:
                firsts[each] = None
        missing += len(ours) - len(firsts)
        arrived = list(firsts)
        disordered += sum(one != other for one, other in zip([e for e in ours if e in firsts], arrived, strict=True))
    return Comparison(sum(map(len, source.values())), missing, foreign, disordered, duplicates)


def await_more(cluster: KafkaCluster, topic: str, count: int, within: float = WITHIN) -> None:
    """Wait until so many more records are in a topic than there are now."""
    there: list[int] = []

    def counted() -> bool:
        with suppress(KafkaException):
            there[:] = [count_of(cluster, topic)]
        return bool(there)

    await_(counted, f"{topic} of {cluster.name} has leaders", within)
    await_count(cluster, topic, there[0] + count, within)


def await_whole(source: KafkaCluster, sink: KafkaCluster, topic: str, within: float = WITHIN) -> Comparison:
    """Wait until nothing of a topic is missing at the sink; gives the last comparison, also when time is up."""
    ours, until = read_all(source, topic), time.monotonic() + within
    while True:
        last = compare(ours, read_all(sink, topic))
        if not last.missing or time.monotonic() > until:
            return last
        time.sleep(0.5)


def fill(cluster: KafkaCluster, topic: str, first: int, after: int) -> None:
    """Produce records of these numbers to the one partition of a topic, at most ten a batch."""
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "linger.ms": 0, "batch.num.messages": 10})
    for number in range(first, after):
        producer.produce(topic, b"%d" % number, b"%d" % number, 0)
    assert producer.flush(30) == 0


class Load(threading.Thread):
    """Records to every partition of a topic, some thousands a second, until it is told to stop."""

    def __init__(self, cluster: KafkaCluster, topic: str, per_second: int, partitions: int = 3, first: int = 0) -> None:
        super().__init__(daemon=True)
        self._topic, self._rate, self._partitions, self._first = topic, per_second, partitions, first
        settings = {"bootstrap.servers": cluster.bootstrap, "linger.ms": 5, "compression.type": "lz4", "acks": "all"}
        waiting = {"queue.buffering.max.messages": 1_000_000, "log_level": 0}  # its cluster may be away for a while
        # With more in flight librdkafka may write twice while leaders move (confluentinc/librdkafka#4953).
        once = {"enable.idempotence": True, "max.in.flight": 1}
        self._producer = Producer({**settings, **waiting, **once})
        self._ended = threading.Event()
        self.errors: list[str] = []
        self.sent: dict[int, int] = defaultdict(int)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def run(self) -> None:
        begun, number = time.monotonic(), self._first
        while not self._ended.is_set():
            due = self._first + int((time.monotonic() - begun) * self._rate)
            while number < due:
                partition = number % self._partitions
                value = b"%08d " % number + b"x" * 200
                self._producer.produce(
                    self._topic, value, key=b"%d" % number, partition=partition, on_delivery=self._told
                )
                self.sent[partition] += 1
                number += 1
            self._producer.poll(0.01)
        self._producer.flush(30)

    def _told(self, error: object, _message: Message) -> None:
        if error is not None:
            self.errors.append(str(error))

    @property
    def count(self) -> int:
        return sum(self.sent.values())

    def stop(self) -> int:
        """End it; gives how many records the source has taken."""
        self._ended.set()
        self.join(60)
        assert not self.errors, self.errors[:3]
        return self.count
