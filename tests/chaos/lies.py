"""What a lying broker says in the place of an answer. Each lie is made of a true one, or of nothing.

A lie gives the bytes that are sent, sizes included, piece by piece; nothing here sends anything. Addresses are left as
they are, but by ELSEWHERE, or clients would knock at strangers' doors.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import fetch_lies
from answers import FETCH, HOST, MB, METADATA, ODD, Asked, flipped, framed, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from random import Random

NOBODY: Final = 1  # a port at which nobody listens
_HEAD: Final = 4  # bytes of an answer with which its client knows it
_PIECE: Final = 64 * 1024
_SIZES: Final = (-(2**31), -1, 0, 1, 3, 4, 5, 9 * MB, 40 * MB, 127 * MB, 2**30, 2**31 - 1)


class Lie(StrEnum):
    """What can be said."""

    BITS = "bits"  # some bits are others
    CUT = "cut"  # it ends early
    GROWN = "grown"  # there is more in it
    COUNT = "count"  # a number in it is a huge, a negative or another one
    SIZE = "size"  # it says that it is as large as it is not
    REPEATED = "repeated"  # it comes twice
    SWAPPED = "swapped"  # it is the answer to something else
    STRANGER = "stranger"  # it answers what was never asked
    NOISE = "noise"  # it is any bytes
    TRICKLE = "trickle"  # it comes byte by byte
    ENDLESS = "endless"  # it does not end
    ELSEWHERE = "elsewhere"  # the broker is where nobody is
    CROWD = "crowd"  # a partition has a million replicas
    PLACES = "places"  # a fetch: the log's ends, or its error, are others
    ABORTED = "aborted"  # a fetch: any number of aborted transactions
    AGAIN = "again"  # a fetch: the same batches again and again
    TINY = "tiny"  # a fetch: the smallest batches there are, as many as can be
    FIELD = "field"  # a fetch: a batch says something else of itself, and its checksum is right
    INSIDE = "inside"  # a fetch: records of a batch are others, and its checksum is right
    BOMB = "bomb"  # a fetch: a batch opens to a gigabyte


def lies_about(asked: Asked, answer: bytes) -> list[Lie]:
    """Name the lies that an answer can be made into."""
    found = [*_ANY]
    if asked.api == METADATA:
        found += [Lie.ELSEWHERE, *([Lie.CROWD] if asked.version == _CROWDED else [])]
    if asked.api == FETCH:
        found += [Lie.PLACES, Lie.ABORTED, Lie.TINY, Lie.BOMB]
        if any(part.end > part.records + 4 for part in parts(answer, asked.version)):
            found += [Lie.AGAIN, Lie.FIELD, Lie.INSIDE] * 3
    return found


def told(lie: Lie, random: Random, answer: bytes, asked: Asked, earlier: Sequence[bytes]) -> Iterable[bytes]:
    """Say it: pieces, which are sent one after the other. ``earlier`` are true answers to whatever was asked before."""
    if lie in _OF_FETCH:
        return [framed(_OF_FETCH[lie](random, answer, asked))]
    return _OTHERS[lie](random, answer, asked, earlier)


# Any answer


def _bits(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    return [framed(flipped(random, answer, _HEAD))]


def _cut(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    return [framed(answer[: random.randrange(len(answer))])]


def _grown(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    at = random.choice((len(answer), random.randrange(_HEAD, len(answer) + 1)))
    return [framed(answer[:at] + random.randbytes(random.choice((1, 4, 1000, MB))) + answer[at:])]


def _count(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    changed = bytearray(answer)
    small = [at for at in range(_HEAD, min(len(answer), 4096) - 3) if answer[at : at + 3] == bytes(3)]
    if small:
        struct.pack_into(">i", changed, random.choice(small), random.choice(ODD))
    return [framed(bytes(changed))]


def _size(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    return [struct.pack(">i", random.choice((*_SIZES, len(answer) - 1, len(answer) + 1))) + answer]


def _repeated(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    return [framed(answer)] * random.choice((2, 2, 10))


def _swapped(random: Random, answer: bytes, _asked: Asked, earlier: Sequence[bytes]) -> Iterable[bytes]:
    other = random.choice(earlier) if earlier else answer
    return [framed(answer[:_HEAD] + other[_HEAD:])]


def _stranger(random: Random, answer: bytes, asked: Asked, *_: object) -> Iterable[bytes]:
    number = random.choice((asked.correlation + 1, 0, -1, random.getrandbits(31)))
    return [framed(struct.pack(">i", number) + answer[_HEAD:])]


def _noise(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    body = random.randbytes(random.choice((0, 1, 30, 3000, MB)))
    return [framed((answer[:_HEAD] if random.random() < 0.7 else b"") + body)]  # noqa: PLR2004


def _trickle(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    slow = random.choice((4, 20, 200))
    whole = framed(answer)
    return [*(whole[at : at + 1] for at in range(min(slow, len(whole)))), whole[slow:]]


def _endless(random: Random, answer: bytes, *_: object) -> Iterator[bytes]:
    """Announce a size that may just be believed, and send so much, but for the end."""
    size = random.choice((7 * MB, 15 * MB, 31 * MB, 63 * MB, 127 * MB, 2**31 - 1))
    yield struct.pack(">i", size) + answer[:_HEAD]
    for _ in range(_HEAD, min(size, 130 * MB) - _PIECE, _PIECE):
        yield b"\x00\x00\x00\x01" * (_PIECE // 4)


def _elsewhere(_random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    at = answer.find(HOST) + len(HOST)
    return [framed(answer[:at] + struct.pack(">i", NOBODY) + answer[at + 4 :])]


_CROWDED: Final = 5  # the version of metadata that is told with a crowd


def _crowd(random: Random, answer: bytes, *_: object) -> Iterable[bytes]:
    """Name every broker that there could be as a replica, in as many bytes as are taken or more."""
    at = answer.find(HOST)
    (port,) = struct.unpack_from(">i", answer, at + len(HOST))
    many = random.choice((300_000, 1_500_000, 6_000_000))
    body = struct.pack(">iiih", 0, 1, 1, len(HOST)) + HOST + struct.pack(">ih", port, -1)
    body += struct.pack(">hiih", -1, 1, 1, 0) + struct.pack(">h", 5) + b"crowd" + b"\0" + struct.pack(">i", 1)
    body += struct.pack(">hiii", 0, 0, 1, many) + bytes(4 * many) + struct.pack(">ii", 0, 0)
    return [framed(answer[:_HEAD] + body)]


_OF_FETCH: Final[dict[Lie, Callable[[Random, bytes, Asked], bytes]]] = {
    Lie.PLACES: fetch_lies.places,
    Lie.ABORTED: fetch_lies.aborted,
    Lie.AGAIN: fetch_lies.again,
    Lie.TINY: fetch_lies.tiny,
    Lie.FIELD: fetch_lies.field,
    Lie.INSIDE: fetch_lies.inside,
    Lie.BOMB: fetch_lies.bomb,
}
_ANY: Final[dict[Lie, Callable[..., Iterable[bytes]]]] = {
    Lie.BITS: _bits,
    Lie.CUT: _cut,
    Lie.GROWN: _grown,
    Lie.COUNT: _count,
    Lie.SIZE: _size,
    Lie.REPEATED: _repeated,
    Lie.SWAPPED: _swapped,
    Lie.STRANGER: _stranger,
    Lie.NOISE: _noise,
    Lie.TRICKLE: _trickle,
    Lie.ENDLESS: _endless,
}
_OTHERS: Final = {**_ANY, Lie.ELSEWHERE: _elsewhere, Lie.CROWD: _crowd}
