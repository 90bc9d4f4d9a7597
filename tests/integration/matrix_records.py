"""The records of the matrix: shapes of record key, value, headers and time, each a function of the record's number."""

from __future__ import annotations

import hashlib
import random
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

Headers = tuple[tuple[str, bytes | None], ...]

NEW_YEAR: Final = 1_767_225_600_000  # ms: when the records say that they were made
HOUR: Final = 3_600_000
FAR: Final = 253_402_300_799_000  # the last second of the year 9999
MB: Final = 1_000_000


class Record(NamedTuple):
    """What a writer is asked to write. Without a timestamp it takes its own clock's."""

    partition: int
    record_key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp: int | None = None


def digits(n: int) -> bytes:
    return b"%d" % n


def nothing(_: int) -> bytes | None:
    return None


def empty(_: int) -> bytes:
    return b""


def repeated(n: int) -> bytes:
    return b"customer-%d" % (n % 50)


def text(n: int) -> bytes:
    """Some 300 bytes that a codec can do something with, no two alike."""
    return (f'{{"number": {n}, "of": "{n % 97} orders", ' + f'"note": "{"as agreed " * (n % 20 + 10)}"}}').encode()


def short(n: int) -> bytes:
    return b"reading %d" % n


def unicode_text(n: int) -> bytes:
    return f"ключ-鍵-🔑-{n}".encode()


def noise(size: int) -> Callable[[int], bytes]:
    """Bytes that no codec makes smaller, no two records alike."""

    def made(n: int) -> bytes:
        return random.Random(n).randbytes(size)

    return made


def zeros(size: int) -> Callable[[int], bytes]:
    def made(n: int) -> bytes:
        return struct.pack(">q", n) + bytes(size - 8)

    return made


def binary(n: int) -> bytes:
    return hashlib.sha256(b"%d" % n).digest()


def any_size(n: int) -> bytes | None:
    """From null and empty to 200 kB, mostly small."""
    chance = random.Random(n)
    size = int(10 ** chance.uniform(0, 4 if n % 20 else 5.3))
    return None if n % 31 == 0 else chance.randbytes(size if n % 29 else 0)


def of(*several: Callable[[int], bytes | None]) -> Callable[[int], bytes | None]:
    """One after the other, in turn."""

    def made(n: int) -> bytes | None:
        return several[n % len(several)](n)

    return made


# Headers


def no_headers(_: int) -> Headers:
    return ()


def usual_headers(n: int) -> Headers:
    return (("trace", b"%032d" % n), ("content-type", b"application/json"))


def null_headers(n: int) -> Headers:
    return (("absent", None), ("number", b"%d" % n), ("absent too", None))[: n % 3 + 1]


def empty_headers(n: int) -> Headers:
    return (("empty", b""), ("number", b"%d" % n), ("empty too", b""))[: n % 3 + 1]


def repeated_headers(n: int) -> Headers:
    return (("hop", b"b"), ("hop", b"a"), ("other", b"-"), ("hop", b"%d" % n), ("hop", None), ("hop", b"a"))


def many_headers(n: int) -> Headers:
    return tuple((f"h{each}", b"%d" % (n * each)) for each in range(200))


def nameless_headers(n: int) -> Headers:
    return (("", b"%d" % n), ("named", b"x"), ("", b""))


def binary_headers(n: int) -> Headers:
    return (("latin-1", "é".encode("latin-1")), ("cut", "鍵".encode()[:2]), ("raw", b"\xff\x00\xfe" + binary(n)))


def unicode_headers(n: int) -> Headers:
    return (("größe", b"%d" % n), ("鍵", "鍵".encode()), ("🔑", b""))


def large_headers(n: int) -> Headers:
    return (("blob", noise(100_000)(n)), ("more", noise(30_000)(n)))


# Times


def clock(_: int) -> int | None:
    return None


def in_order(n: int) -> int:
    return NEW_YEAR + n


def none_at_all(_: int) -> int:
    return -1


def zero(_: int) -> int:
    return 0


def far_future(n: int) -> int:
    return FAR + n


def disordered(n: int) -> int:
    return NEW_YEAR + (n * 7919) % 1000 * HOUR


def ages(n: int) -> int:
    """Neighbours eight thousand years apart."""
    return (1 + n, FAR - n, NEW_YEAR + n)[n % 3]


# One encoding of a record that readers in Java and in Python share


def canonical(timestamp: int, record_key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """Everything of a record but its offset: big-endian, each part behind its length, -1 for null."""
    parts = [struct.pack(">q", timestamp)]
    for each in (record_key, value):
        parts += _sized(each)
    parts.append(struct.pack(">i", len(headers)))
    for name, content in headers:
        parts += _sized(name.encode())
        parts += _sized(content)
    return b"".join(parts)


def _sized(content: bytes | None) -> tuple[bytes, ...]:
    return (struct.pack(">i", -1),) if content is None else (struct.pack(">i", len(content)), content)
