"""Renewal: what a worker makes anew of its own, before it ends: credential and receiving keys."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import keypackage, request, wire

if TYPE_CHECKING:
    from sealwire.agents.control import Control
    from sealwire.agents.settings import Settings

_log = logging.getLogger(__name__)
_RENEW_EVERY = 600.0  # seconds between two looks at our own receiving keys
_ASK_EVERY_MS = 3600 * 1000  # between two requests for the next credential
_NO_CREDENTIAL = "no credential of our own: enroll this identity again (sealwire enroll)"


class Renewal:
    """Keeps the credential and the receiving keys of one worker. ``trouble`` says what it lacks for that."""

    def __init__(self, settings: Settings, control: Control) -> None:
        self._settings, self._control = settings, control
        self._reads = settings.direction == "open"
        self._asked_at = 0
        self._looked: float | None = None
        self.trouble = ""

    async def look(self) -> None:
        """Renew what is due."""
        await self.renew_credential()
        loop_now = asyncio.get_running_loop().time()
        if self._looked is None:
            self._looked = loop_now  # the start has announced them
        if loop_now - self._looked < _RENEW_EVERY:
            return
        self._looked = loop_now
        if self._reads:
            await self._renew()
        await self._control.forget()

    async def announce(self) -> None:
        """Make the receiving keys that are missing and publish them: nobody knows whether the last word got out."""
        if self._reads:
            await self._renew(always=True)

    async def renew_credential(self) -> None:
        """Ask for the next credential when a third of this one's life is over; the control topic brings the answer."""
        credential, now = self._control.credential, clock.now()
        if credential is None or now < credential.not_before + (credential.not_after - credential.not_before) // 3:
            return
        if now < self._asked_at + _ASK_EVERY_MS:
            return
        self._asked_at = now
        asked = request.ask_renewal(self._control.secrets.identity, credential, now)
        key = wire.statement_digest(asked).hex().encode()
        _log.info("asking for the next credential")
        try:
            await self._control.publish(self._settings.requests_topic, asked, key)
        except (Refused, Stopped) as error:
            _log.warning("the request for the next credential was not taken: %s", error)

    async def _renew(self, *, always: bool = False) -> None:
        control = self._control
        credential = control.credential
        if credential is None:
            self.trouble = _NO_CREDENTIAL
            _log.warning(self.trouble)
            return
        self.trouble = ""
        async with control.changing:
            identity, project = control.secrets.identity, control.trust.project_id
            now = clock.now()
            held, package = keypackage.renew(identity, credential, project, control.secrets.held, now, os.urandom)
            if package is None and always:
                package = keypackage.announce(identity, credential, project, held, now)
            if held != control.secrets.held:
                await control.save(control.secrets.holding(held))
        if package is not None:
            key = b"keys/" + identity.member_id.hex().encode()
            await control.publish(self._settings.control_topic, package, key)
