"""The session: a sender's short time on a channel, and the secret that seals in it.

    fields = [session id, suite, channel, credential (the statement's bytes), algorithm, session signing key, made_at,
              not_after, charter version, number]

The statement is signed by the identity that the credential names. The session id commits to the secret:

    session id = HKDF(session secret, "", "sealwire v1 session id", project id | sender's member id | channel
                      | made_at u64 | not_after u64)

so that several statements may claim one id, and only one whose grant unwraps to the committed secret is a session.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import primitives, wire
from sealwire.keys.primitives import ED25519, SECRET_SIZE, SEED_SIZE, SUITE, Random, SigningKey
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import CAPS, ENTRY_SIZE, SKEW, Fields, Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.keys.credential import Credential
    from sealwire.keys.identity import Identity

MINUTE: Final = 60 * 1000
LIFE: Final = 60 * MINUTE  # the longest time from made_at to not_after
IDLE_AGE: Final = LIFE - 5 * MINUTE  # the latest, so that the next one is known before this one ends
COMMITMENT: Final = "sealwire v1 session id"


class SessionFields(Fields, frozen=True):
    """What a session statement says."""

    id: wire.Id
    suite: wire.U8
    channel: wire.ChannelName
    credential: Annotated[bytes, msgspec.Meta(max_length=CAPS[Type.CREDENTIAL])]
    algorithm: wire.U8
    verifying_key: wire.PublicKey
    made_at: wire.Time
    not_after: wire.Time
    charter_version: wire.Serial
    number: wire.Serial


class Claim(SessionFields, frozen=True):
    """A session statement whose signatures were checked. Its secret is not proven before a grant unwraps."""

    project_id: bytes
    digest: bytes
    entry: bytes  # who signed, and the signature
    sender: Credential


@dataclass(frozen=True)
class Rules:
    """When a sender begins its next session. What would let one end before the next is there is `Misuse`."""

    busy_age: int = 10 * MINUTE  # ms after its beginning, where there is traffic
    idle_age: int = IDLE_AGE  # ms after its beginning in any case
    bytes: int = 64 << 30  # sealed in it

    def __post_init__(self) -> None:
        """Check them."""
        if not (0 < self.busy_age <= self.idle_age <= IDLE_AGE and self.bytes > 0):
            raise Misuse(f"sessions cannot be begun by {self}")


@dataclass(frozen=True)
class OutboundSession:
    """A session of our own: what sealing needs. Kept in memory only."""

    id: bytes
    secret: bytes = field(repr=False)
    channel: str
    project_id: bytes
    member_id: bytes
    signing: SigningKey = field(repr=False)
    made_at: int  # ms
    not_after: int  # ms
    number: int
    suite: int


@dataclass(frozen=True)
class InboundSession:
    """A session that was granted to us, proven by its commitment: what opening needs."""

    id: bytes
    secret: bytes = field(repr=False)
    suite: int
    project_id: bytes
    channel: str
    member_id: bytes  # the sender
    name: str
    site: str
    attributes: tuple[tuple[str, str], ...]
    verifying_key: bytes  # the session's Ed25519 public key
    made_at: int  # ms
    not_after: int  # ms
    credential_not_before: int  # ms
    credential_not_after: int  # ms
    credential_serial: int
    number: int
    credential_signer: bytes | None = None  # digest of the authority key; None out of a vault that does not know it

    def encode(self) -> bytes:
        """Write it for the vault, its secret included."""
        return wire.pack(tuple(getattr(self, name) for name in _Stored.__struct_fields__))

    @classmethod
    def decode(cls, encoded: bytes) -> InboundSession:
        """Read what `encode` wrote, or a former release, or raise `Rejected` (malformed)."""
        former = encoded.startswith(_FORMER_HEAD)
        stored = wire.unpack(encoded, _FORMER) if former else wire.unpack(encoded, _STORED)
        return cls(**msgspec.structs.asdict(stored))


class _Former(Fields, frozen=True):
    id: wire.Id
    secret: wire.Id
    suite: wire.U8
    project_id: wire.Id
    channel: wire.ChannelName
    member_id: wire.Id
    name: wire.Name
    site: wire.Name
    attributes: wire.Attributes
    verifying_key: wire.PublicKey
    made_at: wire.Time
    not_after: wire.Time
    credential_not_before: wire.Time
    credential_not_after: wire.Time
    credential_serial: wire.Serial
    number: wire.Serial


class _Stored(_Former, frozen=True):
    credential_signer: wire.Id | None


_DECODER: Final = msgspec.msgpack.Decoder(SessionFields)
_FORMER: Final = msgspec.msgpack.Decoder(_Former)
_FORMER_HEAD: Final = b"\xdc\x00\x10"  # an array of sixteen
_STORED: Final = msgspec.msgpack.Decoder(_Stored)


def commitment(secret: bytes, project_id: bytes, member_id: bytes, channel: str, made_at: int, not_after: int) -> bytes:
    """Give the session id that a secret makes, 32 bytes. A secret of another length than 32 bytes is `Misuse`."""
    if len(secret) != SECRET_SIZE:
        raise Misuse(f"a session secret has {SECRET_SIZE} bytes, not {len(secret)}")
    return primitives.hkdf(
        secret,
        b"",
        COMMITMENT,
        project_id,
        member_id,
        channel.encode(),
        made_at.to_bytes(8, "big"),
        not_after.to_bytes(8, "big"),
    )


def start(
    identity: Identity,
    credential: bytes,
    project_id: bytes,
    channel: str,
    charter_version: int,
    number: int,
    now: int,
    random: Random,
) -> tuple[OutboundSession, bytes]:
    """Begin a session: draw its secret and its signing key; give it and its statement.

    `credential` is the sender's own, as the authority signed it; that it is valid now is for the caller to know.
    `number` counts the sender's sessions on the channel.
    """
    if not wire.good_channel(channel):
        raise Misuse(f"no channel has the name {channel!r}")
    secret, signing = random(SECRET_SIZE), SigningKey.from_seed(random(SEED_SIZE))
    not_after = now + LIFE
    fields = SessionFields(
        id=commitment(secret, project_id, identity.member_id, channel, now, not_after),
        suite=SUITE,
        channel=channel,
        credential=credential,
        algorithm=ED25519,
        verifying_key=signing.public,
        made_at=now,
        not_after=not_after,
        charter_version=charter_version,
        number=number,
    )
    statement = wire.write(Type.SESSION, project_id, fields, [identity.signing])
    session = OutboundSession(
        fields.id, secret, channel, project_id, identity.member_id, signing, now, not_after, number, SUITE
    )
    return session, statement


def due(outbound: OutboundSession, now: int, sealed_bytes: int, *, idle: bool, rules: Rules = Rules()) -> bool:
    """Tell whether it is time for the next session.

    That is after `busy_age` where there is traffic, after `idle_age` in any case, after `bytes`, and when the clock
    went back behind this one's beginning.
    """
    age = now - outbound.made_at
    return age < 0 or age >= (rules.idle_age if idle else rules.busy_age) or sealed_bytes >= rules.bytes


def own(outbound: OutboundSession, credential: Credential) -> InboundSession:
    """Give a session of our own as its readers have it, without its signing key: what a sender keeps for backfill.

    `credential` is the one in its statement.
    """
    if credential.member_id != outbound.member_id:
        raise Misuse("a session of our own is made under our own credential")
    return _inbound(outbound, outbound.secret, outbound.signing.public, credential)


def peek(statement: bytes, project_id: bytes) -> SessionFields:
    """Read what a session statement says, unproven; raise `Rejected` for what is none."""
    return wire.unpack(wire.read(statement, Type.SESSION, project_id).body, _DECODER)


def read(statement: bytes, project_id: bytes, read_credential: Callable[[bytes], Credential], now: int) -> Claim:
    """Read a session statement and check its signatures, or raise `Rejected`.

    `read_credential` checks the credential inside it (`credential.read` under a root, or a memory of it).
    """
    frame = wire.read(statement, Type.SESSION, project_id)
    fields = wire.unpack(frame.body, _DECODER)
    if not fields.made_at <= fields.not_after <= fields.made_at + LIFE:
        raise Rejected(Reason.MALFORMED, f"a session from {fields.made_at} to {fields.not_after}")
    if fields.suite != SUITE or fields.algorithm != ED25519:
        raise Rejected(Reason.UNKNOWN_SUITE, f"a session of suite {fields.suite}, algorithm {fields.algorithm}")
    if fields.made_at > now + SKEW:
        raise Rejected(Reason.AHEAD, f"a session of {fields.made_at}, while our clock says {now}")
    sender = read_credential(fields.credential)
    if not sender.valid_at(fields.made_at):
        raise Rejected(Reason.EXPIRED, f"made at {fields.made_at} under a credential that ended at {sender.not_after}")
    wire.check_signers(frame, sender.identity_key)
    return Claim(
        **msgspec.structs.asdict(fields),
        project_id=project_id,
        digest=frame.digest,
        entry=statement[-ENTRY_SIZE:],
        sender=sender,
    )


def proven(claim: Claim, secret: bytes) -> InboundSession:
    """Make the session that a claim is, given its secret; raise `Rejected` (bad-commitment) if it is another's."""
    sender = claim.sender
    if len(secret) != SECRET_SIZE or claim.id != commitment(
        secret, claim.project_id, sender.member_id, claim.channel, claim.made_at, claim.not_after
    ):
        raise Rejected(Reason.BAD_COMMITMENT, f"session {claim.id.hex()[:16]} does not commit to what was unwrapped")
    return _inbound(claim, secret, claim.verifying_key, sender)


def _inbound(said: Claim | OutboundSession, secret: bytes, verifying_key: bytes, sender: Credential) -> InboundSession:
    return InboundSession(
        id=said.id,
        secret=secret,
        suite=said.suite,
        project_id=said.project_id,
        channel=said.channel,
        member_id=sender.member_id,
        name=sender.name,
        site=sender.site,
        attributes=sender.attributes,
        verifying_key=verifying_key,
        made_at=said.made_at,
        not_after=said.not_after,
        credential_not_before=sender.not_before,
        credential_not_after=sender.not_after,
        credential_serial=sender.serial,
        number=said.number,
        credential_signer=sender.signer,
    )
