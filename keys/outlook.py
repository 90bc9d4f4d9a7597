"""The outlook: what senders have stated of their source partitions, and whether a cursor lies behind it.

A frozen value over proven progress statements: `heard` gives the next one. Of each session the statement of the
highest number counts for each source partition that it names, so old, repeated and reordered ones change nothing, and
any order of the same statements comes to the same outlook (as long as a session's dates rise with its numbers).

Two things make a source partition **stale**. Something was stated and not reached: a word comes every half of
`stale_after`, and the cursor has the other half to get there. Or nobody speaks: the newest word said when the next one
is due, and that has passed. A session's last word ends the session and not the duty, only `State.GONE` ends that.

Clocks: a word is due as long after it was heard, by our own clock, as its sender said; but the cloud may have kept it
back, so at the latest five minutes after the sender's own date. Words dated within five minutes of the newest one are
its contemporaries: whose is the later one, no clock can tell, and one that is not due yet is enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from sealwire.keys.progress import State
from sealwire.keys.secrets import HOLD
from sealwire.keys.wire import SKEW
from sealwire.keys.word import NEVER, SourceTopic, Topic, Word, kept, later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sealwire.keys.progress import Progress, TopicProgress
    from sealwire.keys.session import InboundSession
    from sealwire.keys.source import SourcePartition

__all__ = ["Awaited", "Outlook", "Sign", "SourceTopic", "Stale", "Topic", "Word"]

_age: Final = attrgetter("age")

LATE: Final = 5_000
"""How much later than due (ms) a word may come."""
MOST: Final = 1 << 17
"""How many source partitions are kept in mind; further ones are not taken up."""
UNNAMED: Final = 64
"""How many source partitions of a topic are listed that no word names."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What a cursor is to reach: the `next` that was stated when it was `since` (ms, our clock)."""

    next: int
    since: int


class Sign(StrEnum):
    """What makes a source partition stale."""

    BEHIND = "what was stated does not come"
    SILENT = "no word of its sender"


@dataclass(frozen=True, slots=True)
class Stale:
    """Why a source partition is stale, since when (ms, our clock), and the newest word on it, if there is one."""

    sign: Sign
    since: int
    word: Word | None


@dataclass(frozen=True)
class Outlook:
    """What has been stated. `begun` (ms, our clock) is when listening began; `size` counts source partitions."""

    begun: int
    topics: Mapping[SourceTopic, Topic] = field(default_factory=dict)
    size: int = 0

    def heard(self, progress: Progress, session: InboundSession, now: int) -> Outlook:
        """Give the outlook after a progress statement of a session, proven by `progress.read`.

        That the session's sender may send to the channel at all is for the caller to know (`Trust.may_produce`).
        """
        topics, size = dict(self.topics), self.size
        for said in progress.topics:
            name = SourceTopic(session.channel, session.site, said.topic, said.topic_id)
            known = topics.get(name)
            if known is None and size >= MOST:
                continue
            topics[name] = _told(known, said, progress, session, now, MOST - size)
            size += len(topics[name].words) - (len(known.words) if known is not None else 0)
        return replace(self, topics=topics, size=size)

    def without(self, refuses: Callable[[bytes, int], bool]) -> Outlook:
        """Give it without what refused members said: `refuses` is `Trust.refuses`, of the charter that counts now."""
        topics = {name: left for name, topic in self.topics.items() if (left := _without(topic, refuses)) is not None}
        if all(topics.get(name) is topic for name, topic in self.topics.items()):
            return self
        return replace(self, topics=topics, size=sum(len(topic.words) for topic in topics.values()))

    def forget(self, now: int) -> Outlook:
        """Give it without what is over: ended sessions, and topics that are gone for as long as a secret is held."""
        topics = {}
        for name, topic in self.topics.items():
            words = {partition: kept(known, now) for partition, known in topic.words.items()}
            if topic.gone and topic.said_gone + HOLD + 2 * SKEW < now:
                continue  # whoever could have told otherwise is forgotten too
            topics[name] = replace(topic, words=words)
        return replace(self, topics=topics, size=sum(len(topic.words) for topic in topics.values()))

    # -- what was said

    def words(self, source: SourcePartition) -> Mapping[bytes, Word]:
        """Give the words on a source partition, by session id."""
        topic = self.topics.get(_topic_of(source))
        return {} if topic is None else topic.words.get(source.partition, {})

    def newest(self, source: SourcePartition) -> Word | None:
        """Give the newest word on a source partition."""
        return max(self.words(source).values(), key=_age, default=None)

    def reached(self, source: SourcePartition, now: int) -> int | None:
        """Give how far a source partition is sealed: the highest of its newest word and of all live sessions."""
        words = self.words(source)
        if not words:
            return None
        newest = max(words.values(), key=_age)
        return max(word.next for word in words.values() if word is newest or word.live(now))

    def speaker(self, source: SourcePartition, now: int) -> Word | None:
        """Give the newest word on a source partition that is of a live session: whom to ask for a reseal, if anybody.

        `session_id` is the session to ask under, `member_id` the sender.
        """
        return max((word for word in self.words(source).values() if word.live(now)), key=_age, default=None)

    def confirmed_by(self, source: SourcePartition, next_offset: int | None) -> int:
        """Give the newest `made_at` of a session that stated exactly this `next` (0: none), for `Cursor.confirmed`."""
        return max((word.made_at for word in self.words(source).values() if word.next == next_offset), default=0)

    # -- what follows

    def awaited(self, source: SourcePartition, cursor: int | None, before: Awaited | None, now: int) -> Awaited | None:
        """Give what a cursor (None: nothing was delivered) is to reach; `before` is what this gave the last time.

        What was stated first and is not reached yet stays until it is reached, however much was stated since.
        """
        reached = self.reached(source, now) or 0
        if reached <= (cursor or 0):
            return None
        if before is None or before.next <= (cursor or 0):
            return Awaited(reached, now)
        return Awaited(min(before.next, reached), min(before.since, now))

    def stale(self, source: SourcePartition, awaited: Awaited | None, now: int, stale_after: int) -> Stale | None:
        """Tell why a source partition that is known at the sink, or named by a word, is stale; None where it is not."""
        words = self.words(source).values()
        newest = max(words, key=_age, default=None)
        if awaited is not None and now - awaited.since > stale_after // 2:
            return Stale(Sign.BEHIND, awaited.since, newest)
        if newest is None:
            return Stale(Sign.SILENT, self.begun, None) if now > self.begun + stale_after + LATE else None
        if self.topics[_topic_of(source)].gone:
            return None
        due = max(word.due for word in words if word.as_of + SKEW >= newest.as_of)
        return Stale(Sign.SILENT, due, newest) if now > due + LATE else None

    def sources(self) -> Iterator[SourcePartition]:
        """Go through the source partitions that a word names."""
        for name, topic in self.topics.items():
            yield from map(name.partition, topic.words)

    def unnamed(self, now: int, stale_after: int) -> Iterator[tuple[SourcePartition, Stale]]:
        """Go through those that no word names, though a word counts them: at most ``UNNAMED`` of a topic.

        Their owners are silent, or withheld from their birth.
        """
        for name, topic in self.topics.items():
            if now <= topic.since + stale_after + LATE or topic.gone:
                continue
            # So many names are free among the first so many numbers, whatever count was stated.
            numbers = range(min(topic.count, len(topic.words) + UNNAMED))
            lacking = [number for number in numbers if number not in topic.words][:UNNAMED]
            for number in lacking:
                yield name.partition(number), Stale(Sign.SILENT, topic.since, None)


