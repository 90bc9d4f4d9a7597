"""The small fixed world that the vectors are made in: one project, two sites, a sender, a reader, one session.

`forge` builds envelopes from the primitives, field by field as FORMAT.md has them, and not with `envelope.seal`: it can
also build what `seal` refuses, and where both can, they must agree.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace

from sealwire.keys import primitives, session
from sealwire.keys.envelope import Place
from sealwire.keys.inner import Cause, Compression, Inner, Kind, Layout
from sealwire.keys.primitives import SigningKey
from sealwire.keys.session import InboundSession, OutboundSession

NOW = 1_800_000_000_000
MADE_AT = NOW - 60_000
LABEL = b"sealwire v1 envelope".ljust(32, b"\0")


class Seeded:
    """Random bytes that are the same on every run."""

    def __init__(self, seed: str) -> None:
        self._seed, self._drawn = seed, 0

    def __call__(self, size: int) -> bytes:
        self._drawn += 1
        return hashlib.shake_256(f"{self._seed} {self._drawn}".encode()).digest(size)


def seeded(name: str, size: int = 32) -> bytes:
    return Seeded(name)(size)


PROJECT_ID = seeded("project")
MEMBER_ID = seeded("member anna")
PLACE = Place(PROJECT_ID, "orders", "acme.orders", 2)


def outbound(name: str = "session 1", channel: str = "orders", made_at: int = MADE_AT) -> OutboundSession:
    secret, not_after = seeded(f"{name} secret"), made_at + session.LIFE
    return OutboundSession(
        id=session.commitment(secret, PROJECT_ID, MEMBER_ID, channel, made_at, not_after),
        secret=secret,
        channel=channel,
        project_id=PROJECT_ID,
        member_id=MEMBER_ID,
        signing=SigningKey.from_seed(seeded(f"{name} signing")),
        made_at=made_at,
        not_after=not_after,
        number=1,
        suite=1,
    )


def inbound(mine: OutboundSession, site: str = "berlin") -> InboundSession:
    return InboundSession(
        id=mine.id,
        secret=mine.secret,
        suite=mine.suite,
        project_id=mine.project_id,
        channel=mine.channel,
        member_id=mine.member_id,
        name="anna",
        site=site,
        attributes=(("role", "member"), ("site", site)),
        verifying_key=mine.signing.public,
        made_at=mine.made_at,
        not_after=mine.not_after,
        credential_not_before=NOW - 86_400_000,
        credential_not_after=NOW + 6 * 86_400_000,
        credential_serial=1,
        number=mine.number,
    )


def batch(name: str = "batch", records: int = 3) -> bytes:
    """Stand in for a record batch: this layer never looks inside."""
    return seeded(name, 61 + 10 * records)


def inner(batches: bytes = b"", **changes: object) -> Inner:
    fields = Inner(
        kind=Kind.RECORDS,
        layout=Layout.BATCH,
        compression=Compression.NONE,
        flags=0,
        site="berlin",
        topic="orders.eu",
        topic_id=seeded("topic id", 16),
        partition=2,
        first=100,
        next=103,
        last_stable=200,
        leader_epoch=5,
        sealed_at=NOW,
        record_count=3 if batches else 0,
        batch_count=1 if batches else 0,
        uncompressed_size=len(batches),
    )
    return replace(fields, **changes)  # type: ignore[arg-type]


def lost(**changes: object) -> Inner:
    return inner(**{"kind": Kind.LOST, "cause": Cause.DELETED, **changes})  # type: ignore[arg-type]


def inner_bytes(said: Inner, extensions: bytes = b"", site: bytes | None = None, topic: bytes | None = None) -> bytes:
    """Write an inner header by FORMAT.md, refusing nothing that its fields can hold."""
    site = said.site.encode() if site is None else site
    topic = said.topic.encode() if topic is None else topic
    return b"".join(
        (
            bytes((said.kind, said.layout, said.compression, said.flags)),
            struct.pack(">H", len(site)) + site,
            struct.pack(">H", len(topic)) + topic,
            said.topic_id,
            struct.pack(">I", said.partition),
            struct.pack(">qqq", said.first, said.next, said.last_stable),
            struct.pack(">i", said.leader_epoch),
            struct.pack(">q", said.sealed_at),
            struct.pack(">IIII", said.record_count, said.batch_count, said.uncompressed_size, said.padding_size),
            bytes((said.cause,)),
            struct.pack(">H", len(extensions)) + extensions,
        )
    )


def context(place: Place, member_id: bytes, record_key: bytes | None) -> bytes:
    channel, topic = place.channel.encode(), place.cloud_topic.encode()
    return b"".join(
        (
            place.project_id,
            struct.pack(">H", len(channel)) + channel,
            member_id,
            struct.pack(">H", len(topic)) + topic,
            struct.pack(">I", place.cloud_partition),
            b"\xff\xff" if record_key is None else struct.pack(">H", len(record_key)) + record_key,
        )
    )


@dataclass(frozen=True)
class Forge:
    """How an envelope is built; each field may be another than the honest one."""

    mine: OutboundSession
    place: Place = PLACE
    record_key: bytes | None = None
    member_id: bytes = MEMBER_ID
    signing: SigningKey | None = None
    label: bytes = LABEL
    nonce: bytes = bytes(12)
    hkdf_label: str = "sealwire v1 envelope"
    ad_tail: bytes = b""
    sign_tag_only: bool = False
    salt: bytes | None = None

    def build(self, head: bytes, rest: bytes) -> bytes:
        """Make the envelope of an inner header's bytes and what follows them."""
        mine = self.mine
        salt = primitives.hkdf(mine.secret, seeded("drawn", 16), "sealwire v1 salt", head, length=16)
        header = b"SW\x01\x01" + mine.id + (self.salt or salt)
        bound = context(self.place, self.member_id, self.record_key)
        seal_key = primitives.hkdf(mine.secret, salt, self.hkdf_label, header, bound)
        ad = header + bound + self.ad_tail
        body = primitives.aead_seal(seal_key, self.nonce, head + rest, ad)
        covered = primitives.digest(body[-16:] if self.sign_tag_only else body)
        signing = self.signing or mine.signing
        return header + body + signing.sign(self.label + primitives.digest(header + bound) + covered)
