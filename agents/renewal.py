"""Renewal: what a worker makes anew of its own: credential, identity key and receiving keys, when due or when told to.

Everything overlaps: the old key counts until the new one does, so nothing that flows has to wait.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sealwire.agents import clock
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import identity, keypackage, request, wire
from sealwire.keys.restored import restored

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sealwire.agents.control import Control
    from sealwire.agents.settings import Settings

_log = logging.getLogger(__name__)
_LOOK_EVERY = 10.0  # seconds between two looks at what is due
_RENEW_EVERY = 600.0  # seconds between two looks at our own receiving keys
_ASK_EVERY_MS = 3600 * 1000  # between two requests for the next credential
_ANSWER_WITHIN = 20.0  # seconds for which an order waits for the authority's answer
_AGAIN_MS = 600 * 1000  # before a request that the cloud did not take is made again
_NO_CREDENTIAL = (
    "no credential of our own counts: the authority key that signed it has ended, or the root trusts it no more. The "
    "authority makes the next (sealwire authority run); enrolling again does not help"
)
_FOREIGN_KEY = (
    "our credential names an identity key that is not in this vault: it is of before the key was replaced. Restore the "
    "newer vault, or enroll a new identity (sealwire enroll)"
)
_NOT_TAKEN = "the cloud does not take our receiving keys, so nobody wraps for them: "
_ASKED = "asked for; the authority has not answered yet, and it counts as soon as it does"


def package_key(member_id: bytes) -> bytes:
    """Give the record key of a member's key package on the control topic."""
    return b"keys/" + member_id.hex().encode()


