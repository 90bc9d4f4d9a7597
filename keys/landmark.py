"""What is written of a lane as a whole, beside its cursors: that they began, and how much of the ledger they hold.

An empty partition of cursors says nothing: the site is new, or its cursors are lost. So where they begin is written
down once, by a person's command, and a partition without that mark is believed in nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from sealwire.keys import wire
from sealwire.keys.standing import VERSION, versioned

# A name's length is never 0, so no delivery record has such a record key; nor has a position, of no such partition.
_PREFIX: Final = b"\0\0\xff\xff\xff\xff"
BEGUN_KEY: Final = _PREFIX + b"begun"
"""The record key of the mark that says that cursors begin here."""
LEDGER_KEY: Final = _PREFIX + b"ledger"
"""The record key of the mark that says how much of the ledger the cursors hold."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The cursors of a lane begin here, one of ``lanes``; ``made_at`` is in ms."""

    lanes: int
    made_at: int

    def encode(self) -> bytes:
        """Return it as a version byte and msgpack; ``decode`` undoes it."""
        return bytes((VERSION,)) + wire.pack(_Begun(self.lanes, self.made_at))

    @staticmethod
    def decode(data: bytes) -> Begun:
        """Read what ``encode`` gave.

        Raises:
            Rejected: UNKNOWN_VERSION, MALFORMED.
        """
        fields = wire.unpack(versioned(data), _BEGUN)
        return Begun(fields.lanes, fields.made_at)


@dataclass(frozen=True, slots=True)
class LedgerMark:
    """The cursors hold everything that the ledger of this topic id has before ``offset``."""

    topic_id: bytes
    offset: int

    def encode(self) -> bytes:
        """Return it as a version byte and msgpack; ``decode`` undoes it."""
        return bytes((VERSION,)) + wire.pack(_Mark(self.topic_id, self.offset))

    @staticmethod
    def decode(data: bytes) -> LedgerMark:
        """Read what ``encode`` gave.

        Raises:
            Rejected: UNKNOWN_VERSION, MALFORMED.
        """
        fields = wire.unpack(versioned(data), _MARK)
        return LedgerMark(fields.topic_id, fields.offset)


class _Begun(wire.Fields, frozen=True, array_like=True, forbid_unknown_fields=True):
    lanes: wire.U32
    made_at: wire.Time


class _Mark(wire.Fields, frozen=True, array_like=True, forbid_unknown_fields=True):
    topic_id: wire.Id16
    offset: wire.Offset


_BEGUN: Final = msgspec.msgpack.Decoder(_Begun)
_MARK: Final = msgspec.msgpack.Decoder(_Mark)
