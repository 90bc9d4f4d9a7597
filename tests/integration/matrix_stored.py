"""What a broker stored, read from its own files by the 61 bytes that a batch begins with (KIP-98); none of our code."""

from __future__ import annotations

import hashlib
import mmap
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kafka_cluster import KafkaCluster

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
SUBSTANTIAL: Final = 64 * 1024  # bytes: smaller ones may be merged at the sink


class Batch(NamedTuple):
    """One stored batch. `body` is the digest of all that is behind its header; b"" for small ones."""

    partition: int
    base: int
    last: int  # offset of the last record that was ever in it
    size: int
    attributes: int
    base_time: int
    count: int
    body: bytes

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


def _batches(segment: Path, partition: int) -> Iterator[Batch]:
    try:
        with segment.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            place = 0
            while place + _HEAD.size <= len(data):
                base, length, _, magic, _, attributes, delta, base_time, _, _, _, _, count = _HEAD.unpack_from(
                    data, place
                )
                if magic != 2 or length <= 0 or place + 12 + length > len(data):  # noqa: PLR2004
                    return  # preallocated, or just being written
                size = 12 + length
                body = b""
                if size >= SUBSTANTIAL:
                    body = hashlib.sha256(data[place + _HEAD.size : place + size]).digest()
                yield Batch(partition, base, base + delta, size, attributes, base_time, count, body)
                place += size
    except (FileNotFoundError, ValueError):  # the cleaner was faster; an empty file has nothing to map
        return
