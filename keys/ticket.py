"""The ticket: a one-time enrolment secret, as a file; and the judgement over a request that was made with one.

    fields = [project name, root version, root digest, ticket id (16 B), seed, attributes [[name, value]], expiry,
              cloud bootstrap]

The file holds text: a BEGIN line, lines of base64, an END line. In base64 stands a frame of the ticket's type, which
carries the project id and no signature, followed by a checksum: SHA-256 over label | frame. It guards against accidents
alone (a ticket is as secret and as true as the way it came), and tells a cut file from a foreign one.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import primitives, wire
from sealwire.keys import request as requests
from sealwire.keys import root as roots
from sealwire.keys.primitives import SEED_SIZE, Random, SigningKey
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import LABELS, SKEW, Fields, Type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.keys.request import Request
    from sealwire.keys.root import Root

BEGIN: Final = b"-----BEGIN SEALWIRE TICKET-----"
END: Final = b"-----END SEALWIRE TICKET-----"
FILE_CAP: Final = 32 * 1024
_CHECKSUM: Final = 32
_LINE: Final = 64

Bootstrap = Annotated[str, msgspec.Meta(max_length=2048)]


class TicketFields(Fields, frozen=True):
    """What a ticket says."""

    project_name: wire.Name
    root_version: wire.Serial
    root_digest: wire.Id
    ticket_id: wire.Id16
    seed: wire.Id
    attributes: wire.Attributes
    expiry: wire.Time
    cloud_bootstrap: Bootstrap


class Ticket(TicketFields, frozen=True, dict=True):
    """A ticket; whoever holds it can enrol once. The seed is shown nowhere."""

    project_id: bytes

    @cached_property
    def signing(self) -> SigningKey:
        """The ticket's signing key; the authority keeps its public half."""
        return SigningKey.from_seed(self.seed)

    def check_root(self, statement: bytes) -> Root:
        """Read the root that this ticket pins; raise `Rejected` for any other."""
        return roots.read_pinned(statement, self.project_id, self.root_digest)

    def __repr__(self) -> str:
        """Show what may be shown."""
        return f"Ticket({self.project_name!r}, {self.ticket_id.hex()}, attributes={self.attributes!r})"


_DECODER: Final = msgspec.msgpack.Decoder(TicketFields)


def make(
    root_bytes: bytes, attributes: Mapping[str, str], expiry: int, cloud_bootstrap: str, random: Random
) -> tuple[Ticket, bytes]:
    """Make a ticket for a member with these attributes; give it and the text of its file.

    Without `site` among them, the member's name will be its site. What no reader would take is `Misuse`.
    """
    root = roots.trusted(root_bytes)
    fields = TicketFields(
        project_name=root.project_name,
        root_version=root.version,
        root_digest=root.digest,
        ticket_id=random(16),
        seed=random(SEED_SIZE),
        attributes=wire.attributes(attributes.items()),
        expiry=expiry,
        cloud_bootstrap=cloud_bootstrap,
    )
    frame = wire.write(Type.TICKET, root.project_id, fields, [])
    encoded = base64.b64encode(frame + primitives.sha256(LABELS[Type.TICKET], frame))
    lines = [encoded[at : at + _LINE] for at in range(0, len(encoded), _LINE)]
    text = b"\n".join([BEGIN, *lines, END, b""])
    try:
        return read(text), text
    except Rejected as refusal:
        raise Misuse(f"no ticket can say this: {refusal}") from None


def read(text: bytes) -> Ticket:
    """Read a ticket file; raise `Rejected`: foreign (no ticket at all), truncated (a part of one), malformed."""
    if len(text) > FILE_CAP:
        raise Rejected(Reason.TOO_LARGE, f"{len(text)} bytes; a ticket has at most {FILE_CAP}")
    lines = text.split()  # blank space of any kind, so that a file that went through an editor or a mail still reads
    begin, end = BEGIN.split(), END.split()
    if lines[: len(begin)] != begin:
        raise Rejected(Reason.FOREIGN, "does not begin as a ticket does")
    if lines[-len(end) :] != end or len(lines) < len(begin) + len(end):
        raise Rejected(Reason.TRUNCATED, "a ticket whose end is missing")
    try:
        packed = base64.b64decode(b"".join(lines[len(begin) : -len(end)]), validate=True)
    except binascii.Error:
        raise Rejected(Reason.TRUNCATED, "a ticket of which a part is missing") from None
    frame_bytes, checksum = packed[:-_CHECKSUM], packed[-_CHECKSUM:]
    if primitives.sha256(LABELS[Type.TICKET], frame_bytes) != checksum:
        raise Rejected(Reason.TRUNCATED, "a ticket that is cut or altered: its checksum does not fit")
    frame = wire.read(frame_bytes, Type.TICKET, frame_bytes[5:37])
    if frame.entries:
        raise Rejected(Reason.MALFORMED, "a signed ticket")
    fields = wire.unpack(frame.body, _DECODER)
    if not wire.rising(fields.attributes):
        raise Rejected(Reason.MALFORMED, "attributes not in rising order")
    return Ticket(**msgspec.structs.asdict(fields), project_id=frame.project_id)


@dataclass(frozen=True)
class TicketEntry:
    """What the authority's books hold of a ticket."""

    project_id: bytes
    ticket_id: bytes
    public: bytes  # the ticket key's public half
    expiry: int  # ms
    spent_by: bytes | None = None  # the member id that won it


@dataclass(frozen=True)
class Admit:
    """Spend the ticket to this member, in one compare-and-set, and admit it."""

    request: Request


@dataclass(frozen=True)
class Same:
    """Answer as before. The member has spent the ticket already."""

    request: Request


@dataclass(frozen=True)
class Refuse:
    """Refuse. `winner` is the member id that spent the ticket, where that is why."""

    reason: Reason
    detail: str
    winner: bytes | None = None


def judge(request_bytes: bytes, book: TicketEntry | None, now: int) -> Admit | Same | Refuse:
    """Judge a request made by ticket, in the order size, ticket id, signatures, then whether the ticket still counts.

    `book` is the entry of the ticket id that the request names (`request.read` tells it), None where there is none.
    Takes any bytes at all. Spending is for the caller: where its compare-and-set fails, somebody else won meanwhile,
    and the request is to be judged again by the entry as it is then.
    """
    if book is None:
        return Refuse(Reason.UNKNOWN_TICKET, "no such ticket was made here")
    try:
        request = requests.read(request_bytes, book.project_id)
        if request.ticket_id != book.ticket_id:
            return Refuse(Reason.UNKNOWN_TICKET, "not the request of this ticket")
        request.check_ticket(book.public)
    except Rejected as refusal:
        return Refuse(refusal.reason, refusal.detail)
    return _judge_proven(request, book, now)


def _judge_proven(request: Request, book: TicketEntry, now: int) -> Admit | Same | Refuse:
    if book.spent_by == request.member_id:
        return Same(request)
    if book.spent_by is not None:
        return Refuse(Reason.SPENT, "spent by another identity", book.spent_by)
    if request.made_at > now + SKEW:
        return Refuse(Reason.AHEAD, f"a request of {request.made_at}, while the authority's clock says {now}")
    if now > book.expiry:
        return Refuse(Reason.EXPIRED, f"the ticket ended at {book.expiry}")
    return Admit(request)
