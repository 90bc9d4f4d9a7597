"""Where one cloud partition stands at the opening side: read, opened, and everything delivered before some offset."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sealwire.agents import clock

if TYPE_CHECKING:
    from sealwire.agents.seat import Seat
    from sealwire.agents.settings import OpenRoute

PARKED_MOST = 1024  # sessions a cloud partition waits for at a time
PARKED_FOR_MS = 15 * 60 * 1000
AHEAD = b"ahead of our clock"  # stands among the parked for the sessions of what is dated so


@dataclass(eq=False)
class CloudSeat:
    """One partition of a cloud topic in one lane.

    ``read_to`` is the next cloud offset that was not looked at; ``done_to`` has everything before it delivered or
    decided. ``parked`` remembers by session id where the first envelope of a session stands that is not known yet.
    """

    route: OpenRoute
    partition: int
    topic_id: bytes
    read_to: int
    done_to: int
    seat: Seat | None = None
    epoch: int = 0
    why: str = ""
    catching_up_to: int = -1
    pending: deque[list[int]] = field(default_factory=deque)  # [next, deliveries outstanding]
    parked: OrderedDict[bytes, tuple[int, int]] = field(default_factory=OrderedDict)  # -> (offset, since ms)
    again: int | None = None  # where to go back to, once the answer at hand was looked at

    @property
    def where(self) -> tuple[str, int]:
        """Its topic and partition."""
        return self.route.cloud_topic, self.partition

    @property
    def at_end(self) -> bool:
        """Whether everything that the cloud shows was looked at."""
        return self.seat is not None and 0 <= self.seat.high_watermark <= self.read_to

    def took(self, following: int) -> list[int]:
        """Remember that everything before the cloud offset ``following`` was looked at."""
        entry = [following, 1]
        self.pending.append(entry)
        return entry

    def settle(self, entry: list[int]) -> bool:
        """One delivery of an entry is done; tell whether ``done_to`` moved."""
        entry[1] -= 1
        moved = False
        while self.pending and self.pending[0][1] <= 0:
            following = self.pending.popleft()[0]
            if following > self.done_to:
                self.done_to, moved = following, True
        return moved

    def go_back(self, offset: int) -> None:
        """Everything from ``offset`` on is looked at again: a restart must begin there until it was."""
        for entry in self.pending:  # what is outstanding still has to be done, and moves nothing beyond here
            entry[0] = min(entry[0], offset)
        self.done_to = min(self.done_to, offset)
        self.again = None

    def look_again(self, offset: int) -> None:
        """Have everything from ``offset`` on looked at again, after the answer at hand."""
        self.again = offset if self.again is None else min(self.again, offset)

    def park(self, session_id: bytes, offset: int) -> bool:
        """Remember the first place of a session that is not known; tell whether it is new. The oldest give way."""
        if session_id in self.parked:
            return False
        self.parked[session_id] = (offset, clock.now())
        if len(self.parked) > PARKED_MOST:
            self.parked.popitem(last=False)
        return True

    def lacks(self, until: int) -> bool:
        """Tell whether a session that is not known yet was missed at a time (ms) already."""
        return any(since <= until for each, (_offset, since) in self.parked.items() if each != AHEAD)

    def expire(self) -> None:
        """Forget sessions that never became known: they pin the position."""
        until = clock.now() - PARKED_FOR_MS
        for session_id in [each for each, (_offset, since) in self.parked.items() if since < until]:
            del self.parked[session_id]

    def parked_row(self) -> dict[str, Any]:
        """Describe what is parked here: how many sessions are not known yet, and since when (ms)."""
        since = min((since for _offset, since in self.parked.values()), default=None)
        topic, partition = self.where
        return {"topic": topic, "partition": partition, "sessions": len(self.parked), "since_ms": since}

    @property
    def position(self) -> int:
        """Where a restarted worker reads on."""
        return min([self.done_to, *(offset for offset, _since in self.parked.values())])
