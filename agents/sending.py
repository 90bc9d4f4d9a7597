"""A session of our own in use: what is sealed under it, and for whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealwire.agents.readership import Readers
    from sealwire.keys.session import OutboundSession


@dataclass
class Sending:
    """A session in use. ``signer`` is the digest of the authority key that signed our credential in its statement.

    ``sealed`` counts the bytes sealed in it, ``sealed_before`` those at the last look.
    ``in_flight`` counts envelopes that the cloud has not acknowledged; ``as_of`` is the date of the last progress.
    ``reached`` has every source partition that was sealed in it, also those that others seal by now. One that is
    ``over`` is used no more, and has only its last word to say.
    """

    outbound: OutboundSession
    readers: Readers
    signer: bytes
    sealed: int = 0
    sealed_before: int = 0
    in_flight: int = 0
    progress_number: int = 0
    as_of: int = 0
    reached: dict[tuple[str, bytes, int], int] = field(default_factory=dict)
    over: bool = False

    def stored(self, where: tuple[str, bytes, int], following: int) -> None:
        """Note that the cloud has what was sealed of a source partition (topic, topic id, number), up to there."""
        self.reached[where] = max(self.reached.get(where, 0), following)

    @property
    def reader_ids(self) -> frozenset[bytes]:
        """Who was granted it."""
        return frozenset(member for member, _package in self.readers)
