"""The words of progress, one by one: what a session said last of a source partition, and which of several counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from sealwire.keys.source import SourcePartition
from sealwire.keys.wire import SKEW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.keys.progress import State

NEVER: Final = -1
"""The date of what was not said: before every other (ms)."""


class SourceTopic(NamedTuple):
    """A topic of a site, in a channel; made anew under its name it is another one."""

    channel: str
    site: str
    topic: str
    topic_id: bytes

    def partition(self, number: int) -> SourcePartition:
        """Give one of its source partitions."""
        return SourcePartition(*self, number)


@dataclass(frozen=True, slots=True)
class Word:
    """What a session said last of a source partition. Times are ms, `due` by our own clock, the others by its sender's.

    `final`: the session has ended with it.
    """

    session_id: bytes
    member_id: bytes
    made_at: int  # of the session
    not_after: int  # of the session
    number: int
    as_of: int
    next_by: int
    due: int
    final: bool
    next: int
    last_stable: int
    state: State

    @property
    def age(self) -> tuple[int, int, int, bytes]:
        """What tells the newest of several: the highest."""
        return self.as_of, self.made_at, self.number, self.session_id

    def live(self, now: int) -> bool:
        """Tell whether its session may still be in use, by a clock five minutes behind ours."""
        return not self.final and self.not_after + SKEW >= now


@dataclass(frozen=True, slots=True)
class Topic:
    """What was stated of a topic. ``since`` (ms, our clock) its number of partitions is known; ``words`` by partition.

    The words of a partition are by session id. ``age`` is that of the word that told the count, ``teller`` the member
    id of its sender. ``said_gone`` and ``said_there`` are the dates of the newest words (ms) that it is no more, and
    that it is.
    """

    count: int
    age: tuple[int, int, int, bytes]
    since: int
    words: Mapping[int, Mapping[bytes, Word]] = field(default_factory=dict)
    said_gone: int = NEVER
    said_there: int = NEVER
    teller: bytes = b""

    @property
    def gone(self) -> bool:
        """Whether it is no more: all of it, whoever said so of a part of it, unless somebody said otherwise later."""
        return self.said_gone > NEVER and self.said_gone + SKEW >= self.said_there


def later(known: Word | None, word: Word) -> Word:
    """Give the later of two words of one session on one source partition."""
    if known is None:
        return word
    return max(known, word, key=_rank)  # of equal ones the first: heard again, it is due as it was


def kept(words: Mapping[bytes, Word], now: int) -> Mapping[bytes, Word]:
    """Leave out what nothing rests on any more: never the newest, nor its contemporaries.

    A session whose time is over, and one of a sender that has spoken much later in another one. A final word stays as
    long as others: without it an older word of its session, served again, would count.
    """
    newest = max(word.as_of for word in words.values())
    spoke: dict[bytes, int] = {}
    for word in words.values():
        spoke[word.member_id] = max(spoke.get(word.member_id, 0), word.as_of)
    return {
        each: word
        for each, word in words.items()
        if word.as_of + SKEW >= newest
        or (word.not_after + SKEW >= now and word.as_of + 2 * SKEW >= spoke[word.member_id])
    }


# Beyond the number only for a sender that says two things under one: whichever comes first, one of them counts.
_rank = attrgetter("number", "as_of", "next", "last_stable", "state", "next_by")
