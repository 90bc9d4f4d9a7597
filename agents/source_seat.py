"""Where one source partition stands at the sealing side: read, sealed, acknowledged by the cloud."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sealwire.agents.seat import Seat
    from sealwire.agents.settings import SealRoute

ENDS_BEHIND = (
    "the source ends before what was sealed of it: what it has from there on is other data. Order `sealwire rewind` to "
    "its end at the reading sites; then, with this worker stopped, reset the group's offset to it "
    "(kafka-consumer-groups.sh --reset-offsets)"
)


@dataclass(eq=False)
class SourceSeat:
    """One partition of a source topic in one lane.

    ``sealed_to`` is where the next envelope begins; ``position`` what the cloud has acknowledged everything before.
    ``held`` is until something outside changes, ``refused_by`` where ("" for a person to judge); ``why`` says what is
    waited for; all empty when all flows. ``tail`` is where reading stands beyond the last thing to seal.
    """

    route: SealRoute
    partition: int
    topic_id: bytes
    sealed_to: int
    log_start: bool
    position: int
    seat: Seat | None = None
    begun: bool = False  # the position is one that was committed or acknowledged, not merely where the log starts
    epoch: int = 0  # counts seatings: what comes from an older one is dropped
    why: str = ""
    lacking: str = ""  # what must be there in the cloud before it can be seated
    held: str = ""
    ends_behind: bool = False  # the source's end went back behind the position: it is another log now
    refused_by: Literal["", "source", "cloud"] = ""
    said: str = ""  # of what holds it, into the log
    tail: int = -1
    last_stable: int = -1
    envelopes: int = 0
    records: int = 0
    size: int = 0  # bytes of batches sealed
    session: bytes = b""
    reseal: bool = False  # a span that is sealed again: its envelopes say so
    changed: bool = True
    in_flight: deque[list[int]] = field(default_factory=deque)  # [next, 1 when acknowledged]

    @property
    def where(self) -> tuple[str, int]:
        """Its topic and partition."""
        return self.route.source_topic, self.partition

    @property
    def named(self) -> tuple[str, bytes, int]:
        """Its topic, topic id and number."""
        return self.route.source_topic, self.topic_id, self.partition

    @property
    def state(self) -> str:
        """One of flowing, waiting, held."""
        return "held" if self.held else "waiting" if self.why or self._transaction else "flowing"

    @property
    def _transaction(self) -> str:
        if self.seat is None or not self.seat.behind_transaction:
            return ""
        return (
            f"a transaction is open from offset {self.seat.last_stable}: what lies behind it waits until its producer "
            "commits or aborts it (kafka-transactions.sh finds and aborts one that hangs)"
        )

    def sent(self, following: int) -> list[int]:
        """Remember an envelope on its way, up to and without the source offset ``following``."""
        entry = [following, 0]
        self.in_flight.append(entry)
        return entry

    def acknowledged(self, entry: list[int]) -> bool:
        """The cloud has it; tell whether the position moved. It never passes one that is not acknowledged."""
        entry[1] = 1
        moved = False
        while self.in_flight and self.in_flight[0][1]:
            self.position = self.in_flight.popleft()[0]
            moved = self.changed = self.begun = True
        return moved

    def row(self, site: str) -> dict[str, Any]:
        """Describe it as status and table show it."""
        end = self.seat.last_stable if self.seat is not None else self.last_stable
        if self.seat is not None and self.seat.behind_transaction:
            end = self.seat.high_watermark
        return {
            "channel": self.route.channel,
            "site": site,
            "topic": self.route.source_topic,
            "topic_id": self.topic_id.hex(),
            "partition": self.partition,
            "state": self.state,
            "why": self.held or self.why or (self.seat.trouble if self.seat else "") or self._transaction,
            "position": self.position,
            "lag": max(end - self.position, 0) if end >= 0 and self.position >= 0 else None,
            "session": self.session.hex(),
            "envelopes": self.envelopes,
            "records": self.records,
        }
