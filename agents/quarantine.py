"""The quarantine of a site: refused envelopes that members truly signed, kept as they are in a local topic.

What anybody could have written never comes here: a flood of it cannot fill a disk. What a member floods is bounded by
the minute, by what waits to be written, and by the topic's own size; the rest is counted, and stays in the cloud.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

from sealwire.agents import clock
from sealwire.agents.cloud_topic import MESSAGE_BYTES
from sealwire.agents.rate import Rate
from sealwire.agents.single import record_batch
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys.envelope import read_header
from sealwire.keys.quarantined import Quarantined

if TYPE_CHECKING:
    from sealwire.agents.control import Control
    from sealwire.agents.ports import Writer
    from sealwire.agents.topics import TopicWatch
    from sealwire.keys.reason import Rejected

_log = logging.getLogger(__name__)
RECORD_BYTES: Final = MESSAGE_BYTES + 64 * 1024  # the largest record: an envelope, and what is said about it
A_MINUTE: Final = 60  # envelopes of one Reason that are kept
_WAITING_BYTES: Final = 16 * 1024 * 1024  # of envelopes that wait to be written
_REMEMBERED: Final = 16_384  # places that were kept, so that reading them again keeps nothing twice
_MISSING = "local topic {} is missing, refused envelopes of members are only counted: sealwire site init makes it"


class Quarantine:
    """Keeps what ``keep`` is given, in the background. ``stored`` and ``left_out`` count, by Reason."""

    def __init__(self, topic: str, writer: Writer, watch: TopicWatch, control: Control) -> None:
        self._topic, self._writer, self._watch, self._control = topic, writer, watch, control
        self.stored: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self._rate = Rate()
        self._places: OrderedDict[tuple[bytes, int, int], None] = OrderedDict()
        self._waiting: deque[Quarantined] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()

    @property
    def trouble(self) -> str:
        """Say what keeps it from being written; empty when nothing does."""
        facts = self._watch.facts
        if self._topic in facts.local or not facts.local_cluster:
            return ""
        return self._watch.forbidden("local", self._topic) or _MISSING.format(self._topic)

    def keep(self, refusal: Rejected, where: tuple[str, int], offset: int, envelope: memoryview) -> None:
        """Keep a refused envelope, unless its place was kept before or there is too much of its Reason already."""
        cloud_topic, partition = where
        facts = self._watch.facts.cloud.get(cloud_topic)
        topic_id = facts.topic_id if facts is not None else bytes(16)
        place = topic_id, partition, offset
        if place in self._places:
            return
        full = self._waiting_bytes + len(envelope) > _WAITING_BYTES and self._waiting
        if full or self.trouble or not self._rate.allows(str(refusal.reason), A_MINUTE):
            self.left_out[str(refusal.reason)] += 1
            return
        self._places[place] = None
        if len(self._places) > _REMEMBERED:
            self._places.popitem(last=False)
        session_id = read_header(envelope).session_id
        session = self._control.sessions.get(session_id)
        sender, name = (bytes(32), "") if session is None else (session.member_id, session.name)
        self._waiting.append(
            Quarantined(
                refusal.reason,
                refusal.detail,
                cloud_topic,
                topic_id,
                partition,
                offset,
                session_id,
                sender,
                name,
                clock.now(),
                bytes(envelope),
            )
        )
        self._waiting_bytes += len(envelope)
        self._wake.set()

    async def keep_writing(self) -> None:
        """Write what waits, one after the other, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                kept = self._waiting[0]
                try:
                    await self._writer.produce(self._topic, 0, record_batch(kept.encode(), kept.at))
                except Refused as error:
                    self.left_out[str(kept.reason)] += 1
                    _log.error("the quarantine will not take %s[%d] offset %d: %s", *_place(kept), error)
                except Stopped:
                    return
                else:
                    self.stored[str(kept.reason)] += 1
                self._waiting.popleft()
                self._waiting_bytes -= len(kept.envelope)

    def snapshot(self) -> dict[str, Any]:
        """Say what was kept and what was not, by Reason."""
        return {"stored": dict(self.stored), "left_out": dict(self.left_out)}


def _place(kept: Quarantined) -> tuple[str, int, int]:
    return kept.cloud_topic, kept.partition, kept.offset
