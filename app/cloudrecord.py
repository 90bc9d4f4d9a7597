"""A record of a cloud topic, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from confluent_kafka import Message


class CloudRecord(NamedTuple):
    """One record of a cloud topic as it stands there; nothing of it is believed."""

    offset: int
    timestamp: int  # ms since 1970, as its producer or the cloud says
    record_key: bytes | None
    value: bytes  # empty for a tombstone too
    headers: tuple[tuple[str, bytes | None], ...] = ()


def record_of(message: Message) -> CloudRecord:
    """Take a message of librdkafka's as it is."""
    named = message.headers() or ()
    headers = tuple((name, _bytes(value)) for name, value in (named.items() if isinstance(named, dict) else named))
    record_key = message.key()
    return CloudRecord(
        message.offset() or 0, message.timestamp()[1], _bytes(record_key), _bytes(message.value()) or b"", headers
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
