"""The transactions of a cluster in memory: a coordinator with ids and epochs, and a producer behind the seam.

What Kafka promises is kept to the letter: taking an id bumps its epoch and aborts what is open, an older epoch is
fenced at every request, what is open too long is aborted, sequences have no holes. What it does not promise is for
tests to choose: ``lose`` decides which answers never arrive, ``before`` may wait, or raise, before anything is done.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sealwire.agents.header import read_header
from sealwire.agents.parcel import RecordMetadata, Stopped
from sealwire.agents.producer import Doubt, Fenced, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from fake_kafka import FakeCluster, FakeWriter

Where = tuple[str, int]


async def _at_once(_deed: str, _transactional_id: str) -> None:
    """Wait for nothing."""


@dataclass
class Held:
    """What the coordinator knows of one transactional id."""

    identity: int
    epoch: int = -1
    included: set[Where] = field(default_factory=set)
    since: asyncio.TimerHandle | None = None
    sequences: dict[Where, int] = field(default_factory=dict)
    committed: int = 0
    aborted: int = 0


class Coordinator:
    """Who holds which transactional id, and what is open. ``timeout``: seconds after which it is aborted.

    Deeds are "begin", "include", "produce", "commit" and "abort". ``before(deed, transactional_id)`` is awaited before
    each is done; ``lose(deed, transactional_id)`` True lets it be done and its answer be lost, for which its producer
    has a Doubt (at "begin" it asks again).
    """

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        self.known: dict[str, Held] = {}
        self.timeout = 10.0
        self.before: Callable[[str, str], Awaitable[None]] = _at_once
        self.lose: Callable[[str, str], bool] = lambda _deed, _transactional_id: False

    def begin(self, transactional_id: str) -> tuple[int, int]:
        """Give the id to whoever asks; abort what its last holder left open."""
        held = self.known.setdefault(transactional_id, Held(1000 + len(self.known)))
        self._end(held, commit=False)
        held.epoch += 1
        held.sequences.clear()
        return held.identity, held.epoch

    def include(self, transactional_id: str, epoch: int, partitions: Iterable[Where]) -> None:
        """Open a transaction, or widen it."""
        held = self.held(transactional_id, epoch)
        for where in partitions:
            if where[0] not in self._cluster.topics:
                message = f"{where[0]} is not there"
                raise Refused(message)
        if not held.included:
            loop = asyncio.get_running_loop()  # the broker's timer, whatever becomes of the producer
            held.since = loop.call_later(self.timeout, self.expire, transactional_id, epoch, context=Context())
        held.included.update(partitions)

    def held(self, transactional_id: str, epoch: int) -> Held:
        """Let only its holder pass."""
        held = self.known[transactional_id]
        if held.epoch != epoch:
            message = f"epoch {epoch} of {transactional_id} was followed by {held.epoch}"
            raise Fenced(message)
        return held

    def stamp(self, transactional_id: str, epoch: int, where: Where, batch: memoryview) -> None:
        """Judge a stamped batch as its leader does."""
        held, header = self.held(transactional_id, epoch), read_header(batch)
        if where not in held.included:
            message = f"{where} is not in the transaction"
            raise Doubt(message)
        if header.base_sequence != held.sequences.get(where, 0):
            message = f"sequence {header.base_sequence} at {where}, not {held.sequences.get(where, 0)}"
            raise Doubt(message)

    def stored(self, transactional_id: str, where: Where, base: int, count: int) -> None:
        """Count the records of a batch that was stored, and keep readers of committed records before it."""
        held = self.known[transactional_id]
        held.sequences[where] = held.sequences.get(where, 0) + count
        self._cluster.at(*where).open.setdefault(held.identity, base)

    def end(self, transactional_id: str, epoch: int, *, commit: bool) -> None:
        """Write the markers."""
        held = self.held(transactional_id, epoch)
        if not held.included:
            message = "no transaction is open"
            raise Doubt(message)
        self._end(held, commit=commit)

    def expire(self, transactional_id: str, epoch: int | None = None) -> None:
        """Let what is open have been open for too long: it is aborted, and its producer fenced."""
        held = self.known[transactional_id]
        if held.included and epoch in {None, held.epoch}:
            self._end(held, commit=False)
            held.epoch += 1
            held.sequences.clear()

    def _end(self, held: Held, *, commit: bool) -> None:
        if held.since is not None:
            held.since.cancel()
            held.since = None
        if held.included:
            held.committed += commit
            held.aborted += not commit
        for topic, partition in sorted(held.included):
            if topic in self._cluster.topics:
                self._cluster.at(topic, partition).mark(held.identity, commit=commit)
        held.included = set()


class FakeTransactions:
    """The producer side, as agents/ports.py describes it."""

    def __init__(self, cluster: FakeCluster, writer: FakeWriter, transactional_id: str) -> None:
        self._cluster, self._writer, self._id = cluster, writer, transactional_id
        self._identity, self._epoch = -1, -1
        self._sequences: dict[Where, int] = {}
        self.closed = self._included = False
        self.waits = ""

    @property
    def open(self) -> bool:
        return self._included

    async def begin(self) -> None:
        while True:
            await self._before("begin")
            self._identity, self._epoch = self._cluster.coordinator.begin(self._id)
            if not self._cluster.coordinator.lose("begin", self._id):
                return

    async def include(self, partitions: Iterable[Where]) -> None:
        await self._before("include")
        self._cluster.coordinator.include(self._id, self._epoch, list(partitions))
        self._included = True
        self._answer("include")

    async def produce(self, topic: str, partition: int, batch: bytearray | memoryview | bytes) -> RecordMetadata:
        where = (topic, partition)
        await self._before("produce")

        def stamp() -> tuple[int, int, int]:
            return self._identity, self._epoch, self._sequences.get(where, 0)

        def judge(view: memoryview) -> None:
            if self.closed:
                message = "closed"
                raise Doubt(message)
            self._cluster.coordinator.stamp(self._id, self._epoch, where, view)

        def stored(base: int, count: int) -> None:
            self._cluster.coordinator.stored(self._id, where, base, count)
            self._sequences[where] = self._sequences.get(where, 0) + count

        base = await self._writer.store(topic, partition, batch, stamp, judge, stored)
        self._answer("produce")
        return RecordMetadata(topic, partition, base)

    async def commit(self) -> None:
        await self._end("commit", commit=True)

    async def abort(self) -> None:
        await self._end("abort", commit=False)

    async def _end(self, deed: str, *, commit: bool) -> None:
        await self._before(deed)
        self._cluster.coordinator.end(self._id, self._epoch, commit=commit)
        self._included = False
        self._answer(deed)

    def close(self) -> None:
        self.closed = True

    async def _before(self, deed: str) -> None:
        await self._cluster.coordinator.before(deed, self._id)
        if self._writer.dead:
            raise Stopped
        if self.closed:
            message = "closed"
            raise Doubt(message)

    def _answer(self, deed: str) -> None:
        if self._writer.dead:
            raise Stopped
        if self._cluster.coordinator.lose(deed, self._id):
            message = f"no answer to {deed}"
            raise Doubt(message)
