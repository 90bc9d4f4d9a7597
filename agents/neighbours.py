"""Grants to neighbours: a mirror that joins a site is given the sessions that are still being read there.

Its lanes may hold envelopes of sessions that began before its receiving keys were known to their senders. A reader that
holds their secrets grants them to members of its own site; the commitment in a session's id makes its word unnecessary.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import grant

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.control import Control
    from sealwire.agents.settings import Settings
    from sealwire.keys.keypackage import KeyPackage
    from sealwire.keys.session import InboundSession

_log = logging.getLogger(__name__)


class Neighbours:
    """Grants what we can open to members of our site that announce receiving keys, for the first time or other ones.

    Who announces other keys for windows that it had announced before may have lost its vault, and all that was in it.
    ``cloud_topics`` names the cloud topics that we open for a channel.
    """

    def __init__(self, settings: Settings, control: Control, cloud_topics: Callable[[str], list[str]]) -> None:
        self._settings, self._control, self._cloud_topics = settings, control, cloud_topics
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        control.on_keys = self._queue.put_nowait

    async def keep(self) -> None:
        """Grant to whoever announces, for ever."""
        while True:
            await self._grant(await self._queue.get())

    async def _grant(self, member_id: bytes) -> None:
        control = self._control
        credential = control.trust.credential_of(member_id)
        own = control.secrets.identity.member_id
        if member_id == own or credential is None or credential.site != self._settings.site:
            return
        now, count = clock.now(), 0
        for session in list(control.sessions.values()):
            # What had ended before it was admitted is not its own to read, but for the channel's backfill.
            since = credential.admitted - self._backfill(session.channel)
            package = self._package(member_id, session, now) if session.not_after >= since else None
            if package is None:
                continue
            statement = grant.share(session, control.secrets.identity, [package], now, now)
            if statement is None:
                continue
            try:
                await control.publish(self._settings.sessions_topic, statement, session.id.hex().encode())
            except (Refused, Stopped) as error:
                _log.warning("a grant to %s was not taken: %s", credential.name, error)
                return
            count += 1
        if count:
            _log.info("granted %d sessions to %s of our site", count, credential.name)

    def _backfill(self, channel: str) -> int:
        charter = self._control.trust.charter
        return min((charter.backfill(channel, topic) for topic in self._cloud_topics(channel)), default=0)

    def _package(self, member_id: bytes, session: InboundSession, now: int) -> tuple[bytes, KeyPackage] | None:
        """Its key package, where it may read every cloud topic that we open for the session's channel."""
        topics = self._cloud_topics(session.channel)
        found = [dict(self._control.trust.readers(session.channel, topic, now)).get(member_id) for topic in topics]
        packages = [package for package in found if package is not None]
        return (member_id, packages[0]) if packages and len(packages) == len(topics) else None
