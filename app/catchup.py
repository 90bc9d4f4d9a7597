"""What the cloud knows of an authority's own deeds and its books do not: they were restored, or somebody has its key.

Only what an authority key of the root truly signed counts. What is taken over is the newest that the cloud shows; since
it may keep back what was newer still, charter versions and serials of restored books go on with a leap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealwire.app import project as projects
from sealwire.app.books import RESTORED, MemberRow
from sealwire.app.names import project_topics
from sealwire.keys import charter as charters
from sealwire.keys import credential as credentials
from sealwire.keys import identity as identities
from sealwire.keys import request as requests
from sealwire.keys import wire
from sealwire.keys.reason import Rejected
from sealwire.keys.request import Form
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealwire.app.authority import Authority
    from sealwire.app.books import Books, CharterRow
    from sealwire.app.cloudlog import CloudLog
    from sealwire.app.project import Project
    from sealwire.keys.charter import CharterFields
    from sealwire.keys.credential import Credential

LEAP: Final = 1000  # serials that may have been given, and are shown nowhere: a member takes six years for so many


@dataclass(frozen=True)
class News:
    """What the books lack."""

    charter: CharterFields | None  # the cloud's, where it is newer or says something else
    named: int  # the highest charter version that anything there names
    members: tuple[Credential, ...]  # newer ones of members, and members that the books do not know
    strangers: frozenset[bytes]  # the ids of those among them

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.charter or self.members)

    def told(self) -> list[str]:
        """Tell it, a line each."""
        lines = [] if self.charter is None else [f"charter {self.charter.version} with {_refusals(self.charter)}"]
        for each in self.members:
            who = f"{each.name} ({identities.fingerprint(each.member_id)})"
            new = "a member that the books do not know: " if each.member_id in self.strangers else ""
            lines.append(f"{new}{who}, credential {each.serial}")
        return lines


def _refusals(charter: CharterFields) -> str:
    return f"{len(charter.refusals)} refusal{'' if len(charter.refusals) == 1 else 's'}"


def adopt_roots(project: Project, log: CloudLog, note: Callable[..., None]) -> Project:
    """Put the roots that the control topic has after ours into the directory, each proven by the one before it."""
    found = _control(project, log)
    while (following := found.get(b"root/%d" % (project.root.version + 1))) is not None:
        try:
            project = projects.take_root(project, following)
        except Rejected:
            break  # anybody's bytes
        note("root", version=project.root.version)
    return project


def look(project: Project, books: Books, log: CloudLog) -> News:
    """Compare the books with the control topic."""
    newer: list[Credential] = []
    strangers: set[bytes] = set()
    charter: CharterFields | None = None
    mine = books.charter()
    named = mine.version if mine else 0
    for statement in _control(project, log).values():
        try:
            kind = wire.type_of(statement)
            if kind is Type.CREDENTIAL:
                said = credentials.peek(statement, project.id)
                read = credentials.read(statement, project.root, said.not_before)  # at its time: an end proves nothing
                named = max(named, read.charter_version)
                row = books.member(read.member_id)
                if row is None:
                    strangers.add(read.member_id)
                if row is None or _newer(read, row, project):
                    newer.append(read)
            elif kind is Type.CHARTER:
                at = charters.peek(statement, project.id).as_of
                theirs = charters.read(statement, project.root, at)
                named = max(named, theirs.version)
                if mine is None or theirs.version > mine.version or _differs(theirs, mine, project):
                    charter = theirs
        except Rejected:
            continue  # anybody's bytes
    return News(charter, named, tuple(newer), frozenset(strangers))


def _newer(read: Credential, row: MemberRow, project: Project) -> bool:
    """Tell whether it is one that the books never had. What they signed last counts, not where serials go on."""
    last = credentials.peek(row.credential, project.id).serial
    return read.serial > last or (read.serial == last and read.statement != row.credential)


def _differs(theirs: CharterFields, mine: CharterRow, project: Project) -> bool:
    """Tell whether a charter of our version says something else than ours, its date aside."""
    ours = charters.peek(mine.statement, project.id)
    names = [name for name in ours.__struct_fields__ if name != "as_of"]
    return theirs.version == ours.version and any(getattr(theirs, name) != getattr(ours, name) for name in names)


def take(authority: Authority, news: News, log: CloudLog, now: int, *, least: int = 0) -> int:
    """Take over what the cloud knows, and go on behind all of it; gives the number of the next charter, signed here.

    ``least`` is a charter version that somebody remembers. Call it after a person confirmed.
    """
    books, project = authority.books, authority.project
    asked = _asked(project, books, log)
    with books.transaction():
        for credential in news.members:
            _enter(books, credential)
            if credential.member_id in news.strangers:
                _spend(books, credential, asked.get(credential.member_id), now)
        for row in books.members():
            books.enter(replace(row, serial=row.serial + LEAP))
    present = authority.charters.present
    content = present if news.charter is None else _fields(news.charter)  # signing keeps our own refusals
    after = max(news.named, least, present.version) + 1
    signed = authority.charters.sign(
        content, f"after restored books: goes on from charter {after - 1}", now, least=after
    )
    books.forget(RESTORED)
    return signed.version


def _fields(charter: CharterFields) -> CharterFields:
    return charters.CharterFields(*(getattr(charter, name) for name in charters.CharterFields.__struct_fields__))


def _enter(books: Books, credential: Credential) -> None:
    row = books.member(credential.member_id)
    others = {each.name for each in books.members() if each.member_id != credential.member_id}
    twice = f" ({identities.fingerprint(credential.member_id)})" if credential.name in others else ""
    books.enter(
        MemberRow(
            credential.member_id,
            credential.name + twice,
            credential.site,
            credential.site == credential.name if row is None else row.owns_site,
            credential.identity_key,
            credential.admitted,
            max(credential.not_before, row.asked_at if row else 0),
            credential.serial,
            credential.statement,
        )
    )


def _spend(books: Books, credential: Credential, asked: tuple[bytes, bytes] | None, now: int) -> None:
    """Spend the ticket of a member that the books did not know: the one that it showed, else all that could be it."""
    if asked is not None:
        books.spend(asked[0], credential.member_id, asked[1], now)
        return
    attributes = dict(credential.attributes)
    for row in books.tickets():
        if row.spent_by is None and {"site": credential.name, **row.attributes} == attributes:
            books.spend(row.ticket_id, credential.member_id, b"", now)


def _asked(project: Project, books: Books, log: CloudLog) -> Mapping[bytes, tuple[bytes, bytes]]:
    """Find by which tickets members asked, with the request, as far as the requests topic still has it."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for statement in _values(log, project_topics(project.name)[2]):
        try:
            request = requests.read(statement, project.id)
            row = books.ticket(request.ticket_id or b"") if request.form is Form.TICKET else None
            if row is not None:
                request.check_ticket(row.public)
                found.setdefault(request.member_id, (row.ticket_id, statement))
        except Rejected:
            continue
    return found


def _control(project: Project, log: CloudLog) -> dict[bytes | None, bytes]:
    return {record.record_key: record.value for record in log.read_whole(project_topics(project.name)[0])}


def _values(log: CloudLog, topic: str) -> Iterable[bytes]:
    return (record.value for record in log.follow(topic, to_end=True) if record is not None)
