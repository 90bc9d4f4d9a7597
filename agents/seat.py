"""A seat: one partition that the worker's reader reads for someone, and what was fetched for it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiokafka.structs import TopicPartition

    from sealwire.agents.batches import Scan
    from sealwire.agents.budget import Budget
    from sealwire.agents.frames import PartitionAnswer

_TRANSACTION_TAKES = 1.0  # seconds
_HEADER_TAKES = 512  # bytes of a header in memory, at most
_NEW_FOR = 8  # answers
_AHEAD = 2  # answers that a seat may have undelivered, the one being taken included


class Owner(Protocol):
    """What a seat needs of its reader."""

    budget: Budget

    def unseat(self, seat: Seat) -> None:
        """Stop reading for this seat."""

    def nudge(self, seat: Seat) -> None:
        """Look again at what may be asked for."""


class OffsetOutOfRange(Exception):
    """The wanted offset is not in the log; ``log_start`` is its first one now, ``end`` the one after the last."""

    def __init__(self, topic: str, partition: int, wanted: int, log_start: int, end: int) -> None:
        super().__init__(f"{topic}[{partition}]: offset {wanted} is not in [{log_start}, {end})")
        self.wanted, self.log_start, self.end = wanted, log_start, end


class ReadRefused(Exception):
    """The broker will not let us read, or serves damaged bytes again and again; the text says which."""


class Fetched:
    """What one fetch brought for one seat. Release it when its bytes are needed no more.

    ``first`` is the offset asked for, ``next`` the one that will be asked for; ``aborted`` belongs to chunks.cut;
    ``asked_at`` is when it was asked for (the loop's clock, seconds). With ``charged`` the budget also counts what its
    headers take in memory: a broker that lies can make that eight times what it sends.
    """

    __slots__ = (
        "_extra",
        "_held",
        "aborted",
        "asked_at",
        "first",
        "high_watermark",
        "last_stable",
        "log_start",
        "scan",
        "seat",
    )

    def __init__(self, seat: Seat, first: int, found: Scan, answer: PartitionAnswer, *, charged: bool = False) -> None:
        self.seat, self.first, self.scan = seat, first, found
        self.aborted, self.asked_at = answer.aborted, seat.answered_at
        self.high_watermark, self.last_stable = answer.high_watermark, answer.last_stable
        self.log_start = answer.log_start
        self._held, self._extra = found.size, _HEADER_TAKES * len(found.headers) if charged else 0

    @property
    def data(self) -> memoryview:
        """The whole raw batches."""
        return self.scan.data

    @property
    def next(self) -> int:
        """The offset after the last batch, whether or not a record is left there."""
        return self.scan.next

    @property
    def size(self) -> int:
        """Bytes of the batches."""
        return self.scan.size

    @property
    def held(self) -> int:
        """Bytes of the budget that it takes."""
        return self._held + self._extra

    def release(self, count: int | None = None) -> None:
        """Give ``count`` bytes back to the budget, or all that is left; more than was held is ignored."""
        given = self._held if count is None else min(count, self._held)
        self._held -= given
        if not self._held:
            given, self._extra = given + self._extra, 0
        self.seat._release(given)  # noqa: SLF001


class Seat:
    """One partition that is being read for someone. Compare seats as objects: a new one is another, same offset or not.

    ``high_watermark``, ``last_stable`` and ``log_start`` are the broker's last word (-1: none yet), asked for at
    ``answered_at`` (the loop's clock, seconds); ``trouble`` is why nothing comes, "" when all is well. ``stuck_since``
    is the answer since which an open transaction keeps back all that is left (-1: none does).
    """

    def __init__(
        self,
        reader: Owner,
        where: TopicPartition,
        offset: int,
        take: Callable[[Fetched], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> None:
        self.topic, self.partition = where
        self.where, self.offset = where, offset
        self.high_watermark = self.last_stable = self.log_start = -1
        self.answered_at = self.stuck_since = -1.0
        self._answers = 0
        self.trouble = ""
        self.warned = False
        self._reader, self._take, self._failed = reader, take, failed
        self._queue: deque[Fetched] = deque()
        self._courier: asyncio.Task[None] | None = None
        self._held = 0
        self.alive = True
        self.leader: int | None = None
        self.fetching = False
        self.not_before = 0.0
        self.turn = 0
        self.tries = 0

    def __repr__(self) -> str:
        """Name the partition and the offset."""
        return f"<Seat {self.topic}[{self.partition}] at {self.offset}>"

    @property
    def hungry(self) -> bool:
        """It may be asked for, as far as what was delivered goes."""
        return self.alive and not self.fetching and len(self._queue) < _AHEAD

    @property
    def new(self) -> bool:
        """Whether it was not answered for yet, or a few times only while there was more."""
        return self._answers == 0 or (self._answers < _NEW_FOR and self.offset < self.last_stable)

    @property
    def behind_transaction(self) -> bool:
        """Whether an open transaction has kept back all that is left for a while: longer than one commonly takes."""
        return 0 <= self.stuck_since < self.answered_at - _TRANSACTION_TAKES

    def heard(self, answer: PartitionAnswer, at: float) -> None:
        """Take note of what a broker said of the partition when it was asked ``at`` (the loop's clock, seconds)."""
        self.high_watermark, self.last_stable = answer.high_watermark, answer.last_stable
        self.log_start, self.answered_at = answer.log_start, at
        self._answers += 1
        if not answer.data and 0 <= self.last_stable <= self.offset < self.high_watermark:
            self.stuck_since = at if self.stuck_since < 0 else self.stuck_since
        else:
            self.stuck_since = -1.0

    def put(self, fetched: Fetched) -> None:
        """Queue an answer for delivery."""
        self._held += fetched.held
        self._reader.budget.add(fetched.held)
        self._queue.append(fetched)
        if self._courier is None:
            self._courier = asyncio.create_task(self._deliver())

    async def _deliver(self) -> None:
        try:
            while self._queue and self.alive:
                await self._take(self._queue[0])
                if self._queue:
                    self._queue.popleft()
                self._reader.nudge(self)
        except Exception as error:  # noqa: BLE001 (its owner decides what becomes of a failed taker)
            self.fail(error)
        finally:
            self._courier = None

    def fail(self, error: Exception) -> None:
        """End the seat and tell its owner."""
        if self.alive:
            self._reader.unseat(self)
            self._failed(error)

    def end(self) -> None:
        """Give up what is queued and give back what is held."""
        self.alive = False
        self._queue.clear()
        if self._courier is not None and self._courier is not asyncio.current_task():
            self._courier.cancel()
        self._release(self._held)

    def _release(self, count: int) -> None:
        given = min(count, self._held)
        self._held -= given
        self._reader.budget.release(given)
