"""Requests to the authority, and its answers.

    request fields = [ticket id or nil, name, member id, identity key, former key or nil, made_at]
    answer fields  = [digest of the request, credential (bytes) or nil, Reason or nil, winner's fingerprint or nil,
                      made_at]

A request has three forms. By ticket: a ticket id, no former key, signed by the ticket key and the identity; the member
id is the SHA-256 of the identity key. Renewal: neither, signed by the identity. Replacement of the identity key: no
ticket id, a former key, signed by the former key and the identity. A ticket id and a former key together are malformed.

An answer holds either a credential or a Reason; a winner's fingerprint (the member id that spent the ticket) only
beside a Reason. It is signed by the authority.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import credential as credentials
from sealwire.keys import identity as identities
from sealwire.keys import primitives, wire
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import CAPS, SKEW, Fields, Frame, Type

if TYPE_CHECKING:
    from sealwire.keys.credential import Credential, CredentialFields
    from sealwire.keys.identity import Identity
    from sealwire.keys.primitives import SigningKey
    from sealwire.keys.root import Root
    from sealwire.keys.ticket import Ticket


class Form(Enum):
    """What a request asks for."""

    TICKET = auto()
    RENEWAL = auto()
    REPLACEMENT = auto()


class RequestFields(Fields, frozen=True):
    """What a request says."""

    ticket_id: wire.Id16 | None
    name: wire.Name
    member_id: wire.Id
    identity_key: wire.PublicKey
    former_key: wire.PublicKey | None
    made_at: wire.Time

    @property
    def form(self) -> Form:
        """Which of the three it is."""
        if self.ticket_id is not None:
            return Form.TICKET
        return Form.RENEWAL if self.former_key is None else Form.REPLACEMENT


class Request(RequestFields, frozen=True):
    """A request whose form was checked, and none of its signatures: who must have signed depends on the books."""

    digest: bytes
    frame: Frame

    def check_ticket(self, ticket_public: bytes) -> None:
        """Check the signatures of a request by ticket, or raise `Rejected`."""
        if self.form is not Form.TICKET:
            raise Rejected(Reason.MALFORMED, "not a request by ticket")
        wire.check_signers(self.frame, ticket_public, self.identity_key)

    def check_member(self, known: CredentialFields, now: int, asked_at: int = 0) -> None:
        """Check a renewal or a replacement by the member's newest credential, or raise `Rejected`.

        It must be dated after `asked_at` (ms), the member's last request that was answered, and not ahead of `now`.
        """
        if self.form is Form.TICKET:
            raise Rejected(Reason.MALFORMED, "a request by ticket")
        if self.member_id != known.member_id or self.name != known.name:
            raise Rejected(Reason.CHANGED_REQUEST, "of another member or name than the credential")
        if self.form is Form.RENEWAL:
            signers: tuple[bytes, ...] = (self.identity_key,)
            present = self.identity_key
        else:
            signers = (self.former_key or b"", self.identity_key)
            present = self.former_key or b""
        if present != known.identity_key:
            raise Rejected(Reason.UNKNOWN_SIGNER, "not by the identity key that the credential names")
        wire.check_signers(self.frame, *signers)
        if self.made_at > now + SKEW:
            raise Rejected(Reason.AHEAD, f"a request of {self.made_at}, while the authority's clock says {now}")
        if self.made_at <= asked_at:
            raise Rejected(Reason.OUTDATED, f"a request of {self.made_at}, after one of {asked_at}")


class AnswerFields(Fields, frozen=True):
    """What an answer says."""

    request: wire.Id
    credential: Annotated[bytes, msgspec.Meta(max_length=CAPS[Type.CREDENTIAL])] | None
    reason: Annotated[str, msgspec.Meta(pattern=r"\A[a-z-]{1,64}\Z")] | None
    winner: wire.Id | None
    made_at: wire.Time


_REQUEST: Final = msgspec.msgpack.Decoder(RequestFields)
_ANSWER: Final = msgspec.msgpack.Decoder(AnswerFields)


def ask(ticket: Ticket, identity: Identity, name: str, now: int) -> bytes:
    """Ask to be admitted by ticket, under a name that must be the project's only one."""
    fields = RequestFields(ticket.ticket_id, _named(name), identity.member_id, identity.public, None, now)
    return wire.write(Type.REQUEST, ticket.project_id, fields, [ticket.signing, identity.signing])


