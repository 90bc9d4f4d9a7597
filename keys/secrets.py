"""Everything that one worker must remember: its secrets, and the floors of what may only grow.

A vault keeps it as one sealed file and saves it before its secrets are used. The encoding is a version byte and a
msgpack array; it is our own, read back by ourselves alone, and as strict as a statement's. Encoding 1 is read too: it
knows no charter, no following identity and no session of our own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sealwire.keys import credential as credentials
from sealwire.keys import identity as identities
from sealwire.keys import wire
from sealwire.keys.identity import Identity
from sealwire.keys.keypackage import GRACE, HeldKey, expire
from sealwire.keys.primitives import ReceivingKey, SigningKey
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.session import InboundSession
from sealwire.keys.wire import Fields

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sealwire.keys.credential import CredentialFields

ENCODING: Final = 2
FORMER: Final = 1
HOLD: Final = 7 * 24 * 3600 * 1000  # ms after a session's end, when its secret goes at the latest


class Floor(NamedTuple):
    """The highest that was seen of one member: an older statement, served again by the cloud, is refused."""

    credential_serial: int = 0
    package_serial: int = 0
    package_made_at: int = 0

    def raised(self, other: Floor) -> Floor:
        """Give the higher of each: of two key packages the one that counts, whose date may be the earlier one."""
        return Floor(max(self.credential_serial, other.credential_serial), *max(self[1:], other[1:]))


@dataclass(frozen=True)
class Secrets:
    """What a worker remembers. A value: each change gives the next one."""

    identity: Identity
    project_id: bytes | None = None
    root: bytes | None = field(default=None, repr=False)  # the newest root statement accepted
    request: bytes | None = field(default=None, repr=False)  # one that waits for its answer
    credential: bytes | None = field(default=None, repr=False)
    held: tuple[HeldKey, ...] = field(default=(), repr=False)
    inbound: Mapping[bytes, InboundSession] = field(default_factory=dict, repr=False)
    floors: Mapping[bytes, Floor] = field(default_factory=dict, repr=False)
    charter: bytes | None = field(default=None, repr=False)  # the newest charter statement accepted
    following: Identity | None = None  # our next identity key, until a credential names it
    sent: Mapping[bytes, InboundSession] = field(
        default_factory=dict, repr=False
    )  # our own, for channels with backfill

    @classmethod
    def begin(cls, identity: Identity) -> Secrets:
        """Begin with a new identity and nothing else."""
        return cls(identity)

    def asked(self, project_id: bytes, root: bytes, request: bytes) -> Secrets:
        """Remember the project that is being joined and the request that was made."""
        return replace(self, project_id=project_id, root=root, request=request)

    def admitted(self, credential: bytes) -> Secrets:
        """Remember one's own credential; the request is done with.

        Where it names the identity key that is to follow, that is the identity from now on.
        """
        known = replace(self, credential=credential, request=None)
        if self.following is None or self.project_id is None:
            return known
        if credentials.peek(credential, self.project_id).identity_key != self.following.public:
            return known  # one that was on its way before the replacement was asked for
        return replace(known, identity=self.following, following=None)

    def followed_by(self, identity: Identity) -> Secrets:
        """Remember our next identity key: to be saved before its credential is asked for."""
        if identity.member_id != self.identity.member_id:
            raise Misuse("an identity is followed by a key of the same member")
        return replace(self, following=identity)

    def is_ours(self, credential: CredentialFields) -> bool:
        """Tell whether the key that a credential of ours names is held here.

        It is not in a vault that was restored from before the identity key was replaced: then nothing that we sign
        counts, until the newer vault is back or a new identity is enrolled.
        """
        held = {self.identity.public} | ({self.following.public} if self.following is not None else set())
        return credential.member_id == self.identity.member_id and credential.identity_key in held

    def chartered(self, charter: bytes) -> Secrets:
        """Remember a newer charter, so that no restart goes back behind it."""
        return replace(self, charter=charter)

    def sending(self, *sessions: InboundSession) -> Secrets:
        """Remember sessions of our own (`session.own`), to be granted later inside a channel's backfill."""
        return replace(self, sent={**self.sent, **{session.id: session for session in sessions}})

    def rooted(self, root: bytes, unproven: Collection[bytes] = ()) -> Secrets:
        """Remember a newer root, and no floors of the members that are `unproven` (ids) under it."""
        floors = {member_id: floor for member_id, floor in self.floors.items() if member_id not in unproven}
        return replace(self, root=root, floors=floors)

    def holding(self, held: tuple[HeldKey, ...]) -> Secrets:
        """Remember these receiving keys instead of the present ones."""
        return replace(self, held=held)

    def remember(self, *sessions: InboundSession) -> Secrets:
        """Remember sessions that were granted."""
        if not sessions:
            return self
        return replace(self, inbound={**self.inbound, **{session.id: session for session in sessions}})

    def raised(self, floors: Mapping[bytes, Floor]) -> Secrets:
        """Raise floors (`Trust.floors`); none sinks, but by `rooted`."""
        higher = {
            member_id: floor.raised(self.floors.get(member_id, Floor()))
            for member_id, floor in floors.items()
            if self.floors.get(member_id) != floor
        }
        return replace(self, floors={**self.floors, **higher}) if higher else self

    def forget(
        self,
        now: int,
        *,
        done: Collection[bytes] = (),
        keep: int = 0,
        hold: int = HOLD,
        backfill: Mapping[str, int] = MappingProxyType({}),
        receiving: bool = True,
        grace: int = GRACE,
    ) -> Secrets:
        """Erase what is over. All are ms after a session's `not_after`, or after the end of a receiving key's window.

        A session that was granted to us goes once it is `done` with (ids, `LastWords.done`) and `keep` is over; one
        that never is, once `hold` and `keep` are. One of our own goes once the `backfill` of its channel is over, at
        once where it has none. Receiving keys go after `grace`; after a start a caller leaves them (`receiving=False`)
        until it has read the sessions topic to its end, since grants for them may stand there.
        """
        at_once = done if not keep else ()
        inbound = {
            session.id: session
            for session in self.inbound.values()
            if session.id not in at_once and now < session.not_after + (keep if session.id in done else max(keep, hold))
        }
        sent = {
            session.id: session
            for session in self.sent.values()
            if 0 < backfill.get(session.channel, 0) > now - session.not_after
        }
        held = expire(self.held, now, grace) if receiving else self.held
        if (len(inbound), len(sent), len(held)) == (len(self.inbound), len(self.sent), len(self.held)):
            return self
        return replace(self, inbound=inbound, sent=sent, held=held)

    def encode(self) -> bytes:
        """Write all of it, secrets included, for a vault to seal."""
        identity = self.identity
        return bytes((ENCODING,)) + wire.pack(
            _Stored(
                identity.member_id,
                identity.signing.seed,
                identity.made_at,
                self.project_id,
                self.root,
                self.request,
                self.credential,
                tuple((each.start, each.end, each.receiving.encode()) for each in self.held),
                tuple(session.encode() for session in self.inbound.values()),
                tuple((member_id, *floor) for member_id, floor in self.floors.items()),
                self.charter,
                None if self.following is None else (self.following.signing.seed, self.following.made_at),
                tuple(session.encode() for session in self.sent.values()),
            )
        )

    @classmethod
    def decode(cls, encoded: bytes) -> Secrets:
        """Read what `encode` wrote, or raise `Rejected`: unknown-version (of a newer release), malformed."""
        if encoded[:1] == bytes((FORMER,)):
            former = wire.unpack(encoded[1:], _FORMER)
            stored = _Stored(**msgspec.structs.asdict(former), charter=None, following=None, sent=())
        elif encoded[:1] == bytes((ENCODING,)):
            stored = wire.unpack(encoded[1:], _STORED)
        else:
            raise Rejected(Reason.UNKNOWN_VERSION, "secrets in an encoding of another release")
        return cls(
            _key(stored.member_id, stored.seed, stored.made_at),
            stored.project_id,
            stored.root,
            stored.request,
            stored.credential,
            tuple(HeldKey(start, end, ReceivingKey.decode(seed)) for start, end, seed in stored.held),
            _by_id(stored.inbound),
            {member_id: Floor(*floor) for member_id, *floor in stored.floors},
            stored.charter,
            None if stored.following is None else _key(stored.member_id, *stored.following),
            _by_id(stored.sent),
        )

    @property
    def fingerprint(self) -> str:
        """What people compare: the identity's."""
        return identities.fingerprint(self.identity.member_id)


def _by_id(encoded: tuple[bytes, ...]) -> dict[bytes, InboundSession]:
    return {session.id: session for session in map(InboundSession.decode, encoded)}


def _key(member_id: bytes, seed: bytes, made_at: int) -> Identity:
    return Identity(member_id, SigningKey.from_seed(seed), made_at)


class _Former(Fields, frozen=True):
    member_id: wire.Id
    seed: wire.Id
    made_at: wire.Time
    project_id: wire.Id | None
    root: bytes | None
    request: bytes | None
    credential: bytes | None
    held: tuple[tuple[wire.Time, wire.Time, wire.Id], ...]
    inbound: tuple[bytes, ...]
    floors: tuple[tuple[wire.Id, wire.Serial, wire.Serial, wire.Time], ...]


class _Stored(_Former, frozen=True):
    charter: bytes | None
    following: tuple[wire.Id, wire.Time] | None
    sent: tuple[bytes, ...]


_FORMER: Final = msgspec.msgpack.Decoder(_Former)
_STORED: Final = msgspec.msgpack.Decoder(_Stored)
