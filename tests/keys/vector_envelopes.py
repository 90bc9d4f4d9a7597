"""The vectors of the envelope: good ones, and ones that break exactly one thing each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import vector_world as world
from vector_file import Vector
from vector_world import NOW, PLACE, Forge, batch, inner, inner_bytes, lost, seeded

from sealwire.keys import compression
from sealwire.keys.inner import LOG_START, RESEAL, Cause, Compression, Inner
from sealwire.keys.primitives import digest, sha256

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.keys.envelope import Place
    from sealwire.keys.session import InboundSession

MINE = world.outbound()
OTHER = world.outbound("session 2")
BATCH = batch()
SAID = inner(BATCH)
GOOD = Forge(MINE).build(inner_bytes(SAID), BATCH)
ORDER = 2**252 + 27742317777372353535851937790883648493  # of Ed25519's group
MIB = 1024 * 1024


@dataclass(frozen=True)
class Case:
    """An envelope, where it was read, and what the reader knows."""

    name: str
    expect: str
    comment: str
    envelope: bytes
    session: InboundSession = field(default_factory=lambda: world.inbound(MINE))
    place: Place = PLACE
    record_key: bytes | None = None
    elsewhere: tuple[tuple[str, int], ...] = ()
    now: int = NOW
    batches: bytes = b""
    inner: Inner | None = None
    zeros: int = 0  # so many zeros follow what is stored, so that large cases stay small files

    def vector(self) -> Vector:
        known, place = self.session, self.place
        inputs: list[tuple[str, str | int | bytes]] = [
            ("now", self.now),
            ("project id", place.project_id),
            ("channel", place.channel),
            ("cloud topic", place.cloud_topic),
            ("cloud partition", place.cloud_partition),
            ("cloud record key", "null" if self.record_key is None else self.record_key),
            *(("elsewhere", f"{topic} {partition}") for topic, partition in self.elsewhere),
            ("session id", known.id),
            ("session suite", known.suite),
            ("session secret", known.secret),
            ("session project id", known.project_id),
            ("session channel", known.channel),
            ("session sender", known.member_id),
            ("session site", known.site),
            ("session verifying key", known.verifying_key),
            ("session made at", known.made_at),
            ("session not after", known.not_after),
            ("envelope", self.envelope),
        ]
        if self.zeros:
            inputs.append(("zeros", self.zeros))
        if self.inner is not None:
            says = self.inner
            inputs += [("source", str(says.source(place.channel))), ("span", f"{says.first} {says.next}")]
            inputs += [("kind", says.kind.name.lower()), ("cause", says.cause.name.lower()), ("flags", says.flags)]
            inputs += [("batches size", len(self.batches)), ("batches sha256", sha256(self.batches))]
            inputs.append(("body digest", digest(self.envelope[52:-64])))
        return Vector(self.name, self.comment, self.expect, tuple(inputs))


def good(
    name: str, comment: str, said: Inner, batches: bytes = b"", stored: bytes | None = None, **more: object
) -> Case:
    rest = (batches if stored is None else stored) + bytes(said.padding_size)
    return Case(name, "open", comment, Forge(MINE).build(inner_bytes(said), rest), batches=batches, inner=said, **more)  # type: ignore[arg-type]


def said(name: str, reason: str, comment: str, head: Inner | bytes, rest: bytes = b"", **more: object) -> Case:
    """An authentic envelope of an honest session, whose inner header or plaintext is at fault."""
    head = head if isinstance(head, bytes) else inner_bytes(head)
    return Case(name, f"reject {reason}", comment, Forge(MINE).build(head, rest), **more)  # type: ignore[arg-type]


def bad(name: str, reason: str, comment: str, envelope: bytes, **more: object) -> Case:
    return Case(name, f"reject {reason}", comment, envelope, **more)  # type: ignore[arg-type]


def flipped(at: int, bit: int = 1) -> bytes:
    changed = bytearray(GOOD)
    changed[at] ^= bit
    return bytes(changed)


def opens() -> Iterator[Case]:
    yield good("one-batch", "Three records in one batch, uncompressed, unpadded.", SAID, BATCH)
    two = batch("first", 2) + batch("second", 4)
    yield good(
        "two-batches",
        "Two batches, and offset gaps between records.",
        inner(two, next=110, record_count=6, batch_count=2),
        two,
    )
    yield good("log-start", "The source partition begins here.", replace(SAID, flags=LOG_START), BATCH)
    yield good("reseal", "Sealed again because a mirror asked.", replace(SAID, flags=RESEAL), BATCH)
    yield good("both-flags", "Sealed again, from the log start.", replace(SAID, flags=LOG_START | RESEAL), BATCH)
    yield good("nothing-left", "A span in which no record is left: transaction markers, or compacted away.", inner())
    yield good("lost-deleted", "A span that the source deleted before it was sealed.", lost())
    yield good("lost-truncated", "A span that the source lost when its end went back.", lost(cause=Cause.TRUNCATED))
    yield good("lost-unreadable", "A span of which the source gives no batches.", lost(cause=Cause.UNREADABLE))
    text = b"the same words again and again " * 40
    frame = compression.compress([text])
    packed = inner(text, compression=Compression.ZSTD)
    yield good("zstd", "One zstd frame that states its content's size.", packed, text, frame)
    padded = 4096 - 52 - 16 - 64 - len(inner_bytes(SAID)) - len(BATCH)
    yield good(
        "padded", "Padding of zeros up to Padme's least bucket, 4096 bytes.", replace(SAID, padding_size=padded), BATCH
    )
    wide = b"\x28\xb5\x2f\xfd\x80\xa8" + len(BATCH).to_bytes(4, "little") + (len(BATCH) << 3 | 1).to_bytes(3, "little")
    stored = replace(SAID, compression=Compression.ZSTD)
    yield good(
        "zstd-wide-window",
        "A frame whose window is 2 GiB: its content is all that counts.",
        stored,
        BATCH,
        wide + BATCH,
    )
    named = wide[:4] + b"\x81\xa8\0" + wide[6:]
    yield good("zstd-dictionary-0", "A frame that names dictionary 0, which is none.", stored, BATCH, named + BATCH)
    yield good("zstd-padded", "Compressed, and padded after the frame.", replace(packed, padding_size=100), text, frame)
    yield good(
        "longest-names",
        "Site of 64 and topic of 249 characters.",
        replace(SAID, site="b" * 64, topic="t" * 249),
        BATCH,
        session=replace(world.inbound(MINE), site="b" * 64),
    )
    yield good("no-leader-epoch", "A source that knows no leader epoch says -1.", replace(SAID, leader_epoch=-1), BATCH)
    yield good(
        "last-moment",
        "Sealed at the very end of the session's life.",
        replace(SAID, sealed_at=MINE.not_after),
        BATCH,
        now=MINE.not_after,
    )
    yield good(
        "clock-allowance",
        "Sealed five minutes after the reader's clock, to the millisecond.",
        SAID,
        BATCH,
        now=NOW - 300_000,
    )
    yield good(
        "highest-offset",
        "The largest offsets that there are.",
        replace(SAID, first=2**63 - 4, next=2**63 - 1, last_stable=2**63 - 1),
        BATCH,
    )
    yield good(
        "first-moment",
        "Sealed in the millisecond in which the session was made.",
        replace(SAID, sealed_at=MINE.made_at),
        BATCH,
    )
    yield good("offset-0", "A span that begins at offset 0.", replace(SAID, first=0, next=3), BATCH)
    yield good(
        "to-the-sources-end", "It ends at the source's last stable offset.", replace(SAID, last_stable=103), BATCH
    )
    last = replace(PLACE, cloud_partition=2**31 - 1)
    highest = Forge(MINE, place=last).build(inner_bytes(replace(SAID, partition=2**31 - 1)), BATCH)
    yield Case(
        "highest-partition",
        "open",
        "The highest partition that there is.",
        highest,
        place=last,
        batches=BATCH,
        inner=replace(SAID, partition=2**31 - 1),
    )


def foreign() -> Iterator[Case]:
    yield bad("empty-record", "foreign", "A cloud record without a byte.", b"")
    yield bad("plain-record", "foreign", "Plaintext in a sealed topic.", b'{"order": 4711, "amount": "12.50"}')
    yield bad("random-bytes", "foreign", "Bytes of no meaning.", seeded("noise", 300))
    yield bad("zeros-8-mb", "foreign", "8 MB of zeros.", b"", zeros=8_000_000)
    yield bad(
        "bare-batch",
        "foreign",
        "A record batch as the source stores it.",
        bytes(8) + b"\0\0\0\x44" + bytes(4) + b"\x02" + bytes(60),
    )
    yield bad(
        "statement-in-sealed-topic",
        "foreign",
        "A statement's first bytes (type 0x28), in a sealed topic.",
        b"SW\x28\x01\x01" + bytes(200),
    )
    yield bad(
        "third-byte-32", "foreign", "Neither an envelope format nor a statement type: 0x20.", b"SW\x20" + GOOD[3:]
    )
    yield bad("magic-first-byte", "foreign", "One bit of the first magic byte is altered.", flipped(0))
    yield bad("magic-second-byte", "foreign", "One bit of the second magic byte is altered.", flipped(1))
    yield bad("format-0", "unknown-version", "Format 0.", flipped(2))
    yield bad("format-2", "unknown-version", "Format 2, which no reader knows yet.", b"SW\x02" + GOOD[3:])
    yield bad("suite-0", "unknown-suite", "Suite 0.", flipped(3))
    yield bad("suite-2", "unknown-suite", "Suite 2, foreseen and not there.", b"SW\x01\x02" + GOOD[4:])
    yield bad(
        "session-of-another-suite",
        "unknown-suite",
        "The header's suite is not the session's.",
        GOOD,
        session=replace(world.inbound(MINE), suite=2),
    )
    yield Case(
        "session-id", "unknown-session", "One bit of the session id is altered: it names no session.", flipped(4)
    )
    yield Case(
        "unknown-session",
        "unknown-session",
        "A session whose statement the reader has not seen.",
        Forge(OTHER).build(inner_bytes(SAID), BATCH),
    )
    yield bad("above-the-cap", "too-large", "17 MiB that begin as an envelope.", GOOD, zeros=17 * MIB)


def altered() -> Iterator[Case]:
    parts = (
        ("salt", 36),
        ("salt-last-byte", 51),
        ("body-first-byte", 52),
        ("body-batches", -64 - 16 - 40),
        ("tag-first-byte", -80),
        ("tag-last-byte", -65),
        ("signature-first-byte", -64),
        ("signature-last-byte", -1),
    )
    for name, at in parts:
        yield bad(f"altered-{name}", "bad-signature", f"One bit is altered: {name.replace('-', ' ')}.", flipped(at))
    scalar = int.from_bytes(GOOD[-32:], "little") + ORDER
    yield bad(
        "signature-malleable",
        "bad-signature",
        "The signature's scalar, plus the order of the group: not canonical.",
        GOOD[:-32] + scalar.to_bytes(32, "little"),
    )
    yield bad("signature-zeros", "bad-signature", "A signature of zeros.", GOOD[:-64] + bytes(64))
    yield bad(
        "swapped-bodies",
        "bad-signature",
        "The body of one envelope between the header and the signature of another.",
        GOOD[:52] + Forge(MINE).build(inner_bytes(replace(SAID, first=101)), BATCH)[52:-64] + GOOD[-64:],
    )
    for size, name in (
        (1, "one-byte"),
        (2, "after-magic"),
        (3, "after-format"),
        (4, "after-suite"),
        (36, "after-session-id"),
        (52, "after-salt"),
        (131, "one-byte-short-of-the-least"),
    ):
        yield bad(f"cut-{name}", "foreign" if size == 1 else "truncated", f"Only its first {size} bytes.", GOOD[:size])
    for size, name in (
        (132, "at-the-least-size"),
        (len(GOOD) - 80, "before-tag"),
        (len(GOOD) - 64, "before-signature"),
        (len(GOOD) - 1, "last-byte"),
    ):
        yield bad(
            f"cut-{name}",
            "bad-signature",
            f"Only its first {size} bytes: what then stands last is no signature.",
            GOOD[:size],
        )
    yield bad("byte-after-the-end", "bad-signature", "A zero after the signature.", GOOD + b"\0")


def misplaced() -> Iterator[Case]:
    moved = replace(PLACE, cloud_partition=3)
    yield bad(
        "another-partition",
        "misplaced",
        "Copied from partition 2 to partition 3, by a reader that tries the places it knows.",
        GOOD,
        place=moved,
        elsewhere=(("acme.orders", 1), ("acme.orders", 2)),
    )
    yield bad(
        "another-partition-unnamed",
        "bad-signature",
        "The same, by a reader that does not look elsewhere.",
        GOOD,
        place=moved,
    )
    yield bad(
        "another-topic",
        "misplaced",
        "Copied to another cloud topic of the same channel.",
        GOOD,
        place=replace(PLACE, cloud_topic="acme.returns"),
        elsewhere=(("acme.orders", 2),),
    )
    yield bad(
        "another-channel",
        "misplaced",
        "Copied into the topic of another channel.",
        GOOD,
        place=replace(PLACE, channel="returns"),
    )
    yield bad(
        "another-project",
        "other-project",
        "Copied into another project.",
        GOOD,
        place=replace(PLACE, project_id=seeded("another project")),
    )
    yield bad(
        "another-sender",
        "bad-signature",
        "The session is said to be another member's.",
        GOOD,
        session=replace(world.inbound(MINE), member_id=seeded("member bert")),
    )
    yield bad(
        "record-key-put-on",
        "bad-signature",
        "The cloud gave the record an empty record key, which is not null.",
        GOOD,
        record_key=b"",
    )
    yield bad(
        "record-key-sealed",
        "misplaced",
        "Sealed with a record key, which layout `batch` must not have.",
        Forge(MINE, record_key=b"k").build(inner_bytes(SAID), BATCH),
        record_key=b"k",
    )
    yield bad(
        "record-key-of-1024",
        "bad-signature",
        "The longest record key that is looked at, put on by the cloud.",
        GOOD,
        record_key=bytes(1024),
    )
    yield bad("record-key-too-long", "too-large", "A record key of 1025 bytes.", GOOD, record_key=bytes(1025))
    shifted = replace(PLACE, channel="order", cloud_topic="sacme.orders")
    yield bad(
        "ambiguous-lengths-outside",
        "bad-signature",
        "Channel and cloud topic that read the same without their lengths.",
        GOOD,
        place=shifted,
        session=replace(world.inbound(MINE), channel="order"),
    )
    yield said(
        "partition-inside-differs",
        "misplaced",
        "The inner header names source partition 3, in cloud partition 2.",
        replace(SAID, partition=3),
        BATCH,
    )
    yield said(
        "site-inside-differs",
        "not-authorised",
        "A member of site berlin speaks for site paris.",
        replace(SAID, site="paris"),
        BATCH,
    )


def cases() -> list[Case]:
    """Every case of what is seen from outside, in the order of the opening."""
    return [case for group in (opens, foreign, altered, misplaced) for case in group()]
