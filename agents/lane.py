"""A lane: one assignment of one partition of the lane topic, and all the work that comes with it.

The events that a lane hands to Faust are numbered. Faust drops what is in its queues when a rebalance ends or a
changelog is recovered, silently; a hole in the numbers ends the lane, and a new one seats itself from what is written.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sealwire.agents import driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import faust

    from sealwire.agents.topics import Facts

_log = logging.getLogger(__name__)
_REBALANCING_POLL = 0.02  # seconds


class Work(Protocol):
    """What is done in a lane, by direction."""

    @property
    def waits(self) -> str:
        """Say what begin() is at, in words; "" outside of it."""
        ...

    async def begin(self) -> None:
        """Read back where this lane's partitions stand; nothing is seated before."""
        ...

    async def deal(self, facts: Facts) -> None:
        """Seat what is dealt to this lane and not seated yet; leave what went away."""
        ...

    def take(self, load: Any) -> Iterator[None]:  # noqa: ANN401
        """Do what one event asks for. Never blocks: others have a turn wherever it yields, and it may end there."""
        ...

    def changes(self) -> dict[bytes, bytes]:
        """Return the table entries that changed since the last call."""
        ...

    async def close(self, *, orderly: bool) -> None:
        """Unseat everything; ``orderly`` waits a little for what is in flight."""
        ...


class Item(NamedTuple):
    """The value of a lane's event; ``load`` None is a tick, for the table's sake."""

    lane: Lane
    number: int
    load: Any


class Lane:
    """One assignment of one lane."""

    def __init__(self, app: faust.App, topic: str, number: int, ended: Callable[[Lane, str], None]) -> None:
        self.number, self.open = number, True
        self.begun = False  # what is written down of it was read back
        self.fenced = False  # somebody else delivers for this lane, as far as its cluster knows
        self.work: Work
        self._app, self._topic, self._ended = app, topic, ended
        self._sent = self._seen = 0
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        """Name it."""
        return f"<Lane {self.number}{'' if self.open else ' closed'}>"

    async def hand(self, load: Any) -> None:  # noqa: ANN401
        """Give the agent a load as the lane's next event; waits while Faust is full or rebalancing."""
        async with self._turn:
            while self.open and self._app.rebalancing:
                await asyncio.sleep(_REBALANCING_POLL)
            if not self.open:
                return
            self._sent += 1
            item = Item(self, self._sent, load)
            try:
                await driver.deliver(
                    self._app.consumer,
                    self._topic,
                    self.number,
                    self._sent,
                    item,
                    generation=driver.generation(self._app),
                )
            except Exception as error:  # noqa: BLE001 (Faust no longer knows the partition, say: any doubt ends the lane)
                self.fail(f"an event could not be handed to Faust: {error!r}")

    def accept(self, item: Item) -> bool:
        """Tell whether this event is the lane's next one; a hole ends the lane."""
        if not self.open:
            return False
        if item.number != self._seen + 1:
            self.fail(f"events {self._seen + 1} to {item.number - 1} were dropped in a rebalance")
            return False
        self._seen = item.number
        return True

    def fail(self, why: str, *, fenced: bool = False) -> None:
        """End the lane after any doubt; whoever owns it seats a new one."""
        if self.open:
            self.open, self.fenced = False, fenced
            _log.info("lane %d ends: %s", self.number, why)
            self._ended(self, why)

    async def tick(self) -> None:
        """Give the agent a moment to write the table."""
        await self.hand(None)
