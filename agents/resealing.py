"""The sealer's side of self-healing: what mirrors ask for again is sealed again, where the source still has it.

Whose request is served, and how much, is decided in keys/ (Serving). A sealer reads ``requests`` from its end on:
nobody can have asked under sessions that it has not begun yet.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock, records
from sealwire.agents.cloud_topic import opened_most
from sealwire.agents.sealer import SealWork
from sealwire.agents.seat import OffsetOutOfRange, ReadRefused
from sealwire.agents.span_sealing import SpanSealing
from sealwire.keys.reason import Rejected
from sealwire.keys.serving import Owned, Serving
from sealwire.keys.source import SourcePartition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.agents.lane import Lane
    from sealwire.agents.sealing import Sealing
    from sealwire.agents.seat import Fetched
    from sealwire.agents.source_seat import SourceSeat
    from sealwire.keys.progress import TopicProgress
    from sealwire.keys.serving import Turn
    from sealwire.keys.session import OutboundSession

_log = logging.getLogger(__name__)
_LOOK_EVERY = 5.0  # seconds: a budget may have room again
_AGAIN = 5.0  # seconds before a topic that could not be read is tried again
_SHARE = 10  # a flood of requests costs one part of so many of our time
_AT_ONCE = 0.01  # seconds of looking at requests without letting others run
_FAR_BEHIND = 20_000  # statements, after which they are passed over
_SAMPLES = 20  # refused requests of one Reason that are told in the log


class Resealing:
    """Follows the requests of mirrors, and seals again what they lack."""

    def __init__(self, side: Sealing) -> None:
        self._side = side
        self._serving = Serving()
        self._news = asyncio.Event()
        self.trouble = ""

    def stated(self, outbound: OutboundSession, topics: tuple[TopicProgress, ...]) -> None:
        """Take note of what a session's progress is about to name: for that it may be asked."""
        site = self._side.settings.site
        named = [
            SourcePartition(outbound.channel, site, topic.topic, topic.topic_id, each.partition)
            for topic in topics
            for each in topic.partitions
        ]
        self._serving = self._serving.stated(outbound, named, clock.now())

    # Following

    async def keep(self) -> None:
        """Follow requests and serve them, for ever."""
        await self._follow()
        async with asyncio.TaskGroup() as turns:
            while True:
                self._news.clear()
                now = clock.now()
                self._serving = self._serving.forget(now).without(self._side.control.trust.refuses, now)
                while True:
                    self._serving, turn = self._serving.turn(clock.now())
                    if turn is None:
                        break
                    turns.create_task(self._serve(turn))
                try:
                    async with asyncio.timeout(_LOOK_EVERY):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def _follow(self) -> None:
        reader, topic = self._side.control.reader, self._side.settings.requests_topic
        while True:
            try:
                async with asyncio.timeout(_AGAIN):
                    end = await reader.end_offset(topic, 0)
                break
            except (TimeoutError, ReadRefused) as error:
                words = str(error) or "it is missing, or the cloud does not answer"
                self._troubled(f"{topic} cannot be read, so nothing that the cloud loses is sealed again: {words}")
                await asyncio.sleep(_AGAIN)
        reached = end

        async def take(fetched: Fetched) -> None:
            nonlocal reached
            reached = fetched.next
            await self._take(fetched)
            behind = fetched.high_watermark - fetched.next
            if behind > _FAR_BEHIND:
                reached = fetched.high_watermark
                message = f"{behind} statements are passed over: whoever asked in them asks again"
                raise ReadRefused(message)

        def failed(error: Exception) -> None:
            nonlocal reached
            if isinstance(error, OffsetOutOfRange):
                reached = error.end
            self._troubled(f"{topic}: {error}; reading on soon")
            asyncio.get_running_loop().call_later(_AGAIN, again)

        def again() -> None:
            self.trouble = ""
            reader.seat(topic, 0, reached, take, failed)

        again()

    def _troubled(self, words: str) -> None:
        self.trouble = words
        self._side.say(words)

    async def _take(self, fetched: Fetched) -> None:
        project, loop = self._side.project_id, asyncio.get_running_loop()
        since = loop.time()
        for _header, batch in fetched.scan.application():
            try:
                found = records.read(batch, opened_most(batch))
            except ValueError:
                continue  # whatever it is, nobody asks us in it
            for record in found:
                if record.value is not None and self._serving.concerns(record.value, project, clock.now()):
                    self._ask(bytes(record.value))
                if (took := loop.time() - since) > _AT_ONCE:
                    await asyncio.sleep(took * (_SHARE - 1))
                    since = loop.time()
        fetched.release()

    def _ask(self, statement: bytes) -> None:
        try:
            self._serving = self._serving.ask(statement, self._side.control.trust, self._owned(), clock.now())
        except Rejected as refusal:
            refused = self._side.control.refused
            refused[str(refusal.reason)] += 1
            if refused[str(refusal.reason)] <= _SAMPLES:
                _log.warning("a reseal request is refused: %s", refusal)
        else:
            self._news.set()

    # Serving

    def _seats(self) -> Iterator[tuple[SourcePartition, Lane, SourceSeat]]:
        site = self._side.settings.site
        for lane in self._side.lanes.open.values():
            if isinstance(lane.work, SealWork):
                for seat in lane.work.seats.values():
                    route = seat.route
                    yield (
                        SourcePartition(route.channel, site, route.source_topic, seat.topic_id, seat.partition),
                        lane,
                        seat,
                    )

    def _owned(self) -> dict[SourcePartition, Owned]:
        return {source: Owned(seat.route.cloud_topic, seat.position) for source, _lane, seat in self._seats()}

    async def _serve(self, turn: Turn) -> None:
        wanted = turn.wanted
        reached, used, again, why = wanted.span.first, 0, False, "another worker was given it"
        for source, lane, seat in list(self._seats()):
            if source == wanted.source:
                sealing = SpanSealing(lane, self._side, seat, turn)
                await sealing.run()
                reached, used, again, why = sealing.reached, sealing.used, sealing.again, sealing.why
                break
        served = f"{wanted.source}, {wanted.span}, asked for by {wanted.name}"
        if why:
            _log.warning("%s: sealed again up to %d: %s", served, reached, why)
        else:
            _log.info("%s: sealed again up to %d", served, reached)
        if reached > wanted.span.first:
            self._side.counters["spans sealed again"] += 1
            self._side.tallies[wanted.source.channel].reseals += 1
        self._serving = self._serving.ended(turn, reached, used, clock.now(), again=again)
        self._news.set()
