"""What a charter means for the members there are: who may produce and consume where, exactly, before and after.

The patterns of both charters divide all channel names, and all cloud topic names, into classes within which every rule
decides alike. One name out of each class is enough to know the whole class, so nothing here is a sample.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING, Final, NamedTuple

from sealwire.keys import policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sealwire.keys.charter import CharterFields, PolicyRow

_FIRST: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_REST: Final = _FIRST + "-_."
CHANNEL_LENGTH: Final = 200
TOPIC_LENGTH: Final = 249
ALL: Final = "*"


class Member(NamedTuple):
    """A member as the books have it."""

    name: str
    member_id: bytes
    attributes: tuple[tuple[str, str], ...]


class Names(NamedTuple):
    """A class of names: those that a pattern covers and no narrower one does; and one of them."""

    pattern: str
    narrower: tuple[str, ...]
    example: str

    def __str__(self) -> str:
        """Write it for a person."""
        return f"{self.pattern} (but not {', '.join(self.narrower)})" if self.narrower else self.pattern


class Place(NamedTuple):
    """A class of channels through a class of cloud topics."""

    channels: Names
    topics: Names

    def __str__(self) -> str:
        """Write it for a person."""
        return f"{self.channels}" if self.topics[:2] == (ALL, ()) else f"{self.channels} through {self.topics}"


class Rights(NamedTuple):
    """Who may do what at a place, by name; `backfill` in ms."""

    produce: frozenset[str]
    consume: frozenset[str]
    backfill: int


class Change(NamedTuple):
    """A place, with the rights there before and after."""

    place: Place
    before: Rights
    after: Rights


class Trouble(Enum):
    """What a charter may do that nobody is likely to want."""

    NO_READER = "nobody may read any more"
    NO_SENDER = "nobody may send any more"
    ALL_READ = "every member may read now"
    ALL_SEND = "every member may send now"
    NEVER = "a policy that nobody can ever satisfy"
    NOBODY = "a policy that no member satisfies"
    OVERRULED = "a policy that never decides: those before it cover all that it covers"


class Concern(NamedTuple):
    """One trouble, and where: a place, or the number of a policy (from 1) with the right that it is about."""

    trouble: Trouble
    where: Place | None = None
    row: int = 0
    right: str = ""


def classes(patterns: Iterable[str], most: int, first: str = _FIRST) -> tuple[Names, ...]:
    """Divide all names of up to ``most`` characters by patterns, the narrowest last; each class is one that exists."""
    known = sorted({ALL, *patterns}, key=lambda each: (not each.endswith("*"), each))
    found = []
    for pattern in known:
        narrower = tuple(each for each in known if each != pattern and _within(each, pattern))
        example = _example(pattern, narrower, most, first)
        if example:
            found.append(Names(pattern, _widest(narrower), example))
    return tuple(found)


def _widest(patterns: Sequence[str]) -> tuple[str, ...]:
    return tuple(each for each in patterns if not any(_within(each, other) for other in patterns if other != each))


def _within(pattern: str, wider: str) -> bool:
    """Tell whether all that a pattern covers is covered by another one too."""
    return wider.endswith("*") and pattern.removesuffix("*").startswith(wider[:-1])


def _example(pattern: str, narrower: Sequence[str], most: int, first: str) -> str:
    """Find the shortest name that a pattern covers and no narrower one does; empty where there is none.

    Only what a narrower pattern covers is gone beyond, so at most their number of names is looked at, each with one
    character more.
    """
    if not pattern.endswith("*"):
        return pattern if pattern[0] in first and len(pattern) <= most else ""
    heads = deque([pattern[:-1]])
    while heads:
        head = heads.popleft()
        if head and head[0] not in first:
            return ""  # no name begins so
        if any(each.endswith("*") and head.startswith(each[:-1]) for each in narrower):
            continue  # whatever begins so is covered
        if head and head not in narrower and len(head) <= most:
            return head
        if len(head) < most:
            heads.extend(head + letter for letter in (_REST if head else first))
    return ""


@dataclass
class _Judge:
    """Who may do what under one charter; equal tables are looked at once."""

    charter: CharterFields
    members: Sequence[Member]
    now: int
    _known: dict[tuple[object, int], frozenset[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        gone = {row.member_id for row in self.charter.refusals if row.since <= self.now}
        self.present = [member for member in self.members if member.member_id not in gone]

    def row(self, place: Place) -> int:
        """The index of the policy that decides, -1 where none does."""
        channel, topic = place.channels.example, place.topics.example
        for index, row in enumerate(self.charter.policies):
            if policy.pattern_matches(row.channel, channel) and policy.pattern_matches(row.cloud_topic, topic):
                return index
        return -1

    def rights(self, place: Place) -> Rights:
        index = self.row(place)
        if index < 0:
            return Rights(frozenset(), frozenset(), 0)
        row = self.charter.policies[index]
        return Rights(self.who(row, row.produce), self.who(row, row.consume), row.backfill)

    def who(self, row: PolicyRow, table: policy.Table) -> frozenset[str]:
        known = (table, row.language)
        if known not in self._known:
            self._known[known] = frozenset(
                member.name for member in self.present if policy.satisfies(member.attributes, table, row.language)
            )
        return self._known[known]


def places(*charters: CharterFields) -> tuple[Place, ...]:
    """Give all places that any of the charters tells apart."""
    found = []
    for channels in classes((row.channel for charter in charters for row in charter.policies), CHANNEL_LENGTH):
        about = [topic for charter in charters for topic in _topics(charter, channels.example)]
        found += [Place(*pair) for pair in product([channels], classes(about, TOPIC_LENGTH, _REST))]
    return tuple(found)


def _topics(charter: CharterFields, channel: str) -> list[str]:
    """Give the cloud topic patterns that tell anything apart on a channel: none after one that covers all."""
    found: list[str] = []
    for row in charter.policies:
        if policy.pattern_matches(row.channel, channel):
            found.append(row.cloud_topic)
            if row.cloud_topic == ALL:
                break
    return found


def compare(before: CharterFields, after: CharterFields, members: Sequence[Member], now: int) -> tuple[Change, ...]:
    """Give all places, with the rights that each member has there at a time (ms) under one charter and the other."""
    former, following = _Judge(before, members, now), _Judge(after, members, now)
    return tuple(Change(place, former.rights(place), following.rights(place)) for place in places(before, after))


def concerns(before: CharterFields, after: CharterFields, members: Sequence[Member], now: int) -> tuple[Concern, ...]:
    """Give what the second charter does, and the first did not, that nobody is likely to want."""
    judge = _Judge(after, members, now)
    everybody = frozenset(member.name for member in judge.present)
    found: list[Concern] = []
    for place, former, following in compare(before, after, members, now):
        for gone, everyone, was, is_ in (
            (Trouble.NO_SENDER, Trouble.ALL_SEND, former.produce, following.produce),
            (Trouble.NO_READER, Trouble.ALL_READ, former.consume, following.consume),
        ):
            if was and not is_:
                found.append(Concern(gone, place))
            if len(everybody) > 1 and is_ == everybody and not is_ <= was:
                found.append(Concern(everyone, place))
    former_judge = _Judge(before, members, now)
    decided = {before.policies[index] for index in map(former_judge.row, places(before)) if index >= 0}
    decides = {judge.row(place) for place in places(after)}
    for index, row in enumerate(after.policies):
        if index not in decides and (row in decided or row not in before.policies):
            found.append(Concern(Trouble.OVERRULED, row=index + 1))
        if row in before.policies:
            continue
        for right, table in (("produce", row.produce), ("consume", row.consume)):
            never = row.language != policy.ATTRIBUTES or not table or any(not values for _, values in table)
            if never or (members and not judge.who(row, table)):
                found.append(Concern(Trouble.NEVER if never else Trouble.NOBODY, row=index + 1, right=right))
    return tuple(found)
