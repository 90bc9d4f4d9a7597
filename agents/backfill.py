"""Backfill: late readers are granted sessions that are over, as far back as the charter lets them read.

Only where the charter has a backfill for a channel do secrets of our ended sessions stay in the vault, for that long.
Their signing keys never do: nobody seals in them again, and who grants them later signs with the identity.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import grant, session

if TYPE_CHECKING:
    from sealwire.agents.control import Control
    from sealwire.agents.readership import Readers, Readership
    from sealwire.agents.settings import Settings
    from sealwire.keys.credential import Credential
    from sealwire.keys.keypackage import KeyPackage
    from sealwire.keys.session import OutboundSession

_log = logging.getLogger(__name__)
_LOOK_EVERY = 10.0  # seconds


class Backfill:
    """Remembers our sessions where they may be granted later, and grants them to readers who come later."""

    def __init__(self, settings: Settings, control: Control, readership: Readership) -> None:
        self._settings, self._control, self._readership = settings, control, readership
        self._met: dict[str, set[bytes]] = {}  # by channel, who was there before or has been granted what there is
        self._late: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()  # channel and member

    def of(self, channel: str) -> int:
        """Give how far back (ms) a reader of all cloud topics of a channel may read.

        A pattern's topics are found after a start, and by nobody while the source is away: till then nothing is lost.
        """
        charter, topics = self._control.trust.charter, self._readership.topics(channel)
        if not topics:
            return charter.longest_backfill(channel)
        return min(charter.backfill(channel, topic) for topic in topics)

    def announced(self, member_id: bytes) -> None:
        """A member has other receiving keys: what it was granted before it may have lost."""
        for met in self._met.values():
            met.discard(member_id)

    def nobody(self, channel: str) -> None:
        """There is no reader: whoever comes now was not there before."""
        self._met.setdefault(channel, set())

    async def remember(self, outbound: OutboundSession, credential: Credential) -> None:
        """Save what a later grant of a session needs, before the session is used."""
        if self.of(outbound.channel) > 0:
            async with self._control.changing:
                own = session.own(outbound, credential)
                await self._control.save(self._control.secrets.sending(own))

    async def keep_forgetting(self) -> None:
        """Erase what no backfill reaches any more, for ever. By itself: it waits for as long as the disk does."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self.forget()

    async def forget(self) -> None:
        """Erase what no backfill reaches any more."""
        now, control = clock.now(), self._control
        of = {channel: self.of(channel) for channel in self._readership}
        if control.secrets.forget(now, receiving=False, backfill=of) is not control.secrets:
            async with control.changing:
                await control.save(control.secrets.forget(now, receiving=False, backfill=of))

    def grant(self, channel: str, readers: Readers) -> None:
        """Have what is kept of a channel granted to those of its readers who were not there before.

        Who is there at a worker's first look was granted by the one before it: but for those who were admitted after
        the oldest of what is kept, who may have come while no worker ran, or in the midst of whose grants it ended.
        """
        met = self._met.setdefault(channel, self._there_before(channel, readers))
        for member_id, _package in readers:
            if member_id not in met:
                met.add(member_id)
                self._late.put_nowait((channel, member_id))

    def _there_before(self, channel: str, readers: Readers) -> set[bytes]:
        kept = [own.made_at for own in self._control.secrets.sent.values() if own.channel == channel]
        known = [self._control.trust.credential_of(member_id) for member_id, _package in readers]
        return {who.member_id for who in known if who is not None and who.admitted < min(kept, default=clock.now())}

    async def keep(self) -> None:
        """Grant to who came late, for ever: there may be a thousand sessions for each, and no other waits for that."""
        while True:
            channel, member_id = await self._late.get()
            if not await self._grant(channel, member_id):
                self._met[channel].discard(member_id)  # once more when the next session begins

    async def _grant(self, channel: str, member_id: bytes) -> bool:
        """Grant all that is kept: what ended longer ago than the backfill is not, and nobody was admitted in future."""
        control, count = self._control, 0
        await self.forget()
        for session_id in [own.id for own in control.secrets.sent.values() if own.channel == channel]:
            # Looked at each time: it may be left out meanwhile, or have other receiving keys, or the backfill be over.
            package = dict(self._readership.of(channel)).get(member_id)
            if package is None:
                return True
            statement = await self._share(session_id, (member_id, package))
            if statement is None:
                continue
            try:
                await control.publish(self._settings.sessions_topic, statement, session_id.hex().encode())
            except (Refused, Stopped) as error:
                _log.warning("%s: a grant for backfill was not taken: %s", channel, error)
                return False
            count += 1
        if count:
            _log.info("%s: granted %d earlier sessions to %s", channel, count, control.trust.name_of(member_id))
        return True

    async def _share(self, session_id: bytes, reader: tuple[bytes, KeyPackage]) -> bytes | None:
        """Wrap one of our sessions; by itself, as who waits for the cloud must hold no secret meanwhile."""
        own, now = self._control.secrets.sent.get(session_id), clock.now()
        if own is None:
            return None
        # In a thread: there may be a thousand of them.
        return await asyncio.to_thread(grant.share, own, self._control.secrets.identity, [reader], now, now)
