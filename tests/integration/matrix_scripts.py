"""How the topics of the matrix are written: each script is a course of events at a source topic."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kafka_world import await_
from matrix_records import FAR, HOUR, Record, in_order
from matrix_stored import stored
from matrix_writers import Aiokafka, Hand, Java, Librdkafka, Manner, Peer
from traffic import count_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kafka_cluster import KafkaCluster
    from matrix_kinds import Kind

CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
CLEANED_WITHIN: Final = 60.0


@dataclass
class Scene:
    """One kind of topic, written by one client: its source topic, and what became of it."""

    kind: Kind
    writer: str
    topic: str
    count: int
    cluster: KafkaCluster
    peer: Peer
    committed: int = 0  # records that a read_committed reader has to find
    finish: Callable[[], None] | None = None  # what is still to be done when all else was delivered
    _made: int = field(default=0)

    @contextmanager
    def producer(self, **changes: Any) -> Iterator[Hand]:
        """Lend a producer of the scene's client, in the kind's manner but for the changes."""
        made = self.hand(**changes)
        try:
            yield made
        finally:
            made.close()

    def hand(self, **changes: Any) -> Hand:
        manner = replace(self.kind.manner, **changes)
        if manner.transactional:
            self._made += 1
            manner = replace(manner, transactional=f"{self.topic}-{manner.transactional}-{self._made}")
        return _hand(self.writer, self.cluster.bootstrap, manner, self.peer)

    def records(self, first: int = 0, following: int | None = None) -> Iterator[Record]:
        """Make the records with the numbers [first, following)."""
        return (self.kind.record(n) for n in range(first, self.count if following is None else following))

    def blocks(self, size: int) -> Iterator[tuple[int, int]]:
        return ((first, min(first + size, self.count)) for first in range(0, self.count, size))


def _hand(writer: str, bootstrap: str, manner: Manner, peer: Peer) -> Hand:
    if writer == "java":
        return Java(peer, bootstrap, manner)
    return Librdkafka(bootstrap, manner) if writer == "librdkafka" else Aiokafka(bootstrap, manner)


def plain(scene: Scene) -> None:
    with scene.producer() as hand:
        hand.send(scene.topic, scene.records())
        hand.flush()
    scene.committed = scene.count


def nobody(scene: Scene) -> None:
    """A topic that is there and empty."""
    scene.committed = 0


def codecs_in_turn(scene: Scene) -> None:
    """A producer that is configured anew: one codec after the other."""
    each = -(-scene.count // len(CODECS))
    for codec, (first, following) in zip(CODECS, scene.blocks(each), strict=False):
        with scene.producer(codec=codec) as hand:
            hand.send(scene.topic, scene.records(first, following))
            hand.flush()
    scene.committed = scene.count


def several_at_once(scene: Scene) -> None:
    """Producers of every codec on the same partitions, their batches mingled."""
    hands = [scene.hand(codec=codec) for codec in CODECS]
    for number, (first, following) in enumerate(scene.blocks(max(scene.count // 100, 3))):
        hand = hands[number % len(hands)]
        hand.send(scene.topic, scene.records(first, following))
        hand.flush()
    for hand in hands:
        hand.close()
    scene.committed = scene.count


def committed(scene: Scene) -> None:
    with scene.producer(transactional="t") as hand:
        for first, following in scene.blocks(max(scene.count // 20, 10)):
            hand.begin()
            hand.send(scene.topic, scene.records(first, following))
            hand.commit()
    scene.committed = scene.count


def aborted(scene: Scene, *, every: int = 2) -> None:
    """Transactions of which the first and every so many is committed, and the others are aborted when written."""
    with scene.producer(transactional="t") as hand:
        for number, (first, following) in enumerate(scene.blocks(max(scene.count // 20, 10))):
            hand.begin()
            hand.send(scene.topic, scene.records(first, following))
            hand.flush()
            if number % every == 0:
                hand.commit()
                scene.committed += following - first
            else:
                hand.abort()


def all_aborted(scene: Scene) -> None:
    with scene.producer(transactional="t") as hand:
        for first, following in scene.blocks(max(scene.count // 5, 10)):
            hand.begin()
            hand.send(scene.topic, scene.records(first, following))
            hand.flush()
            hand.abort()
    scene.committed = 0


def interleaved(scene: Scene) -> None:
    """Three transactional producers and one without, block by block on the same partitions; every other one aborts."""
    hands = [scene.hand(transactional=f"t{each}") for each in range(3)] + [scene.hand()]
    at = dict.fromkeys(range(3), 0)  # records of the transaction that is open
    ended = 0
    for number, (first, following) in enumerate(scene.blocks(max(scene.count // 80, 3))):
        who = number % len(hands)
        hand = hands[who]
        if who in at and not at[who]:
            hand.begin()
        hand.send(scene.topic, scene.records(first, following))
        hand.flush()
        if who not in at:
            scene.committed += following - first
            continue
        at[who] += following - first
        if number % 5 == who:  # so that they end in ever another order
            scene.committed += _end(hand, at, who, commit=ended % 2 == 0)
            ended += 1
    for who, hand in enumerate(hands):
        if at.get(who):
            scene.committed += _end(hand, at, who, commit=True)
        hand.close()


def _end(hand: Hand, at: dict[int, int], who: int, *, commit: bool) -> int:
    (hand.commit if commit else hand.abort)()
    count, at[who] = at[who], 0
    return count if commit else 0


def left_open(scene: Scene) -> None:
    """A transaction that stays open amid records: what lies behind it is for nobody's eyes before it ends."""
    third = scene.count // 3
    with scene.producer() as other:
        other.send(scene.topic, scene.records(0, third))
        other.flush()
        opened = scene.hand(transactional="t")
        opened.begin()
        opened.send(scene.topic, scene.records(third, 2 * third))
        opened.flush()
        other.send(scene.topic, scene.records(2 * third))
        other.flush()
    scene.committed = third

    def finish() -> None:
        opened.commit()
        opened.close()
        scene.committed = scene.count

    scene.finish = finish


