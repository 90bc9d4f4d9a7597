"""A cluster in memory behind the seam of agents/ports.py: real seats and scans over stored batches, and a hostile hand.

What the reader serves goes through the product's own Seat, Fetched and scan(); what the writer stores is restamped as
the real one does. A test reaches into a Partition to be the cloud that nobody has to trust.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiokafka.structs import TopicPartition
from batch_made import control
from fake_transactions import Coordinator, FakeTransactions

from sealwire.agents.admin import TopicFacts
from sealwire.agents.batches import scan
from sealwire.agents.blocking import ClusterRefused
from sealwire.agents.budget import Budget
from sealwire.agents.frames import PartitionAnswer
from sealwire.agents.header import read_header, restamp
from sealwire.agents.parcel import RecordMetadata, Stopped
from sealwire.agents.producer import Refused
from sealwire.agents.records import read
from sealwire.agents.rights import Rights
from sealwire.agents.seat import Fetched, OffsetOutOfRange, Seat
from sealwire.agents.single import record_batch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealwire.agents.positions import Position
    from sealwire.agents.settings import Cluster

Where = tuple[str, int]
FETCH_BYTES = 1024 * 1024
WAKE_EVERY = 0.05  # seconds: a reader that missed a nudge looks again


@dataclass
class Partition:
    """One log. ``visible`` (an offset) hides what is behind it; ``stored`` and ``acked`` stop the writer there."""

    batches: list[bytes] = field(default_factory=list)
    start: int = 0
    end: int = 0
    visible: int | None = None
    stable: int | None = None  # the last stable offset, where a transaction is open
    aborted: tuple[tuple[int, int], ...] = ()
    open: dict[int, int] = field(default_factory=dict)  # first offset of each open transaction, by producer id
    aborts: list[tuple[int, int, int]] = field(default_factory=list)  # producer id, first offset, offset of the marker
    old: bytes = b""  # of an old message format, behind everything else
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    stored: asyncio.Event = field(default_factory=asyncio.Event)
    acked: asyncio.Event = field(default_factory=asyncio.Event)
    refuse: Callable[[bytes], str] = lambda _batch: ""
    most: int = 1 << 31  # bytes of a batch: max.message.bytes
    refused: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    produced: int = 0
    written: list[bytes] = field(default_factory=list)  # every batch as its writer gave it
    reads: int = 0  # bytes served

    def __post_init__(self) -> None:
        self.stored.set()
        self.acked.set()

    @property
    def shown(self) -> int:
        """The end that readers see."""
        return self.end if self.visible is None else min(self.visible, self.end)

    @property
    def lso(self) -> int:
        """The last stable offset: what a reader of committed records is shown."""
        return min([self.shown if self.stable is None else self.stable, *self.open.values()])

    def lost(self, since: int) -> tuple[tuple[int, int], ...]:
        """The aborted transactions that a fetch from an offset on is told of."""
        return (*self.aborted, *((producer, first) for producer, first, marker in self.aborts if marker >= since))

    def committed(self) -> list[bytes]:
        """Every batch that a reader of committed records takes, or will when it is shown all."""
        found, stable = [], min([self.end, *self.open.values()])
        for batch in self.batches:
            header = read_header(batch)
            base, producer = header.base_offset, header.producer_id
            undone = any(each == producer and first <= base < marker for each, first, marker in self.aborts)
            if not header.control and base < stable and not (header.transactional and undone):
                found.append(batch)
        return found

    def mark(self, producer: int, *, commit: bool) -> None:
        """End a producer's transaction with a marker, as its coordinator asks."""
        first = self.open.pop(producer, self.end)
        if not commit:
            self.aborts.append((producer, first, self.end))
        self.append(control(self.end, producer, commit=commit))

    def append(self, batch: bytes | bytearray | memoryview, *, base: int | None = None) -> int:
        """Store a batch as a leader does; its base offset, the log's end unless ``base`` says another."""
        stored = bytearray(batch)
        header = read_header(stored)
        base = self.end if base is None else base
        struct.pack_into(">q", stored, 0, base)
        struct.pack_into(">i", stored, 12, 0)
        self.batches.append(bytes(stored))
        self.end = base + header.last_offset_delta + 1
        self.wake()
        return base

    def wake(self) -> None:
        """Let readers look."""
        self.changed.set()
        self.changed = asyncio.Event()

    def show(self, upto: int | None = None) -> None:
        """Show readers what lies before an offset, or everything."""
        self.visible = upto
        self.wake()

    def inject(self, value: bytes | None, record_key: bytes | None = None) -> int:
        """Store a record of anybody's."""
        return self.append(record_batch(value, 1, record_key))

    def value(self, offset: int) -> bytes:
        """The record at an offset."""
        for batch in self.batches:
            for record in read(memoryview(batch)):
                if record.offset == offset and record.value is not None:
                    return bytes(record.value)
        raise LookupError(offset)

    def values(self) -> list[bytes]:
        """Every committed record's value, in order."""
        found = [read(memoryview(batch)) for batch in self.committed()]
        return [bytes(record.value or b"") for records in found for record in records]

    def drop(self, offset: int) -> bytes:
        """Lose the record at an offset: its batch is not served any more. Returns its value."""
        value = self.value(offset)
        self.batches = [batch for batch in self.batches if read_header(batch).base_offset != offset]
        return value

    def swap(self, one: int, other: int) -> None:
        """Exchange two records."""
        first, second = self.value(one), self.value(other)
        self.replace(one, second)
        self.replace(other, first)

    def replace(self, offset: int, value: bytes) -> None:
        """Serve another value at an offset."""
        batch = record_batch(value, 1)
        restamp(batch)
        struct.pack_into(">q", batch, 0, offset)
        at = [read_header(each).base_offset for each in self.batches].index(offset)
        self.batches[at] = bytes(batch)

    def truncate(self, start: int) -> None:
        """Delete what lies before an offset, as retention does."""
        self.batches = [batch for batch in self.batches if read_header(batch).last_offset >= start]
        self.start, self.end = start, max(self.end, start)


