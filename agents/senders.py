"""The sending side's sessions: one per channel, made before it is needed, its grants published before it is used."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.readership import Readership
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import grant, progress, session

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.control import Control
    from sealwire.agents.settings import SealRoute, Settings
    from sealwire.keys.keypackage import KeyPackage
    from sealwire.keys.progress import TopicProgress
    from sealwire.keys.session import OutboundSession

_log = logging.getLogger(__name__)
_LOOK_EVERY = 10.0  # seconds; news of members are looked at at once
_PROGRESS_EVERY = 30.0  # seconds: half of stale_after
_NAMED_AFTER = 1.0  # seconds after source partitions were taken over: most of them come together
_NEXT_WORD_MS = 60_000
_TRY_AGAIN = 2.0  # seconds after a session that the cloud would not take


@dataclass
class Sending:
    """A session in use. ``sealed`` counts the bytes sealed in it, ``sealed_before`` those at the last look.

    ``in_flight`` counts envelopes that the cloud has not acknowledged; ``as_of`` is the date of the last progress.
    """

    outbound: OutboundSession
    readers: tuple[tuple[bytes, KeyPackage], ...]
    sealed: int = 0
    sealed_before: int = 0
    in_flight: int = 0
    progress_number: int = 0
    as_of: int = 0

    @property
    def reader_ids(self) -> frozenset[bytes]:
        """Who was granted it."""
        return frozenset(member for member, _package in self.readers)


class Senders:
    """Keeps a live session for every channel that has a reader."""

    def __init__(
        self,
        settings: Settings,
        control: Control,
        on_session: Callable[[str], None],
        progress_of: Callable[[str], tuple[int, tuple[TopicProgress, ...]]],
    ) -> None:
        self._settings, self._control = settings, control
        self._on_session, self._progress_of = on_session, progress_of
        self.on_stated: Callable[[OutboundSession, tuple[TopicProgress, ...]], None] = lambda _outbound, _topics: None
        self.readership = Readership(settings, control)
        self._sending: dict[str, Sending] = {}
        self._replaced: list[tuple[str, Sending]] = []  # those that have not said their last word
        self._numbers: dict[str, int] = {}
        self._used: dict[bytes, int] = {}
        self._news, self._unnamed = asyncio.Event(), asyncio.Event()
        self.why: dict[str, str] = {
            channel: "no session yet" if self.readership.topics(channel) else "" for channel in self.readership
        }

    def current(self, channel: str) -> Sending | None:
        """Return the channel's session, or None while there is none to seal under (``why`` tells)."""
        sending = self._sending.get(channel)
        if sending is not None and clock.now() < sending.outbound.not_after:
            return sending
        return None

    def count(self, sending: Sending, used: int) -> None:
        """Count the bytes of an envelope that was sealed in a session; enough of them bring the next one at once."""
        sending.sealed += used
        if sending.sealed >= self._settings.lifetimes.session.bytes:
            self._news.set()

    def news(self) -> None:
        """Look at the readers again soon."""
        self._news.set()

    def cover(self, route: SealRoute) -> None:
        """Seal for one more cloud topic: from now on only under a session whose readers may all read it.

        A topic stays covered for as long as the worker lives, so a session is never granted to more than may read all.
        """
        channel = route.channel
        if not self.readership.cover(channel, route.cloud_topic, route.readers):
            return
        self.why[channel] = self.why[channel] or ("" if channel in self._sending else "no session yet")
        sending = self._sending.get(channel)
        if sending is not None and not sending.reader_ids <= {member for member, _ in self.readership.of(channel)}:
            self._end(channel, "its readers change with its topics: a new session begins")
        self.news()

    def name_soon(self) -> None:
        """Say progress soon: nobody can ask for a source partition that no word of ours names."""
        self._unnamed.set()

    async def keep(self) -> None:
        """Begin sessions when they are due, for ever."""
        while True:
            self._news.clear()
            good = True
            for channel in [each for each in self.readership if self.readership.topics(each)]:
                good = await self._look(channel) and good
            await self._say_last_words()
            try:
                async with asyncio.timeout(_LOOK_EVERY if good else _TRY_AGAIN):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def keep_progress(self) -> None:
        """Say how far we are, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PROGRESS_EVERY):
                    await self._unnamed.wait()
                    await asyncio.sleep(_NAMED_AFTER)
            self._unnamed.clear()
            for channel, sending in list(self._sending.items()):
                if clock.now() < sending.outbound.not_after:
                    await self._say_progress(channel, sending)

    async def _look(self, channel: str) -> bool:
        readers = self.readership.of(channel)
        sending = self._sending.get(channel)
        if not readers:
            self._end(channel, "no reader is enrolled for this channel: sealing holds, the source keeps the data")
            return True
        credential = self._control.credential
        if credential is None or not credential.valid_at(clock.now()):
            self._end(channel, "our own credential has ended or is lacking: enroll this identity again")
            return True
        if sending is not None and sending.reader_ids == frozenset(member for member, _ in readers):
            idle = sending.sealed == sending.sealed_before
            sending.sealed_before = sending.sealed
            rules = self._settings.lifetimes.session
            if not session.due(sending.outbound, clock.now(), sending.sealed, idle=idle, rules=rules):
                return True
        try:
            await self._begin(channel, readers, credential.statement)
        except (Refused, Stopped) as error:
            self.why[channel] = f"the cloud does not take our session: {error}"
            _log.warning("%s: %s", channel, self.why[channel])
            return False
        return True

    def _end(self, channel: str, why: str) -> None:
        if self.why.get(channel) != why:
            _log.warning("%s: %s", channel, why)
        self.why[channel] = why
        self._replace(channel, None)

    def _replace(self, channel: str, sending: Sending | None) -> None:
        before = self._sending.pop(channel, None)
        if before is not None:
            self._replaced.append((channel, before))
        if sending is not None:
            self._sending[channel] = sending

    async def _begin(self, channel: str, readers: tuple[tuple[bytes, KeyPackage], ...], credential: bytes) -> None:
        now = clock.now()
        control = self._control
        number = self._numbers.get(channel, 0) + 1
        outbound, statement = session.start(
            control.secrets.identity,
            credential,
            control.trust.project_id,
            channel,
            control.trust.charter.version,
            number,
            now,
            os.urandom,
        )
        grants = grant.wrap(outbound, readers, 1, now, os.urandom, used=self._used)
        topic, key = self._settings.sessions_topic, outbound.id.hex().encode()
        await control.publish(topic, statement, key)
        for each in grants:
            await control.publish(topic, each, key)
        # Only now is it used: whoever may read finds the statement and the grant before the first envelope.
        self._numbers[channel] = number
        self._used = grant.windows_used(readers, now, self._used)
        sending = Sending(outbound, readers)
        self._replace(channel, sending)
        self.why[channel] = ""
        _log.info("%s: session %s for %d readers", channel, outbound.id.hex()[:8], len(readers))
        self._on_session(channel)
        await self._say_progress(channel, sending)

    async def _say_last_words(self) -> None:
        """End the sessions that were replaced and of which the cloud has everything."""
        ended = [each for each in self._replaced if not each[1].in_flight]
        self._replaced = [each for each in self._replaced if each[1].in_flight]
        for channel, sending in ended:
            await self._say_progress(channel, sending, final=True)

    async def finish(self) -> None:
        """Say the last word of every session: nothing is sealed here any more."""
        for channel in list(self._sending):
            self._replace(channel, None)
        await self._say_last_words()

    async def _say_progress(self, channel: str, sending: Sending, *, final: bool = False) -> None:
        as_of, topics = self._progress_of(channel)
        as_of = sending.as_of = max(as_of, sending.as_of)  # a later word is never older
        self.on_stated(sending.outbound, topics)  # before anybody can read it, and ask
        sending.progress_number += 1
        statement = progress.make(
            sending.outbound,
            sending.progress_number,
            as_of,
            as_of + _NEXT_WORD_MS,
            final,
            topics,
            os.urandom,
        )
        key = sending.outbound.id.hex().encode()
        try:
            await self._control.publish(self._settings.sessions_topic, statement, key)
        except (Refused, Stopped) as error:
            _log.warning("%s: progress was not taken: %s", channel, error)
