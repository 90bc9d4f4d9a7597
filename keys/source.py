"""Where records come from: the source partition, and the span of its offsets that an envelope covers."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final, Self

from sealwire.keys.reason import Misuse, Reason, Rejected

NAME_CAP: Final = 255
"""The most bytes of UTF-8 in the name of a channel, a site or a topic."""
TOPIC_ID_SIZE: Final = 16
PARTITION_CAP: Final = 2**31 - 1

_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_LENGTH = struct.Struct(">H")
_PARTITION = struct.Struct(">I")


def write_name(name: str) -> bytes:
    """Return a name as u16 length and UTF-8 bytes.

    Raises:
        Misuse: it is empty, or longer than ``NAME_CAP`` bytes.
    """
    octets = name.encode()
    if not 0 < len(octets) <= NAME_CAP:
        detail = f"a name has 1 to {NAME_CAP} bytes, not {len(octets)}"
        raise Misuse(detail)
    return _LENGTH.pack(len(octets)) + octets


def read_name(data: memoryview, position: int) -> tuple[str, int]:
    """Return the name at ``position`` and the position after it.

    Raises:
        Rejected: MALFORMED: cut short, empty, too long or not UTF-8.
    """
    start = position + _LENGTH.size
    if start > len(data):
        raise Rejected(Reason.MALFORMED, "a name is cut short")
    (length,) = _LENGTH.unpack_from(data, position)
    end = start + length
    if not 0 < length <= NAME_CAP or end > len(data):
        raise Rejected(Reason.MALFORMED, f"a name of {length} bytes")
    try:
        return str(data[start:end], "utf-8"), end
    except UnicodeDecodeError:
        raise Rejected(Reason.MALFORMED, "a name is not UTF-8") from None


def good_topic(name: str) -> bool:
    """Tell whether a topic may have this name, by Kafka's own rule (KAFKA ``Topic.validate``)."""
    return _TOPIC.fullmatch(name) is not None and name not in {".", ".."}


@dataclass(frozen=True, order=True, slots=True)
class SourcePartition:
    """The unit of order, continuity and replay protection.

    A topic made anew under an old name has another topic id (KIP-516) and is another source partition.
    """

    channel: str
    site: str
    topic: str
    topic_id: bytes
    partition: int

    @property
    def fields(self) -> dict[str, str | int]:
        """Its fields by their names, as status, reports and whoever reads JSON have them; the topic id in hex."""
        return {
            "channel": self.channel,
            "site": self.site,
            "topic": self.topic,
            "topic_id": self.topic_id.hex(),
            "partition": self.partition,
        }

    def encode(self) -> bytes:
        """Return the bytes that stand for it in record keys: three names, topic id, partition u32."""
        if len(self.topic_id) != TOPIC_ID_SIZE or not 0 <= self.partition <= PARTITION_CAP:
            detail = f"topic id of {len(self.topic_id)} bytes, partition {self.partition}"
            raise Misuse(detail)
        names = write_name(self.channel) + write_name(self.site) + write_name(self.topic)
        return names + self.topic_id + _PARTITION.pack(self.partition)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Undo ``encode``.

        Raises:
            Rejected: MALFORMED: anything but what ``encode`` makes.
        """
        view = memoryview(data)
        channel, position = read_name(view, 0)
        site, position = read_name(view, position)
        topic, position = read_name(view, position)
        if len(view) != position + TOPIC_ID_SIZE + _PARTITION.size:
            raise Rejected(Reason.MALFORMED, "a source partition of another length")
        topic_id = bytes(view[position : position + TOPIC_ID_SIZE])
        (partition,) = _PARTITION.unpack_from(view, position + TOPIC_ID_SIZE)
        if partition > PARTITION_CAP:
            raise Rejected(Reason.MALFORMED, f"partition {partition}")
        return cls(channel, site, topic, topic_id, partition)

    def __str__(self) -> str:
        """Return it as an operator names it."""
        return f"{self.channel}/{self.site}/{self.topic}/{self.partition}"


@dataclass(frozen=True, order=True, slots=True)
class Span:
    """Source offsets from ``first`` up to, and without, ``next``."""

    first: int
    next: int

    def __len__(self) -> int:
        """Return how many offsets it covers (not how many records: Kafka leaves offsets out)."""
        return max(0, self.next - self.first)

    def __str__(self) -> str:
        """Return it as an operator reads it."""
        return f"[{self.first}, {self.next})"
