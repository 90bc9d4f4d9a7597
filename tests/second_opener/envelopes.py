"""Envelopes: what FORMAT.md says of their bytes, of opening them, and of the cursor that they move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import zstandard
from canonical import NAME, TOPIC, Reader, Refused, ensure
from suite import decrypt, digest, hkdf, sized, verify

SKEW = 300_000
LEAST = 52 + 16 + 64
CAP, CAP_UNCOMPRESSED, CAP_RECORDS, CAP_BATCHES, CAP_RECORD_KEY = 2**24, 2**26, 2**22, 2**17, 1024
LABEL = b"sealwire v1 envelope".ljust(32, b"\x00")
KINDS, CAUSES = ("", "records", "lost"), ("none", "deleted", "truncated", "unreadable")
LOG_START, RESEAL = 1, 2


@dataclass(frozen=True)
class Place:
    """Where an envelope was found, and what the reader's own mapping says of it."""

    project: bytes
    channel: str
    topic: str
    partition: int
    record_key: bytes | None


@dataclass(frozen=True)
class Session:
    """A proven session."""

    id: bytes
    suite: int
    secret: bytes
    project: bytes
    channel: str
    sender: bytes
    site: str
    signing_key: bytes
    made_at: int
    not_after: int


def context_of(place: Place, sender: bytes) -> bytes:
    """What an envelope is bound to beside its own bytes."""
    names = sized(place.channel.encode()) + sender + sized(place.topic.encode())
    record_key = b"\xff\xff" if place.record_key is None else sized(place.record_key)
    return place.project + names + place.partition.to_bytes(4, "big") + record_key


def open_envelope(
    envelope: bytes, place: Place, sessions: dict[bytes, Session], now: int, **more: Any
) -> dict[str, Any]:
    """What the envelope says and holds; `elsewhere` are other places to try, `may_produce` is the reader's judgement.

    A session that is not known gives nothing to say: an empty dictionary.
    """
    ensure(envelope[:2] == b"SW" and envelope[2:3] <= b"\x1f", "foreign")
    ensure(len(envelope) > 2, "truncated")
    ensure(envelope[2] == 1, "unknown-version")
    ensure(len(envelope) > 3, "truncated")
    ensure(envelope[3] == 1, "unknown-suite")
    ensure(len(envelope) >= LEAST, "truncated")
    ensure(len(envelope) <= CAP, "too-large")
    header, body, signature = envelope[:52], envelope[52:-64], envelope[-64:]
    if (session := sessions.get(header[4:36])) is None:
        return {}
    ensure(session.suite == envelope[3], "unknown-suite")
    ensure(session.project == place.project, "other-project")
    ensure(place.record_key is None or len(place.record_key) <= CAP_RECORD_KEY, "too-large")
    ensure(session.channel == place.channel, "misplaced")

    def signed_for(where: Place) -> bool:
        bound = digest(header, context_of(where, session.sender))
        try:
            verify(session.signing_key, signature, LABEL, bound, digest(body))
        except Refused:
            return False
        return True

    if not signed_for(place):
        raise Refused("misplaced" if any(map(signed_for, more.get("elsewhere", ()))) else "bad-signature")
    if may_produce := more.get("may_produce"):
        may_produce(session)
    context = context_of(place, session.sender)
    seal_key = hkdf(session.secret, header[36:], "sealwire v1 envelope", header, context)
    inner, rest = read_inner(decrypt(seal_key, body, header + context))
    ensure(inner["partition"] == place.partition and place.record_key is None, "misplaced")
    ensure(inner["site"] == session.site, "not-authorised")
    ensure(inner["sealed_at"] <= now + SKEW, "ahead")
    ensure(session.made_at <= inner["sealed_at"] <= session.not_after, "expired")
    ensure(inner["size"] <= CAP_UNCOMPRESSED, "too-large")
    ensure(inner["records"] <= CAP_RECORDS and inner["batch_count"] <= CAP_BATCHES, "too-large")
    batches = unframe(rest, inner["size"]) if inner["compression"] else rest
    return {**inner, "channel": place.channel, "batches": batches, "body_digest": digest(body)}


