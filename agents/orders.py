"""What persons ordered at this site, followed for all lanes of a worker, and carried out where it fits.

Orders stand in a small local topic, written by the command line. Whether one fits is decided in keys/order; here it is
tried when it is read, and again while something may still come to stand as it was given for: a lane that moved reads
the cloud again until it is where its predecessor was. A cursor names its last order, so each is carried out once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import records
from sealwire.keys.order import Kind, Order, apply
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.mirror import OpenWork
    from sealwire.agents.ports import Reader
    from sealwire.agents.seat import Fetched
    from sealwire.agents.topics import TopicWatch
    from sealwire.keys.source import SourcePartition

_log = logging.getLogger(__name__)
_TRY_EVERY = 1.0  # seconds
_AGAIN = 5.0  # seconds after the orders could not be read
_MISSING = "local topic {} is missing, nothing that a person orders arrives: sealwire site init makes it"


class Orders:
    """The orders of a site, by the source partition that they are for."""

    def __init__(self, topic: str, reader: Reader, watch: TopicWatch, works: Callable[[], list[OpenWork]]) -> None:
        self._topic, self._reader, self._watch, self._works = topic, reader, watch, works
        self._given: dict[SourcePartition, list[Order]] = {}
        self._lost = asyncio.Event()
        self.carried_out = 0
        self.trouble = ""

    async def keep(self) -> None:
        """Follow the orders from the first one on, for ever; a topic that is missing is waited for."""
        while True:
            await self._there()
            self._lost.clear()
            start = await self._reader.log_start(self._topic, 0)
            seat = self._reader.seat(self._topic, 0, start, self._take, self._failed)
            try:
                while not self._lost.is_set():
                    self._try_all()
                    await asyncio.sleep(_TRY_EVERY)
            finally:
                self._reader.unseat(seat)
            await asyncio.sleep(_AGAIN)

    async def _there(self) -> None:
        """Wait until the topic is there: to read one that is missing would look as if the cluster were away."""
        while self._topic not in self._watch.facts.local:
            words = self._watch.forbidden("local", self._topic) or _MISSING.format(self._topic)
            if self._watch.facts.local_cluster and self.trouble != words:
                _log.warning(words)
                self.trouble = words
            await asyncio.sleep(_TRY_EVERY)
        self.trouble = ""

    def _failed(self, error: Exception) -> None:
        _log.warning("orders cannot be read: %s; trying again", error)
        self._lost.set()

    async def _take(self, fetched: Fetched) -> None:
        for _header, batch in fetched.scan.application():
            for record in records.read(batch):
                if record.value is not None:
                    self._heard(record.offset, bytes(record.value))
        fetched.release()
        self._try_all()

    def _heard(self, offset: int, value: bytes) -> None:
        try:
            order = Order.decode(value)
        except Rejected as refusal:
            _log.error("%s[0] offset %d is no order that this release knows: %s", self._topic, offset, refusal)
            return
        given = self._given.setdefault(order.source, [])
        if order not in given:
            given.append(order)

    def _try_all(self) -> None:
        for work in self._works():
            for source, given in self._given.items():
                standing = work.standings.known(source)
                while standing is not None and any(self._carry_out(work, order) for order in given):
                    pass

    def _carry_out(self, work: OpenWork, order: Order) -> bool:
        standing = work.standings.known(order.source)
        if standing is None or standing.flight:  # what is on its way to the sink rests on the cursor before
            return False
        before = standing.cursor
        after = apply(before, order)
        if after is None:
            return False
        self.carried_out += 1
        what = "passes" if order.kind is Kind.ACCEPT_GAP else "goes back over"
        _log.warning(
            "%s %s %s, as %s ordered: %s (order %s)",
            order.source,
            what,
            order.span,
            order.who,
            order.why,
            order.id.hex(),
        )
        standing.words, standing.skipped = "", None
        work.standings.note(standing, after, order=order)
        if after.place is not None:
            work.read_again_from([(after.source.partition, after.place)])
        return True
