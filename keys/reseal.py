"""The reseal request: a mirror asks a sender to seal a span again.

    fields    = [request id (16 B), session id, credential (the statement's bytes), made_at, expires, salt (16 B),
                 ciphertext]
    plaintext = [[channel, site, topic, topic id (16 B), partition], first, next]

Signed by the identity that the credential names; encrypted as `lastfield` says, under the session that the sender
named the source partition in, the label "sealwire v1 reseal", the author being the requester. `expires` is at most an
hour after `made_at`. Who serves a request, and how much of them, is not decided here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import lastfield, wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.wire import CAPS, SKEW, Fields, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.keys.credential import Credential
    from sealwire.keys.identity import Identity
    from sealwire.keys.primitives import Random
    from sealwire.keys.session import InboundSession

LABEL: Final = "sealwire v1 reseal"
LONGEST: Final = 3600 * 1000  # ms from made_at to expires


class ResealFields(Fields, frozen=True):
    """What a reseal request shows to everybody."""

    request_id: wire.Id16
    session_id: wire.Id
    credential: Annotated[bytes, msgspec.Meta(max_length=CAPS[Type.CREDENTIAL])]
    made_at: wire.Time
    expires: wire.Time
    salt: wire.Id16
    ciphertext: lastfield.Ciphertext


class _Source(Fields, frozen=True):
    channel: wire.ChannelName
    site: wire.Name
    topic: wire.TopicName
    topic_id: wire.Id16
    partition: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


class _Wanted(Fields, frozen=True):
    source: _Source
    first: wire.Offset
    next: wire.Offset


class ResealRequest(Fields, frozen=True):
    """A reseal request that was proven and decrypted."""

    request_id: bytes
    session_id: bytes
    requester: Credential
    made_at: int  # ms
    expires: int  # ms
    source: SourcePartition
    span: Span


_DECODER: Final = msgspec.msgpack.Decoder(ResealFields)
_WANTED: Final = msgspec.msgpack.Decoder(_Wanted)


def make(
    identity: Identity,
    credential: bytes,
    inbound: InboundSession,
    source: SourcePartition,
    span: Span,
    now: int,
    expires: int,
    random: Random,
) -> bytes:
    """Ask the sender of this session to seal a span again. What no reader would take is `Misuse`."""
    wanted = _Wanted(
        _Source(source.channel, source.site, source.topic, source.topic_id, source.partition), span.first, span.next
    )
    plaintext = wire.pack(wanted)
    fields = ResealFields(random(16), inbound.id, credential, now, expires, b"", b"")
    try:
        _check(fields)
        _check_span(wire.unpack(plaintext, _WANTED))
    except Rejected as refusal:
        raise Misuse(f"no reseal request can say this: {refusal}") from None
    return lastfield.write(
        Type.RESEAL,
        inbound.project_id,
        fields,
        LABEL,
        inbound.secret,
        inbound.id,
        identity.member_id,
        plaintext,
        identity.signing,
        random,
    )


def peek(statement: bytes, project_id: bytes) -> ResealFields:
    """Read what a reseal request shows, unproven: its id and session. Raises `Rejected` for what is none."""
    return wire.unpack(wire.read(statement, Type.RESEAL, project_id).body, _DECODER)


def read(
    statement: bytes, project_id: bytes, secret: bytes, read_credential: Callable[[bytes], Credential], now: int
) -> ResealRequest:
    """Prove and decrypt a reseal request with the secret of the session that it names, or raise `Rejected`."""
    frame = wire.read(statement, Type.RESEAL, project_id)
    fields = wire.unpack(frame.body, _DECODER)
    _check(fields)
    if fields.made_at > now + SKEW:
        raise Rejected(Reason.AHEAD, f"a request of {fields.made_at}, while our clock says {now}")
    if fields.expires < now - SKEW:
        raise Rejected(Reason.EXPIRED, f"the request ended at {fields.expires}")
    requester = read_credential(fields.credential)
    if not requester.valid_at(fields.made_at):
        raise Rejected(Reason.EXPIRED, f"{requester.name}'s credential did not hold at {fields.made_at}")
    wire.check_signers(frame, requester.identity_key)
    plaintext = lastfield.read(
        frame, fields.salt, fields.ciphertext, LABEL, secret, fields.session_id, requester.member_id
    )
    wanted = wire.unpack(plaintext, _WANTED)
    _check_span(wanted)
    source = SourcePartition(**msgspec.structs.asdict(wanted.source))
    return ResealRequest(
        fields.request_id,
        fields.session_id,
        requester,
        fields.made_at,
        fields.expires,
        source,
        Span(wanted.first, wanted.next),
    )


def _check(fields: ResealFields) -> None:
    if not fields.made_at <= fields.expires <= fields.made_at + LONGEST:
        raise Rejected(Reason.MALFORMED, f"made at {fields.made_at}, expires at {fields.expires}")


def _check_span(wanted: _Wanted) -> None:
    if wanted.first >= wanted.next:
        raise Rejected(Reason.MALFORMED, f"a span from {wanted.first} to {wanted.next}")
