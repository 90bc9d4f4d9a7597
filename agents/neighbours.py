"""Grants to neighbours: a mirror that joins a site is given the sessions that are still being read there.

Its lanes may hold envelopes of sessions that began before its receiving keys were known to their senders. A reader that
holds their secrets grants them to members of its own site; the commitment in a session's id makes its word unnecessary.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.first_grants import FirstGrants
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import grant

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.agents.control import Control
    from sealwire.agents.settings import Settings
    from sealwire.keys.credential import Credential
    from sealwire.keys.keypackage import KeyPackage
    from sealwire.keys.session import InboundSession

_log = logging.getLogger(__name__)
_AGAIN = 60.0  # seconds before a grant that the cloud did not take is tried again


class Neighbours:
    """Grants what we can open to members of our site that announce receiving keys, for the first time or other ones.

    Who announces other keys for windows that it had announced before may have lost its vault, and all that was in it.
    ``cloud_topics`` names the cloud topics that we open for a channel.
    """

    def __init__(self, settings: Settings, control: Control, cloud_topics: Callable[[str], list[str]]) -> None:
        self._settings, self._control, self._cloud_topics = settings, control, cloud_topics
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._granted = FirstGrants(control)
        control.on_keys = self._queue.put_nowait

    async def keep(self) -> None:
        """Grant to whoever announces, for ever; what the cloud does not take is granted again after a while."""
        for member_id in self._came_meanwhile():
            self._queue.put_nowait(member_id)
        while True:
            member_id = await self._queue.get()
            if not await self._grant(member_id):
                asyncio.get_running_loop().call_later(_AGAIN, self._queue.put_nowait, member_id)

    def _came_meanwhile(self) -> list[bytes]:
        """Give the members of our site that may have come while we were off, or while we granted and ended."""
        sessions, credentials = self._control.sessions.values(), self._control.trust.credentials.values()
        oldest = min((session.made_at for session in sessions), default=clock.now())
        return [each.member_id for each in credentials if each.site == self._settings.site and each.admitted >= oldest]

    async def _grant(self, member_id: bytes) -> bool:
        """Grant to a member what it may read of what we can open; tell whether the cloud has all of it."""
        control = self._control
        credential = control.trust.credential_of(member_id)
        own = control.secrets.identity.member_id
        if member_id == own or credential is None or credential.site != self._settings.site:
            return True
        count = 0
        for session_id in list(control.sessions):
            statement = self._share(session_id, credential)
            if statement is None:
                continue
            try:
                await control.publish(self._settings.sessions_topic, statement, session_id.hex().encode())
            except (Refused, Stopped) as error:
                _log.warning("a grant to %s was not taken: %s", credential.name, error)
                return False
            count += 1
        if count:
            _log.info("granted %d sessions to %s of our site", count, credential.name)
        return True

    def _share(self, session_id: bytes, credential: Credential) -> bytes | None:
        """Wrap a session; by itself, as who waits for the cloud must hold no secret meanwhile."""
        session, now = self._control.sessions.get(session_id), clock.now()
        # What had ended before it was admitted is not its own to read, but for the channel's backfill.
        if session is None or session.not_after < credential.admitted - self._backfill(session.channel):
            return None
        package = self._package(credential.member_id, session, now)
        if package is None:
            return None
        statement = grant.share(session, self._control.secrets.identity, [package], now, now)
        if statement is not None:
            self._granted.note(session.channel, session_id, [credential.member_id])
        return statement

    def _backfill(self, channel: str) -> int:
        charter = self._control.trust.charter
        return min((charter.backfill(channel, topic) for topic in self._cloud_topics(channel)), default=0)

    def _package(self, member_id: bytes, session: InboundSession, now: int) -> tuple[bytes, KeyPackage] | None:
        """Its key package, where it may read every cloud topic that we open for the session's channel."""
        topics = self._cloud_topics(session.channel)
        found = [dict(self._control.trust.readers(session.channel, topic, now)).get(member_id) for topic in topics]
        packages = [package for package in found if package is not None]
        return (member_id, packages[0]) if packages and len(packages) == len(topics) else None
