"""The lookout of a mirror: each source partition beside what its sender stated, and which of them are stale.

Those that no envelope came of are looked at as well: a word that names them, or counts them, is enough.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sealwire.agents import clock
from sealwire.agents.narrator import FEW
from sealwire.agents.stale_words import explain
from sealwire.agents.standings import Standing
from sealwire.agents.topics import lane_of
from sealwire.agents.words import are, count
from sealwire.keys.cursor import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealwire.agents.mirror import OpenWork
    from sealwire.agents.opening_side import Opening
    from sealwire.agents.settings import OpenPattern, OpenRoute
    from sealwire.keys.outlook import Outlook
    from sealwire.keys.source import SourcePartition

    Family = tuple[str, str, str]  # channel, site, topic

_log = logging.getLogger(__name__)
_LOOK_EVERY = 2.0  # seconds: well within the five that stale may be late
_SHARE = 50  # at most one part of so many of a processor


@dataclass
class _Round:
    """One look: what is known while it lasts."""

    now: int
    outlook: Outlook
    routes: tuple[OpenRoute, ...]
    begun: set[int]  # the lanes whose cursors were read back: only there is known what was never seen
    shortest: dict[str, int]  # stale_after (ms) of each channel, where mappings differ the shortest
    seen: set[SourcePartition] = field(default_factory=set)
    cloud_topics: dict[Family, str] = field(default_factory=dict)


class Lookout:
    """Compares cursors with the outlook, again and again."""

    def __init__(self, side: Opening, works: Callable[[], list[OpenWork]]) -> None:
        self._side, self._works = side, works
        self._unseen: dict[SourcePartition, Standing] = {}
        self._told: Counter[Family] = Counter()

    async def keep(self) -> None:
        """Look, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self.look()
            await asyncio.sleep(max(_LOOK_EVERY, (loop.time() - began) * _SHARE))

    def look(self) -> None:
        """Compare once: what is stale, which session floors are confirmed, and what was never seen here."""
        side = self._side
        begun = {number for number, lane in side.lanes.open.items() if lane.begun}
        shortest: dict[str, int] = {}
        mappings: list[OpenRoute | OpenPattern] = [*side.settings.open, *side.settings.open_patterns]
        for each in mappings:
            shortest[each.channel] = min(shortest.get(each.channel, each.stale_after_ms), each.stale_after_ms)
        this = _Round(clock.now(), side.progress.outlook, side.watch.facts.routes, begun, shortest)
        self._look_at_seen(this)
        self._look_for_unseen(this)
        self._tell()

    @property
    def unseen(self) -> Iterable[Standing]:
        """Those of which nothing has come."""
        return self._unseen.values()

    def rows(self) -> list[dict[str, Any]]:
        """Describe those of which nothing has come, as status shows them."""
        lacking = {"state": "waiting", "why": "nothing of it has come yet"}
        # Something may have come since they were looked for: that row is told by its lane.
        seen = {standing.cursor.source for work in self._works() for standing in work.standings}
        unseen = [each for source, each in self._unseen.items() if source not in seen]
        return [each.row() | (lacking if each.stale is not None else {}) for each in unseen]

    def _look_at_seen(self, this: _Round) -> None:
        routes = {route.sink_topic: route for route in this.routes}
        for work in self._works():
            for standing in work.standings:
                source, route = standing.cursor.source, routes.get(standing.sink_topic)
                this.seen.add(source)
                if route is None:
                    standing.tell(None)  # it is mapped no more
                    continue
                this.cloud_topics[_family(source)] = route.cloud_topic
                self._compare(standing, this, route.stale_after_ms)
                work.standings.confirm(standing, this.outlook.confirmed_by(source, standing.cursor.next))

    def _look_for_unseen(self, this: _Round) -> None:
        before, self._unseen = self._unseen, {}
        for source in this.outlook.sources():
            if self._lacks(source, this):
                standing = self._unseen[source] = before.get(source) or _empty(source)
                self._compare(standing, this, this.shortest[source.channel])
        for source, stale in this.outlook.unnamed(this.now, max(this.shortest.values(), default=0)):
            if self._lacks(source, this):
                standing = self._unseen[source] = before.get(source) or _empty(source)
                standing.tell(stale)

    def _lacks(self, source: SourcePartition, this: _Round) -> bool:
        """Tell whether nothing came of a source partition that would be in a lane of ours.

        That is known where another partition of its topic was seen, or where each of the channel's cloud topics would
        bring it to us. Where the cloud shows no topic of the channel at all, it is everybody's.
        """
        if source in this.seen or source.channel not in this.shortest:
            return False
        known = this.cloud_topics.get(_family(source))
        topics = [known] if known else [route.cloud_topic for route in this.routes if route.channel == source.channel]
        lanes = {lane_of(topic, source.partition, self._side.settings.lanes) for topic in topics}
        return lanes <= this.begun if lanes else bool(this.begun)

    @staticmethod
    def _compare(standing: Standing, this: _Round, stale_after: int) -> None:
        source, reached = standing.cursor.source, standing.written.next
        standing.said = this.outlook.newest(source)
        standing.awaited = this.outlook.awaited(source, reached, standing.awaited, this.now)
        standing.tell(this.outlook.stale(source, standing.awaited, this.now, stale_after))

    def _tell(self) -> None:
        """Say into the log what became stale: a line a topic, where it is a few."""
        standings = [each for work in self._works() for each in work.standings] + list(self._unseen.values())
        found: dict[Family, list[Standing]] = {}
        for standing in standings:
            if standing.stale is not None:
                found.setdefault(_family(standing.cursor.source), []).append(standing)
        fresh = {family: stale for family, stale in found.items() if len(stale) > self._told[family]}
        for (channel, site, topic), stale in list(fresh.items())[: FEW if len(fresh) <= FEW else 1]:
            assert stale[0].stale is not None  # noqa: S101 -- that is why it is here
            words = explain(stale[0].stale)
            of = f"{count(len(stale), 'source partition')} of {topic} at {site}"
            _log.warning("%s: %s %s stale: %s", channel, of, are(len(stale)), words)
        if len(fresh) > FEW:
            others = sum(map(len, fresh.values())) - len(next(iter(fresh.values())))
            _log.warning(
                "so are %d source partitions of %d more topics: sealwire status lists them", others, len(fresh) - 1
            )
        self._told = Counter({family: len(stale) for family, stale in found.items()})


def _empty(source: SourcePartition) -> Standing:
    nothing = Cursor(source)
    return Standing(nothing, nothing, nothing, "", ("", source.partition))


def _family(source: SourcePartition) -> Family:
    return source.channel, source.site, source.topic
