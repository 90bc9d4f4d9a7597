"""Following: the project's statements, read from the start of their topics to the present end, and on."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from sealwire.agents import records
from sealwire.agents.admin import Admin
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.cloud_topic import opened_most
from sealwire.agents.seat import OffsetOutOfRange
from sealwire.keys.reason import Reason

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable

    from sealwire.agents.ports import Reader
    from sealwire.agents.seat import Fetched, Seat
    from sealwire.agents.settings import Cluster

_log = logging.getLogger(__name__)
_READ_AGAIN, _READ_AGAIN_TO = 30.0, 600.0  # seconds between two readings of all statements while some are lacking
_AGAIN = 5.0  # seconds before a topic that could not be read is tried again
_END_AGAIN = 10.0  # seconds before it is asked again where a topic ends that is not read to its end
_TOGETHER = 16 << 20  # bytes of statements, at most about, that are handed on together until the end is reached
_SAMPLES = 20  # unreadable statements that are told in the log


class Following:
    """Reads topics of one partition; hands on the statements of each answer, at first of many together.

    ``refused`` counts what cannot be read.
    ``trouble`` says in words what keeps it from reading; empty when nothing does.
    """

    def __init__(self, reader: Reader, take: Callable[[list[bytes]], Awaitable[None]], refused: Counter[str]) -> None:
        self._reader, self._hand, self._refused = reader, take, refused
        self.trouble = ""
        self._seats: dict[str, Seat] = {}
        self._start_over: list[Callable[[], None]] = []
        self._read_at, self._read_pause = 0.0, _READ_AGAIN

    async def wait_for(self, cloud: Cluster, topics: set[str]) -> None:
        """Wait until the project's topics are there, saying once which is lacking and what makes it."""
        admin = Admin(cloud, "sealwire-control")
        while True:
            try:
                missing = sorted(topics - set(await admin.describe(topics)))
            except (ClusterAway, ClusterRefused) as error:
                trouble = f"the cloud does not answer: {error}"
            else:
                trouble = f"cloud topic {', '.join(missing)} is missing: sealwire project cloud makes it"
                if not missing:
                    self.trouble = ""
                    return
            if trouble != self.trouble:
                _log.warning(trouble)
            self.trouble = trouble
            await asyncio.sleep(_AGAIN)

    async def follow(self, topic: str) -> None:
        """Begin to follow a topic; returns when it was read to the end that it had then, however long that takes."""
        end = await self._reader.end_offset(topic, 0)
        start = read_to = await self._reader.log_start(topic, 0)
        reached = asyncio.Event()
        gathered: list[bytes] = []

        async def take(fetched: Fetched) -> None:
            nonlocal read_to
            gathered.extend(self._statements(fetched))
            # Until the end is reached many answers are judged together: each time costs as much as there are members.
            if fetched.next >= end or sum(map(len, gathered)) >= _TOGETHER:
                await self._hand_on(gathered)
            if self.trouble.startswith(f"{topic}: "):
                self.trouble = ""
            read_to = fetched.next
            if read_to >= end:
                reached.set()

        def failed(error: Exception) -> None:
            self.trouble = f"{topic}: {error}"
            _log.warning("%s; reading it from its start again", self.trouble)
            offset = error.log_start if isinstance(error, OffsetOutOfRange) else start
            asyncio.get_running_loop().call_later(_AGAIN, again, offset)

        def again(offset: int) -> None:
            if topic in self._seats:
                self._reader.unseat(self._seats[topic])
            self._seats[topic] = self._reader.seat(topic, 0, offset, take, failed)

        again(start)
        self._start_over.append(lambda: again(start))
        while read_to < end and not reached.is_set():
            # A compacted tail may hold no record at its very end: then the broker's own next offset says so.
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_AGAIN):
                    await reached.wait()
                    return
            await self._hand_on(gathered)
            # The end that we were told may have been a lie, or is taken back: we would wait for it for ever.
            end = min(end, await self._reader.end_offset(topic, 0))
        await self._hand_on(gathered)

    def read_what_lacks(self, now: float, *, lacks: bool) -> None:
        """Read everything from its start again while something is lacking, ever less often: it may have been withheld.

        Offsets are the cloud's word: one that was wrong once has us pass over statements that are there. ``now`` is the
        loop's time (seconds).
        """
        if not lacks:
            self._read_pause = _READ_AGAIN
        elif now >= self._read_at:
            self._read_at, self._read_pause = now + self._read_pause, min(self._read_pause * 2, _READ_AGAIN_TO)
            for start_over in self._start_over:
                start_over()

    async def _hand_on(self, gathered: list[bytes]) -> None:
        statements, gathered[:] = list(gathered), []
        if statements:
            await self._hand(statements)

    def _statements(self, fetched: Fetched) -> list[bytes]:
        statements: list[bytes] = []
        for header, batch in fetched.scan.application():
            try:
                found = records.read(batch, opened_most(batch))
            except ValueError as error:
                self._refused[Reason.MALFORMED] += 1
                if self._refused[Reason.MALFORMED] <= _SAMPLES:
                    _log.warning("statements at offset %d cannot be read: %s", header.base_offset, error)
                continue
            statements += [bytes(record.value) for record in found if record.value is not None]
        fetched.release()
        return statements
