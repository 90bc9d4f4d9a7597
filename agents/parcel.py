"""A batch on its way to a cluster, and the answer that its sender gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from sealwire.agents.header import read_header

if TYPE_CHECKING:
    import asyncio

    from aiokafka.structs import TopicPartition


class Stopped(Exception):
    """The writer was stopped before the cluster had answered: the batch is stored or not."""


class RecordMetadata(NamedTuple):
    """Where a batch is stored; ``base_offset`` is -1 when it was found stored already and its place is forgotten."""

    topic: str
    partition: int
    base_offset: int


class Sender(Protocol):
    """Whose batches they are: a producer id, and its transactional id where they are written in transactions.

    A request carries batches of one sender. One that is ``closed`` wants nothing sent any more.
    """

    @property
    def transactional_id(self) -> str | None:
        """Its transactional id, if it has one."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it gave up."""
        ...

    def stamp(self, where: TopicPartition) -> tuple[int, int, int]:
        """Give producer id, epoch and sequence of its next batch."""
        ...

    def stored(self, where: TopicPartition, count: int) -> None:
        """Take note that a batch of ``count`` records is stored."""
        ...


class Parcel:
    """One batch on its way."""

    __slots__ = ("batch", "count", "doubts", "future", "not_before", "sender", "tries")

    def __init__(self, batch: memoryview, future: asyncio.Future[RecordMetadata], sender: Sender) -> None:
        self.batch, self.sender = batch, sender
        self.count = read_header(batch).record_count
        self.future = future
        self.tries = self.doubts = 0
        self.not_before = 0.0
