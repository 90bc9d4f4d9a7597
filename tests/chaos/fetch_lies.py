"""What a lying broker says of the batches that a fetch brings. What it says of checksums is true."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import TYPE_CHECKING, Final

import zstandard
from answers import MB, ODD, Asked, Part, batch, batches, flipped, parts, summed, with_records

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

_GZIP, _SNAPPY, _ZSTD = 1, 2, 4
_FIELDS: Final = {
    "base offset": (0, ">q"),
    "attributes": (21, ">h"),
    "last offset delta": (23, ">i"),
    "first time": (27, ">q"),
    "last time": (35, ">q"),
    "producer id": (43, ">q"),
    "producer epoch": (51, ">h"),
    "sequence": (53, ">i"),
    "record count": (57, ">i"),
}


def _part(random: Random, answer: bytes, asked: Asked, *, filled: bool = False) -> Part:
    found = [part for part in parts(answer, asked.version) if part.end > part.records + 4 or not filled]
    return random.choice(found)


def places(random: Random, answer: bytes, asked: Asked) -> bytes:
    changed, at = bytearray(answer), _part(random, answer, asked).number
    where, form, values = random.choice(
        (
            (at + 4, ">h", (*range(1, 100), -1, 999)),
            (at + 6, ">q", (-1, 0, 3, 2**62)),
            (at + 14, ">q", (-1, 0, 3, 2**62)),
            (at, ">i", (1, 2, 5, -1, 2**31 - 1)),
        )
    )
    struct.pack_into(form, changed, where, random.choice(values))
    return bytes(changed)


def aborted(random: Random, answer: bytes, asked: Asked) -> bytes:
    part = _part(random, answer, asked)
    (entries,) = struct.unpack_from(">i", answer, part.aborted)
    many = random.choice((1, 1000, 100_000, 800_000))
    rest = answer[part.aborted + 4 + 16 * max(entries, 0) :]
    return answer[: part.aborted] + struct.pack(">i", many) + bytes(range(16)) * many + rest


def again(random: Random, answer: bytes, asked: Asked) -> bytes:
    part = _part(random, answer, asked, filled=True)
    records = answer[part.records + 4 : part.end]
    many = random.choice((2, 3, 100, 4 * MB // len(records) + 1, 18 * MB // len(records) + 1))
    return with_records(answer, part, records * many)


def tiny(random: Random, answer: bytes, asked: Asked) -> bytes:
    part = _part(random, answer, asked)
    found = list(batches(answer[part.records + 4 : part.end]))
    first = struct.unpack_from(">q", found[0])[0] if found else random.choice((0, 50, 10_000))
    size = random.choice((MB // 8, MB, 4 * MB, 18 * MB))
    return with_records(answer, part, tinies(first, size // 61, random.choice((0, 1))))


def tinies(first: int, many: int, count: int) -> bytes:
    one = bytearray(batch(0, 0, count, b""))
    made = bytearray(one * many)
    for number in range(many):
        struct.pack_into(">q", made, number * len(one), first + number)
    return bytes(made)


def field(random: Random, answer: bytes, asked: Asked) -> bytes:
    def lied(one: bytearray) -> None:
        at, form = random.choice(list(_FIELDS.values()))
        (true,) = struct.unpack_from(form, one, at)
        bits = 8 * struct.calcsize(form)
        other = random.choice((true + random.randint(-20, 20), true ^ 1 << random.randrange(bits), *ODD))
        struct.pack_into(form, one, at, (other + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1))

    return _with_one(random, answer, asked, lied)


def inside(random: Random, answer: bytes, asked: Asked) -> bytes:
    def lied(one: bytearray) -> None:
        if random.random() < 0.3:  # noqa: PLR2004
            del one[random.randrange(61, len(one)) :]
            one += random.randbytes(random.choice((0, 0, 1, 50)))
        else:
            one[61:] = flipped(random, bytes(one[61:]), random.choice((0, 8, 70))) if len(one) > 61 else b""  # noqa: PLR2004

    return _with_one(random, answer, asked, lied)


def _with_one(random: Random, answer: bytes, asked: Asked, lied: Callable[[bytearray], None]) -> bytes:
    """Have one of a partition's batches lie, with its checksum right."""
    part = _part(random, answer, asked, filled=True)
    found = list(batches(answer[part.records + 4 : part.end]))
    if not found:
        return answer
    chosen = random.randrange(len(found))
    one = bytearray(found[chosen])
    lied(one)
    found[chosen] = summed(one)
    return with_records(answer, part, b"".join(found))


def bomb(random: Random, answer: bytes, asked: Asked) -> bytes:
    part = _part(random, answer, asked)
    found = list(batches(answer[part.records + 4 : part.end]))
    offset = struct.unpack_from(">q", found[0])[0] if found else random.randrange(1000)
    codec, bytes_ = random.choice(_bombs())
    return with_records(answer, part, batch(offset, codec, random.choice((1, 1000, 2**31 - 1)), bytes_))


@cache
def _bombs() -> tuple[tuple[int, bytes], ...]:
    """Give half a gigabyte of nothing, as each codec has it that can keep it small."""
    gzip, zstd = zlib.compressobj(9, wbits=31), zstandard.ZstdCompressor().compressobj()
    found = []
    for codec, opener in ((_GZIP, gzip), (_ZSTD, zstd)):
        made = bytearray()
        for _ in range(512):
            made += opener.compress(bytes(MB))
        found.append((codec, bytes(made + opener.flush())))
    return (*found, (_SNAPPY, b"\xff\xff\xff\xff\x0f" + bytes(100)))
