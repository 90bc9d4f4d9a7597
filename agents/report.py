"""What a sealing worker can state of a channel: how far its source partitions are sealed, and which are gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.keys.progress import PartitionProgress, State, TopicProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealwire.agents.sealer import SealWork
    from sealwire.agents.source_seat import SourceSeat
    from sealwire.agents.topics import TopicWatch

    Named = tuple[str, str, bytes]  # channel, topic, topic id

_AWAY_MS = 10_000  # an older answer of the source says nothing of it any more
_LEFT_FOR = 15.0  # seconds for which a lane that was given up is still spoken of, unless somebody else does
_GONE_MOST = 4096  # source partitions


class Report:
    """Looks at the lanes when it is asked; remembers what they gave up."""

    def __init__(self, watch: TopicWatch, works: Callable[[], list[SealWork]]) -> None:
        self._watch, self._works = watch, works
        self._gone: dict[tuple[Named, int], int] = {}  # how far each was sealed
        self._left: dict[tuple[Named, int], tuple[float, PartitionProgress]] = {}

    def of(self, channel: str) -> tuple[int, tuple[TopicProgress, ...]]:
        """Give the time (ms) of the oldest answer of the source that it rests on, and every topic of a channel.

        A topic of which nothing is sealed here has its number of partitions all the same: through it those are missed
        that nobody speaks of.
        """
        as_of = now = clock.now()
        loop_now = asyncio.get_running_loop().time()
        topics: dict[Named, dict[int, PartitionProgress]] = {}
        facts = self._watch.facts
        for route in facts.routes:
            if route.channel == channel and route.source_topic in facts.local:
                topics.setdefault((channel, route.source_topic, facts.local[route.source_topic].topic_id), {})
        for (named, partition), entry in self._remembered(loop_now).items():
            if named[0] == channel:
                topics.setdefault(named, {})[partition] = entry
        for work in self._works():
            for seat in work.seats.values():
                if seat.route.channel != channel or (seat.position < 0 and not seat.lacking):
                    continue
                age = _age(seat, loop_now)
                if age <= _AWAY_MS:
                    as_of = min(as_of, now - age)
                topics.setdefault(_named(seat), {})[seat.partition] = _entry(seat, away=self._away(seat, age))
        return as_of, tuple(self._topic(named, partitions) for named, partitions in sorted(topics.items(), key=_name))

    def _remembered(self, loop_now: float) -> dict[tuple[Named, int], PartitionProgress]:
        gone = {
            which: PartitionProgress(partition=which[1], next=following, last_stable=-1, state=State.GONE)
            for which, following in self._gone.items()
        }
        return gone | {which: entry for which, (until, entry) in self._left.items() if loop_now < until}

    def gone(self, seats: Iterable[SourceSeat]) -> None:
        """Remember topics that are no more: as long as we live it is said, so that nobody waits for a word of them."""
        for seat in seats:
            self.gone_before(_named(seat), seat.partition, seat.position if seat.begun else 0)

    def gone_before(self, named: Named, partition: int, following: int) -> None:
        """Remember a source partition of a topic that was made anew: it was sealed up to ``following``."""
        self._gone[named, partition] = following
        while len(self._gone) > _GONE_MOST:
            del self._gone[next(iter(self._gone))]

    def there(self, seat: SourceSeat) -> None:
        """Forget that it was gone, or given up."""
        self._gone.pop((_named(seat), seat.partition), None)
        self._left.pop((_named(seat), seat.partition), None)

    def left(self, seats: Iterable[SourceSeat]) -> None:
        """Remember for a while how far those were sealed that are given up, for a last word."""
        now = asyncio.get_running_loop().time()
        self._left = {which: entry for which, entry in self._left.items() if entry[0] > now}
        for seat in seats:
            if seat.position >= 0:
                self._left[_named(seat), seat.partition] = (now + _LEFT_FOR, _entry(seat, away=False))

    def _away(self, seat: SourceSeat, age: int) -> bool:
        """Tell whether its source does not answer: not for a while, or not at all."""
        return age > _AWAY_MS or ("local" in self._watch.troubles and (seat.seat is None or seat.seat.answered_at < 0))

    def _topic(self, named: Named, partitions: dict[int, PartitionProgress]) -> TopicProgress:
        _, topic, topic_id = named
        known = self._watch.facts.local.get(topic)
        count = known.partitions if known is not None and known.topic_id == topic_id else 0
        return TopicProgress(
            topic=topic,
            topic_id=topic_id,
            partition_count=max(count, max(partitions, default=-1) + 1),
            partitions=tuple(entry for _, entry in sorted(partitions.items())),
        )


def _age(seat: SourceSeat, loop_now: float) -> int:
    """Give the age (ms) of the source's last answer; 0 where none was waited for."""
    if seat.seat is None or seat.seat.answered_at < 0:
        return 0
    return int((loop_now - seat.seat.answered_at) * 1000)


def _entry(seat: SourceSeat, *, away: bool) -> PartitionProgress:
    state = State.HELD if seat.held or seat.lacking else State.SOURCE_AWAY if away else State.LIVE
    return PartitionProgress(
        partition=seat.partition,
        # Before anything was sealed nobody is to wait for what lies before the log start.
        next=seat.position if seat.begun else 0,
        last_stable=seat.last_stable if seat.seat is None else seat.seat.last_stable,
        state=state,
    )


def _named(seat: SourceSeat) -> Named:
    return seat.route.channel, seat.route.source_topic, seat.topic_id


def _name(item: tuple[Named, object]) -> Named:
    return item[0]
