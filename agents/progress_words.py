"""The progress of others: proven, and handed to the outlook, as soon as the session that it is of is granted to us."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.keys import progress, wire
from sealwire.keys.outlook import Outlook
from sealwire.keys.reason import Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealwire.agents.control import Control
    from sealwire.keys.progress import Progress
    from sealwire.keys.session import InboundSession

_log = logging.getLogger(__name__)
_FORGET_EVERY = 60.0  # seconds
_TRIES = 8  # statements of one session in one answer of the cloud whose signatures are checked
_WAITING_EACH = 4  # statements of one session not granted yet: those of the highest numbers
_WAITING_SESSIONS = 1024
_WAITING_BYTES = 8 << 20
_SAMPLES = 20  # refused statements that are told in the log


class ProgressWords:
    """Hears progress statements, in whatever order the cloud serves them.

    ``cloud_topics`` names those that we open for a channel: only who may send to one of them is heard.
    """

    def __init__(self, control: Control, cloud_topics: Callable[[str], list[str]]) -> None:
        self._control, self._cloud_topics = control, cloud_topics
        self.outlook = Outlook(clock.now())
        self._heard: dict[bytes, int] = {}  # the highest number that was proven, by session id
        self._waiting: dict[bytes, dict[int, bytes]] = {}  # by session id, then number; oldest session first
        self._waiting_bytes = 0
        self._dropped: set[bytes] = set()  # members that a root no longer stood for, until they are admitted anew
        self.on_said: Callable[[Progress, InboundSession], None] = lambda _said, _session: None
        control.on_statements = self.hear
        control.on_charter = self.judge_again
        control.on_dropped = self._dropped.update

    def hear(self, statements: Iterable[bytes], fresh: set[bytes]) -> None:
        """Take what the cloud served; ``fresh`` are sessions that were granted to us with it.

        Of many statements of one session the newest that is proven is enough: it names what the session seals, and
        what it gave up somebody else names.
        """
        found: dict[bytes, dict[int, bytes]] = {}
        for session_id in fresh:
            waited = self._waiting.pop(session_id, {})
            self._waiting_bytes -= sum(map(len, waited.values()))
            found[session_id] = waited
        for statement in statements:
            if statement[2:3] != bytes((Type.PROGRESS,)) or statement[3:4] != bytes((wire.VERSION,)):
                continue
            try:
                said = progress.peek(statement, self._control.trust.project_id)
            except Rejected as refusal:
                self._refuse(refusal)
                continue
            found.setdefault(said.session_id, {})[said.number] = statement
        for session_id, numbered in found.items():
            session = self._control.sessions.get(session_id)
            if session is None:
                self._wait(session_id, numbered)
            elif self._may_speak(session):
                self._take(session, numbered)

    def judge_again(self) -> None:
        """Take back what was heard of who is refused by now, or was taken away by a root and not admitted anew."""
        trust = self._control.trust
        self._dropped -= {member_id for member_id in self._dropped if trust.credential_of(member_id) is not None}
        gone = frozenset(self._dropped)
        self.outlook = self.outlook.without(lambda who, made_at: who in gone or trust.refuses(who, made_at))

    async def keep(self) -> None:
        """Forget what is over, for ever.

        Who was dropped has till then to be admitted anew: an authority with a new key signs all credentials at once.
        """
        while True:
            await asyncio.sleep(_FORGET_EVERY)
            self.judge_again()
            self.outlook = self.outlook.forget(clock.now())
            known = self._control.sessions
            self._heard = {session_id: number for session_id, number in self._heard.items() if session_id in known}

    def _take(self, session: InboundSession, numbered: dict[int, bytes]) -> None:
        now = clock.now()
        newer = [number for number in numbered if number > self._heard.get(session.id, -1)]
        for number in sorted(newer, reverse=True)[:_TRIES]:
            try:
                said = progress.read(numbered[number], session, now)
            except Rejected as refusal:
                self._refuse(refusal)
                continue
            self._heard[session.id] = number
            self.outlook = self.outlook.heard(said, session, now)
            self.on_said(said, session)
            return

    def _may_speak(self, session: InboundSession) -> bool:
        """Tell whether the session's sender may send to one of the channel's cloud topics that we know of, if any."""
        trust, now = self._control.trust, clock.now()
        topics = self._cloud_topics(session.channel)
        for topic in topics:
            try:
                trust.may_produce(session, topic, now)
            except Rejected:
                continue
            return True
        return not topics and not trust.refuses(session.member_id, session.made_at)

    def _wait(self, session_id: bytes, numbered: dict[int, bytes]) -> None:
        """Keep statements until their session is granted to us, which for most of another's it never is."""
        waiting = self._waiting.pop(session_id, {})
        self._waiting_bytes -= sum(map(len, waiting.values()))
        waiting |= numbered
        kept = self._waiting[session_id] = {number: waiting[number] for number in sorted(waiting)[-_WAITING_EACH:]}
        self._waiting_bytes += sum(map(len, kept.values()))
        while len(self._waiting) > _WAITING_SESSIONS or self._waiting_bytes > _WAITING_BYTES:
            oldest = self._waiting.pop(next(iter(self._waiting)))
            self._waiting_bytes -= sum(map(len, oldest.values()))

    def _refuse(self, refusal: Rejected) -> None:
        self._control.refused[str(refusal.reason)] += 1
        if self._control.refused[str(refusal.reason)] <= _SAMPLES:
            _log.warning("progress refused: %s", refusal)
