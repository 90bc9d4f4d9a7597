"""Grants: a session secret, wrapped for each reader.

    fields = [session id, granter's member id or nil, number, [[kind, recipient, window start, HPKE enc, ciphertext]]]

At most 256 grants a statement; several statements, numbered, where there are more readers. Signed by the session
signing key (granter nil), or by the identity of the member that grants. Kind 1 is for a member: the recipient is its
id. Kind 2 is for escrow: the recipient is the SHA-256 of the escrow key, the window 0. Other kinds are skipped.

The plaintext is the session secret, 32 bytes; HPKE's aad is empty, and its info is written like HKDF's:

    info = u8 length | "sealwire v1 grant" | suite u8 | project id | sender's member id | session id | channel
           | recipient | window start u64                                          each field with a u16 length
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import keypackage, primitives, wire
from sealwire.keys import session as sessions
from sealwire.keys.primitives import ENC_SIZE, WRAPPED_SIZE, Random
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.wire import Fields, Frame, Type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealwire.keys.identity import Identity
    from sealwire.keys.keypackage import HeldKey, KeyPackageFields
    from sealwire.keys.session import Claim, InboundSession, OutboundSession

MEMBER: Final = 1
ESCROW: Final = 2
MOST: Final = 256
LABEL: Final = "sealwire v1 grant"
_HEAD: Final = len(LABEL).to_bytes(1, "big") + LABEL.encode()


class Grant(Fields, frozen=True):
    """One session secret for one reader."""

    kind: wire.U8
    recipient: wire.Id
    window_start: wire.Time
    enc: Annotated[bytes, msgspec.Meta(max_length=ENC_SIZE)]
    ciphertext: Annotated[bytes, msgspec.Meta(max_length=256)]


class GrantsFields(Fields, frozen=True):
    """What a grants statement says."""

    session_id: wire.Id
    granter: wire.Id | None
    number: wire.Serial
    grants: Annotated[tuple[Grant, ...], msgspec.Meta(min_length=1, max_length=MOST)]

    def addressed_to(self, recipient: bytes) -> tuple[Grant, ...]:
        """Give the grants for one member, of the kind we know."""
        return tuple(each for each in self.grants if each.recipient == recipient and each.kind == MEMBER)


_DECODER: Final = msgspec.msgpack.Decoder(GrantsFields)


def _info(
    suite: int, project_id: bytes, sender: bytes, session_id: bytes, channel: str, recipient: bytes, window_start: int
) -> bytes:
    fields = (
        bytes((suite,)),
        project_id,
        sender,
        session_id,
        channel.encode(),
        recipient,
        window_start.to_bytes(8, "big"),
    )
    return _HEAD + b"".join(len(part).to_bytes(2, "big") + part for part in fields)


def wrap(
    outbound: OutboundSession,
    readers: Sequence[tuple[bytes, KeyPackageFields]],
    number: int,
    now: int,
    random: Random,  # noqa: ARG001  (HPKE draws its own; kept so that a suite that does not can be had)
    escrow: Sequence[bytes] = (),
    used: Mapping[bytes, int] | None = None,
) -> list[bytes]:
    """Wrap the session's secret for each reader and escrow key; give the grants statements, numbered from `number`.

    `used` is the latest window start that was used for each reader (`windows_used`). A reader without a live window,
    or whose receiving key is none, is passed over: it harms itself alone. HPKE draws random bytes of its own.
    """
    grants = []
    for member_id, package in readers:
        try:
            start, public = keypackage.pick(package, now, (used or {}).get(member_id, 0))
            grants.append(_wrapped(outbound, MEMBER, member_id, start, public))
        except Rejected:
            continue
    grants.extend(_wrapped(outbound, ESCROW, primitives.sha256(public), 0, public) for public in escrow)
    return [
        wire.write(
            Type.GRANTS,
            outbound.project_id,
            GrantsFields(outbound.id, None, number + at // MOST, tuple(grants[at : at + MOST])),
            [outbound.signing],
        )
        for at in range(0, len(grants), MOST)
    ]


def share(
    inbound: InboundSession,
    identity: Identity,
    readers: Sequence[tuple[bytes, KeyPackageFields]],
    number: int,
    now: int,
) -> bytes | None:
    """Wrap a session that was granted to us for other members of our site, at most 256; None where none has a window.

    The statement is signed by our identity. Whose site they are of, and whether they may read, is for the caller.
    """
    grants = []
    for member_id, package in readers[:MOST]:
        try:
            start, public = keypackage.pick(package, now)
            grants.append(_wrapped(inbound, MEMBER, member_id, start, public))
        except Rejected:
            continue
    if not grants:
        return None
    fields = GrantsFields(inbound.id, identity.member_id, number, tuple(grants))
    return wire.write(Type.GRANTS, inbound.project_id, fields, [identity.signing])


def windows_used(
    readers: Sequence[tuple[bytes, KeyPackageFields]], now: int, used: Mapping[bytes, int]
) -> dict[bytes, int]:
    """Give the latest window start used for each reader, after a `wrap` at this time."""
    after = dict(used)
    for member_id, package in readers:
        try:
            after[member_id] = keypackage.pick(package, now, used.get(member_id, 0))[0]
        except Rejected:
            continue
    return after


def _wrapped(
    outbound: OutboundSession | InboundSession, kind: int, recipient: bytes, start: int, public: bytes
) -> Grant:
    info = _info(
        outbound.suite, outbound.project_id, outbound.member_id, outbound.id, outbound.channel, recipient, start
    )
    enc, ciphertext = primitives.hpke_wrap(public, info, outbound.secret)
    return Grant(kind, recipient, start, enc, ciphertext)


def read(statement: bytes, project_id: bytes) -> tuple[GrantsFields, Frame]:
    """Read a grants statement; raise `Rejected` for what is none. Its signature is for `check`, given the claim."""
    frame = wire.read(statement, Type.GRANTS, project_id)
    return wire.unpack(frame.body, _DECODER), frame


def check(fields: GrantsFields, frame: Frame, claim: Claim, granter_key: bytes | None = None) -> None:
    """Check that the session, or the granter whose identity key this is, signed; else raise `Rejected`."""
    if fields.session_id != claim.id:
        raise Rejected(Reason.SPLICED, "grants of another session")
    if fields.granter is None:
        wire.check_signers(frame, claim.verifying_key)
    elif granter_key is None:
        raise Rejected(Reason.UNKNOWN_MEMBER, f"granted by {fields.granter.hex()[:16]}")
    else:
        wire.check_signers(frame, granter_key)


def unwrap(given: Grant, claim: Claim, held: Sequence[HeldKey]) -> InboundSession:
    """Unwrap a grant for this claim with our own receiving keys.

    Raises `Rejected`: no-grant (we hold no key of that window), malformed, bad-ciphertext (wrapped for something else),
    or bad-commitment (for another secret than the id's).
    """
    if given.kind != MEMBER or len(given.enc) != ENC_SIZE or len(given.ciphertext) != WRAPPED_SIZE:
        raise Rejected(Reason.MALFORMED, f"a grant of kind {given.kind} that is not laid out as one for a member")
    keys = keypackage.held_for(held, given.window_start)
    if not keys:
        raise Rejected(Reason.NO_GRANT, f"no receiving key is held of the window from {given.window_start}")
    info = _info(
        claim.suite,
        claim.project_id,
        claim.sender.member_id,
        claim.id,
        claim.channel,
        given.recipient,
        given.window_start,
    )
    for each in keys:
        try:
            secret = primitives.hpke_unwrap(each.receiving, info, given.enc, given.ciphertext)
        except Rejected:
            if each is keys[-1]:
                raise
            continue
        return sessions.proven(claim, secret)
    raise AssertionError  # pragma: no cover  (the last key returned or raised)
