"""Requests that wait for the authority, and how many it answers: bounded, whatever a flood puts into the topic."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

from sealwire.keys.request import Form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.keys.request import Request

PER_TICKET: Final = 8  # the first ones that show one ticket: one of them wins, the others are told so
STRANGERS: Final = 60  # the newest of those that show no ticket or member of ours: enough for honest mistakes
UNPROVEN_A_MINUTE: Final = 60
PROVEN_A_MINUTE: Final = 10  # of one member or ticket


class Waiting:
    """The requests of a topic that have no answer yet, read from its start on.

    Those that truly show a ticket or a member of ours are all kept: their number is bounded by the books. Of one member
    the newest counts, of one ticket the first ones. A stranger pushes out strangers alone.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self._proven: OrderedDict[bytes, tuple[bytes, bytes]] = OrderedDict()  # digest -> statement, whose it is
        self._strangers: OrderedDict[bytes, bytes] = OrderedDict()
        self._of: dict[bytes, list[bytes]] = {}  # ticket id or member id -> digests, in order

    def put(self, request: Request, statement: bytes, *, proven: bool) -> bool:
        """Keep a request; False where it, or an older one in its place, is left out."""
        if request.digest in self._proven or request.digest in self._strangers:
            return True
        if not proven:
            self._strangers[request.digest] = statement
            if len(self._strangers) > STRANGERS:
                self._strangers.popitem(last=False)
                return False
            return True
        whose = request.ticket_id or request.member_id
        others = self._of.setdefault(whose, [])
        if request.form is Form.TICKET and len(others) >= PER_TICKET:
            return False
        newest = request.form is Form.TICKET or not others
        if not newest:
            self.drop(others[0])
        self._proven[request.digest] = statement, whose
        self._of.setdefault(whose, []).append(request.digest)
        return newest

    def drop(self, digest: bytes) -> None:
        """Forget a request: it has its answer."""
        self._strangers.pop(digest, None)
        _, whose = self._proven.pop(digest, (b"", b""))
        if whose:
            self._of[whose].remove(digest)
            if not self._of[whose]:
                del self._of[whose]

    def __len__(self) -> int:
        """How many wait."""
        return len(self._proven) + len(self._strangers)

    def __iter__(self) -> Iterator[bytes]:
        """Give those that are owed an answer first, in the order read."""
        yield from [statement for statement, _ in self._proven.values()]
        yield from list(self._strangers.values())


class Budget:
    """How many of a kind are let through in any minute of the clock."""

    def __init__(self) -> None:
        """Begin with all of it."""
        self._minute = -1
        self._used: Counter[bytes] = Counter()

    def allows(self, kind: bytes, most: int, now: int) -> bool:
        """Tell whether one more is let through at a time (ms); it counts then."""
        if now // 60_000 != self._minute:
            self._minute = now // 60_000
            self._used.clear()
        if self._used[kind] >= most:
            return False
        self._used[kind] += 1
        return True
