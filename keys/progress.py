"""Progress: how far a sender has sealed each of its source partitions, signed, and encrypted for its readers.

    fields    = [session id, number, as_of, next_by, final, salt (16 B), ciphertext]
    plaintext = [[topic, topic id (16 B), partition count, [[partition, next, last stable offset, state]]]]

Signed by the session signing key; encrypted as `lastfield` says, under the label "sealwire v1 progress", the author
being the sender. `final` is 0 or 1. `next_by` is at most an hour after `as_of`. Topics rise by (topic, topic id),
partitions by number, each once and below the partition count. A last stable offset of -1 says that the source has not
told one yet. States: 0 live, 1 source away, 2 held, 3 gone.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import lastfield, wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import SKEW, Fields, Type

if TYPE_CHECKING:
    from sealwire.keys.primitives import Random
    from sealwire.keys.session import InboundSession, OutboundSession

LABEL: Final = "sealwire v1 progress"
LONGEST: Final = 3600 * 1000  # ms from as_of to next_by
_PARTITIONS: Final = 1 << 31


class State(IntEnum):
    """What a sender says of a source partition."""

    LIVE = 0
    SOURCE_AWAY = 1
    HELD = 2
    GONE = 3


class PartitionProgress(Fields, frozen=True):
    """How far one source partition is sealed: everything before `next`."""

    partition: Annotated[int, msgspec.Meta(ge=0, lt=_PARTITIONS)]
    next: wire.Offset
    last_stable: Annotated[int, msgspec.Meta(ge=-1, le=(1 << 63) - 1)]
    state: State


class TopicProgress(Fields, frozen=True):
    """One topic of the channel at the sender's site: how many partitions it has, and those that this sender seals."""

    topic: wire.TopicName
    topic_id: wire.Id16
    partition_count: Annotated[int, msgspec.Meta(ge=0, le=_PARTITIONS)]
    partitions: tuple[PartitionProgress, ...]


class ProgressFields(Fields, frozen=True):
    """What a progress statement shows to everybody."""

    session_id: wire.Id
    number: wire.Serial
    as_of: wire.Time
    next_by: wire.Time
    final: Annotated[int, msgspec.Meta(ge=0, le=1)]
    salt: wire.Id16
    ciphertext: lastfield.Ciphertext


class Progress(Fields, frozen=True):
    """A progress statement that was proven and decrypted."""

    session_id: bytes
    number: int
    as_of: int  # ms: the time of the oldest source answer that it rests on
    next_by: int  # ms: when the next word is due
    final: bool  # the session's last word
    topics: tuple[TopicProgress, ...]


_DECODER: Final = msgspec.msgpack.Decoder(ProgressFields)
_TOPICS: Final = msgspec.msgpack.Decoder(tuple[TopicProgress, ...])


def make(
    outbound: OutboundSession,
    number: int,
    as_of: int,
    next_by: int,
    final: bool,  # noqa: FBT001
    topics: tuple[TopicProgress, ...],
    random: Random,
) -> bytes:
    """Make the progress statement number `number` of a session. What no reader would take is `Misuse`."""
    plaintext = wire.pack(topics)
    fields = ProgressFields(outbound.id, number, as_of, next_by, int(final), b"", b"")
    try:
        _check(fields)
        _check_topics(wire.unpack(plaintext, _TOPICS))
    except Rejected as refusal:
        raise Misuse(f"no progress can say this: {refusal}") from None
    return lastfield.write(
        Type.PROGRESS,
        outbound.project_id,
        fields,
        LABEL,
        outbound.secret,
        outbound.id,
        outbound.member_id,
        plaintext,
        outbound.signing,
        random,
    )


def peek(statement: bytes, project_id: bytes) -> ProgressFields:
    """Read what a progress statement shows, unproven: its session's id. Raises `Rejected` for what is none."""
    return wire.unpack(wire.read(statement, Type.PROGRESS, project_id).body, _DECODER)


def read(statement: bytes, inbound: InboundSession, now: int) -> Progress:
    """Prove and decrypt the progress of a session that was granted to us, or raise `Rejected`."""
    frame = wire.read(statement, Type.PROGRESS, inbound.project_id)
    fields = wire.unpack(frame.body, _DECODER)
    _check(fields)
    if fields.session_id != inbound.id:
        raise Rejected(Reason.SPLICED, "the progress of another session")
    if fields.as_of > now + SKEW:
        raise Rejected(Reason.AHEAD, f"progress as of {fields.as_of}, while our clock says {now}")
    wire.check_signers(frame, inbound.verifying_key)
    plaintext = lastfield.read(
        frame, fields.salt, fields.ciphertext, LABEL, inbound.secret, inbound.id, inbound.member_id
    )
    topics = wire.unpack(plaintext, _TOPICS)
    _check_topics(topics)
    return Progress(fields.session_id, fields.number, fields.as_of, fields.next_by, bool(fields.final), topics)


def _check(fields: ProgressFields) -> None:
    if not fields.as_of <= fields.next_by <= fields.as_of + LONGEST:
        raise Rejected(Reason.MALFORMED, f"as of {fields.as_of}, the next by {fields.next_by}")


def _check_topics(topics: tuple[TopicProgress, ...]) -> None:
    if any((before.topic, before.topic_id) >= (after.topic, after.topic_id) for before, after in pairwise(topics)):
        raise Rejected(Reason.MALFORMED, "topics not in rising order")
    for topic in topics:
        numbers = [each.partition for each in topic.partitions]
        if any(before >= after for before, after in pairwise(numbers)) or (
            numbers and numbers[-1] >= topic.partition_count
        ):
            raise Rejected(Reason.MALFORMED, f"partitions of {len(numbers)} not in rising order below the count")
