"""Forgetting: secrets are erased when nothing needs them any more, in memory and in the vault.

A session's secret has done its work when all that its sender named is delivered at this site, by whichever worker: the
cursors are read as they are written, no neighbour is asked. What never comes keeps it for `hold_secrets` at most. What
is over is decided in keys/ (LastWords, Secrets).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.cursor_reading import CursorReading
from sealwire.agents.seat import OffsetOutOfRange, ReadRefused
from sealwire.agents.words import count
from sealwire.keys.lastwords import LastWords

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.control import Control
    from sealwire.agents.ports import Reader
    from sealwire.agents.settings import Settings
    from sealwire.keys.progress import Progress
    from sealwire.keys.session import InboundSession
    from sealwire.keys.source import SourcePartition

_log = logging.getLogger(__name__)
_LOOK_EVERY = 180.0  # seconds: the cursors of the site are read on, to their end
_READ_WITHIN = 60.0  # seconds
_AT_LATEST = 3600.0  # seconds after the start, when receiving keys go though `sessions` was not read to its end


class Forgetting:
    """Erases the secrets of a mirror that are over. ``sinks`` names the local topics that it delivers into."""

    def __init__(self, settings: Settings, control: Control, local: Reader, sinks: Callable[[], set[str]]) -> None:
        self._settings, self._control, self._sinks = settings, control, sinks
        self._cursors = CursorReading(local, settings.cursor_topic, settings.lanes)
        self._words = LastWords()
        self._begun: float | None = None

    def heard(self, said: Progress, session: InboundSession) -> None:
        """Remember what a session named."""
        self._words = self._words.heard(said, session)

    async def keep(self) -> None:
        """Look what is over, for ever."""
        self._begun = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Read the cursors on, and erase what is over."""
        control, lives = self._control, self._settings.lifetimes
        self._words = self._words.forget(control.sessions)
        if self._words.sessions:
            try:
                async with asyncio.timeout(_READ_WITHIN):
                    await self._cursors.read()
            except (TimeoutError, OffsetOutOfRange, ReadRefused) as error:
                _log.info("cursors could not be read, so what they would free stays: %s", error or "no answer")
        async with control.changing:
            before, reached, now = control.secrets, self._reached(), clock.now()
            after = before.forget(
                now,
                done=self._words.done(reached) | self._words.overtaken(before.inbound.values(), reached, now),
                keep=lives.keep,
                hold=lives.hold_secrets,
                receiving=control.caught_up.is_set() or self._late(),
                grace=lives.receive_grace,
            )
            await control.save(after)
        if after is not before:
            sessions = count(len(before.inbound) - len(after.inbound), "session")
            keys = count(len(before.held) - len(after.held), "receiving key")
            _log.info("forgotten: the secrets of %s, and %s", sessions, keys)

    def _late(self) -> bool:
        return self._begun is not None and asyncio.get_running_loop().time() - self._begun >= _AT_LATEST

    def _reached(self) -> dict[SourcePartition, int]:
        """Tell how far each source partition is delivered; where it goes into several topics of ours, the least."""
        found: dict[SourcePartition, int] = {}
        sinks = self._sinks()
        for written in self._cursors.found.values():
            source, following = written.cursor.source, written.cursor.next or 0
            if written.sink_topic in sinks:
                found[source] = min(found.get(source, following), following)
        return found
