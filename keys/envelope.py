"""The envelope: one sealed unit, one cloud record (FORMAT.md, "Envelope").

    envelope  = header | body | signature
    header    = "SW" | format u8 | suite u8 | session id (32 B) | salt (16 B)
    context   = project id (32 B) | channel | sender's member id (32 B) | cloud topic | cloud partition u32 | record key
    seal key  = HKDF(session secret, salt, "sealwire v1 envelope", header, context)
    body      = AES-256-GCM(seal key, nonce 0, inner | batches | padding, ad = header | context)
    signature = Ed25519(session signing key, label | H(header | context) | H(body))

This is the hot path. A batch is copied once, into the buffer that becomes the envelope, and encrypted where it lies;
an opener decrypts into a buffer of its own, which the batches then never leave.

The context is not stored: a reader knows it from its mapping and from where it read. So an envelope that was carried
to another place has neither its signature nor its seal key there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealwire.keys import primitives, wire
from sealwire.keys.inner import LOG_START, RESEAL, Cause, Compression, Inner, Kind, Layout
from sealwire.keys.padding import padme
from sealwire.keys.primitives import NONCE_ZERO, SIGNATURE_SIZE, TAG_SIZE, digest, hkdf
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.source import write_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.keys.primitives import Buffer, Random
    from sealwire.keys.session import InboundSession, OutboundSession

__all__ = [
    "FORMAT",
    "HEADER_SIZE",
    "LOG_START",
    "OVERHEAD",
    "RESEAL",
    "Cause",
    "Compression",
    "Header",
    "Inner",
    "Kind",
    "Layout",
    "Place",
    "decrypt",
    "padding_of",
    "read_header",
    "seal",
    "sealed_size",
    "verify",
]

FORMAT: Final = 1
FORMAT_CAP: Final = 0x1F
"""Third bytes above it are statement types."""
SALT_SIZE: Final = 16
RECORD_KEY_CAP: Final = 1024
"""The most bytes of a cloud record key."""

_HEADER: Final = struct.Struct(">2sBB32s16s")
HEADER_SIZE: Final = _HEADER.size
OVERHEAD: Final = HEADER_SIZE + TAG_SIZE + SIGNATURE_SIZE
"""Bytes of an envelope beside inner header, batches and padding."""
_LABEL: Final = wire.label("envelope")
_NO_RECORD_KEY: Final = b"\xff\xff"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an envelope belongs, as each side knows it from its own mapping: nothing here is taken from a stranger."""

    project_id: bytes
    channel: str
    cloud_topic: str
    cloud_partition: int

    def context(self, member_id: bytes, record_key: Buffer | None = None) -> bytes:
        """Return what an envelope of the sender ``member_id`` is bound to here.

        Raises:
            Rejected: TOO_LARGE: the record key.
        """
        if record_key is None:
            tail = _NO_RECORD_KEY
        elif len(record_key) > RECORD_KEY_CAP:
            raise Rejected(Reason.TOO_LARGE, f"a record key of {len(record_key)} bytes")
        else:
            tail = len(record_key).to_bytes(2, "big") + bytes(record_key)
        return b"".join(
            (
                self.project_id,
                write_name(self.channel),
                member_id,
                write_name(self.cloud_topic),
                self.cloud_partition.to_bytes(4, "big"),
                tail,
            ),
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The part of an envelope that everybody reads."""

    format: int
    suite: int
    session_id: bytes
    salt: bytes


def sealed_size(inner: Inner, batches_size: int) -> int:
    """Return how many bytes the envelope of ``inner`` and ``batches_size`` bytes of batches has."""
    return OVERHEAD + inner.size + batches_size + inner.padding_size


def padding_of(inner: Inner, batches_size: int) -> int:
    """Return the ``padding_size`` with which the whole envelope gets a size of Padme's (at least 4 kB)."""
    size = OVERHEAD + inner.size + batches_size
    return padme(size) - size


def seal(
    outbound: OutboundSession,
    place: Place,
    inner: Inner,
    batches: Sequence[Buffer],
    random: Random,
    out: memoryview,
) -> int:
    """Write the envelope of ``batches`` into ``out`` and return its size in bytes (``sealed_size`` tells it before).

    ``batches`` are whole record batches one after the other, or, where ``inner.compression`` says so, the pieces of
    their one zstd frame (``compression.compress``). It keeps no state: calling it again with the same arguments makes
    another envelope that opens to the same.

    Raises:
        Misuse: ``out`` is too small; the session is of another channel or project, or not alive at
            ``inner.sealed_at``; ``inner`` says what an opener would refuse.
    """
    batches_size = sum(memoryview(batch).nbytes for batch in batches)
    _check_ours(outbound, place, inner, batches_size)
    size = sealed_size(inner, batches_size)
    if out.nbytes < size:
        detail = f"{out.nbytes} bytes cannot take an envelope of {size}"
        raise Misuse(detail)
    encoded = inner.encode()
    # The salt depends on all that the inner header says and on 16 random bytes drawn last. So a seal key, with its one
    # nonce, is never used for two contents: not after a crash, nor in two clones of a machine that draw the same bytes.
    salt = hkdf(outbound.secret, random(SALT_SIZE), "sealwire v1 salt", encoded, length=SALT_SIZE)
    header = _HEADER.pack(wire.MAGIC, FORMAT, outbound.suite, outbound.id, salt)
    context = place.context(outbound.member_id)
    seal_key = hkdf(outbound.secret, salt, "sealwire v1 envelope", header, context)

    out[:HEADER_SIZE] = header
    end = HEADER_SIZE
    for piece in (encoded, *batches, bytes(inner.padding_size)):
        start, end = end, end + memoryview(piece).nbytes
        out[start:end] = piece
    body = out[HEADER_SIZE : end + TAG_SIZE]
    primitives.aead_seal_into(seal_key, NONCE_ZERO, body[:-TAG_SIZE], header + context, body)
    out[end + TAG_SIZE : size] = outbound.signing.sign(_signed(header, context, digest(body)))
    return size


def _check_ours(outbound: OutboundSession, place: Place, inner: Inner, batches_size: int) -> None:
    fault = inner.fault()
    if fault:
        raise Misuse(fault[1])
    if inner.next > inner.last_stable:
        detail = f"span {inner.span} of a source whose last stable offset is {inner.last_stable}"
        raise Misuse(detail)
    if inner.compression is Compression.NONE and inner.uncompressed_size != batches_size:
        detail = f"{batches_size} bytes of batches, where {inner.uncompressed_size} are stated"
        raise Misuse(detail)
    if inner.layout is not Layout.BATCH or inner.flags & ~(LOG_START | RESEAL):
        detail = f"layout {inner.layout}, flags {inner.flags}"
        raise Misuse(detail)
    if (outbound.channel, outbound.project_id) != (place.channel, place.project_id):
        detail = f"a session of channel {outbound.channel} cannot seal for {place.channel}"
        raise Misuse(detail)
    if inner.partition != place.cloud_partition:
        detail = f"source partition {inner.partition} does not go to cloud partition {place.cloud_partition}"
        raise Misuse(detail)
    if not outbound.made_at <= inner.sealed_at <= outbound.not_after:
        detail = f"sealed at {inner.sealed_at}, in a session of {outbound.made_at} to {outbound.not_after}"
        raise Misuse(detail)


def read_header(envelope: Buffer) -> Header:
    """Read the part that everybody reads. Cheap, and proof of nothing.

    Raises:
        Rejected: FOREIGN (plaintext, nothing, a statement), TRUNCATED, UNKNOWN_VERSION (another format), UNKNOWN_SUITE.
    """
    view = memoryview(envelope)
    if bytes(view[:2]) != wire.MAGIC:
        raise Rejected(Reason.FOREIGN, "does not begin as an envelope" if view.nbytes else "an empty record")
    form, suite = bytes(view[2:3]), bytes(view[3:4])  # empty where it is cut short before them
    if form > bytes((FORMAT_CAP,)):
        raise Rejected(Reason.FOREIGN, f"a statement of type 0x{form.hex()} in a sealed topic")
    if form and form != bytes((FORMAT,)):
        raise Rejected(Reason.UNKNOWN_VERSION, f"envelope format {form[0]}")
    if suite and suite != bytes((primitives.SUITE,)):
        raise Rejected(Reason.UNKNOWN_SUITE, f"suite {suite[0]}")
    if view.nbytes < OVERHEAD:
        raise Rejected(Reason.TRUNCATED, f"an envelope of {view.nbytes} bytes")
    _, *fields = _HEADER.unpack_from(view)
    return Header(*fields)


def _signed(header: Buffer, context: bytes, body_digest: bytes) -> bytes:
    return b"".join((_LABEL, digest(header, context), body_digest))


def verify(envelope: memoryview, context: bytes, verifying_key: bytes, body_digest: bytes) -> bool:
    """Tell whether the envelope's signature is ``verifying_key``'s in this context.

    ``body_digest`` is H of everything between header and signature: a caller that tries several contexts, to name
    where an envelope was carried from, makes it once.
    """
    signed = _signed(envelope[:HEADER_SIZE], context, body_digest)
    return primitives.verify(verifying_key, signed, bytes(envelope[-SIGNATURE_SIZE:]))


def decrypt(envelope: memoryview, context: bytes, session: InboundSession, out: memoryview) -> tuple[Inner, memoryview]:
    """Decrypt into ``out``; return the inner header and the part of ``out`` that holds the batches as they were given.

    Only for an envelope whose signature was verified: a tag alone proves nothing against another reader.

    Raises:
        Rejected: BAD_CIPHERTEXT, and what ``Inner.decode`` raises; MALFORMED: padding that does not fit or is not zero.
        Misuse: ``out`` is too small.
    """
    header = bytes(envelope[:HEADER_SIZE])
    seal_key = hkdf(session.secret, header[-SALT_SIZE:], "sealwire v1 envelope", header, context)
    body = envelope[HEADER_SIZE:-SIGNATURE_SIZE]
    size = primitives.aead_open_into(seal_key, NONCE_ZERO, body, header + context, out)
    plaintext = out[:size]
    inner, start = Inner.decode(plaintext)
    end = size - inner.padding_size
    if end < start or plaintext[end:] != bytes(size - end):
        raise Rejected(Reason.MALFORMED, "the padding does not fit, or is not zero")
    if inner.compression is Compression.NONE and end - start != inner.uncompressed_size:
        raise Rejected(Reason.MALFORMED, f"{end - start} bytes of batches, where {inner.uncompressed_size} are stated")
    return inner, plaintext[start:end]
