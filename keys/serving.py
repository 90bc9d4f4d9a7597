"""Serving reseal requests: which spans a sender seals again, for whom, in which order and how much of them.

A request counts when its proof is in (``reseal.read``), when the session that it is encrypted under named the source
partition in its progress and this sender still owns it, and when the requester may read there now. Requesters have
turns: one span of each at a time, no more than ``SLICE`` bytes in a turn, ``BUDGET`` in an hour. What was sealed again
a moment ago is on its way to all readers, whoever asks for it. Everything that is kept is bounded, and ends.

Nothing here reads or seals. A ``Serving`` is a frozen value: ``stated``, ``ask``, ``turn`` and ``ended`` give the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sealwire.keys import reseal, wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import Span
from sealwire.keys.wire import SKEW, Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealwire.keys.session import OutboundSession
    from sealwire.keys.source import SourcePartition
    from sealwire.keys.trust import Trust

HOUR: Final = 3600 * 1000
BUDGET: Final = 10 << 30
"""The most bytes that are sealed again for one requester in any hour."""
SLICE: Final = 64 << 20
"""The most bytes of one turn; with less than this left of its hour, a requester waits."""
AT_ONCE: Final = 4  # turns, of as many requesters and source partitions
WAITING_MOST: Final = 1024  # spans of one requester, each of another source partition
IDS_MOST: Final = 4096  # requests of one requester that are remembered until they expire
LATELY: Final = 20_000  # ms in which what was sealed again is not sealed once more: less than a mirror's pause
_MINUTE: Final = 60 * 1000


@dataclass(frozen=True, slots=True)
class Stated:
    """A session of our own as requests may name it: its secret, and the source partitions that its progress named."""

    secret: bytes = field(repr=False)
    not_after: int  # ms
    named: frozenset[SourcePartition]


@dataclass(frozen=True, slots=True)
class Owned:
    """A source partition that this sender seals: for which cloud topic, and up to which offset it has."""

    cloud_topic: str
    sealed_to: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A span that is to be sealed again. What holds no record as young as ``oldest`` (ms) is not for its requester."""

    requester: bytes  # its member id
    name: str
    source: SourcePartition
    span: Span
    oldest: int
    expires: int  # ms


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be sealed again now, and the most bytes that it may come to."""

    wanted: Wanted
    allowance: int


@dataclass(frozen=True, slots=True)
class Serving:
    """What was asked of this sender and not served yet, and what it must remember of what was.

    ``waiting``, ``going``, ``seen`` (request ids and when they expire) and ``spent`` (bytes by minute) are by
    requester, ``waiting`` in the order of their next turns; ``lately`` is what was sealed again, and when (ms).
    """

    sessions: Mapping[bytes, Stated] = field(default_factory=dict)
    waiting: Mapping[bytes, tuple[Wanted, ...]] = field(default_factory=dict)
    going: Mapping[bytes, Turn] = field(default_factory=dict)
    seen: Mapping[bytes, Mapping[bytes, int]] = field(default_factory=dict)
    spent: Mapping[bytes, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    lately: tuple[tuple[SourcePartition, Span, int], ...] = ()

    def stated(self, outbound: OutboundSession, named: Iterable[SourcePartition], now: int) -> Serving:
        """Take note of what the progress of a session of ours names; forget sessions that are over.

        The secret of one that ended is kept for as long as a mirror may still think it lives: to its ``not_after``, an
        hour from its beginning at most, and the five minutes that two clocks may differ.
        """
        known = self.sessions.get(outbound.id)
        before = known.named if known is not None else frozenset()
        mine = Stated(outbound.secret, outbound.not_after, before | frozenset(named))
        sessions = {**self.sessions, outbound.id: mine}
        return replace(self, sessions=sessions).forget(now)

    def forget(self, now: int) -> Serving:
        """Give it without the secrets of sessions under which nobody can ask any more."""
        kept = {each: stated for each, stated in self.sessions.items() if stated.not_after + SKEW >= now}
        return self if len(kept) == len(self.sessions) else replace(self, sessions=kept)

    def concerns(self, statement: bytes | memoryview, project_id: bytes, now: int) -> bool:
        """Tell whether it is a reseal request under a session of ours, in time and not taken yet.

        Nothing is proven. All that others write into the topic, and all that is repeated, costs this look and no more.
        """
        try:
            if wire.type_of(bytes(statement[: wire.HEAD_SIZE + 1])) is not Type.RESEAL:
                return False
            shown = reseal.peek(bytes(statement), project_id)
        except Rejected:
            return False
        stated = self.sessions.get(shown.session_id)
        if stated is None or stated.not_after + SKEW < now or shown.expires < now - SKEW:
            return False
        return not any(shown.request_id in ids for ids in self.seen.values())

    def ask(self, statement: bytes, trust: Trust, owned: Mapping[SourcePartition, Owned], now: int) -> Serving:
        """Prove a request and let its span wait for its turn, or raise `Rejected`.

        Reasons: those of ``reseal.read`` and ``Trust.may_read``; unknown-session; spent (a request that was taken
        before); misplaced (a source partition that the session did not name, or that is no longer ours);
        implausible (nothing before that offset was sealed yet); too-many. A newer request for the same source
        partition takes the place of the older one.
        """
        stated = self.sessions.get(reseal.peek(statement, trust.project_id).session_id)
        if stated is None or stated.not_after + SKEW < now:
            raise Rejected(Reason.UNKNOWN_SESSION, "a request under a session that is not ours, or long over")
        request = reseal.read(
            statement, trust.project_id, stated.secret, lambda credential: trust.read_credential(credential, now), now
        )
        source, requester = request.source, request.requester.member_id
        here = owned.get(source)
        if source not in stated.named or here is None:
            raise Rejected(Reason.MISPLACED, f"{source} is not what this session named, or not ours any more")
        admitted, backfill = trust.may_read(requester, source.channel, here.cloud_topic, now)
        ids = {each: end for each, end in self.seen.get(requester, {}).items() if end + SKEW >= now}
        if request.request_id in ids:
            raise Rejected(Reason.SPENT, "a request that was taken before")
        if request.span.first >= here.sealed_to:
            raise Rejected(Reason.IMPLAUSIBLE, f"{source} is sealed up to {here.sealed_to}, asked for {request.span}")
        queue = self.waiting.get(requester, ())
        others = tuple(each for each in queue if each.source != source)
        if len(ids) >= IDS_MOST or len(others) >= WAITING_MOST:
            raise Rejected(Reason.TOO_MANY, f"{request.requester.name} asks for too much at a time")
        span = Span(request.span.first, min(request.span.next, here.sealed_to))
        oldest = max(admitted - backfill - SKEW, 0)
        mine = Wanted(requester, request.requester.name, source, span, oldest, request.expires)
        queue = tuple(mine if each.source == source else each for each in queue)
        return replace(
            self,
            waiting={**self.waiting, requester: queue if len(queue) > len(others) else (*queue, mine)},
            seen={**self._remembered(now), requester: {**ids, request.request_id: request.expires}},
        )

    def _remembered(self, now: int) -> dict[bytes, Mapping[bytes, int]]:
        """Give what is remembered of those who asked, without requesters of whom every request has expired."""
        return {who: ids for who, ids in self.seen.items() if any(end + SKEW >= now for end in ids.values())}

    def without(self, refuses: Callable[[bytes, int], bool], now: int) -> Serving:
        """Give it without what waits for refused members: `refuses` is `Trust.refuses`, of the charter that counts now.

        What is being sealed again goes on: it is sealed for those who may read now.
        """
        waiting = {who: queue for who, queue in self.waiting.items() if not refuses(who, now)}
        return self if len(waiting) == len(self.waiting) else replace(self, waiting=waiting)

    def turn(self, now: int) -> tuple[Serving, Turn | None]:
        """Give what is to be sealed again now, if anything is; ``ended`` is to be told what came of it."""
        if len(self.going) >= AT_ONCE:
            return self, None
        waiting = {who: left for who, queue in self.waiting.items() if (left := self._left(queue, now))}
        busy = {turn.wanted.source for turn in self.going.values()}
        for who, queue in waiting.items():
            # Who goes waits for its turn's end; so does a source partition that is sealed again for another.
            mine = next((each for each in queue if each.source not in busy), None)
            if who in self.going or mine is None or self.spent_in_hour(who, now) + SLICE > BUDGET:
                continue
            turn = Turn(mine, SLICE)
            rest = tuple(each for each in queue if each is not mine)
            order = {other: theirs for other, theirs in waiting.items() if other != who} | ({who: rest} if rest else {})
            return replace(self, waiting=order, going={**self.going, who: turn}), turn
        return replace(self, waiting=waiting), None

    def ended(self, turn: Turn, reached: int, used: int, now: int, *, again: bool) -> Serving:
        """Take note of a turn's end: everything before ``reached`` is sealed again, in ``used`` bytes.

        With ``again`` what is left has another turn, unless nothing came of this one. More bytes than the turn was
        allowed, or a turn that was not given, is `Misuse`.
        """
        wanted, span = turn.wanted, turn.wanted.span
        who = wanted.requester
        if self.going.get(who) != turn or not 0 <= used <= turn.allowance:
            raise Misuse(f"{used} bytes in a turn of {turn.allowance}, or one that nobody was given")
        going = {other: theirs for other, theirs in self.going.items() if other != who}
        lately = tuple(each for each in self.lately if now - LATELY < each[2] <= now)
        waiting = self.waiting
        if reached > span.first:
            lately = (*lately, (wanted.source, Span(span.first, reached), now))
            queue = waiting.get(who, ())
            if again and reached < span.next and all(each.source != wanted.source for each in queue):
                waiting = {**waiting, who: (*queue, replace(wanted, span=Span(reached, span.next)))}
        spent = self._spent(who, now)
        minute = now // _MINUTE
        if used:
            same = sum(count for at, count in spent if at == minute)
            spent = (*(each for each in spent if each[0] != minute), (minute, same + used))
        kept = {each: left for each in self.spent if (left := self._spent(each, now))} | ({who: spent} if spent else {})
        return replace(self, waiting=waiting, going=going, spent=kept, lately=lately)

    def spent_in_hour(self, requester: bytes, now: int) -> int:
        """Tell how many bytes were sealed again for a member in the last hour, whole minutes counted."""
        return sum(count for _, count in self._spent(requester, now))

    def _spent(self, requester: bytes, now: int) -> tuple[tuple[int, int], ...]:
        return tuple(each for each in self.spent.get(requester, ()) if (each[0] + 1) * _MINUTE > now - HOUR)

    def _left(self, queue: tuple[Wanted, ...], now: int) -> tuple[Wanted, ...]:
        """Give what is still to be sealed of what waits: in time, and without what just was."""
        found = []
        for each in queue:
            span = each.span
            for source, done, at in self.lately:
                if source == each.source and now - LATELY < at <= now:
                    span = _without(span, done)
            if len(span) and each.expires >= now - SKEW:
                found.append(each if span == each.span else replace(each, span=span))
        return tuple(found)


def _without(span: Span, done: Span) -> Span:
    """Cut off what is done at either end of a span; what is done in its middle is not cut out."""
    first = done.next if done.first <= span.first < done.next else span.first
    following = done.first if done.first < span.next <= done.next else span.next
    return Span(first, max(first, following))