def ask_renewal(identity: Identity, credential: Credential, now: int) -> bytes:
    """Ask for the next credential of the same key."""
    fields = RequestFields(None, credential.name, identity.member_id, identity.public, None, now)
    return wire.write(Type.REQUEST, credential.project_id, fields, [identity.signing])


def ask_replacement(former: Identity, identity: Identity, credential: Credential, now: int) -> bytes:
    """Ask for a credential of the member's next key (`identity.replace`)."""
    if former.member_id != identity.member_id:
        raise Misuse("a replacement is of the same member")
    fields = RequestFields(None, credential.name, identity.member_id, identity.public, former.public, now)
    return wire.write(Type.REQUEST, credential.project_id, fields, [former.signing, identity.signing])


def read(statement: bytes, project_id: bytes) -> Request:
    """Read a request's fields and check its form, or raise `Rejected`; its signatures are for the two checks."""
    frame = wire.read(statement, Type.REQUEST, project_id)
    fields = wire.unpack(frame.body, _REQUEST)
    if fields.ticket_id is not None:
        if fields.former_key is not None:
            raise Rejected(Reason.MALFORMED, "a request by ticket with a former key")
        if fields.member_id != primitives.sha256(fields.identity_key):
            raise Rejected(Reason.MALFORMED, "a member id that is not of the identity key")
    elif fields.former_key == fields.identity_key:
        raise Rejected(Reason.MALFORMED, "a key that replaces itself")
    return Request(**msgspec.structs.asdict(fields), digest=frame.digest, frame=frame)


def answer(
    root: Root,
    authority: SigningKey,
    request_digest: bytes,
    now: int,
    *,
    credential: bytes | None = None,
    reason: Reason | None = None,
    winner: bytes | None = None,
) -> bytes:
    """Make the authority's answer: a credential, or a Reason with the winner's member id where there is one."""
    fields = AnswerFields(request_digest, credential, None if reason is None else reason.value, winner, now)
    try:
        _check_answer(fields)
    except Rejected as refusal:
        raise Misuse(refusal.detail) from None
    return wire.write(Type.ANSWER, root.project_id, fields, [authority])


def peek_answer(statement: bytes, project_id: bytes) -> AnswerFields:
    """Read what an answer says, unproven, to find the one to a request; raise `Rejected` for what is none."""
    return wire.unpack(wire.read(statement, Type.ANSWER, project_id).body, _ANSWER)


def read_answer(statement: bytes, request_bytes: bytes, root: Root, now: int) -> Credential | Rejected:
    """Read the answer to one's own request: the credential, or as a value the authority's refusal.

    Raises `Rejected` for what is no answer of the authority to this request: then go on waiting. A reason that this
    release does not know is given as not-authorised, its word in the detail.
    """
    frame = wire.read(statement, Type.ANSWER, root.project_id)
    fields = wire.unpack(frame.body, _ANSWER)
    _check_answer(fields)
    request = read(request_bytes, root.project_id)
    if fields.request != request.digest:
        raise Rejected(Reason.SPLICED, "the answer to another request")
    if fields.made_at > now + SKEW:
        raise Rejected(Reason.AHEAD, f"an answer of {fields.made_at}, while our clock says {now}")
    root.check_authority(frame, fields.made_at, now)
    if fields.credential is None:
        return _refusal(fields.reason or "", fields.winner)
    credential = credentials.read(fields.credential, root, now)
    if (credential.member_id, credential.identity_key) != (request.member_id, request.identity_key):
        raise Rejected(Reason.SPLICED, "the credential of another member or key")
    return credential


def _refusal(word: str, winner: bytes | None) -> Rejected:
    detail = "" if winner is None else f"the winner is {identities.fingerprint(winner)}"
    try:
        return Rejected(Reason(word), detail)
    except ValueError:
        return Rejected(Reason.NOT_AUTHORISED, f"{word} {detail}".strip())


def _check_answer(fields: AnswerFields) -> None:
    if (fields.credential is None) == (fields.reason is None):
        raise Rejected(Reason.MALFORMED, "an answer has either a credential or a reason")
    if fields.winner is not None and fields.reason is None:
        raise Rejected(Reason.MALFORMED, "a winner beside a credential")


def _named(name: str) -> str:
    if not wire.good_name(name):
        raise Misuse(f"no member can have the name {name!r}")
    return name
