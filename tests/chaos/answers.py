"""Answers of a broker on the wire, as far as a liar must know them: where record batches lie, and their checksums."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from crc32c import crc32c

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

HOST: Final = b"127.0.0.1"
MB: Final = 1 << 20
ODD: Final = (0, 1, -1, 2, 3, 7, 100, 65_536, 10**6, 2**30, 2**31 - 1, -(2**31))
"""Numbers that nobody expects."""
FETCH: Final = 1
METADATA: Final = 3
BATCH_HEADER: Final = 61
_CRC_AT, _CRC_FROM = 17, 21
_LONGEST_SESSIONLESS: Final = 7  # the first fetch version with an error and a session for the whole
_LOG_START, _REPLICA = 5, 11  # the first fetch versions with these


class Asked(NamedTuple):
    """What a client asked for, and how it will know the answer."""

    api: int
    version: int
    correlation: int


class Part(NamedTuple):
    """What a fetch answer has for one partition, as positions in it: its number, its aborted transactions, its batches.

    ``aborted`` and ``records`` are where the four bytes of their count and size stand; what follows goes up to ``end``.
    """

    number: int
    aborted: int
    records: int
    end: int


def framed(body: bytes) -> bytes:
    """Put the size before it."""
    return struct.pack(">i", len(body)) + body


def asked(request: bytes) -> Asked:
    """Read the head of a request."""
    return Asked(*struct.unpack_from(">hhi", request))


def parts(answer: bytes, version: int) -> Iterator[Part]:
    """Go through the partitions of a fetch answer, which an honest broker has made (versions 4 to 11)."""
    position = 8 + (6 if version >= _LONGEST_SESSIONLESS else 0)
    (topics,) = struct.unpack_from(">i", answer, position)
    position += 4
    for _ in range(topics):
        (length,) = struct.unpack_from(">h", answer, position)
        (count,) = struct.unpack_from(">i", answer, position + 2 + length)
        position += 2 + length + 4
        for _ in range(count):
            number, aborted = position, position + 22 + (8 if version >= _LOG_START else 0)
            (entries,) = struct.unpack_from(">i", answer, aborted)
            records = aborted + 4 + 16 * max(entries, 0) + (4 if version >= _REPLICA else 0)
            (size,) = struct.unpack_from(">i", answer, records)
            position = records + 4 + max(size, 0)
            yield Part(number, aborted, records, position)


def with_records(answer: bytes, part: Part, records: bytes) -> bytes:
    """Put other batches in the place of a partition's."""
    return answer[: part.records] + framed(records) + answer[part.end :]


def batches(records: bytes) -> Iterator[bytes]:
    """Go through the whole batches."""
    position = 0
    while len(records) - position >= BATCH_HEADER:
        (length,) = struct.unpack_from(">i", records, position + 8)
        if position + 12 + length > len(records):
            return
        yield records[position : position + 12 + length]
        position += 12 + length


def summed(batch: bytearray) -> bytes:
    """Make size and checksum of a batch right for what it holds."""
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    struct.pack_into(">I", batch, _CRC_AT, crc32c(bytes(batch[_CRC_FROM:])))
    return bytes(batch)


def batch(offset: int, attributes: int, count: int, records: bytes) -> bytes:
    """Make a batch that says so of itself."""
    made = bytearray(struct.pack(">qiib", offset, 0, 0, 2) + bytes(4))
    made += struct.pack(">hiqqqhii", attributes, max(count - 1, 0), 0, 0, -1, -1, -1, count) + records
    return summed(made)


def flipped(random: Random, answer: bytes, begin: int) -> bytes:
    """Have some bits from ``begin`` on be others, but those of addresses."""
    changed = bytearray(answer)
    addresses = [range(found.start(), found.end() + 4) for found in re.finditer(re.escape(HOST), answer)]
    for _ in range(random.choice((1, 1, 2, 8, 40))):
        at = random.randrange(min(begin, len(answer) - 1), len(answer))
        if not any(at in address for address in addresses):
            changed[at] ^= 1 << random.randrange(8)
    return bytes(changed)
