"""What two sites compare that never meet: digests of records, gathered in blocks of source offsets.

    record digest = H(timestamp i64 | body)
    body          = what Kafka's record format v2 has after the offset delta: record key, value and headers, each with
                    its length (null is -1), every length in its shortest form

Nothing that a broker may rewrite counts: offset, producer, batches, codec. A block covers the source offsets
[number * 1000, (number + 1) * 1000) as far as they lie in the span that was read. It has two digests of its records:
``ordered`` is H over their digests one after the other, ``total`` their sum modulo 2^256. Whoever has another order
has the same total, so that what was reordered is told from what was altered; nothing is proved by the total.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from blake3 import blake3

from sealwire.keys import primitives
from sealwire.keys.reason import Misuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sealwire.keys.source import SourcePartition, Span

BLOCK: Final = 1000
"""Source offsets of a block."""
MODULUS: Final = 1 << 256

_TIME = struct.Struct(">q")


class Block(NamedTuple):
    """The records of [first, next), at least one: how many, and their two digests."""

    first: int
    next: int
    records: int
    ordered: bytes
    total: int


@dataclass(frozen=True, slots=True)
class Exported:
    """One source partition as its site has it: every record of ``span``, in blocks; between them there is none.

    ``compacted`` says that a cleaner may have removed records since they were sealed.
    """

    source: SourcePartition
    span: Span
    blocks: tuple[Block, ...]
    compacted: bool = False

    @property
    def count(self) -> int:
        """How many records it has."""
        return sum(block.records for block in self.blocks)


def record_digest(timestamp: int, body: bytes) -> bytes:
    """Give the 32 bytes that stand for a record: its timestamp (ms) and its body."""
    return blake3(_TIME.pack(timestamp) + body).digest()  # H of suite 1, called once a record: no door in between


def ordered(digests: Sequence[bytes]) -> bytes:
    """Give the digest of records in their order."""
    return primitives.digest(b"".join(digests))


def total(digests: Iterable[bytes]) -> int:
    """Give the sum of record digests, the same in every order."""
    return sum([int.from_bytes(each, "big") for each in digests]) % MODULUS


class Blocks:
    """Gathers the blocks of a source partition from ``first`` on, its records coming in the order of their offsets."""

    def __init__(self, first: int) -> None:
        self._first, self._number = first, -1
        self._found: list[Block] = []
        self._open: list[bytes] = []

    def take(self, offset: int, digest: bytes) -> None:
        """Take the next record; one before the last is `Misuse`."""
        number = offset // BLOCK
        if number != self._number:
            if number < self._number or offset < self._first:
                raise Misuse(f"a record at offset {offset}, after block {self._number}")
            self._close((self._number + 1) * BLOCK)
            self._number = number
        self._open.append(digest)

    def close(self, following: int) -> tuple[Block, ...]:
        """Give all blocks; ``following`` is where the span that was read ends."""
        self._close(min(following, (self._number + 1) * BLOCK))
        return tuple(self._found)

    def _close(self, following: int) -> None:
        if self._open:
            first = max(self._first, self._number * BLOCK)
            block = Block(first, following, len(self._open), ordered(self._open), total(self._open))
            self._found.append(block)
            self._open = []
