"""Statements that cannot be judged yet, put aside and bounded: by the clock, or for want of what they rest on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealwire.keys import primitives
from sealwire.keys.wire import SKEW, Type

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sealwire.keys.reason import Reason

MOST: Final = 1024
MOST_BYTES: Final = 16 << 20
_Cause = tuple[bytes | None, bytes | None, bool, bool]
MOST_PER_CAUSE: Final = 4  # for want of one member's credential, or of one session's claim; and of charters


@dataclass(frozen=True)
class Waiting:
    """A statement put aside: until the clock reaches `after`, or for news of a `member`, a `session` or the root.

    `proven`: by the root's or the authority's hand, and few; it goes for nothing that others can make. `root_version`:
    that of the root it waits for, where this is proven too; else 0.
    """

    type: Type
    statement: bytes = field(repr=False)
    after: int | None  # ms
    member: bytes | None
    session: bytes | None
    proven: bool
    root_version: int


class Later(Exception):
    """The statement cannot be judged yet. Without `after`, `member` and `session` it waits for a newer root.

    `proven` and `root_version` as `Waiting` has them.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str,
        *,
        after: int | None = None,
        member: bytes | None = None,
        session: bytes | None = None,
        proven: bool = False,
        root_version: int = 0,
    ) -> None:
        """Say why, and what it waits for."""
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.after = after
        self.member = member
        self.session = session
        self.proven = proven
        self.root_version = root_version


class Aside:
    """What waits, during one batch. The mapping given is left as it is."""

    def __init__(self, waiting: Mapping[bytes, Waiting]) -> None:
        """Begin with what waits already."""
        self.waiting = dict(waiting)  # by digest of the statement, oldest first
        self._bytes = sum(len(each.statement) for each in self.waiting.values())
        self._alike: dict[_Cause, list[bytes]] | None = None  # made when it is needed

    def put(self, later: Later, kind: Type, statement: bytes) -> tuple[bytes | None, list[bytes]]:
        """Put a statement aside; give its digest and the statements that had to go for it.

        The digest is None where the statement waits already, or had to go itself.
        """
        digest = primitives.digest(statement)
        if digest in self.waiting:
            return None, []
        if self._alike is None:
            self._alike = {}
            for other, each in self.waiting.items():
                self._alike.setdefault(_cause(each), []).append(other)
        mine = Waiting(kind, statement, later.after, later.member, later.session, later.proven, later.root_version)
        alike = self._alike.setdefault(_cause(mine), [])
        dropped = []
        alike.append(digest)
        self.waiting[digest] = mine
        self._bytes += len(statement)
        if any(_cause(mine)) and len(alike) > MOST_PER_CAUSE:  # what tells of the newest root is kept
            least = min(alike, key=lambda each: self.waiting[each].root_version)
            dropped.append(self._take(least))
        while len(self.waiting) > MOST or self._bytes > MOST_BYTES:
            oldest = next((each for each in self.waiting if not self.waiting[each].proven), next(iter(self.waiting)))
            dropped.append(self._take(oldest))
        return digest if digest in self.waiting else None, dropped

    def take_ready(self, kind: Type, now: int, news_of: Collection[bytes], *, new_root: bool) -> list[bytes]:
        """Take the statements of a type that may be judged now."""
        ready = [
            digest
            for digest, each in self.waiting.items()
            if each.type is kind and _ready(each, now, news_of, new_root)
        ]
        return [self._take(digest) for digest in ready]

    def _take(self, digest: bytes) -> bytes:
        each = self.waiting.pop(digest)
        self._bytes -= len(each.statement)
        if self._alike is not None:
            self._alike[_cause(each)].remove(digest)
        return each.statement


def _cause(each: Waiting) -> _Cause:
    """What is bounded together: a charter may be large, and there is only one to wait for.

    What anybody can make takes no room from what is proven.
    """
    return each.member, each.session, each.type is Type.CHARTER, each.proven


def _ready(each: Waiting, now: int, news_of: Collection[bytes], new_root: bool) -> bool:  # noqa: FBT001
    if each.after is not None:
        return each.after <= now + SKEW
    if each.member is not None:
        return each.member in news_of
    if each.session is not None:
        return each.session in news_of
    return new_root
