"""A thief that acts: whoever has an identity key speaks as the member, to whoever believes it still."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from batch_made import Made, build
from days import CONTROL, SESSIONS
from loot import Loot

from sealwire.keys import envelope, grant, keypackage, session
from sealwire.keys.inner import Compression, Inner, Kind, Layout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from days import Days

    from sealwire.keys.credential import Credential
    from sealwire.keys.identity import Identity
    from sealwire.keys.keypackage import HeldKey
    from sealwire.keys.session import OutboundSession

CHANNELS = {"orders": "acme.orders", "bills": "acme.bills"}
FORGED = b"forged/"


class Impostor:
    """Somebody with a member's identity key and the whole cloud log."""

    def __init__(self, run: Days, identity: Identity, credential: Credential) -> None:
        self.run, self.identity, self.credential = run, identity, credential
        self.project_id = run.realm.project.root.project_id
        self.held: tuple[HeldKey, ...] = ()
        self.forged = 0

    @property
    def loot(self) -> Loot:
        """What it made itself: receiving keys that others may have wrapped for."""
        return Loot(receiving=frozenset(each.receiving for each in self.held))

    def announce(self) -> None:
        """Publish receiving keys of its own in the member's name."""
        now = self.run.now()
        known = self.run.known[self.identity.member_id]
        self.held, package = keypackage.renew(self.identity, known, self.project_id, self.held, now, os.urandom)
        package = package or keypackage.announce(self.identity, known, self.project_id, self.held, now)
        self.run.tell(CONTROL, package, b"keys/" + self.identity.member_id.hex().encode())

    def begin(self, channel: str, made_at: int) -> OutboundSession:
        """Begin a session that says it was made then (ms), and grant it to every reader."""
        random = os.urandom
        outbound, statement = session.start(
            self.identity, self.credential.statement, self.project_id, channel, 0, 1, made_at, random
        )
        now = self.run.now()
        grants = grant.wrap(outbound, self.run.packages(), 1, now, random)
        for each in (statement, *grants):
            self.run.tell(SESSIONS, each, outbound.id.hex().encode())
        return outbound

    def forge(self, made_ats: Sequence[int]) -> None:
        """Seal a record for each source partition under sessions of these dates, where the mirrors' cursors stand."""
        for made_at in made_ats:
            for channel in CHANNELS:
                self.seal(self.begin(channel, made_at), made_at)

    def seal(self, outbound: OutboundSession, sealed_at: int) -> None:
        """Seal a record of its own for each source partition of a session's channel, as the next one there."""
        channel = outbound.channel
        for source, following in self.run.cursors():
            if source.channel != channel:
                continue
            batch = build([Made(sealed_at, None, FORGED + str(self.forged).encode(), [])], following)
            inner = Inner(
                kind=Kind.RECORDS,
                layout=Layout.BATCH,
                compression=Compression.NONE,
                flags=0,
                site="berlin",
                topic=source.topic,
                topic_id=source.topic_id,
                partition=source.partition,
                first=following,
                next=following + 1,
                last_stable=following + 1,
                leader_epoch=4,
                sealed_at=sealed_at,
                record_count=1,
                batch_count=1,
                uncompressed_size=len(batch),
            )
            place = envelope.Place(self.project_id, channel, CHANNELS[channel], source.partition)
            out = bytearray(envelope.sealed_size(inner, len(batch)))
            envelope.seal(outbound, place, inner, [batch], os.urandom, memoryview(out))
            self.run.put(CHANNELS[channel], source.partition, bytes(out))
            self.forged += 1
