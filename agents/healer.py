"""The mirror's side of self-healing: what a source partition lacks is asked for again, of whoever seals it now.

A gap is asked for when it has waited for a moment, what is lacking at the tail when it is stale: said to be sealed, and
not in the cloud although that was read to its end. Who is asked, and whether it is told at all, is up to the outlook;
what comes is judged by the cursor like anything else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import reseal, wire
from sealwire.keys.source import Span
from sealwire.keys.standing import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealwire.agents.mirror import OpenWork
    from sealwire.agents.opening_side import Opening
    from sealwire.agents.standings import Standing
    from sealwire.keys.session import InboundSession
    from sealwire.keys.source import SourcePartition

_log = logging.getLogger(__name__)
_LOOK_EVERY = 0.5  # seconds
_AFTER = 2.0  # seconds that a gap waits before it is asked for: the cloud may only have reordered
_AGAIN_AFTER, _AGAIN_AFTER_MOST = 30.0, 3600.0  # seconds between two requests for one source partition
_NEW_SESSION_AFTER = 5.0  # seconds after which a new session is asked, be the pause over or not
_EXPIRES_MS = 10 * 60 * 1000  # ms
_AT_ONCE = 50  # requests in one look
_SHARE = 20  # at most one part of so many of our time


@dataclass
class _Lack:
    """What one source partition lacks, since when (the loop's clock, seconds), and when it was asked for, of whom."""

    span: Span
    since: float
    asked_at: float = 0.0
    asked: int = 0
    pause: float = _AGAIN_AFTER
    session_id: bytes = b""


class Healer:
    """Asks for what the source partitions of this worker's lanes lack; one request at a time for each of them."""

    def __init__(self, side: Opening, works: Callable[[], list[OpenWork]]) -> None:
        self._side, self._works = side, works
        self._lacks: dict[SourcePartition, _Lack] = {}

    async def keep(self) -> None:
        """Ask, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._look()
            await asyncio.sleep(max(_LOOK_EVERY, (loop.time() - began) * _SHARE))

    def words(self, source: SourcePartition) -> str:
        """Say what is done about what a source partition lacks; empty where nothing is, or not yet."""
        lack = self._lacks.get(source)
        if lack is None:
            return ""
        if not lack.asked:
            return "" if self._speaker(source) else "no sender names it now: nobody can be asked for it"
        return "asked for again" + (f" {lack.asked} times" if lack.asked > 1 else "")

    def _speaker(self, source: SourcePartition) -> InboundSession | None:
        """Give the session to ask under: the newest one that names a source partition, where it was granted to us."""
        speaker = self._side.progress.outlook.speaker(source, clock.now())
        return None if speaker is None else self._side.control.sessions.get(speaker.session_id)

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        lacking = dict(self._lacking())
        self._lacks = {source: self._noted(self._lacks.get(source), span, now) for source, span in lacking.items()}
        due = [(source, span) for source, span in lacking.items() if self._due(source, now)]
        await asyncio.gather(*(self._ask(source, span) for source, span in due[:_AT_ONCE]))

    @staticmethod
    def _noted(lack: _Lack | None, span: Span, now: float) -> _Lack:
        if lack is None or (span.first != lack.span.first and span.next != lack.span.next):
            return _Lack(span, now)
        if span.first != lack.span.first and lack.asked:  # it is being healed: what was asked for comes
            lack.asked_at, lack.pause = now, _AGAIN_AFTER
        lack.span = span
        return lack

    def _lacking(self) -> Iterator[tuple[SourcePartition, Span]]:
        """Go through what waits for a gap, and what is stale although the cloud was read to its end."""
        for work in self._works():
            ends = {(seat.route.sink_topic, seat.partition): seat.at_end for seat in work.seats.values()}
            for standing in work.standings:
                cursor = standing.cursor
                if cursor.state is State.WAITING and cursor.gap is not None:
                    yield cursor.source, cursor.gap
                elif cursor.state is State.FLOWING and ends.get((standing.sink_topic, cursor.source.partition)):
                    yield from self._tail(standing)
        for standing in self._side.lookout.unseen:
            yield from self._tail(standing)

    def _tail(self, standing: Standing) -> Iterator[tuple[SourcePartition, Span]]:
        source, start = standing.cursor.source, standing.cursor.next or 0
        if standing.awaited is not None and standing.stale is not None and start < standing.awaited.next:
            # It has waited for long enough for all that is stated by now to have come.
            reached = self._side.progress.outlook.reached(source, clock.now()) or 0
            yield source, Span(start, max(reached, standing.awaited.next))

    def _due(self, source: SourcePartition, now: float) -> bool:
        lack, session = self._lacks[source], self._speaker(source)
        if session is None:
            return False
        if not lack.asked:
            return now - lack.since >= _AFTER
        pause = lack.pause if session.id == lack.session_id else min(_NEW_SESSION_AFTER, lack.pause)
        return now - lack.asked_at >= pause

    async def _ask(self, source: SourcePartition, span: Span) -> None:
        side, lack, now = self._side, self._lacks[source], clock.now()
        control, credential, session = side.control, side.control.credential, self._speaker(source)
        if credential is None or session is None:
            return
        statement = reseal.make(
            control.secrets.identity, credential.statement, session, source, span, now, now + _EXPIRES_MS, os.urandom
        )
        same = lack.session_id == session.id
        lack.pause = min(lack.pause * 2, _AGAIN_AFTER_MOST) if lack.asked and same else _AGAIN_AFTER
        lack.asked_at, lack.session_id = asyncio.get_running_loop().time(), session.id
        lack.asked += 1
        side.counters["reseals asked"] += 1
        side.tallies[source.channel].reseals += 1
        if lack.asked == 1:
            _log.warning("%s: %s is missing: asking %s to seal it again", source, span, session.name)
        try:
            key = wire.statement_digest(statement).hex().encode()
            await control.publish(side.settings.requests_topic, statement, key)
        except (Refused, Stopped) as error:
            _log.warning("the request for %s of %s was not taken: %s", span, source, error)
