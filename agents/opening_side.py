"""The opening side of a worker: what its lanes share."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from sealwire.agents import clock
from sealwire.agents.forgetting import Forgetting
from sealwire.agents.healer import Healer
from sealwire.agents.lookout import Lookout
from sealwire.agents.mirror import OpenWork
from sealwire.agents.neighbours import Neighbours
from sealwire.agents.orders import Orders
from sealwire.agents.progress_words import ProgressWords
from sealwire.agents.quarantine import Quarantine
from sealwire.agents.rate import Rate
from sealwire.agents.side import Side
from sealwire.agents.sink import Sink
from sealwire.keys.envelope import Place

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sealwire.agents.budget import Budget
    from sealwire.agents.control import Control
    from sealwire.agents.lane import Lane
    from sealwire.agents.ports import Reader, Writer
    from sealwire.agents.settings import Settings
    from sealwire.agents.standings import Standing
    from sealwire.agents.topics import TopicWatch
    from sealwire.keys.reason import Rejected

_log = logging.getLogger(__name__)
_SAMPLES_A_MINUTE = 10  # refused envelopes of one Reason that are told in the log
_AHEAD_EVERY = 10.0  # seconds
_GRANTED_WITHIN_MS = 10_000
_HELD_EVERY = 60.0  # seconds
_UNREAD_SHOWN = 5  # cloud partitions that cannot be read, in one line


class Opening(Side):
    """Reader, sink and counters of an opening worker."""

    direction = "open"

    def __init__(
        self,
        settings: Settings,
        control: Control,
        watch: TopicWatch,
        cloud: Reader,
        local_reader: Reader,
        local_writer: Writer,
    ) -> None:
        super().__init__(settings, control, watch)
        self.cloud, self.local_reader, self.local_writer = cloud, local_reader, local_writer
        self.budget: Budget = cloud.budget
        self.sink = Sink(settings, watch)
        self.sink.gone = self._on_gone
        self._samples = Rate()
        control.on_sessions = self._on_sessions
        control.lacks = self._lacks_sessions
        control.on_hold = self._on_hold
        self.neighbours = Neighbours(settings, control, self._cloud_topics)
        self.quarantine = Quarantine(settings.quarantine_topic, local_writer, watch, control)
        self.orders = Orders(settings.orders_topic, local_reader, watch, self._works)
        self.progress = ProgressWords(control, self._cloud_topics)
        self.forgetting = Forgetting(settings, control, local_reader, self._sinks)
        self.progress.on_said = self.forgetting.heard
        self.lookout = Lookout(self, self._works)
        self.healer = Healer(self, self._works)

    @property
    def deeds(self) -> dict[str, Callable[[], Awaitable[str]]]:
        """Receiving keys are of this side."""
        return {"receiving": self.control.renewal.receiving_anew, **super().deeds}

    def _cloud_topics(self, channel: str) -> list[str]:
        return [route.cloud_topic for route in self.watch.facts.routes if route.channel == channel]

    def _sinks(self) -> set[str]:
        return {route.sink_topic for route in self.watch.facts.routes}

    def early(self) -> list[Any]:
        """Return what runs even before the project's statements were read: receiving keys end all the same."""
        return [self.forgetting.keep()]

    def make(self, lane: Lane) -> OpenWork:
        """Make the work of a lane."""
        return OpenWork(lane, self)

    def elsewhere(self, place: Place) -> Iterator[Place]:
        """Name the other places that an envelope could have been copied from, for its right Reason."""
        for route in self.watch.facts.routes:
            facts = self.watch.facts.cloud.get(route.cloud_topic)
            for partition in range(facts.partitions if facts is not None else 0):
                other = Place(self.project_id, route.channel, route.cloud_topic, partition)
                if other != place:
                    yield other

    def refuse(self, refusal: Rejected, where: tuple[str, int], offset: int, envelope: memoryview | None) -> None:
        """Count a refused record, and sample its place into the log; its bytes stay in the cloud.

        What a member truly signed is kept besides.
        """
        self.refused[str(refusal.reason)] += 1
        if self._samples.allows(str(refusal.reason), _SAMPLES_A_MINUTE):
            _log.warning("%s[%d] offset %d refused: %s", *where, offset, refusal)
        if refusal.proven and envelope is not None:
            self.quarantine.keep(refusal, where, offset, envelope)

    def parked(self, why: str, where: tuple[str, int], offset: int) -> None:
        """Sample into the log that an envelope is looked at again later."""
        if self._samples.allows("parked", _SAMPLES_A_MINUTE):
            _log.info("%s[%d] offset %d parked: %s", *where, offset, why)

    def _works(self) -> list[OpenWork]:
        return [lane.work for lane in self.lanes.open.values() if isinstance(lane.work, OpenWork)]

    async def _on_gone(self) -> None:
        await self.watch.look()
        for work in self._works():
            work.look_at_sinks(gone=True)

    def _lacks_sessions(self) -> bool:
        """Tell whether envelopes have waited for their session for longer than its grant commonly takes."""
        until = clock.now() - _GRANTED_WITHIN_MS
        return any(seat.lacks(until) for work in self._works() for seat in work.seats.values())

    def _on_sessions(self, sessions: set[bytes]) -> None:
        for work in self._works():
            work.revisit(sessions)

    def _on_hold(self) -> None:
        for work in self._works():
            work.on_hold()

    async def keep_looking_ahead(self) -> None:
        """Look again at what was dated ahead of our clock, for ever."""
        while True:
            await asyncio.sleep(_AHEAD_EVERY)
            for work in self._works():
                work.revisit_ahead()

    async def keep_trying(self) -> None:
        """Try again what sink topics refused, for ever, when their settings changed."""
        while True:
            await asyncio.sleep(_HELD_EVERY)
            works = self._works()
            for topic in sorted({topic for work in works for topic in work.standings.refused()}):
                if await self.sink.rooms.changed(topic):
                    for work in works:
                        work.read_again_from(work.standings.release(topic))

    def tasks(self) -> list[Any]:
        """Return what runs for as long as the worker does."""
        return [
            self.keep_looking_ahead(),
            self.keep_trying(),
            self.neighbours.keep(),
            self.rotation.keep(),
            self.orders.keep(),
            self.quarantine.keep_writing(),
            self.progress.keep(),
            self.lookout.keep(),
            self.healer.keep(),
        ]

    async def commit(self) -> None:
        """Cursors are written as they move: nothing is left to do here."""

    async def close(self) -> None:
        """Nothing is kept open here."""

    def snapshot(self) -> dict[str, Any]:
        """Describe channels and source partitions."""
        now = clock.now()
        channels = []
        for channel in sorted({each.channel for each in (*self.settings.routes, *self.settings.patterns)}):
            live = [s for s in self.control.sessions.values() if s.channel == channel and s.not_after > now]
            newest = max(live, key=lambda s: s.made_at, default=None)
            channels.append(
                {
                    "channel": channel,
                    "session": newest.id.hex() if newest else "",
                    "sessions": len(live),
                    "session_age_ms": now - newest.made_at if newest else None,
                }
            )
        rows = [self._row(standing) for work in self._works() for standing in work.standings]
        rows += self.lookout.rows()
        parked = [seat.parked_row() for work in self._works() for seat in work.seats.values() if seat.parked]
        return {
            "channels": channels,
            "partitions": rows,
            "parked": parked,
            "parked_sessions": sum(row["sessions"] for row in parked),
            "quarantine": self.quarantine.snapshot(),
        }

    def _row(self, standing: Standing) -> dict[str, Any]:
        row = standing.row()
        row["why"] = "; ".join(each for each in (row["why"], self.healer.words(standing.cursor.source)) if each)
        lacking = self.sink.lacking.get((standing.sink_topic, standing.cursor.source.partition))
        return {**row, "state": "waiting", "why": lacking} if lacking and row["state"] == "flowing" else row

    @property
    def troubles(self) -> dict[str, str]:
        """What topics wait for, by topic; and the first few cloud partitions that cannot be read."""
        unread = {
            f"{seat.route.cloud_topic}[{seat.partition}]": seat.why or (seat.seat.trouble if seat.seat else "")
            for work in self._works()
            for seat in work.seats.values()
            if seat.why or (seat.seat is not None and seat.seat.trouble)
        }
        shown = {where: f"{where}: {unread[where]}" for where in sorted(unread)[:_UNREAD_SHOWN]}
        lost = {work.sink.lost: work.sink.lost for work in self._works() if work.sink.lost}
        settings = self.settings
        own = {
            settings.orders_topic: self.orders.trouble,
            settings.quarantine_topic: self.quarantine.trouble,
            settings.lane_topic: self.lanes.trouble,
        }
        own = {topic: why for topic, why in own.items() if why}
        return {**self.trouble, **self.sink.trouble, **shown, **own, **lost}

    @property
    def why_not(self) -> str:
        """Say what keeps the whole side from working; empty when nothing does."""
        return "; ".join(sorted(set(self.troubles.values())))
