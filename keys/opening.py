"""Opening an envelope: every check in its order, down to the inner header and the batches (FORMAT.md, "Opening").

size and format -> session known? -> signature -> sender not refused, credential valid, produce policy -> open -> inner
header agrees with where it was found and with the credential's site -> sizes and counts -> batches. What comes after
(is the span plausible, the session floor, the cursor) is ``cursor.advance``.

Any bytes at all are opened, or rejected with a Reason, or of a session not known yet. Nothing is allocated by what a
stranger states: caps come first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from sealwire.keys import compression, wire
from sealwire.keys.envelope import HEADER_SIZE, decrypt, read_header, verify
from sealwire.keys.inner import Compression, Inner
from sealwire.keys.primitives import SIGNATURE_SIZE, digest
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealwire.keys.envelope import Place
    from sealwire.keys.primitives import Buffer
    from sealwire.keys.session import InboundSession
    from sealwire.keys.source import SourcePartition, Span
    from sealwire.keys.trust import Trust

MIB: Final = 1024 * 1024
ELSEWHERE_CAP: Final = 64
"""How many other places are tried, to name where an envelope was carried from: one signature check each."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The most that an envelope may be or state: bytes as stored, bytes of its batches, records, batches."""

    envelope: int = 16 * MIB
    uncompressed: int = 64 * MIB
    records: int = 4 * MIB
    batches: int = 128 * 1024


@dataclass(frozen=True, slots=True)
class UnknownSession:
    """An envelope whose session is not known: to be parked, and looked at again when its statement and grant come."""

    session_id: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """An authentic envelope of an authorised sender, found where it belongs.

    ``batches`` holds whole record batches one after the other, uncompressed by the envelope's own compression; it is
    writable, and a slice of the buffer that was given, or a new one where that had no room. ``body_digest`` is the
    suite's H of the body: what a ledger remembers of it.
    """

    inner: Inner
    session: InboundSession
    source: SourcePartition
    batches: memoryview = field(repr=False)
    body_digest: bytes

    @property
    def span(self) -> Span:
        """The source offsets that it covers."""
        return self.inner.span


def open_envelope(
    envelope: Buffer,
    place: Place,
    record_key: Buffer | None,
    sessions: Mapping[bytes, InboundSession],
    trust: Trust,
    now: int,
    out: memoryview,
    caps: Caps = Caps(),
    elsewhere: Iterable[Place] = (),
) -> Opened | UnknownSession:
    """Open the envelope that was read at ``place`` under ``record_key``, decrypting into ``out``.

    ``out`` has at least as many bytes as the envelope; with room for the uncompressed batches beside it nothing else
    is allocated. ``elsewhere`` names other places of the channel: should the signature not be good here, up to
    ``ELSEWHERE_CAP`` of them are tried, so that a copied envelope gets its right name (MISPLACED). ``now`` is ms.

    Raises:
        Rejected: with the Reason for which it is refused; ``proven`` where it is a member's, whatever else is wrong.
        Misuse: ``out`` is too small.
    """
    view = memoryview(envelope).cast("B")
    header = read_header(view)
    if view.nbytes > caps.envelope:
        raise Rejected(Reason.TOO_LARGE, f"an envelope of {view.nbytes} bytes; the most is {caps.envelope}")
    session = sessions.get(header.session_id)
    if session is None:
        return UnknownSession(header.session_id)
    if header.suite != session.suite:
        raise Rejected(Reason.UNKNOWN_SUITE, f"suite {header.suite} in a session of suite {session.suite}")
    if session.project_id != place.project_id:
        raise Rejected(Reason.OTHER_PROJECT, "a session of another project")
    context = place.context(session.member_id, record_key)
    body_digest = digest(view[HEADER_SIZE:-SIGNATURE_SIZE])
    if session.channel != place.channel or not verify(view, context, session.verifying_key, body_digest):
        raise _elsewhere(view, place, session, record_key, body_digest, elsewhere)
    try:
        trust.may_produce(session, place.cloud_topic, now)
        inner, batches = decrypt(view, context, session, out)
        _check_place(inner, place, record_key, session)
        _check_time(inner, session, now)
        _check_caps(inner, caps)
        if inner.compression is Compression.ZSTD:
            batches = _decompressed(batches, inner, out)
    except Rejected as refusal:
        raise Rejected(refusal.reason, refusal.detail, proven=True) from None
    return Opened(inner, session, inner.source(place.channel), batches, body_digest)


def _elsewhere(
    view: memoryview,
    place: Place,
    session: InboundSession,
    record_key: Buffer | None,
    body_digest: bytes,
    elsewhere: Iterable[Place],
) -> Rejected:
    """Give what an envelope is refused for whose signature is not good for this place."""
    for other in islice(elsewhere, ELSEWHERE_CAP):
        if other.channel != session.channel or other.project_id != session.project_id:
            continue
        for bound in (record_key, None):
            if verify(view, other.context(session.member_id, bound), session.verifying_key, body_digest):
                words = f"sealed for {other.cloud_topic}/{other.cloud_partition}"
                return Rejected(Reason.MISPLACED, words, proven=True)
    if session.channel != place.channel:
        return Rejected(Reason.MISPLACED, f"a session of channel {session.channel}, read for {place.channel}")
    return Rejected(Reason.BAD_SIGNATURE, "altered, not by this sender, or sealed for another place")


def _check_place(inner: Inner, place: Place, record_key: Buffer | None, session: InboundSession) -> None:
    if inner.partition != place.cloud_partition:
        raise Rejected(
            Reason.MISPLACED, f"source partition {inner.partition} in cloud partition {place.cloud_partition}"
        )
    if record_key is not None:
        raise Rejected(Reason.MISPLACED, "layout `batch` under a record key")
    if inner.site != session.site:
        raise Rejected(Reason.NOT_AUTHORISED, f"a member of site {session.site} speaks for site {inner.site}")


def _check_time(inner: Inner, session: InboundSession, now: int) -> None:
    if max(inner.sealed_at, session.made_at) > now + wire.SKEW:
        raise Rejected(Reason.AHEAD, f"sealed at {inner.sealed_at}, our clock says {now}")
    if not session.made_at <= inner.sealed_at <= session.not_after:
        raise Rejected(
            Reason.EXPIRED,
            f"sealed at {inner.sealed_at}, in a session of {session.made_at} to {session.not_after}",
        )


def _check_caps(inner: Inner, caps: Caps) -> None:
    stated = (inner.uncompressed_size, inner.record_count, inner.batch_count)
    if any(number > cap for number, cap in zip(stated, (caps.uncompressed, caps.records, caps.batches), strict=True)):
        raise Rejected(Reason.TOO_LARGE, "states {} bytes, {} records, {} batches".format(*stated))


def _decompressed(frame: memoryview, inner: Inner, out: memoryview) -> memoryview:
    """Return the batches of a frame that lies in ``out``: behind it there, or in a new buffer."""
    used = inner.size + frame.nbytes + inner.padding_size
    size = inner.uncompressed_size
    target = out[used : used + size] if out.nbytes - used >= size else memoryview(bytearray(size))
    compression.decompress_into(frame, target)
    return target