class FakeCluster:
    """Topics with ids, made by hand."""

    log = Partition

    def __init__(self) -> None:
        self.topics: dict[str, tuple[bytes, list[Partition]]] = {}
        self.coordinator = Coordinator(self)

    def make(self, topic: str, partitions: int = 1) -> None:
        """Make a topic, or make it anew under another topic id."""
        self.topics[topic] = (os.urandom(16), [self.log() for _ in range(partitions)])

    def grow(self, topic: str, partitions: int) -> None:
        """Add partitions to a topic."""
        have = self.topics[topic][1]
        have.extend(self.log() for _ in range(partitions - len(have)))

    def at(self, topic: str, partition: int = 0) -> Partition:
        """One log."""
        return self.topics[topic][1][partition]

    def facts(self) -> dict[str, TopicFacts]:
        """What an administrator is told."""
        return {name: TopicFacts(topic_id, len(logs)) for name, (topic_id, logs) in self.topics.items()}


class FakeReader:
    """The groupless reader: a task for each seat, the budget kept as the real one keeps it."""

    def __init__(self, cluster: FakeCluster, budget: Budget | None = None, fetch_bytes: int = FETCH_BYTES) -> None:
        self.budget = budget or Budget(64 * 1024 * 1024)
        self._cluster = cluster
        self._fetch_bytes = min(fetch_bytes, self.budget.total // 4)
        self.rights = Rights("fake")
        self.seats: dict[Seat, asyncio.Task[None]] = {}
        self.most = 0  # the highest that the budget was used

    def seat(
        self,
        topic: str,
        partition: int,
        offset: int,
        take: Callable[[Fetched], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> Seat:
        seat = Seat(self, TopicPartition(topic, partition), offset, take, failed)
        self.seats[seat] = asyncio.create_task(self._serve(seat))
        return seat

    def unseat(self, seat: Seat) -> None:
        task = self.seats.pop(seat, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        seat.end()

    def nudge(self, seat: Seat) -> None:
        if seat.topic in self._cluster.topics:
            self._cluster.at(*seat.where).wake()

    async def log_start(self, topic: str, partition: int) -> int:
        return self._cluster.at(topic, partition).start

    async def end_offset(self, topic: str, partition: int, *, committed: bool = False) -> int:
        log = self._cluster.at(topic, partition)
        return log.lso if committed else log.shown

    async def stop(self) -> None:
        for seat in list(self.seats):
            self.unseat(seat)

    async def _serve(self, seat: Seat) -> None:
        while seat.alive:
            log = self._cluster.at(*seat.where)
            changed = log.changed
            if not self._give(seat, log):
                with suppress(TimeoutError):
                    async with asyncio.timeout(WAKE_EVERY):
                        await changed.wait()

    def _give(self, seat: Seat, log: Partition) -> bool:  # noqa: C901, PLR0911
        if not seat.hungry:
            return False
        if not log.start <= seat.offset <= log.end:
            seat.fail(OffsetOutOfRange(seat.topic, seat.partition, seat.offset, log.start, log.end))
            return False
        room = self.budget.take(self._fetch_bytes)
        if not room:
            return False
        try:
            data = bytearray()
            for batch in log.batches:
                header = read_header(batch)
                if seat.offset <= header.last_offset < log.lso:
                    if data and len(data) + len(batch) > room:
                        break
                    data += batch
            view, lost = memoryview(bytes(data)), log.lost(seat.offset)
            answer = PartitionAnswer(seat.topic, seat.partition, 0, log.shown, log.lso, log.start, lost, view)
            seat.heard(answer, asyncio.get_running_loop().time())
            if log.old and not data:
                view = memoryview(log.old)
            elif not data:
                return False
            try:
                found = scan(view, seat.offset, check_crc=False)
            except ValueError as error:
                seat.fail(error)
                return False
            if found.next <= seat.offset:
                return False
            first, seat.offset = seat.offset, found.next
            seat.put(Fetched(seat, first, found, answer))
            log.reads += found.size
        finally:
            self.budget.release(room)
        self.most = max(self.most, self.budget.used)
        return True


class FakeWriter:
    """acks=all, one batch in flight a partition, in the order of the calls; ``dead`` stores nothing any more."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.rights = Rights("fake")
        self.dead = False

    def transactions(self, transactional_id: str) -> FakeTransactions:
        return FakeTransactions(self._cluster, self, transactional_id)

    async def produce(self, topic: str, partition: int, batch: bytearray | memoryview | bytes) -> RecordMetadata:
        while topic not in self._cluster.topics:
            await asyncio.sleep(WAKE_EVERY)
        return RecordMetadata(topic, partition, await self.store(topic, partition, batch))

    async def store(
        self,
        topic: str,
        partition: int,
        batch: bytearray | memoryview | bytes,
        stamp: Callable[[], tuple[int, int, int]] | None = None,
        judge: Callable[[memoryview], None] = lambda _batch: None,
        stored: Callable[[int, int], None] = lambda _base, _count: None,
    ) -> int:
        """Stamp a batch, have it judged and append it, all in its turn; its base offset."""
        log = self._cluster.at(topic, partition)
        view = memoryview(batch)
        if view.readonly:
            view = memoryview(bytearray(view))
        async with log.turn:
            await log.stored.wait()
            if self.dead:
                raise Stopped
            restamp(view, *(stamp() if stamp else ()), transactional=stamp is not None)
            words = log.refuse(bytes(view))
            if words or len(view) > log.most:
                log.refused += 1
                raise Refused(words or "too large", too_large=not words)
            judge(view)
            base = log.append(view)
            stored(base, read_header(view).record_count)
            log.produced += 1
            log.written.append(bytes(view))
            await log.acked.wait()
            if self.dead:
                raise Stopped
        return base


class FakePositions:
    """What a group without members has committed; kept by the world, so that a new worker finds it."""

    def __init__(self, committed: dict[Where, Position]) -> None:
        self.committed = committed
        self.refuse: Exception | None = None

    async def load(self, partitions: list[Where]) -> dict[Where, Position]:
        return {where: self.committed[where] for where in partitions if where in self.committed}

    async def commit(self, positions: dict[Where, Position]) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.committed.update(positions)

    async def close(self) -> None:
        pass


class FakeAdmin:
    """An administrator's questions, answered from memory."""

    may_ask = True  # for the settings of topics
    forbidden: dict[str, str] = {}  # noqa: RUF012
    clusters: dict[str, FakeCluster] = {}  # noqa: RUF012 (by bootstrap; a world puts itself here)

    def __init__(self, cluster: Cluster, client_id: str = "") -> None:
        self._cluster = self.clusters[cluster.bootstrap]

    async def describe(self, names: object) -> dict[str, TopicFacts]:
        wanted = set(names)  # type: ignore[call-overload]
        return {name: facts for name, facts in self._cluster.facts().items() if name in wanted}

    async def topics(self) -> dict[str, int]:
        return {name: facts.partitions for name, facts in self._cluster.facts().items()}

    async def grow(self, name: str, partitions: int) -> None:
        self._cluster.grow(name, partitions)

    async def create_topics(self, plans: list[object]) -> list[str]:
        for plan in plans:
            self._cluster.make(plan.name, plan.partitions)  # type: ignore[attr-defined]
        return [plan.name for plan in plans]  # type: ignore[attr-defined]

    async def config(self, name: str) -> dict[str, str]:
        if not self.may_ask:
            message = "not authorised"
            raise ClusterRefused(message)
        return {"max.message.bytes": str(self._cluster.at(name).most)}

    async def cluster_id(self) -> str:
        return hashlib.sha256(str(id(self._cluster)).encode()).hexdigest()[:8]
