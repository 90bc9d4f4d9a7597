"""What one lane has at the sink: where its source partitions stand, what is written of them, and how it delivers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from sealwire.agents.at_least_once import AtLeastOnce
from sealwire.agents.cursors import CursorLog
from sealwire.agents.exactly_once import ExactlyOnce
from sealwire.agents.recorded import position_key, read_cursors, read_ledger
from sealwire.agents.standings import Standings
from sealwire.keys.delivery import SinkNow, changed
from sealwire.keys.landmark import LEDGER_KEY

if TYPE_CHECKING:
    from sealwire.agents.cloud_seat import CloudSeat
    from sealwire.agents.delivering import Delivering
    from sealwire.agents.lane import Lane
    from sealwire.agents.opening_side import Opening
    from sealwire.agents.topics import Facts
    from sealwire.keys.delivery import Position

_log = logging.getLogger(__name__)
_LOOK_AGAIN = 2.0  # seconds
_BEGIN_AGAIN = 30.0  # seconds after cursors that were lost
_LOST = (
    "lane {} of {} has lost its cursors ({}): nothing of it is delivered. Stop the mirrors of this site, then "
    "sealwire site restore rebuilds them from the ledger"
)


class LaneSink:
    """One lane's own at the sink. ``lost``: why its cursors are not to be believed, in words; then it does nothing."""

    def __init__(self, lane: Lane, side: Opening) -> None:
        settings = side.settings
        self._lane, self._side = lane, side
        self.log = CursorLog(settings.cursor_topic, settings.ledger_topic, lane.number, self._pending)
        self.standings = Standings(self.log)
        self.delivering: Delivering = (
            ExactlyOnce(side.local_writer.transactions(settings.transactional_id(lane.number)), self.log, self._fail)
            if settings.delivery == "exactly-once"
            else AtLeastOnce(side.local_writer, self.log)
        )
        self.lost = ""
        self._step = ""

    @property
    def waits(self) -> str:
        """Say what begin() is at, in words; "" outside of it."""
        said = self.delivering.waits
        return f"{self._step} ({said})" if said else self._step

    def _pending(self) -> None:
        self.delivering.pending()

    def _fail(self, why: str, fenced: bool) -> None:  # noqa: FBT001
        self._lane.fail(why, fenced=fenced)

    async def begin(self) -> dict[tuple[str, int], Position]:
        """Take the lane over and read back what was delivered; return the positions in the cloud.

        In this order: the transactional id, so that nobody else writes any more; the end of the cursors as readers of
        uncommitted records see it; everything committed before that; and what the ledger has beyond. Raises Rejected.
        """
        settings, reader, number = self._side.settings, self._side.local_reader, self._lane.number
        self._step = f"its transactional id {settings.transactional_id(number)}"
        await self.delivering.begin()
        self._step = f"topic {settings.ledger_topic}"
        ledger_id = (await self._facts(settings.ledger_topic)).local[settings.ledger_topic].topic_id
        self._step = f"{settings.cursor_topic}[{number}] to be read back"
        recorded = await read_cursors(reader, settings.cursor_topic, number)
        mark = recorded.mark
        self.lost = recorded.lost
        if self.lost:
            self.lost = _LOST.format(number, settings.cursor_topic, self.lost)
            self._step = ""
            self._side.say(self.lost)
            asyncio.get_running_loop().call_later(_BEGIN_AGAIN, self._lane.fail, "its cursors may be back")
            return {}
        if mark is not None and mark.topic_id != ledger_id:
            _log.warning("%s was made anew: it begins here", settings.ledger_topic)
        self._step = f"{settings.ledger_topic}[{number}] to be read on"
        adopted = await read_ledger(reader, settings.ledger_topic, ledger_id, number, recorded)
        self._step = ""
        if adopted:
            _log.warning("lane %d: %d deliveries of the ledger were not among the cursors", number, adopted)
        assert recorded.mark is not None  # noqa: S101 (it was just set)
        self.log.begin(recorded.mark)
        for key in recorded.mending:  # before compaction leaves only what does not count
            self.log.put(key, recorded.deliveries[key].encode)
        if adopted:
            self.log.put(LEDGER_KEY, recorded.mark.encode)
        for key, delivery in recorded.deliveries.items():
            self.standings.begin(key, delivery)
        return recorded.positions

    async def _facts(self, topic: str) -> Facts:
        """Return what is known of the topics, which must have this one."""
        watch = self._side.watch
        while topic not in watch.facts.local:
            words = watch.forbidden("local", topic) or f"local topic {topic} is missing: sealwire site init makes it"
            self._side.say(words)
            self._side.trouble[topic] = words
            await asyncio.sleep(_LOOK_AGAIN)
            await watch.look()
        self._side.trouble.pop(topic, None)
        return watch.facts

    def write_position(self, where: tuple[str, int], position: Position) -> None:
        """Write soon how far a cloud partition is read."""
        self.log.put(position_key(*where), position.encode)

    # Another sink

    async def look(self, seat: CloudSeat) -> None:
        """Hold what was delivered to another sink than the one that is there, or to one that ended further on."""
        where = (seat.route.sink_topic, seat.partition)
        if not any(standing.last for standing in self.standings.at(*where)):
            return
        there = self._there(where[0])
        if there is None:  # believed when it is said twice
            await asyncio.sleep(_LOOK_AGAIN)
            await self._side.watch.look()
            there = self._there(where[0])
        if there is not None:
            ends = [standing.last.sink_end for standing in self.standings.at(*where) if standing.last is not None]
            end = await self._side.local_reader.end_offset(*where)
            if end < max(ends):
                await asyncio.sleep(_LOOK_AGAIN)
                end = await self._side.local_reader.end_offset(*where)
            there = replace(there, end=end)
        self._judge(seat, there)

    def look_again(self, seat: CloudSeat, *, gone: bool) -> None:
        """Hold what was delivered to a sink topic that was made anew since; with ``gone``, to one that is no more."""
        there = self._there(seat.route.sink_topic)
        if there is not None or gone:
            self._judge(seat, there)

    def _judge(self, seat: CloudSeat, there: SinkNow | None) -> None:
        if there is None and self._side.watch.forbidden("local", seat.route.sink_topic):
            return
        for standing in self.standings.at(seat.route.sink_topic, seat.partition):
            if standing.last is not None:
                self.standings.hold_changed(standing, changed(standing.last, there), seat)

    def _there(self, topic: str) -> SinkNow | None:
        """Say what the sink topic is now; None where it is gone."""
        facts = self._side.watch.facts
        found = facts.local.get(topic)
        return None if found is None else SinkNow(facts.local_cluster, found.topic_id, None)