def read_inner(plaintext: bytes) -> tuple[dict[str, Any], bytes]:
    """The inner header, and the batches as they are framed, without the padding."""
    reader = Reader(plaintext, "malformed")
    kind, layout, compression, flags = reader.take(4)
    ensure(layout != 2, "layout-reserved")
    site, topic = _name(reader), _name(reader)
    topic_id, partition = reader.take(16), reader.integer(4)
    first, after, last_stable = (reader.integer(8, signed=True) for _ in range(3))
    leader_epoch, sealed_at = reader.integer(4, signed=True), reader.integer(8, signed=True)
    records, batch_count, size, padding = (reader.integer(4) for _ in range(4))
    cause, extensions = reader.integer(1), reader.integer(2)
    ensure(flags <= 3 and extensions == 0, "unknown-extension")

    ensure(kind in {1, 2} and layout == 1 and compression <= 1, "malformed")
    NAME(site)
    TOPIC(topic)
    ensure(topic not in {".", ".."} and partition < 2**31, "malformed")
    ensure(leader_epoch >= -1 and sealed_at >= 0, "malformed")
    ensure(cause in {1, 2, 3} if kind == 2 else cause == 0, "malformed")
    ensure(size or not compression, "malformed")
    ensure(0 <= first < after and records <= after - first and batch_count <= records, "implausible")
    ensure((records == 0) == (batch_count == 0) == (size == 0), "implausible")
    ensure(size >= 61 * batch_count and not (kind == 2 and records), "implausible")

    rest = reader.take(reader.left)
    framed = len(rest) - padding
    ensure(framed >= 0 and not any(rest[framed:]) and (compression or framed == size), "malformed")
    inner = {
        "kind": KINDS[kind], "cause": CAUSES[cause], "flags": flags, "compression": compression,
        "site": site, "topic": topic, "topic_id": topic_id, "partition": partition,
        "first": first, "next": after, "last_stable": last_stable, "sealed_at": sealed_at,
        "records": records, "batch_count": batch_count, "size": size,
    }  # fmt: skip
    return inner, rest[:framed]


def _name(reader: Reader) -> str:
    length = reader.integer(2)
    ensure(1 <= length <= 255, "malformed")
    try:
        return reader.take(length).decode()
    except UnicodeDecodeError:
        raise Refused("malformed") from None


def unframe(frame: bytes, size: int) -> bytes:
    """The content of exactly one zstd frame (RFC 8878, 3.1.1) that states this size and uses no dictionary."""
    reader = Reader(frame, "malformed")
    ensure(reader.take(4) == b"\x28\xb5\x2f\xfd", "malformed")
    descriptor = reader.integer(1)
    single_segment = descriptor >> 5 & 1
    reader.take(1 - single_segment)  # the window
    dictionary = reader.take((0, 1, 2, 4)[descriptor & 3])
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    stated = int.from_bytes(reader.take(width), "little") + (256 if width == 2 else 0)
    ensure(width and stated == size and not any(dictionary), "malformed")
    last = 0
    while not last:
        block = int.from_bytes(reader.take(3), "little")
        last, kind, length = block & 1, block >> 1 & 3, block >> 3
        reader.take(1 if kind == 1 else length)  # a run of one byte is stored as that byte
    reader.take(4 if descriptor & 4 else 0)  # the checksum, which the library checks
    ensure(not reader.left, "malformed")
    try:
        return zstandard.ZstdDecompressor().decompress(frame, max_output_size=size)
    except zstandard.ZstdError:
        raise Refused("malformed") from None


@dataclass(frozen=True)
class Cursor:
    """A source partition's: `next` is None before the first delivery, `held` a Reason."""

    next: int | None
    floor: int
    sealed_at: int
    held: str | None = None
    max_hole: int = 2**20


def decide(cursor: Cursor, made_at: int, inner: dict[str, Any]) -> str:  # noqa: PLR0911
    """The table of FORMAT.md's cursor, row by row; the answer in the words of the vectors."""
    need, first, after = cursor.next, inner["first"], inner["next"]
    lost, reseal = inner["kind"] == "lost", inner["flags"] & RESEAL
    behind = need is not None and after <= need
    newer = made_at > cursor.floor and inner["sealed_at"] > cursor.sealed_at + 310_000
    if behind and not cursor.held and not reseal and newer and inner["last_stable"] < (need or 0):
        return "hold regressed"
    if behind:
        return "duplicate"
    if cursor.held:
        return f"hold {cursor.held}"
    if made_at < cursor.floor - 65 * 60_000:
        return f"gap {need or 0} {after} below-floor"
    if lost and after - first > 2**20 and (need is None or first <= need):
        return "hold lost-span"
    if lost and reseal and first <= (need or 0):
        return "hold lost-span"
    too_thin = not lost and after - first > inner["records"] + (inner["records"] + 1) * cursor.max_hole
    if after > inner["last_stable"] or too_thin:
        return "hold implausible"
    if need is None:
        return "deliver" if inner["flags"] & LOG_START or first == 0 else f"gap 0 {first} no-start"
    if first > need:
        return f"gap {need} {first} gap"
    return "deliver" if first == need else f"trim {need}"
