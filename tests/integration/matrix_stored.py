"""What a broker stored, read from its own files by the 61 bytes that a batch begins with (KIP-98); none of our code."""

from __future__ import annotations

import hashlib
import mmap
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kafka_cluster import KafkaCluster

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
_MARKER: Final = _HEAD.size + 7  # where a marker says abort or commit: behind five short numbers and its version
SUBSTANTIAL: Final = 64 * 1024  # bytes: smaller ones may be merged at the sink


class Batch(NamedTuple):
    """One stored batch. `body` is the digest of all that is behind its header; b"" for small ones."""

    partition: int
    base: int
    last: int  # offset of the last record that was ever in it
    size: int
    attributes: int
    base_time: int
    producer_id: int
    count: int
    body: bytes
    abort: bool  # a marker that ends a transaction whose records nobody is to see

    @property
    def codec(self) -> int:
        return self.attributes & 7

    @property
    def log_append(self) -> bool:
        return bool(self.attributes & 0x08)

    @property
    def transactional(self) -> bool:
        return bool(self.attributes & 0x10)

    @property
    def control(self) -> bool:
        return bool(self.attributes & 0x20)

    @property
    def horizon(self) -> bool:
        return bool(self.attributes & 0x40)

    @property
    def holes(self) -> bool:
        return self.count < self.last - self.base + 1


def stored(cluster: KafkaCluster, topic: str) -> list[Batch]:
    """Every batch of a topic, partition by partition, in order; what the cleaner set aside left out."""
    found = []
    for place in sorted((cluster.directory / "data").glob(f"{topic}-*")):
        number = place.name.removeprefix(f"{topic}-")
        if number.isdecimal():
            for segment in sorted(place.glob("*.log")):
                found += _batches(segment, int(number))
    return found


def visible(batches: Sequence[Batch]) -> list[Batch]:
    """Leave out markers, and what was aborted: a marker speaks of all that its producer wrote since the one before."""
    found: list[Batch] = []
    for batch in batches:
        if batch.abort:
            since = max((b.base for b in batches if _marks(b, batch) and b.base < batch.base), default=-1)
            found = [b for b in found if not (_of(b, batch) and b.base > since)]
        elif not batch.control:
            found.append(batch)
    return found


def _of(one: Batch, other: Batch) -> bool:
    return one.transactional and (one.partition, one.producer_id) == (other.partition, other.producer_id)


def _marks(one: Batch, other: Batch) -> bool:
    return one.control and _of(one, other)


def _batches(segment: Path, partition: int) -> Iterator[Batch]:
    try:
        with segment.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place = 0
            while place + _HEAD.size <= len(data):
                base, length, _, magic, _, attributes, delta, base_time, _, who, _, _, count = _HEAD.unpack_from(
                    data, place
                )
                if magic != 2 or length <= 0 or place + 12 + length > len(data):  # noqa: PLR2004
                    return  # preallocated, or just being written
                size = 12 + length
                body = b""
                if size >= SUBSTANTIAL:
                    body = hashlib.sha256(data[place + _HEAD.size : place + size]).digest()
                abort = bool(attributes & 0x20) and data[place + _MARKER : place + _MARKER + 2] == b"\0\0"
                yield Batch(partition, base, base + delta, size, attributes, base_time, who, count, body, abort)
                place += size
    except (FileNotFoundError, ValueError):  # the cleaner was faster; an empty file has nothing to map
        return
