"""The independent check: what stands at both sites, record by record, read by ordinary clients."""

from __future__ import annotations

import hashlib
import struct
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from sealwire.app.demo_process import DemoFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

DIGEST: Final = 16  # bytes
READ_S: Final = 60.0
Where = tuple[str, int]  # topic, partition
Log = dict[Where, list[bytes]]  # the digest of each record, in the partition's order


@dataclass(frozen=True)
class Verdict:
    """What became of the records of site A. All are counts of records; a record out of its order counts as altered."""

    sealed: int
    delivered: int
    lost: int
    duplicated: int
    altered: int

    @property
    def good(self) -> bool:
        """Whether everything arrived once, in order and as it was."""
        return not (self.lost or self.duplicated or self.altered)

    def __str__(self) -> str:
        """Give the demo's last line."""
        return (
            f"demo: sealed={self.sealed} delivered={self.delivered} lost={self.lost} "
            f"duplicated={self.duplicated} altered={self.altered}"
        )


def compare(
    source: Mapping[Where, Sequence[bytes]],
    sink: Mapping[Where, Sequence[bytes]],
    sealed: int,
) -> Verdict:
    """Hold the records of two sites against each other, partition by partition, in number, content and order."""
    lost = duplicated = altered = 0
    for where in {*source, *sink}:
        sent, came = source.get(where, ()), sink.get(where, ())
        if list(sent) == list(came):
            continue
        missing, extra = Counter(sent) - Counter(came), Counter(came) - Counter(sent)
        known = set(sent)
        again = sum(count for digest, count in extra.items() if digest in known)
        changed = sum(extra.values()) - again
        duplicated += again
        altered += changed + _out_of_order(sent, came)
        lost += max(0, sum(missing.values()) - changed)
    return Verdict(sealed, sum(len(came) for came in sink.values()), lost, duplicated, altered)


def _out_of_order(sent: Sequence[bytes], came: Sequence[bytes]) -> int:
    there, seen = set(came), set(sent)
    first_sent = list(dict.fromkeys(digest for digest in sent if digest in there))
    first_came = list(dict.fromkeys(digest for digest in came if digest in seen))
    return sum(one != other for one, other in zip(first_sent, first_came, strict=True))


def digest(message: Message) -> bytes:
    """Give a digest of what an application sees of a record: record key, value, headers in order, and timestamp."""
    kind, moment = message.timestamp()
    parts: list[bytes | None] = [message.key(), message.value()]
    for name, value in headers(message):
        parts += [name.encode(), value]
    hashed = hashlib.blake2b(struct.pack(">qq", kind, moment), digest_size=DIGEST)
    for part in parts:
        hashed.update(b"\0" if part is None else b"\1" + struct.pack(">I", len(part)) + part)
    return hashed.digest()


def read_all(
    bootstrap: str,
    topics: Iterable[str],
    partitions: int,
    take: Callable[[Message], None],
    reader: str,
) -> None:
    """Read every record of these topics from the first to the present end, without a group. Raises DemoFailed."""
    places = [TopicPartition(topic, partition, 0) for topic in topics for partition in range(partitions)]
    consumer = Consumer(client(bootstrap, **{"enable.partition.eof": True}))
    consumer.assign(places)
    open_ends = {(place.topic, place.partition) for place in places}
    until = time.monotonic() + READ_S
    try:
        while open_ends:
            for message in consumer.consume(5_000, 0.2):
                error = message.error()
                if error is None:
                    take(message)
                    until = time.monotonic() + READ_S
                elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's name of a local event
                    open_ends.discard((message.topic(), message.partition()))
                elif error.fatal() or not error.retriable():
                    raise DemoFailed(reader, f"could not read: {error.str()}")
            if time.monotonic() > until:
                raise DemoFailed(reader, f"got no answer for {READ_S:.0f} s")
    finally:
        consumer.close()


def read_log(bootstrap: str, topics: Iterable[str], partitions: int, reader: str) -> Log:
    """Read topics whole, as one digest a record."""
    log: Log = {}

    def take(message: Message) -> None:
        log.setdefault(where(message), []).append(digest(message))

    read_all(bootstrap, topics, partitions, take, reader)
    return log


def where(message: Message) -> Where:
    """Give the topic and partition that a record was read from."""
    return message.topic() or "", message.partition() or 0


def headers(message: Message) -> tuple[tuple[str, bytes | None], ...]:
    """Give a record's headers in their order; librdkafka's typing is wider than what it returns for a record read."""
    return cast("tuple[tuple[str, bytes | None], ...]", tuple(message.headers() or ()))


def client(bootstrap: str, **more: object) -> dict[str, object]:
    """Give the settings of an ordinary consumer that joins no group and commits nothing."""
    return {
        "bootstrap.servers": bootstrap,
        "group.id": "nobody",  # librdkafka asks for a name; assign() alone never joins
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "fetch.wait.max.ms": 10,
        "log_level": 0,
        **more,
    }
