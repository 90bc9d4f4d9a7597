"""Twins: another worker that has this one's identity, told by what it signs.

A copied state directory, or a vault restored while the first still runs: both would sign as one member, and each would
believe of the other's sessions that they are its own. A statement of this identity that this worker did not make, read
after its start and dated after it, ends it. The statement's proof is looked at, or anybody could end a worker; and what
the worker before this one signed, by a clock that was set back since, is no twin's: hence five minutes more.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock, records
from sealwire.agents.cloud_topic import opened_most
from sealwire.agents.seat import OffsetOutOfRange, ReadRefused
from sealwire.keys import credential as credentials
from sealwire.keys import session, wire
from sealwire.keys.reason import Rejected
from sealwire.keys.wire import SKEW, Type

if TYPE_CHECKING:
    from sealwire.agents.control import Control
    from sealwire.agents.seat import Fetched
    from sealwire.keys.primitives import Buffer

_log = logging.getLogger(__name__)
_AGAIN = 5.0  # seconds before a topic that could not be read is tried again
_MINE_MOST = 4096  # statements of our own that are remembered; what is as old as one that was forgotten tells nothing
_WORDS = (
    "identity in use twice: {} of this identity was made elsewhere, after this worker started. Stop the other "
    "worker, or enrol a new identity for one of them; where nobody of yours runs it, the identity was stolen: "
    "sealwire authority revoke, and a new ticket"
)


class Twins:
    """Looks for statements of our own identity that we did not make."""

    def __init__(self, control: Control, began: int) -> None:
        self._control, self._began = control, began
        self._mine: dict[bytes, int] = {}  # digests, and when (ms) we made each, oldest first

    def ours(self, statement: bytes) -> None:
        """Remember that we made a statement; only of the kinds that are looked for."""
        if statement[2] in (Type.SESSION, Type.KEY_PACKAGE):
            self._mine[wire.statement_digest(statement)] = clock.now()
            if len(self._mine) > _MINE_MOST:
                self._began = max(self._began, self._mine.pop(next(iter(self._mine))))

    def look_at_package(self) -> None:
        """Look at the key package of ours that counts now: whoever made it holds our identity key."""
        package = self._control.trust.packages.get(self._control.secrets.identity.member_id)
        if package is not None and self._strange(package.made_at, package.digest):
            self._found("a key package")

    def look(self, value: Buffer) -> None:
        """Look at a statement; one that is no session statement, or names somebody else, costs a comparison."""
        control = self._control
        member_id = control.secrets.identity.member_id
        if value[2:4] != bytes((Type.SESSION, wire.VERSION)) or member_id not in (statement := bytes(value)):
            return
        try:
            said = session.peek(statement, control.trust.project_id)
            whose = credentials.peek(said.credential, control.trust.project_id).member_id
            if whose != member_id or not self._strange(said.made_at, wire.statement_digest(statement)):
                return
            now = clock.now()
            project, trust = control.trust.project_id, control.trust
            session.read(statement, project, lambda credential: trust.read_credential(credential, now), now)
        except Rejected:
            return
        self._found("a session")

    def _strange(self, made_at: int, digest: bytes) -> bool:
        """Tell whether what was made while this worker ran is not its own; what is ahead of our clock tells nothing."""
        return self._began + SKEW < made_at <= clock.now() + SKEW and digest not in self._mine

    def _found(self, what: str) -> None:
        self._control.trail.note("identity-in-use-twice", what=what)
        self._control.end(_WORDS.format(what))

    async def keep(self, topic: str) -> None:
        """Follow the sessions topic from its end on, for ever: for a worker that does not read it anyway."""
        reader = self._control.reader
        while True:
            try:
                async with asyncio.timeout(_AGAIN):
                    reached = await reader.end_offset(topic, 0)
                break
            except (TimeoutError, ReadRefused):
                await asyncio.sleep(_AGAIN)

        async def take(fetched: Fetched) -> None:
            nonlocal reached
            reached = fetched.next
            self.look_through(fetched)
            fetched.release()

        def failed(error: Exception) -> None:
            nonlocal reached
            if isinstance(error, OffsetOutOfRange):
                reached = error.end
            asyncio.get_running_loop().call_later(_AGAIN, again)

        def again() -> None:
            reader.seat(topic, 0, reached, take, failed)

        again()

    def look_through(self, fetched: Fetched) -> None:
        """Look at every statement of an answer of the cloud."""
        for _header, batch in fetched.scan.application():
            try:
                found = records.read(batch, opened_most(batch))
            except ValueError:
                continue  # whatever it is, no worker wrote it
            for record in found:
                if record.value is not None:
                    self.look(record.value)
