"""The authority: judges requests by its books, spends tickets, signs credentials, and answers over Kafka or by hand.

Killed anywhere it is right: what is decided is in the books before anybody hears of it, an answer that was not heard is
given again, byte for byte, and a credential that the control topic lacks is published again at the next start.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sealwire.app import project as projects
from sealwire.app.books import RESTORED, MemberRow, TicketRow
from sealwire.app.chartering import Charters
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.names import identity_problem, plain_problem
from sealwire.app.trail import FILE, Trail
from sealwire.keys import credential as credentials
from sealwire.keys import identity as identities
from sealwire.keys import request as requests
from sealwire.keys import ticket as tickets
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.request import Form, Request
from sealwire.keys.ticket import Admit, Refuse, Same, TicketEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from sealwire.app.books import Books
    from sealwire.app.project import Project
    from sealwire.keys.credential import CredentialFields
    from sealwire.keys.primitives import Random


@dataclass(frozen=True)
class Verdict:
    """What was decided of one request: the answer's bytes, the member as it now is, and words for the log.

    ``proven`` tells whether the request showed a ticket or member key of ours: only then is answering it owed.
    ``event`` is what it is in the audit trail: admitted, renewed, refused; empty where it is an old answer once more.
    """

    request_digest: bytes
    answer: bytes
    member: MemberRow | None
    words: str
    proven: bool
    event: str = ""


class Authority:
    """The one judge of a project, over its books. Sans-Kafka: `office.py` carries its answers."""

    def __init__(self, project: Project, books: Books, note: Callable[..., None] = lambda *_, **__: None) -> None:
        """Take the project, its open books, and what hears of trust events; reads the key, or raises `Failure`."""
        self.project = project
        self.books = books
        self.charters = Charters(project, books, note)
        self.note = note
        self._signing = project.authority_key()

    def under(self, project: Project) -> Authority:
        """Give the same authority under another root, by the key that it names; raises `Failure`."""
        return Authority(project, self.books, self.note)

    def make_ticket(self, attributes: Mapping[str, str], life: int, bootstrap: str, random: Random, now: int) -> bytes:
        """Make a ticket that ends in ``life`` ms, enter it into the books, and give its file's text."""
        ticket, text = tickets.make(self.project.root.statement, attributes, now + life, bootstrap, random)
        row = TicketRow(ticket.ticket_id, ticket.signing.public, dict(ticket.attributes), now, ticket.expiry)
        with self.books.transaction():
            self.books.add_ticket(row)
        return text

    def proves(self, request: Request, now: int) -> bool:
        """Tell whether a request is truly signed with a ticket or by a member of ours: only such are owed an answer."""
        try:
            if request.form is Form.TICKET:
                row = self.books.ticket(request.ticket_id or b"")
                if row is None:
                    return False
                request.check_ticket(row.public)
            else:
                member = self.books.member(request.member_id)
                if member is None:
                    return False
                request.check_member(credentials.peek(member.credential, self.project.id), now)
        except Rejected as refusal:
            return refusal.reason is Reason.AHEAD
        return True

    def sign_anew(self, now: int) -> list[MemberRow]:
        """Sign anew the credentials that the root no longer bears: of a distrusted key, or one that it names no more.

        Those that ended, or of members that the charter refuses, are left. Gives the members as they are now.
        """
        signed = []
        with self.books.transaction():
            for member in self.books.members():
                known = credentials.peek(member.credential, self.project.id)
                if self._bears(member, known) or known.not_after < now or self.charters.refuses(member.member_id):
                    continue
                credential = self._credential(member, known.name, known.attributes, now)
                signed.append(replace(member, serial=member.serial + 1, credential=credential))
                self.books.enter(signed[-1])
                self.books.forget_answers(member.member_id)  # of the same key: nobody believes them any more
        for row in signed:
            words = f"credential {row.serial}: the root bore the one before no more"
            self.note("renewed", name=row.name, member_id=row.member_id.hex(), words=words)
        return signed

    def _bears(self, member: MemberRow, known: CredentialFields) -> bool:
        try:
            credentials.read(member.credential, self.project.root, known.not_before)
        except Rejected:
            return False
        return True

    def decide(self, request_bytes: bytes, now: int) -> Verdict:
        """Decide one request. What is admitted is in the books when this returns; raises `Rejected` for no request."""
        request = requests.read(request_bytes, self.project.id)
        with self.books.transaction():
            verdict = self._decide(request, request_bytes, now)
        if verdict.event and verdict.proven:  # the disk has it; what strangers try is bounded nowhere, and not noted
            member_id = request.member_id.hex()
            self.note(verdict.event, name=request.name, member_id=member_id, words=verdict.words)
        return verdict

    def _decide(self, request: Request, request_bytes: bytes, now: int) -> Verdict:
        answer = self.books.answer(request.digest)
        if answer is not None:
            member = self.books.member(request.member_id)
            return Verdict(request.digest, answer, member, f"{request.name}: answered again, as before", proven=True)
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
                name = credentials.peek(member.credential, self.project.id).name if member else ""
                if member is None or name != request.name:
                    detail = f"this identity was admitted as {name}" if member else "no member"
                    return self._refuse(request, Reason.CHANGED_REQUEST, detail, now, proven=True)
                if self.charters.refuses(member.member_id):
                    return self._refuse_member(request, member, now)
                return self._grant(request, member, now, "", "admitted again, as before")
            case Admit():
                return self._admit(request, request_bytes, row or TicketRow(b"", b"", {}, 0, 0), now)

    def _admit(self, request: Request, request_bytes: bytes, row: TicketRow, now: int) -> Verdict:
        named_site = row.attributes.get("site")
        site = named_site or request.name
        why = identity_problem(request.name) or (plain_problem(site) and f"a site's name {plain_problem(site)}")
        gone = {refusal.member_id for refusal in self.charters.present.refusals}
        why = why or self.books.taken(request.member_id, request.name, named_site, gone)
        if why:
            return self._refuse(request, Reason.NAME_TAKEN, why, now, proven=True)
        if self.books.member(request.member_id):
            detail = "this identity is a member already, by another ticket"
            return self._refuse(request, Reason.CHANGED_REQUEST, detail, now, proven=True)
        if not self.books.spend(row.ticket_id, request.member_id, request_bytes, now):
            return self._refuse(request, Reason.SPENT, "spent by another identity", now, row.spent_by)
        attributes = {**row.attributes, "site": site}
        member = self._member(request, attributes, now, owns_site=named_site is None)
        return self._grant(request, member, now, "admitted")

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
        if self.charters.refuses(former.member_id):
            return self._refuse_member(request, former, now)
        member = self._member(request, dict(known.attributes), now, owns_site=former.owns_site, former=former)
        replaced = ", for another identity key" if request.form is Form.REPLACEMENT else ""
        return self._grant(request, member, now, "renewed", f"renewed{replaced}")

    def _refuse_member(self, request: Request, member: MemberRow, now: int) -> Verdict:
        why = next((row.why for row in self.charters.present.refusals if row.member_id == member.member_id), "")
        return self._refuse(request, Reason.REFUSED_MEMBER, f"the charter refuses it: {why}", now, proven=True)

    def _member(
        self,
        request: Request,
        attributes: Mapping[str, str],
        now: int,
        *,
        owns_site: bool,
        former: MemberRow | None = None,
    ) -> MemberRow:
        member = MemberRow(
            request.member_id,
            former.name if former else request.name,  # of two that bear one name, after a restore, the books add to one
            attributes["site"],
            owns_site,
            request.identity_key,
            former.admitted if former else now,
            request.made_at,
            former.serial if former else 0,
            b"",
        )
        credential = self._credential(member, request.name, tuple(attributes.items()), now)
        return replace(member, serial=member.serial + 1, credential=credential)

    def _credential(self, member: MemberRow, name: str, attributes: Iterable[tuple[str, str]], now: int) -> bytes:
        """Sign a member's next credential. It carries the charter's version of its time."""
        return credentials.make(
            self.project.root,
            self._signing,
            member_id=member.member_id,
            identity_key=member.identity_public,
            name=name,
            attributes=dict(attributes),
            serial=member.serial + 1,
            now=now,
            admitted=member.admitted,
            charter_version=self.charters.version,
        )

    def _grant(self, request: Request, member: MemberRow, now: int, event: str, what: str = "admitted") -> Verdict:
        answer = requests.answer(self.project.root, self._signing, request.digest, now, credential=member.credential)
        self.books.enter(member)
        self.books.keep_answer(request.digest, member.member_id, answer)
        print_ = identities.fingerprint(member.member_id)
        words = f"{member.name}: {what} at site {member.site} as {print_}, credential {member.serial}"
        return Verdict(request.digest, answer, member, words, proven=True, event=event)

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
        return Verdict(request.digest, answer, None, words, proven, "refused")


@contextmanager
def opened(directory: Path, *, restored: bool = False) -> Iterator[Authority]:
    """Open the authority of a project directory, its books and its trail, for a block. Raises `Failure`.

    Books that were ``restored``, and not compared with the cloud since, are opened only where that is said.
    """
    project = projects.open_project(directory)
    books = project.books()
    trail = Trail(directory / FILE)
    try:
        if books.setting(RESTORED) and not restored:
            raise Failure(
                f"The books in {directory} were restored, and may lack what was decided since.",
                "First: sealwire authority catch-up",
                code=CONFIGURATION,
            )
        yield Authority(project, books, trail.note)
    finally:
        books.close()
        trail.settle()
