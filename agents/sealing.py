"""The sealing side of a worker: what its lanes share."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sealwire.agents import clock
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.positions import Positions
from sealwire.agents.report import Report
from sealwire.agents.resealing import Resealing
from sealwire.agents.room import Room, Rooms
from sealwire.agents.sealer import SealWork
from sealwire.agents.senders import Senders
from sealwire.agents.side import Side
from sealwire.keys.opening import Caps
from sealwire.keys.source import TOPIC_ID_SIZE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from sealwire.agents.control import Control
    from sealwire.agents.lane import Lane
    from sealwire.agents.ports import Reader, Writer
    from sealwire.agents.positions import Position
    from sealwire.agents.settings import Settings
    from sealwire.agents.topics import TopicWatch

_COMMIT_EVERY = 1.0  # seconds
_COMMIT_ALL_EVERY = 3600.0  # seconds
_BEHIND = ":ends-behind"
_LAST_WORD_WITHIN = 2.0  # seconds
_HELD_EVERY, _UNASKED_EVERY = 60.0, 600.0  # seconds
_WHOLE = Room(Caps().envelope, Caps().envelope)  # no mirror opens a larger one


class Sealing(Side):
    """Readers, writers, sessions and positions of a sealing worker."""

    direction = "seal"

    def __init__(self, settings: Settings, control: Control, watch: TopicWatch, source: Reader, cloud: Writer) -> None:
        super().__init__(settings, control, watch)
        self.source, self.cloud = source, cloud
        self.budget = source.budget
        self.moved: dict[tuple[str, int], Position] = {}
        self._positions_turn = asyncio.Lock()
        self.positions = Positions(settings.local, f"sealwire-{settings.identity}", settings.positions_group)
        self.rooms = Rooms(settings.cloud, f"sealwire-{settings.identity}", _WHOLE, _UNASKED_EVERY)
        self.report = Report(watch, self._works)
        self.senders = Senders(settings, control, self._on_session, self.report.of)
        self.resealing = Resealing(self)
        self.senders.progress.on_stated = self.resealing.stated
        control.on_members = self.senders.news
        control.on_keys = self.senders.announced
        control.lacks = self.senders.lacks
        control.on_hold = self.senders.on_hold
        control.renewal.on_identity = self.senders.anew
        watch.begun = self._begun

    @property
    def deeds(self) -> dict[str, Callable[[], Awaitable[str]]]:
        """Sessions are of this side."""
        return {"sessions": self.senders.rotate, **super().deeds}

    def early(self) -> list[Any]:
        """Nothing of this side runs before the project's statements were read."""
        return []

    def make(self, lane: Lane) -> SealWork:
        """Make the work of a lane."""
        return SealWork(lane, self)

    async def _begun(self, topics: Mapping[str, int]) -> frozenset[str]:
        """Tell of which topics, given with their numbers of partitions, something was sealed here before."""
        asked = [(topic, partition) for topic, count in topics.items() for partition in range(count)]
        return frozenset(topic for topic, _partition in await self.positions_of(asked))

    def words(self, topic_id: bytes, *, ends_behind: bool = False) -> str:
        """Return what is committed beside an offset: the ids of topic and cluster, and whether the source went back."""
        return f"{topic_id.hex()}:{self.watch.facts.local_cluster}{_BEHIND if ends_behind else ''}"

    @staticmethod
    def went_back(words: str) -> bool:
        """Tell whether the source was found to end before a committed position."""
        return words.endswith(_BEHIND)

    def same_topic(self, words: str, topic_id: bytes) -> bool:
        """Tell whether a committed position is one of this topic; without words it is not known to be another."""
        named = words.partition(":")[0]
        return not named or named == topic_id.hex()

    def named_by(self, words: str) -> bytes | None:
        """Return the topic id that was committed beside an offset; None where none was, or what is none."""
        try:
            named = bytes.fromhex(words.partition(":")[0])
        except ValueError:
            return None
        return named if len(named) == TOPIC_ID_SIZE else None

    def _works(self) -> list[SealWork]:
        return [lane.work for lane in self.lanes.open.values() if isinstance(lane.work, SealWork)]

    def _on_session(self, channel: str) -> None:
        for work in self._works():
            work.resume(channel)

    async def keep_positions(self) -> None:
        """Commit what moved, for ever."""
        loop = asyncio.get_running_loop()
        whole = loop.time()
        while True:
            await asyncio.sleep(_COMMIT_EVERY)
            if loop.time() - whole >= _COMMIT_ALL_EVERY:
                # A group that nobody joins loses its offsets after offsets.retention.minutes, moved or not.
                whole = loop.time()
                for work in self._works():
                    self.moved = {**work.positions(), **self.moved}
            await self.commit()

    async def keep_trying(self) -> None:
        """Try again what is held, for ever: reading every minute, the cloud when its topic's settings changed."""
        while True:
            await asyncio.sleep(_HELD_EVERY)
            held = [(work, seat) for work in self._works() for seat in work.seats.values() if seat.refused_by]
            topics = {seat.route.cloud_topic for _, seat in held if seat.refused_by == "cloud"}
            changed = {topic for topic in topics if await self.rooms.changed(topic)}
            for work, seat in held:
                if seat.refused_by == "source" or seat.route.cloud_topic in changed:
                    work.sealing.try_again(seat)

    async def commit(self) -> None:
        """Commit what moved since the last time; what a cluster would not take is kept for the next time."""
        async with self._positions_turn:
            if not self.moved:
                return
            moved, self.moved = self.moved, {}
            try:
                await self.positions.commit(moved)
            except (ClusterAway, ClusterRefused, asyncio.CancelledError) as error:
                self.moved = {**moved, **self.moved}
                if isinstance(error, asyncio.CancelledError):
                    raise
                self.say(f"positions cannot be committed: {error}; trying again")

    async def positions_of(self, asked: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Position]:
        """Load where source partitions were left, with what moved since and is not committed yet.

        In turn with commits: what one of them carries is in neither of the two.
        """
        async with self._positions_turn:
            return {
                **await self.positions.load(asked),
                **{each: self.moved[each] for each in asked if each in self.moved},
            }

    def tasks(self) -> list[Any]:
        """Return what runs for as long as the worker does."""
        return [
            self.senders.keep(),
            self.senders.keep_erasing(),
            self.senders.backfill.keep(),
            self.senders.backfill.keep_forgetting(),
            self.senders.progress.keep(),
            self.control.twins.keep(self.settings.sessions_topic),
            self.rotation.keep(),
            self.keep_positions(),
            self.keep_trying(),
            self.resealing.keep(),
        ]

    async def close(self) -> None:
        """Say the last word of every session, and commit once more."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_WITHIN):
                await self.senders.finish()
        with suppress(TimeoutError):
            async with asyncio.timeout(3):
                await self.commit()
                await self.positions.close()

    def snapshot(self) -> dict[str, Any]:
        """Describe channels and source partitions."""
        channels, unknown = [], self.senders.readership.unknown()
        for channel in self.senders.why:
            why = self.senders.waits_for(channel)
            sending = self.senders.current(channel)
            channels.append(
                {
                    "channel": channel,
                    "session": sending.outbound.id.hex() if sending else "",
                    "readers": len(sending.readers) if sending else 0,
                    "session_age_ms": clock.now() - sending.outbound.made_at if sending else None,
                    "why": why or unknown.get(channel, ""),
                }
            )
        rows = [seat.row(self.settings.site) for work in self._works() for seat in work.seats.values()]
        return {"channels": channels, "partitions": rows}

    @property
    def troubles(self) -> dict[str, str]:
        """What topics wait for, by topic; and why no request to seal again can be read, or lanes do not get on."""
        own = {self.settings.requests_topic: self.resealing.trouble, self.settings.lane_topic: self.lanes.trouble}
        return {**self.trouble, **{topic: words for topic, words in own.items() if words}}

    @property
    def why_not(self) -> str:
        """Say what keeps the whole side from working; empty when nothing does."""
        return "; ".join(sorted(set(self.trouble.values())))
