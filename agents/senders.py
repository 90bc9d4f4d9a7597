"""The sending side's sessions: one per channel, made before it is needed, its grants published before it is used."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.backfill import Backfill
from sealwire.agents.first_grants import FirstGrants
from sealwire.agents.own_progress import OwnProgress
from sealwire.agents.readership import Readership
from sealwire.agents.sending import Sending
from sealwire.agents.words import count
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import grant, session

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.control import Control
    from sealwire.agents.readership import Readers
    from sealwire.agents.settings import SealRoute, Settings
    from sealwire.keys.credential import Credential
    from sealwire.keys.progress import TopicProgress

_log = logging.getLogger(__name__)
_LOOK_EVERY = 10.0  # seconds; news of members are looked at at once
_TRY_AGAIN = 2.0  # seconds after a session that the cloud would not take
_HOLDS = "no reader is enrolled for this channel: sealing holds, the source keeps the data"
_ENDED = "our own credential has ended: the authority makes the next (sealwire authority run)"
_REFUSED = "a reader may read no more: a new session begins without it"
_FEWER = "its readers change with its topics: a new session begins"


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
        self._on_session = on_session
        self.readership = Readership(settings, control)
        self.backfill = Backfill(settings, control, self.readership)
        self.progress = OwnProgress(settings, control, progress_of, lambda: list(self._sending.values()))
        self._sending: dict[str, Sending] = {}
        self._numbers: dict[str, int] = {}
        self._used: dict[bytes, int] = {}
        self._granted = FirstGrants(control)
        self._anew: set[str] = set()  # channels whose sessions are to be followed by another at once
        self._beginning: dict[str, frozenset[bytes]] = {}  # channels whose next session is on its way, and for whom
        self._news, self._turn = asyncio.Event(), asyncio.Lock()
        self.why: dict[str, str] = {
            channel: "no session yet" if self.readership.topics(channel) else "" for channel in self.readership
        }

    def current(self, channel: str) -> Sending | None:
        """Return the channel's session, or None while there is none to seal under (``waits_for`` tells)."""
        sending = self._sending.get(channel)
        if self._control.holding or self._control.over or sending is None:
            return None
        return sending if clock.now() < sending.outbound.not_after else None

    def waits_for(self, channel: str) -> str:
        """Say why there is no session to seal under; empty where there is one, or is about to be."""
        return self._control.over or self._control.holding or self.why[channel]

    def lacks(self) -> bool:
        """Tell whether statements are missed that may long be in the cloud: of a reader, or of ourselves."""
        waits = any(self.why.values())
        return _HOLDS in self.why.values() or (waits and self._credential() is None)

    # News

    def count(self, sending: Sending, used: int) -> None:
        """Count the bytes of an envelope that was sealed in a session; enough of them bring the next one at once."""
        sending.sealed += used
        if sending.sealed >= self._settings.lifetimes.session.bytes:
            self._news.set()

    def news(self) -> None:
        """Look at the readers again soon; nothing more is sealed for one that the charter refuses by now."""
        for channel, sending in list(self._sending.items()):
            if self.readership.bars(channel, sending.reader_ids):
                self._end(channel, _REFUSED)
        self._news.set()

    def on_hold(self) -> None:
        """What may not be sealed now waits; what may be again goes on."""
        for channel in list(self._sending):
            self._on_session(channel)

    def announced(self, member_id: bytes) -> None:
        """A member announced receiving keys, or other ones: whoever holds its former keys reads no more from here on.

        What it was granted before it may not be able to open any more.
        """
        self.backfill.announced(member_id)
        self._anew.update(channel for channel, sending in self._sending.items() if member_id in sending.reader_ids)
        self._anew.update(channel for channel, reader_ids in self._beginning.items() if member_id in reader_ids)
        self._news.set()

    def anew(self) -> None:
        """Have every session followed by another one at once."""
        self._anew.update(self._sending, self._beginning)
        self._news.set()

    async def rotate(self) -> str:
        """Begin a new session on every channel, now; tells in words what came of it."""
        found = []
        for channel in self.readership:
            if self.readership.topics(channel):
                self._anew.add(channel)
                await self._look(channel)
                sending = self.current(channel)
                readers = count(len(sending.readers), "reader") if sending else ""
                new = f"session {sending.outbound.id.hex()[:8]} for {readers}" if sending else self.waits_for(channel)
                found.append(f"{channel}: {new}")
        await self.progress.say_last_words()
        return "; ".join(found) or "nothing is sealed here yet"

    def cover(self, route: SealRoute) -> None:
        """Seal for one more cloud topic: from now on only under a session whose readers may all read it.

        A topic stays covered for as long as the worker lives, so a session is never granted to more than may read all.
        """
        channel = route.channel
        if not self.readership.cover(channel, route.cloud_topic, route.readers):
            return
        self.why[channel] = self.why[channel] or ("" if channel in self._sending else "no session yet")
        sending = self._sending.get(channel)
        if sending is not None and not self._all_may_read(channel, sending):
            self._end(channel, _FEWER)
        self._news.set()

    # Sessions

    async def keep(self) -> None:
        """Begin sessions when they are due, for ever."""
        while True:
            self._news.clear()
            good = True
            for channel in [each for each in self.readership if self.readership.topics(each)]:
                good = await self._look(channel) and good
            await self.progress.say_last_words()
            if not good:
                await asyncio.sleep(_TRY_AGAIN)  # whatever the news: each envelope of a session that is full is some
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._news.wait()

    async def keep_erasing(self) -> None:
        """Erase sessions that are over, for ever: also while the cloud takes nothing, or nothing may be sealed."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            now = clock.now()
            for channel in [each for each, sending in self._sending.items() if now >= sending.outbound.not_after]:
                self._replace(channel, None)
            self.progress.forget()

    async def _look(self, channel: str) -> bool:
        async with self._turn:
            if self._control.holding or self._control.over:
                return True
            readers = self.readership.of(channel)
            if not readers:
                self.backfill.nobody(channel)
                self._end(channel, _HOLDS)
                return True
            credential = self._credential()
            if credential is None:
                self._end(channel, self._control.renewal.lacking() or _ENDED)
                return True
            if not self._due(channel, readers, credential):
                return True
            try:
                await self._begin(channel, readers, credential)
            except (Refused, Stopped) as error:
                self.why[channel] = f"the cloud does not take our session: {error}"
                _log.warning("%s: %s", channel, self.why[channel])
                return False
            return True

    def _credential(self) -> Credential | None:
        """Our own credential, where there is one that counts now."""
        credential = self._control.credential
        return credential if credential is not None and credential.valid_at(clock.now()) else None

    def _due(self, channel: str, readers: Readers, credential: Credential) -> bool:
        sending = self._sending.get(channel)
        if sending is None or channel in self._anew or sending.reader_ids != frozenset(dict(readers)):
            return True
        if sending.signer != credential.signer:  # a root may have taken that key away: nobody opens what it admitted
            return True
        idle = sending.sealed == sending.sealed_before
        sending.sealed_before = sending.sealed
        rules = self._settings.lifetimes.session
        return session.due(sending.outbound, clock.now(), sending.sealed, idle=idle, rules=rules)

    def _end(self, channel: str, why: str) -> None:
        if self.why.get(channel) != why:
            _log.warning("%s: %s", channel, why)
        self.why[channel] = why
        self._replace(channel, None)

    def _replace(self, channel: str, sending: Sending | None) -> None:
        before = self._sending.pop(channel, None)
        if before is not None:
            self.progress.end(before)
        if sending is not None:
            self._sending[channel] = sending

    async def _begin(self, channel: str, readers: Readers, credential: Credential) -> None:
        """Begin a session; one that comes to nothing leaves undone what it was asked for."""
        asked = channel in self._anew
        self._anew.discard(channel)  # who asks from here on asks for another one
        self._beginning[channel] = frozenset(dict(readers))
        used = False
        try:
            used = await self._publish(channel, readers, credential)
        finally:
            del self._beginning[channel]
            if asked and not used:
                self._anew.add(channel)

    async def _publish(self, channel: str, readers: Readers, credential: Credential) -> bool:
        """Have a session in the cloud, with its grants, and only then take it into use: nothing waits meanwhile.

        Tells whether it is used.
        """
        now, control = clock.now(), self._control
        number = self._numbers.get(channel, 0) + 1
        outbound, statement = session.start(
            control.secrets.identity,
            credential.statement,
            control.trust.project_id,
            channel,
            control.trust.charter.version,
            number,
            now,
            os.urandom,
        )
        escrow = [public for _, suite, public in control.trust.root.escrow if suite == outbound.suite]
        # In a thread: for hundreds of readers it takes long enough for what flows to feel it.
        grants = await asyncio.to_thread(
            lambda: grant.wrap(outbound, readers, 1, now, os.urandom, escrow=escrow, used=self._used)
        )
        topic, key = self._settings.sessions_topic, outbound.id.hex().encode()
        await control.publish(topic, statement, key, outbound.not_after)
        self._granted.note(channel, outbound.id, dict(readers))  # also where the session is not used in the end
        for each in grants:
            await control.publish(topic, each, key, outbound.not_after)
        await self.backfill.remember(outbound, credential)
        # Only now is it used: whoever may read finds the statement and the grant before the first envelope.
        self._numbers[channel] = number
        self._used = grant.windows_used(readers, now, self._used)
        sending = Sending(outbound, readers, credential.signer)
        if not self._all_may_read(channel, sending):  # one was refused meanwhile, or may not read a topic that came
            self.progress.end(sending)
            self._news.set()
            return False
        self._replace(channel, sending)
        self.why[channel] = ""
        self._note(sending, number)
        self._on_session(channel)
        await self.progress.say(sending)
        self.backfill.grant(channel, readers)
        return True

    def _all_may_read(self, channel: str, sending: Sending) -> bool:
        return sending.reader_ids <= {member for member, _package in self.readership.of(channel)}

    def _note(self, sending: Sending, number: int) -> None:
        channel, session_id = sending.outbound.channel, sending.outbound.id.hex()
        _log.info("%s: session %s for %s", channel, session_id[:8], count(len(sending.readers), "reader"))
        if number > 1:
            self._control.trail.note("rotated", what="session", channel=channel, session=session_id)

    async def finish(self) -> None:
        """Say the last word of every session: nothing is sealed here any more."""
        for channel in list(self._sending):
            self._replace(channel, None)
        await self.progress.say_last_words()
