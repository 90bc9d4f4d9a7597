"""What a sender says of itself: how far it is, session by session, and a last word when one is over."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.writer import Refused, Stopped
from sealwire.keys import progress
from sealwire.keys.progress import PartitionProgress, State, TopicProgress
from sealwire.keys.wire import SKEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealwire.agents.control import Control
    from sealwire.agents.sending import Sending
    from sealwire.agents.settings import Settings
    from sealwire.keys.session import OutboundSession

_log = logging.getLogger(__name__)
_PROGRESS_EVERY = 30.0  # seconds: half of stale_after
_NAMED_AFTER = 1.0  # seconds after source partitions were taken over: most of them come together
_NEXT_WORD_MS = 60_000


class OwnProgress:
    """Says progress in the sessions of a sender. ``live`` gives those that are in use."""

    def __init__(
        self,
        settings: Settings,
        control: Control,
        progress_of: Callable[[str], tuple[int, tuple[TopicProgress, ...]]],
        live: Callable[[], Iterable[Sending]],
    ) -> None:
        self._settings, self._control = settings, control
        self._progress_of, self._live = progress_of, live
        self.on_stated: Callable[[OutboundSession, tuple[TopicProgress, ...]], None] = lambda _outbound, _topics: None
        self._ended: list[Sending] = []  # those that have not said their last word
        self._unnamed = asyncio.Event()

    def name_soon(self) -> None:
        """Say progress soon: nobody can ask for a source partition that no word of ours names."""
        self._unnamed.set()

    async def keep(self) -> None:
        """Say how far we are, for ever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PROGRESS_EVERY):
                    await self._unnamed.wait()
                    await asyncio.sleep(_NAMED_AFTER)
            self._unnamed.clear()
            await self._say_all()

    async def _say_all(self) -> None:
        """By itself: what a loop that never ends has named stays in memory."""
        for sending in list(self._live()):
            if clock.now() < sending.outbound.not_after:
                await self.say(sending)

    def end(self, sending: Sending) -> None:
        """Take note of a session that is used no more: it has a last word to say."""
        sending.over = True
        self._ended.append(sending)

    def forget(self) -> None:
        """Let go of sessions that were over five minutes ago and could not say their last words: nobody waits for them.

        Their readers go by what was said since (`keys.lastwords`).
        """
        self._ended = [each for each in self._ended if clock.now() <= each.outbound.not_after + SKEW]

    async def say_last_words(self) -> None:
        """End the sessions of which the cloud has everything. A word that it does not take is said the next time."""
        while (sending := next((each for each in self._ended if not each.in_flight), None)) is not None:
            self._ended = [each for each in self._ended if each is not sending]
            if not await self.say(sending, final=True):
                self._ended.append(sending)
                self.forget()
                return

    async def say(self, sending: Sending, *, final: bool = False) -> bool:
        """Say once how far a session is, of one that is over nothing but its last word; tell whether the cloud has it.

        Waits no longer than the session is remembered: a cloud that is away must not keep what is over in memory.
        """
        if sending.over and not final:
            return True
        outbound = sending.outbound
        as_of, topics = self._progress_of(outbound.channel)
        topics = _whole(topics, sending) if final else topics
        as_of = sending.as_of = max(as_of, sending.as_of)  # a later word is never older
        self.on_stated(outbound, topics)  # before anybody can read it, and ask
        sending.progress_number += 1
        statement = progress.make(
            outbound,
            sending.progress_number,
            as_of,
            as_of + _NEXT_WORD_MS,
            final,
            topics,
            os.urandom,
        )
        topic, key, until = self._settings.sessions_topic, outbound.id.hex().encode(), outbound.not_after + SKEW
        try:
            await self._control.publish(topic, statement, key, until)
        except (Refused, Stopped) as error:
            _log.warning(
                "%s: progress was not taken: %s", outbound.channel, str(error)
            )  # no frames, which hold secrets
            return False
        return True


def _whole(topics: Iterable[TopicProgress], sending: Sending) -> tuple[TopicProgress, ...]:
    """Name in a last word all that was sealed in the session: readers keep its secret until they have that.

    What another worker seals by now is among it, with how far this one came.
    """
    named = {(topic.topic, topic.topic_id): topic for topic in topics}
    for (topic, topic_id, partition), following in sending.reached.items():
        known = named.get((topic, topic_id), TopicProgress(topic, topic_id, 0, ()))
        if all(each.partition != partition for each in known.partitions):
            mine = PartitionProgress(partition, following, -1, State.LIVE)
            partitions = tuple(sorted((*known.partitions, mine), key=lambda each: each.partition))
            count = max(known.partition_count, partition + 1)
            named[topic, topic_id] = TopicProgress(topic, topic_id, count, partitions)
    return tuple(topic for _, topic in sorted(named.items()))
