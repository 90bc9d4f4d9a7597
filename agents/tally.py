"""What passed on a channel since the worker's start, counted by envelopes: never record by record."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from sealwire.agents import clock


@dataclass(eq=False, slots=True)
class Passed:
    """Envelopes, the records in them, and bytes: of envelopes where we seal, of opened batches where we open."""

    envelopes: int = 0
    records: int = 0
    bytes: int = 0

    def add(self, records: int, size: int) -> None:
        """Count one envelope."""
        self.envelopes += 1
        self.records += records
        self.bytes += size


@dataclass(eq=False, slots=True)
class Tally:
    """One channel: ``taken`` was sealed or opened, ``delivered`` the other cluster has acknowledged, last at ``at``."""

    taken: Passed = field(default_factory=Passed)
    delivered: Passed = field(default_factory=Passed)
    duplicates: int = 0
    trimmed: int = 0
    reseals: int = 0  # spans that were asked for again, or sealed again
    at: int = 0  # ms since 1970; 0: nothing yet

    def deliver(self, records: int, size: int) -> None:
        """Count an envelope that the other cluster has acknowledged."""
        self.delivered.add(records, size)
        self.at = clock.now()

    def row(self) -> dict[str, Any]:
        """Describe it as the worker's snapshot shows it."""
        found: dict[str, Any] = {
            stage: {"envelopes": passed.envelopes, "records": passed.records, "bytes": passed.bytes}
            for stage, passed in (("taken", self.taken), ("delivered", self.delivered))
        }
        counts = {"duplicates": self.duplicates, "trimmed": self.trimmed, "reseals": self.reseals}
        return {**found, **counts, "delivered_at_ms": self.at or None}


class Tallies(defaultdict[str, Tally]):
    """The tallies of a side, by channel."""

    def __init__(self) -> None:
        super().__init__(Tally)

    def rows(self) -> dict[str, dict[str, Any]]:
        """Describe all of them."""
        return {channel: tally.row() for channel, tally in sorted(self.items())}