class Renewal:
    """Keeps the credential, the identity key and the receiving keys of one worker. ``trouble`` says what is lacking.

    ``restored`` says that the vault is an old backup, for as long as this worker runs; empty where it is none.
    """

    def __init__(self, settings: Settings, control: Control, behind: int) -> None:
        self._settings, self._control, self._behind = settings, control, behind
        self._loaded = control.secrets.credential  # as the vault gave it; no secret, which would outlive its rule here
        self.restored = ""
        self._reads = settings.direction == "open"
        self._asked_at = 0
        self._looked: float | None = None
        self._came = asyncio.Event()  # a newer credential of ours
        self._unspoken = asyncio.Event()  # one under which our key package was not announced yet
        self.trouble = ""
        self.on_identity: Callable[[], None] = lambda: None  # our identity key is another one now

    def loops(self) -> tuple[Coroutine[Any, Any, None], ...]:
        """Give what renews what is due, and announces again under each newer credential of ours, for ever.

        Each by itself: a cloud that takes no request keeps no receiving key from being announced, nor the other way.
        """
        return self._keep_credential(), self._keep_receiving()

    async def _keep_credential(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            await self._look_at_credential()

    async def _keep_receiving(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._unspoken.wait()
            if self._unspoken.is_set():
                self._unspoken.clear()
                await self.announce()
            await self._look_at_receiving()

    async def look(self) -> None:
        """Renew what is due."""
        await self._look_at_credential()
        await self._look_at_receiving()

    async def _look_at_receiving(self) -> None:
        loop_now = asyncio.get_running_loop().time()
        if self._looked is None:
            self._looked = loop_now  # the start has announced them
        if self._reads and loop_now - self._looked >= _RENEW_EVERY:
            self._looked = loop_now
            await self._renew(always=not self._announced() or self.trouble.startswith(_NOT_TAKEN))

    async def begin(self) -> None:
        """Make our receiving keys after a start: those that are missing, or all where the vault is an old backup.

        ``loops`` announce them: what was granted before can be opened whether or not the cloud takes that.
        """
        # Until here nothing was made, and what was erased had ended: but for the credential it is what the vault gave.
        loaded = replace(self._control.secrets, credential=self._loaded)
        package = self._control.trust.packages.get(loaded.identity.member_id)
        signs = restored(loaded, clock.now(), package, self._behind)
        if signs is not None:
            self.restored = str(signs)
            _log.warning("%s", self.restored)
        if self._reads:
            await self._make(anew=signs is not None)
            if signs is not None:
                self._control.trail.note("rotated", what="receiving")
            self._unspoken.set()

    def _announced(self) -> bool:
        """Tell whether others wrap for keys that we hold, as far as we see: a word may be lost, or another's stand."""
        package = self._control.trust.packages.get(self._control.secrets.identity.member_id)
        held = {each.receiving.public for each in self._control.secrets.held}
        return package is not None and all(window.public in held for window in package.windows)

    async def announce(self) -> None:
        """Make the receiving keys that are missing and publish them: nobody knows whether the last word got out."""
        if self._reads:
            await self._renew(always=True)

    def admitted(self, identity_replaced: bool) -> None:  # noqa: FBT001
        """Our credential is a newer one: a key package counts under the serial of the newest credential only.

        It is announced by ``loops``: whoever learns must not wait for the cloud to take it.
        """
        credential = self._control.credential
        if credential is not None:
            _log.info("credential %d counts, until %d", credential.serial, credential.not_after)
            what = "identity" if identity_replaced else "credential"
            key = credential.identity_key.hex()
            self._control.trail.note("rotated", what=what, serial=credential.serial, key=key)
        self._unspoken.set()
        self._came.set()
        self._came = asyncio.Event()
        if identity_replaced:
            _log.info("our identity key is a new one: the authority's credential names it")
            self.on_identity()

    # By order

    async def receiving_anew(self) -> str:
        """Make every receiving key anew and announce them; tells in words what came of it."""
        if trouble := await self._renew(always=True, anew=True):
            return trouble
        self._control.trail.note("rotated", what="receiving")
        return f"{len(keypackage.wanted(clock.now()))} windows have new receiving keys, and are announced"

    async def credential_anew(self) -> str:
        """Ask for the next credential now; tells in words what came of it."""
        return await self._answered(self._ask_renewal)

    async def identity_anew(self) -> str:
        """Make the next identity key and ask for a credential that names it; tells in words what came of it."""
        return await self._answered(self._replace_identity)

    async def _answered(self, ask: Callable[[], object]) -> str:
        came = self._came
        trouble = await ask()  # type: ignore[misc]
        if trouble:
            return str(trouble)
        with suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_WITHIN):
                await came.wait()
        credential = self._control.credential
        if not came.is_set() or credential is None:
            return _ASKED
        return f"credential {credential.serial} counts, for {self._control.secrets.identity.public.hex()[:16]}"

    # Credential and identity key

    async def _look_at_credential(self) -> None:
        """Ask for what is due, every hour until it is there; the control topic brings the answer."""
        secrets, credential, now = self._control.secrets, self._control.credential, clock.now()
        if lacking := self.lacking():
            self._troubled(lacking)
        elif self.trouble in (_NO_CREDENTIAL, _FOREIGN_KEY):
            self.trouble = ""
        # A clock that was set back since counts as one that never asked.
        if credential is None or self._asked_at <= now < self._asked_at + _ASK_EVERY_MS:
            return
        if secrets.following is not None or self._identity_is_old():
            await self._replace_identity(by_itself=True)
        elif now >= credential.not_before + (credential.not_after - credential.not_before) // 3:
            await self._ask_renewal()

    def _identity_is_old(self) -> bool:
        return clock.now() >= self._control.secrets.identity.made_at + self._settings.lifetimes.identity

    async def _replace_identity(self, *, by_itself: bool = False) -> str:
        """Ask for a credential of our next identity key, which is in the vault before; one at a time."""
        control = self._control
        async with control.changing:
            former, following = control.secrets.identity, control.secrets.following
            if following is None and by_itself and not self._identity_is_old():
                return ""  # the one that was asked for came to count while we waited
            if following is None:
                following = identity.replace(former, os.urandom, clock.now())
                await control.save(control.secrets.followed_by(following))
        credential = control.credential
        if credential is None:
            return self._troubled(self.lacking())
        _log.info("asking for a credential of our next identity key")
        return await self._ask(request.ask_replacement(former, following, credential, clock.now()))

    async def _ask_renewal(self) -> str:
        control = self._control
        if control.secrets.following is not None:
            return await self._replace_identity(by_itself=True)  # its credential renews as well
        credential = control.credential
        if credential is None:
            return self._troubled(self.lacking())
        _log.info("asking for the next credential")
        return await self._ask(request.ask_renewal(control.secrets.identity, credential, clock.now()))

    async def _ask(self, asked: bytes) -> str:
        self._asked_at = clock.now()
        key = wire.statement_digest(asked).hex().encode()
        try:
            await self._control.publish(self._settings.requests_topic, asked, key)
        except (Refused, Stopped) as error:
            self._asked_at = clock.now() - _ASK_EVERY_MS + _AGAIN_MS
            words = f"the request to the authority was not taken: {error}"
            _log.warning(words)
            return words
        return ""

    # Receiving keys

    async def _renew(self, *, always: bool = False, anew: bool = False) -> str:
        """Save the receiving keys that are missing, then announce them; say in words why they are not, or ""."""
        control = self._control
        package = await self._make(always=always, anew=anew)
        if lacking := self.lacking():
            return self._troubled(lacking)
        if package is not None:
            key = package_key(control.secrets.identity.member_id)
            try:
                await control.publish(self._settings.control_topic, package, key)
            except (Refused, Stopped) as error:
                return self._troubled(f"{_NOT_TAKEN}{error}")
        if self.trouble.startswith(_NOT_TAKEN):
            self.trouble = ""
        return ""

    async def _make(self, *, always: bool = False, anew: bool = False) -> bytes | None:
        """Save the receiving keys that are missing; give the key package to publish, if one is or it is ``always``."""
        control = self._control
        async with control.changing:
            credential = control.credential
            if credential is None:
                return None
            mine, project = control.secrets.identity, control.trust.project_id
            now, before = clock.now(), control.secrets.held
            held, package = keypackage.renew(mine, credential, project, before, now, os.urandom, anew=anew)
            if package is None and always:
                package = keypackage.announce(mine, credential, project, held, now)
            if held != before:
                await control.save(control.secrets.holding(held))
            return package

    def lacking(self) -> str:
        """Say why there is no credential of ours to sign under; empty where there is one."""
        control = self._control
        if control.credential is not None:
            return ""
        known = control.trust.credential_of(control.secrets.identity.member_id)
        return _NO_CREDENTIAL if known is None else _FOREIGN_KEY

    def _troubled(self, words: str) -> str:
        if self.trouble != words:
            _log.warning(words)
        self.trouble = words
        return words
