"""The authority: judges requests by its books, spends tickets, signs credentials, and answers over Kafka or by hand.

Killed anywhere it is right: what is decided is in the books before anybody hears of it, an answer that was not heard is
given again, byte for byte, and a credential that the control topic lacks is published again at the next start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealwire.app.books import MemberRow, TicketRow
from sealwire.app.names import identity_problem, plain_problem
from sealwire.keys import credential as credentials
from sealwire.keys import identity as identities
from sealwire.keys import request as requests
from sealwire.keys import ticket as tickets
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.request import Form, Request
from sealwire.keys.ticket import Admit, Refuse, Same, TicketEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealwire.app.books import Books
    from sealwire.app.project import Project
    from sealwire.keys.primitives import Random


@dataclass(frozen=True)
class Verdict:
    """What was decided of one request: the answer's bytes, the member as it now is, and words for the log.

    ``proven`` tells whether the request showed a ticket or member key of ours: only then is answering it owed.
    """

    request_digest: bytes
    answer: bytes
    member: MemberRow | None
    words: str
    proven: bool


class Authority:
    """The one judge of a project, over its books. Sans-Kafka: `office.py` carries its answers."""

    def __init__(self, project: Project, books: Books) -> None:
        """Take the project and its open books; reads the authority's key, or raises `Failure`."""
        self.project = project
        self.books = books
        self._signing = project.authority_key()

    def make_ticket(self, attributes: Mapping[str, str], life: int, bootstrap: str, random: Random, now: int) -> bytes:
        """Make a ticket that ends in ``life`` ms, enter it into the books, and give its file's text."""
        ticket, text = tickets.make(self.project.root.statement, attributes, now + life, bootstrap, random)
        row = TicketRow(ticket.ticket_id, ticket.signing.public, dict(ticket.attributes), now, ticket.expiry)
        with self.books.transaction():
            self.books.add_ticket(row)
        return text

    def decide(self, request_bytes: bytes, now: int) -> Verdict:
        """Decide one request. What is admitted is in the books when this returns; raises `Rejected` for no request."""
        request = requests.read(request_bytes, self.project.id)
        with self.books.transaction():
            answer = self.books.answer(request.digest)
            if answer is not None:
                member = self.books.member(request.member_id)
                return Verdict(
                    request.digest, answer, member, f"{request.name}: answered again, as before", proven=True
                )
            if request.form is Form.TICKET:
                return self._by_ticket(request, request_bytes, now)
            return self._by_member(request, now)

    def _by_ticket(self, request: Request, request_bytes: bytes, now: int) -> Verdict:
        row = self.books.ticket(request.ticket_id or b"")
        entry = TicketEntry(self.project.id, row.ticket_id, row.public, row.expires, row.spent_by) if row else None
        match tickets.judge(request_bytes, entry, now):
            case Refuse(reason, detail, winner):
                return self._refuse(request, reason, detail, now, winner)
            case Same():
                member = self.books.member(request.member_id)
                if member is None or member.name != request.name:
                    detail = f"this identity was admitted as {member.name}" if member else "no member"
                    return self._refuse(request, Reason.CHANGED_REQUEST, detail, now, proven=True)
                return self._grant(request, member, now)
            case Admit():
                return self._admit(request, request_bytes, row or TicketRow(b"", b"", {}, 0, 0), now)

    def _admit(self, request: Request, request_bytes: bytes, row: TicketRow, now: int) -> Verdict:
        named_site = row.attributes.get("site")
        site = named_site or request.name
        why = identity_problem(request.name) or (plain_problem(site) and f"a site's name {plain_problem(site)}")
        why = why or self.books.taken(request.member_id, request.name, named_site)
        if why:
            return self._refuse(request, Reason.NAME_TAKEN, why, now, proven=True)
        if self.books.member(request.member_id):
            detail = "this identity is a member already, by another ticket"
            return self._refuse(request, Reason.CHANGED_REQUEST, detail, now, proven=True)
        if not self.books.spend(row.ticket_id, request.member_id, request_bytes, now):
            return self._refuse(request, Reason.SPENT, "spent by another identity", now, row.spent_by)
        attributes = {**row.attributes, "site": site}
        return self._grant(request, self._member(request, attributes, now, owns_site=named_site is None), now)

    def _by_member(self, request: Request, now: int) -> Verdict:
        """Renew a credential, or sign one for the member's next key."""
        former = self.books.member(request.member_id)
        if former is None:
            return self._refuse(request, Reason.UNKNOWN_MEMBER, "no such member", now)
        known = credentials.peek(former.credential, self.project.id)
        try:
            request.check_member(known, now, former.asked_at)
        except Rejected as refusal:
            proven = refusal.reason in (Reason.AHEAD, Reason.OUTDATED)
            return self._refuse(request, refusal.reason, refusal.detail, now, proven=proven)
        member = self._member(request, dict(known.attributes), now, owns_site=former.owns_site, former=former)
        return self._grant(request, member, now)

    def _member(
        self,
        request: Request,
        attributes: Mapping[str, str],
        now: int,
        *,
        owns_site: bool,
        former: MemberRow | None = None,
    ) -> MemberRow:
        serial = former.serial + 1 if former else 1
        admitted = former.admitted if former else now
        credential = credentials.make(
            self.project.root,
            self._signing,
            member_id=request.member_id,
            identity_key=request.identity_key,
            name=request.name,
            attributes=attributes,
            serial=serial,
            now=now,
            admitted=admitted,
        )
        return MemberRow(
            request.member_id,
            request.name,
            attributes["site"],
            owns_site,
            request.identity_key,
            admitted,
            request.made_at,
            serial,
            credential,
        )

    def _grant(self, request: Request, member: MemberRow, now: int) -> Verdict:
        answer = requests.answer(self.project.root, self._signing, request.digest, now, credential=member.credential)
        self.books.enter(member)
        self.books.keep_answer(request.digest, member.member_id, answer)
        print_ = identities.fingerprint(member.member_id)
        words = f"{member.name}: admitted at site {member.site} as {print_}, credential {member.serial}"
        return Verdict(request.digest, answer, member, words, proven=True)

    def _refuse(
        self,
        request: Request,
        reason: Reason,
        detail: str,
        now: int,
        winner: bytes | None = None,
        *,
        proven: bool = False,
    ) -> Verdict:
        answer = requests.answer(self.project.root, self._signing, request.digest, now, reason=reason, winner=winner)
        words = f"{request.name} ({identities.fingerprint(request.member_id)}): refused, {reason}: {detail}"
        proven = proven or reason in (Reason.SPENT, Reason.EXPIRED)
        return Verdict(request.digest, answer, None, words, proven)
