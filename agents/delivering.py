"""How a lane delivers: what exactly-once and at-least-once have in common for everyone else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from contextlib import AbstractAsyncContextManager

    from sealwire.agents.writer import RecordMetadata


class Ended(Exception):
    """The lane is no more: what it had staged is for its successor. ``stuck``: the sink did not answer in time."""

    def __init__(self, *, stuck: bool = False) -> None:
        super().__init__("the lane has ended")
        self.stuck = stuck


class Round(Protocol):
    """What batches are produced with."""

    def produce(self, topic: str, partition: int, batch: bytearray | memoryview | bytes) -> Awaitable[RecordMetadata]:
        """Return when the cluster has acknowledged; raises Refused when it never will."""
        ...


class Delivering(Protocol):
    """One lane's way of delivering."""

    @property
    def waits(self) -> str:
        """Say, in words, why begin() goes on for so long; "" once it is over."""
        ...

    async def begin(self) -> None:
        """Make sure that nobody else delivers for this lane, as far as that can be made sure."""
        ...

    def round(self, topic: str, partition: int) -> AbstractAsyncContextManager[Round]:
        """Let batches be produced into one sink partition; waits while there may be none.

        Raises Refused, before anything is produced, where the partition cannot be written now; and Ended.
        """
        ...

    def took(self, size: int) -> None:
        """Take note that so many bytes are produced in a round."""
        ...

    def pending(self) -> None:
        """Take note that something is to be written of the lane."""
        ...

    async def flush(self) -> None:
        """Return when all that is pending counts."""
        ...

    async def close(self, *, orderly: bool) -> None:
        """End; ``orderly`` lets what is produced count first."""
        ...
