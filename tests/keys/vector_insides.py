"""The vectors of what an envelope holds: proofs that do not fit, inner headers that cannot be, sizes that lie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import zstandard
from vector_world import MADE_AT, NOW, Forge, inner, inner_bytes, lost, seeded

from sealwire.keys import compression
from sealwire.keys.inner import Cause, Compression, Kind
from sealwire.keys.primitives import SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterator

from vector_envelopes import BATCH, MIB, MINE, OTHER, SAID, Case, bad, said


def unproven() -> Iterator[Case]:
    head = inner_bytes(SAID)
    reader = SigningKey.from_seed(seeded("a reader's own key"))
    forged = (
        (
            "signed-by-a-reader",
            "A reader knows the session secret, seals as the sender and signs with a key of its own.",
            Forge(MINE, signing=reader),
        ),
        (
            "signed-by-another-session",
            "Signed with the signing key of the sender's next session.",
            Forge(MINE, signing=OTHER.signing),
        ),
        (
            "signed-under-a-statements-label",
            "The signature is over the label of session statements.",
            Forge(MINE, label=b"sealwire v1 session".ljust(32, b"\0")),
        ),
        ("signed-without-label", "The signature is over the two digests alone.", Forge(MINE, label=b"")),
        ("signed-tag-alone", "The signature covers the tag instead of the body.", Forge(MINE, sign_tag_only=True)),
    )
    for name, comment, forge in forged:
        yield bad(name, "bad-signature", comment, forge.build(head, BATCH))
    spoiled = (
        (
            "another-salt",
            "Signed as it is, but the seal key was made with another salt.",
            Forge(MINE, salt=seeded("salt", 16)),
        ),
        ("another-nonce", "The nonce is not zero.", Forge(MINE, nonce=b"\0" * 11 + b"\1")),
        (
            "another-hkdf-label",
            "The seal key is made under the label of progress.",
            Forge(MINE, hkdf_label="sealwire v1 progress"),
        ),
        ("another-ad", "The associated data has one byte more.", Forge(MINE, ad_tail=b"\0")),
        (
            "another-secret",
            "The seal key is made of another session's secret.",
            Forge(replace(MINE, secret=OTHER.secret)),
        ),
    )
    for name, comment, forge in spoiled:
        yield bad(name, "bad-ciphertext", comment, forge.build(head, BATCH))


def inside() -> Iterator[Case]:
    front = inner_bytes(SAID)
    for name, at, value, reason in (
        ("kind-0", 0, 0, "malformed"),
        ("kind-3", 0, 3, "malformed"),
        ("layout-0", 1, 0, "malformed"),
        ("layout-record", 1, 2, "layout-reserved"),
        ("layout-3", 1, 3, "malformed"),
        ("compression-2", 2, 2, "malformed"),
        ("flag-4", 3, 4, "unknown-extension"),
        ("flag-128", 3, 128, "unknown-extension"),
    ):
        yield said(
            name,
            reason,
            f"The inner header's {name.partition('-')[0]} is {name.partition('-')[2]}.",
            front[:at] + bytes((value,)) + front[at + 1 :],
            BATCH,
        )
    names = (
        ("empty-site", b"", None),
        ("site-with-a-slash", b"ber/lin", None),
        ("site-of-65", b"b" * 65, None),
        ("site-not-utf8", b"ber\xfflin", None),
        ("empty-topic", None, b""),
        ("topic-two-dots", None, b".."),
        ("topic-with-a-slash", None, b"a/b"),
        ("topic-of-250", None, b"t" * 250),
    )
    for name, site, topic in names:
        yield said(
            name,
            "malformed",
            f"The name of a local thing that cannot be: {name.replace('-', ' ')}.",
            inner_bytes(SAID, site=site, topic=topic),
            BATCH,
        )
    yield said(
        "ambiguous-lengths-inside",
        "malformed",
        "The site's length reaches two bytes into the topic's.",
        front[:4] + b"\0\x08" + front[6:],
        BATCH,
    )
    yield said(
        "name-past-the-end",
        "malformed",
        "A name that is longer than the plaintext.",
        front[:4] + b"\0\xff" + front[6:20],
    )
    yield said(
        "extension",
        "unknown-extension",
        "One byte of extensions, which no reader knows.",
        inner_bytes(SAID, b"\1"),
        BATCH,
    )
    yield said("inner-cut", "malformed", "The plaintext ends inside the inner header.", front[:-1])
    yield said("inner-of-three-bytes", "malformed", "The plaintext ends before the first name.", front[:3])
    yield said("no-plaintext", "malformed", "A body that is a tag alone.", b"")
    yield said(
        "partition-beyond-int32",
        "malformed",
        "Kafka's partitions are below 2^31.",
        replace(SAID, partition=2**31),
        BATCH,
    )
    yield said("first-negative", "implausible", "The span begins at -1.", replace(SAID, first=-1), BATCH)
    yield said("span-empty", "implausible", "The span ends where it begins.", inner(next=100))
    yield said("span-backwards", "implausible", "The span ends before it begins.", inner(next=99))
    yield said("leader-epoch-minus-2", "malformed", "A leader epoch below -1.", replace(SAID, leader_epoch=-2), BATCH)
    yield said("sealed-at-negative", "malformed", "Sealed before 1970.", replace(SAID, sealed_at=-1), BATCH)
    yield said(
        "sealed-before-the-session",
        "expired",
        "Sealed a millisecond before its session was made.",
        replace(SAID, sealed_at=MADE_AT - 1),
        BATCH,
    )
    yield said(
        "sealed-after-the-session",
        "expired",
        "Sealed a millisecond after its session's end.",
        replace(SAID, sealed_at=MINE.not_after + 1),
        BATCH,
        now=MINE.not_after,
    )
    yield said(
        "sealed-ahead",
        "ahead",
        "Sealed more than five minutes after the reader's clock.",
        SAID,
        BATCH,
        now=NOW - 300_001,
    )
    yield said(
        "more-records-than-offsets",
        "implausible",
        "Four records in a span of three offsets.",
        replace(SAID, record_count=4),
        BATCH,
    )
    yield said(
        "more-batches-than-records",
        "implausible",
        "Four batches of three records.",
        replace(SAID, batch_count=4),
        BATCH,
    )
    yield said(
        "records-without-bytes", "implausible", "Three records, and no byte.", replace(SAID, uncompressed_size=0)
    )
    yield said(
        "bytes-without-records",
        "implausible",
        "Bytes of batches, and no record.",
        replace(SAID, record_count=0, batch_count=0),
        BATCH,
    )
    yield said(
        "batch-below-61-bytes",
        "implausible",
        "A batch smaller than its own header.",
        replace(SAID, uncompressed_size=60),
        BATCH[:60],
    )
    yield said(
        "size-differs",
        "malformed",
        "One byte of batches more than is stated.",
        replace(SAID, uncompressed_size=len(BATCH) - 1),
        BATCH,
    )
    yield said(
        "cause-of-records", "malformed", "Records, with a cause of loss.", replace(SAID, cause=Cause.DELETED), BATCH
    )
    yield said("lost-without-cause", "malformed", "A lost span without its cause.", lost(cause=Cause.NONE))
    yield said(
        "cause-unknown", "malformed", "A cause of loss that no reader knows.", inner_bytes(lost())[:-3] + b"\4\0\0"
    )
    yield said(
        "lost-with-records",
        "implausible",
        "A lost span with records in it.",
        replace(SAID, kind=Kind.LOST, cause=Cause.DELETED),
        BATCH,
    )
    yield said(
        "padding-not-zero",
        "malformed",
        "The last byte of the padding is 1.",
        replace(SAID, padding_size=16),
        BATCH + bytes(15) + b"\1",
    )
    yield said(
        "padding-missing",
        "malformed",
        "More padding is stated than there is plaintext.",
        replace(SAID, padding_size=5000),
        BATCH,
    )


def sizes() -> Iterator[Case]:
    text = bytes(100_000)
    packed = inner(text, compression=Compression.ZSTD)
    frame = compression.compress([text])
    yield said(
        "bomb-frame-says-more",
        "malformed",
        "A frame of 100 MiB of zeros, where 100000 bytes are stated.",
        packed,
        compression.compress([bytes(MIB)] * 100),
    )
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(40 * MIB))
    yield said(
        "bomb-frame-says-nothing",
        "malformed",
        "A frame of 40 MiB of zeros that does not state its content's size.",
        packed,
        unsized,
    )
    lying = (
        frame[:5] + (50_000).to_bytes(4, "little") + frame[9:]
    )  # the content's size stands after magic and descriptor
    yield said(
        "bomb-frame-lies",
        "malformed",
        "A frame that states less than it holds, as the inner header does.",
        replace(packed, uncompressed_size=50_000),
        lying,
    )
    yield said(
        "states-65-mib",
        "too-large",
        "A true frame of 65 MiB of zeros, stated as what it is.",
        replace(packed, uncompressed_size=65 * MIB),
        compression.compress([bytes(MIB)] * 65),
    )
    yield said(
        "states-too-many-records",
        "too-large",
        "More than 4194304 records.",
        replace(packed, next=100 + 2**23, record_count=2**22 + 1, last_stable=2**24),
        frame,
    )
    yield said(
        "states-too-many-batches",
        "too-large",
        "More than 131072 batches.",
        replace(
            packed,
            next=100 + 2**18,
            record_count=2**18,
            batch_count=2**17 + 1,
            uncompressed_size=2**23 + 61,
            last_stable=2**24,
        ),
        frame,
    )
    wider = b"\x28\xb5\x2f\xfd\x80\xb0" + frame[5:9] + frame[9:]
    yield said("frame-window-too-wide", "malformed", "A frame whose window is 4 GiB.", packed, wider)
    named = b"\x28\xb5\x2f\xfd\x81\xa8\1" + frame[5:9] + frame[9:]
    yield said("frame-of-a-dictionary", "malformed", "A frame that names dictionary 1.", packed, named)
    yield said("frame-cut", "malformed", "The zstd frame lacks its last byte.", packed, frame[:-1])
    yield said("frame-and-more", "malformed", "A byte after the zstd frame.", packed, frame + b"\0")
    yield said(
        "frame-twice", "malformed", "An empty zstd frame after the first.", packed, frame + compression.compress([])
    )
    yield said(
        "no-frame",
        "malformed",
        "Compression says zstd, and the batches are as they are.",
        replace(packed, uncompressed_size=len(BATCH)),
        BATCH,
    )
    yield said(
        "nothing-compressed", "malformed", "Compression of no bytes at all.", inner(compression=Compression.ZSTD)
    )


def cases() -> list[Case]:
    """Every case of what is inside, in the order of the opening."""
    return [case for group in (unproven, inside, sizes) for case in group()]