def several_producers(scene: Scene) -> None:
    """Three producers, each with a producer id of its own, in turn on the same partitions."""
    hands = [scene.hand() for _ in range(3)]
    for number, (first, following) in enumerate(scene.blocks(min(max(scene.count // 30, 3), 100))):
        hands[number % 3].send(scene.topic, scene.records(first, following))
        hands[number % 3].flush()
    for hand in hands:
        hand.close()
    scene.committed = scene.count


def log_begins_late(scene: Scene) -> None:
    """The first third of every partition was deleted; the log begins inside a batch wherever batches are larger."""
    plain(scene)
    third = scene.count // scene.kind.partitions // 3 + 1
    admin = AdminClient({"bootstrap.servers": scene.cluster.bootstrap})
    wanted = [TopicPartition(scene.topic, partition, third) for partition in range(scene.kind.partitions)]
    for each in admin.delete_records(wanted).values():
        each.result(30)
    scene.committed -= third * scene.kind.partitions


def log_is_gone(scene: Scene) -> None:
    """All that was there is deleted, then more comes: the log start is the end of what was."""
    half = scene.count // 2
    with scene.producer() as hand:
        hand.send(scene.topic, scene.records(0, half))
        hand.flush()
        admin = AdminClient({"bootstrap.servers": scene.cluster.bootstrap})
        (done,) = admin.delete_records([TopicPartition(scene.topic, 0, half)]).values()
        done.result(30)
        hand.send(scene.topic, scene.records(half))
        hand.flush()
    scene.committed = scene.count - half


def compacted(scene: Scene) -> None:
    """What Kafka's own cleaner leaves of a topic: written, rolled by a record of a later hour, waited for."""
    with scene.producer() as hand:
        hand.send(scene.topic, scene.records())
        hand.flush()
        _roll(scene, hand, in_order(scene.count) + 2 * HOUR)
        latest = {scene.kind.record(n).record_key: n for n in range(scene.count)}
        scene.committed = len(latest) + 1
        await_cleaned(scene)


def compacted_transactions(scene: Scene) -> None:
    """The same of transactions, of which every third is aborted: a cleaner takes those out and their markers later."""
    latest = set()
    with scene.producer(transactional="t") as hand, scene.producer() as other:
        for number, (first, following) in enumerate(scene.blocks(max(scene.count // 12, 10))):
            hand.begin()
            hand.send(scene.topic, scene.records(first, following))
            hand.flush()
            if number % 3 == 2:  # noqa: PLR2004
                hand.abort()
            else:
                hand.commit()
                latest |= {record.record_key for record in scene.records(first, following)}
        _roll(scene, other, FAR)  # later than the markers, which have the broker's time
        scene.committed = len(latest) + 1
        await_cleaned(scene)


def tombstones_gone(scene: Scene) -> None:
    """Cleaned twice: record keys whose last word was a tombstone are gone with their tombstones."""
    compacted(scene)
    living = {scene.kind.record(n).record_key: scene.kind.record(n).value for n in range(scene.count)}
    with scene.producer() as hand:
        scene.committed = (
            sum(value is not None for value in living.values()) + 2
        )  # one begins a segment, one is cleaned
        at = in_order(scene.count) + 2 * HOUR

        def cleaned() -> bool:
            nonlocal at
            at += 2 * HOUR
            _roll(scene, hand, at)
            time.sleep(1)
            return _left(scene) <= scene.committed

        await_(cleaned, f"{scene.topic} without tombstones", CLEANED_WITHIN)
    await_cleaned(scene)


def _roll(scene: Scene, hand: Hand, at: int) -> None:
    """Write one record that is dated so late that it begins a segment: what is before it may be cleaned."""
    hand.send(scene.topic, [Record(0, b"roll", b"%d" % at, (), at)])
    hand.flush()


def _left(scene: Scene) -> int:
    """How many records are stored, as the broker's files have it; aborted ones and markers do not count."""
    return sum(each.count for each in stored(scene.cluster, scene.topic) if not each.control)


def await_cleaned(scene: Scene) -> None:
    """Wait until the cleaner is done: what is left is what has to be."""
    await_(
        lambda: _left(scene) <= scene.committed,
        f"{scene.committed} records left by the cleaner of {count_of(scene.cluster, scene.topic)} in {scene.topic}",
        CLEANED_WITHIN,
        every=0.25,
    )
