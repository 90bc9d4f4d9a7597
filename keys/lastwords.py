"""Last words: which sessions are done with, so that their secrets may be erased.

A frozen value over proven progress statements, in whatever order they come. A session is **done** when its last word is
in and every source partition that it named has a cursor at or past what it said there. Of one that it named before and
not in its last word (another worker took it over), somebody else must have spoken since, and the cursor be past that
too: what the session sealed behind its own word is then delivered, or will come in another session.

A session that was ended without a last word (its worker was killed) is never done, but **overtaken** once it is over,
other sessions have spoken since of every source partition of its channel and site, and the cursors are past that.
Whoever seals there goes on from its own word, so what the session may have sealed beyond is sealed again. Where nobody
went on, its secret goes by its age (`Secrets.forget`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, NamedTuple

from sealwire.keys.source import SourcePartition
from sealwire.keys.wire import SKEW

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from sealwire.keys.progress import Progress
    from sealwire.keys.session import InboundSession

MOST: Final = 1 << 17
"""How many source partitions, each counted once a session, are kept in mind; a session above that is never done."""

Cursors = Mapping[SourcePartition, int | None]


class Said(NamedTuple):
    """What a word of a session says of a source partition: everything before ``next`` is sealed."""

    number: int
    as_of: int  # ms
    next: int


class Newest(NamedTuple):
    """The newest word of any session on a source partition."""

    as_of: int  # ms
    session_id: bytes
    next: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a session said: the number of its last word once that is in, and of each source partition the newest."""

    final: int | None = None
    named: Mapping[SourcePartition, Said] = field(default_factory=dict)
    whole: bool = True  # False where there was no room for all of it


@dataclass(frozen=True)
class LastWords:
    """What sessions said, until they are done with."""

    sessions: Mapping[bytes, Spoken] = field(default_factory=dict)
    newest: Mapping[SourcePartition, Newest] = field(default_factory=dict)
    size: int = 0

    def heard(self, progress: Progress, session: InboundSession) -> LastWords:
        """Give them after a progress statement of a session, proven by `progress.read`. Of a session all should be."""
        known = self.sessions.get(session.id, Spoken())
        named, newest = dict(known.named), dict(self.newest)
        for source, following in _sources(progress, session):
            word = Newest(progress.as_of, session.id, following)
            if source in newest or len(newest) < MOST:
                newest[source] = max(newest.get(source, word), word)
            said = Said(progress.number, progress.as_of, following)
            named[source] = max(named.get(source, said), said)
        finals = [known.final] if known.final is not None else []
        final = max([*finals, progress.number] if progress.final else finals, default=None)
        size = self.size + len(named) - len(known.named)
        spoken = Spoken(final, named)
        if size > MOST or not known.whole:
            spoken, size = Spoken(final, {}, whole=False), self.size - len(known.named)
        return replace(self, sessions={**self.sessions, session.id: spoken}, newest=newest, size=size)

    def done(self, cursors: Cursors) -> frozenset[bytes]:
        """Give the sessions whose every envelope is delivered, by the cursors of the whole site (None: none yet)."""
        return frozenset(each for each, spoken in self.sessions.items() if self._done(each, spoken, cursors))

    def overtaken(self, held: Iterable[InboundSession], cursors: Cursors, now: int) -> frozenset[bytes]:
        """Give those of the held sessions that are over and whose channel went on without them, and was delivered."""
        rows: dict[tuple[str, str], list[tuple[int, bool]]] = {}
        for source, said in self.newest.items():
            reached = (cursors.get(source) or 0) >= said.next
            rows.setdefault((source.channel, source.site), []).append((said.as_of, reached))
        # How old the oldest word of a channel and site is, where all that was said is delivered.
        went_on = {where: min(said)[0] for where, said in rows.items() if all(reached for _, reached in said)}
        return frozenset(
            session.id
            for session in held
            if session.not_after + SKEW < now
            if (where := (session.channel, session.site)) in went_on
            if went_on[where] > session.not_after + SKEW  # by whatever clock
            if session.id not in self.sessions or self.sessions[session.id].whole
        )

    def forget(self, held: Collection[bytes]) -> LastWords:
        """Give them without the sessions whose secrets are not held any more."""
        sessions = {each: spoken for each, spoken in self.sessions.items() if each in held}
        if len(sessions) == len(self.sessions):
            return self
        named = {source for spoken in sessions.values() for source in spoken.named}
        newest = {source: said for source, said in self.newest.items() if source in named}
        return LastWords(sessions, newest, sum(len(spoken.named) for spoken in sessions.values()))

    def _done(self, session_id: bytes, spoken: Spoken, cursors: Cursors) -> bool:
        if spoken.final is None or not spoken.whole:
            return False
        for source, said in spoken.named.items():
            cursor = cursors.get(source) or 0  # where nothing was sealed, nothing is to be delivered
            if cursor < said.next:
                return False
            if said.number < spoken.final:
                since = self.newest.get(source)
                if since is None or since.session_id == session_id:
                    return False
                if since.as_of <= said.as_of or cursor < since.next:
                    return False
        return True


def _sources(progress: Progress, session: InboundSession) -> Iterator[tuple[SourcePartition, int]]:
    for topic in progress.topics:
        for each in topic.partitions:
            source = SourcePartition(session.channel, session.site, topic.topic, topic.topic_id, each.partition)
            yield source, each.next