def _told(
    known: Topic | None, said: TopicProgress, progress: Progress, session: InboundSession, now: int, room: int
) -> Topic:
    """Give what is known of a topic after a statement; ``room`` is for how many more of its partitions."""
    age = (progress.as_of, session.made_at, progress.number, session.id)
    if known is None:
        known = Topic(said.partition_count, age, now, teller=session.member_id)
    elif (age, said.partition_count) > (known.age, known.count):
        since = known.since if said.partition_count <= known.count else now
        known = replace(known, count=said.partition_count, age=age, since=since, teller=session.member_id)
    words = dict(known.words)
    # As long after we heard it as it says; and should it have been kept back, not long after its own date.
    due = min(now + progress.next_by - progress.as_of, progress.next_by + SKEW)
    of = (session.id, session.member_id, session.made_at, session.not_after)
    spoken = (*of, progress.number, progress.as_of, progress.next_by, due)
    for each in said.partitions:
        if each.partition not in words:
            if room <= 0:
                continue
            room -= 1
        word = Word(*spoken, progress.final, each.next, each.last_stable, each.state)
        before = words.get(each.partition, {})
        words[each.partition] = kept({**before, session.id: later(before.get(session.id), word)}, now)
    gone = {each.state is State.GONE for each in said.partitions}
    return replace(
        known,
        words=words,
        said_gone=max(known.said_gone, progress.as_of if True in gone else NEVER),
        said_there=max(known.said_there, progress.as_of if False in gone else NEVER),
    )


def _without(topic: Topic, refuses: Callable[[bytes, int], bool]) -> Topic | None:
    """Leave out what refused members said of a topic; what is known of all of it is told by the words left, if any."""
    words = {
        partition: left
        for partition, known in topic.words.items()
        if (left := {each: word for each, word in known.items() if not refuses(word.member_id, word.made_at)})
    }
    told = not refuses(topic.teller, topic.age[1])
    if words == topic.words and told:
        return topic
    spoken = [word for known in words.values() for word in known.values()]
    if not spoken:
        return replace(topic, words={}, said_gone=NEVER, said_there=NEVER) if told else None
    gone = [word.as_of for word in spoken if word.state is State.GONE]
    there = [word.as_of for word in spoken if word.state is not State.GONE]
    return replace(
        topic,
        words=words,
        age=topic.age if told else max(map(_age, spoken)),  # whose count it is: the next word tells it anew
        teller=topic.teller if told else max(spoken, key=_age).member_id,
        said_gone=max(gone, default=NEVER),
        said_there=max(there, default=NEVER),
    )


def _topic_of(source: SourcePartition) -> SourceTopic:
    return SourceTopic(source.channel, source.site, source.topic, source.topic_id)
