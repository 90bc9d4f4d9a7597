"""A batch on its way to a cluster, and the answer that its sender gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sealwire.agents.header import read_header

if TYPE_CHECKING:
    import asyncio


class Stopped(Exception):
    """The writer was stopped before the cluster had answered: the batch is stored or not."""


class RecordMetadata(NamedTuple):
    """Where a batch is stored; ``base_offset`` is -1 when it was found stored already and its place is forgotten."""

    topic: str
    partition: int
    base_offset: int


class Parcel:
    """One batch on its way."""

    __slots__ = ("batch", "count", "doubts", "future", "not_before", "tries")

    def __init__(self, batch: memoryview, future: asyncio.Future[RecordMetadata]) -> None:
        self.batch = batch
        self.count = read_header(batch).record_count
        self.future = future
        self.tries = self.doubts = 0
        self.not_before = 0.0
