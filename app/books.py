"""The authority's books: which tickets are out, who spent them, who is a member, what charters were signed.

One SQLite file, the authority's only truth. Every change is one transaction that is on the disk before anybody hears of
it (WAL, synchronous=FULL), so a ticket is spent once whatever is killed in between.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from sealwire.app.booktables import VERSION, bring_up
from sealwire.app.faults import CONFIGURATION, Failure

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping
    from pathlib import Path


RESTORED: Final = "restored"  # the setting of books that were restored, and not compared with the cloud since


@dataclass(frozen=True)
class TicketRow:
    """A ticket that was made: all but its seed. Times are ms since 1970 UTC."""

    ticket_id: bytes
    public: bytes
    attributes: Mapping[str, str]
    made_at: int
    expires: int
    spent_by: bytes | None = None  # member id
    spent_at: int | None = None
    request: bytes | None = None  # the request that won, as it came


@dataclass(frozen=True)
class MemberRow:
    """A member as it was last admitted or renewed."""

    member_id: bytes
    name: str
    site: str
    owns_site: bool  # the site is the member's own, since its ticket named none: nobody else may have it
    identity_public: bytes
    admitted: int
    asked_at: int
    serial: int
    credential: bytes


@dataclass(frozen=True)
class CharterRow:
    """A charter as it was signed, with its newest `as_of` (ms)."""

    version: int
    signed_at: int
    as_of: int
    source: str  # the YAML that it came from
    words: str  # what was changed by it
    statement: bytes


class Books:
    """The open books of one project. Not for several threads; other processes wait their turn."""

    def __init__(self, file: Path, *, create: bool = False) -> None:
        """Open them; make them first if told to. Raises `Failure` when missing, of another kind, or damaged."""
        self.file = file
        if not create and not file.exists():
            raise Failure(
                f"There are no books {file}.",
                "Name the directory that `sealwire project create` made: --directory DIR.",
                code=CONFIGURATION,
            )
        try:
            # Transactions are begun and ended here alone, as the one place that must not be wrong about them.
            self._base = sqlite3.connect(file, timeout=30, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = FULL")
            self._base.execute("PRAGMA foreign_keys = ON")
            version = self._base.execute("PRAGMA user_version").fetchone()[0]
            if create or version > 0:
                version = bring_up(self._base, version)
        except sqlite3.DatabaseError as error:
            raise Failure(
                f"The books {file} cannot be opened: {error}.",
                "Is it the right file, on a disk with room, and owned by this user? If damaged, restore them, then "
                "revoke by hand what was admitted since: restored books do not know it.",
            ) from None
        if version != VERSION:
            raise Failure(f"The books {file} have version {version}; this sealwire knows {VERSION}.")

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do several things at once or not at all; others wait. On the disk when the block is left.

        Raises `Failure` when the disk is full, another process holds the books for half a minute, or they are damaged;
        nothing is done.
        """
        try:
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise
        except sqlite3.IntegrityError:
            raise  # what was asked for contradicts them: no fault of the file
        except sqlite3.DatabaseError as error:
            raise Failure(
                f"The books {self.file} could not be written: {error}. Nothing was changed.",
                "Make room on their disk; if another process holds them, let it end. If they are damaged: restore a "
                "backup (sealwire authority restore).",
            ) from None

    def setting(self, name: str) -> str | None:
        """Give what was noted under a name."""
        row = self._base.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, name: str, value: str) -> None:
        """Note a value under a name, in place of an older one."""
        self._base.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    def forget(self, name: str) -> None:
        """Forget what was noted under a name."""
        self._base.execute("DELETE FROM setting WHERE name = ?", (name,))

    def snapshot(self) -> bytes:
        """Give the whole file as it is at one moment, while others go on writing."""
        aside = sqlite3.connect(":memory:")
        try:
            self._base.backup(aside)
            return aside.serialize()
        finally:
            aside.close()

    def add_ticket(self, row: TicketRow) -> None:
        """Enter a ticket that is about to be handed out."""
        attributes = msgspec.json.encode(row.attributes).decode()
        self._base.execute(
            "INSERT INTO ticket (ticket_id, public, attributes, site, made_at, expires) VALUES (?, ?, ?, ?, ?, ?)",
            (row.ticket_id, row.public, attributes, row.attributes.get("site"), row.made_at, row.expires),
        )

    def ticket(self, ticket_id: bytes) -> TicketRow | None:
        """Give a ticket by its id."""
        row = self._base.execute(f"{_TICKET} WHERE ticket_id = ?", (ticket_id,)).fetchone()
        return None if row is None else _ticket(row)

    def tickets(self) -> list[TicketRow]:
        """Give all tickets, in the order in which they were made."""
        return [_ticket(row) for row in self._base.execute(f"{_TICKET} ORDER BY made_at")]

    def spend(self, ticket_id: bytes, member_id: bytes, request: bytes, now: int) -> bool:
        """Spend a ticket if nobody has; False where somebody has. The compare and the set are one statement."""
        done = self._base.execute(
            "UPDATE ticket SET spent_by = ?, spent_at = ?, request = ? WHERE ticket_id = ? AND spent_by IS NULL",
            (member_id, now, request, ticket_id),
        )
        return done.rowcount == 1

    def member(self, member_id: bytes) -> MemberRow | None:
        """Give a member by its id."""
        row = self._base.execute(f"{_MEMBER} WHERE member_id = ?", (member_id,)).fetchone()
        return None if row is None else _member(row)

    def members(self) -> list[MemberRow]:
        """Give all members, in the order of their names."""
        return [_member(row) for row in self._base.execute(f"{_MEMBER} ORDER BY name")]

    def enter(self, row: MemberRow) -> None:
        """Enter a member, or what is new about it."""
        self._base.execute(
            "INSERT INTO member VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (member_id) DO UPDATE SET name = excluded.name, site = excluded.site,"
            " owns_site = excluded.owns_site, identity_public = excluded.identity_public,"
            " admitted = excluded.admitted, asked_at = excluded.asked_at, serial = excluded.serial,"
            " credential = excluded.credential",
            (
                row.member_id,
                row.name,
                row.site,
                int(row.owns_site),
                row.identity_public,
                row.admitted,
                row.asked_at,
                row.serial,
                row.credential,
            ),
        )

    def taken(self, member_id: bytes, name: str, site: str | None, gone: Container[bytes] = ()) -> str:
        """Say why a member cannot have this name, at this site (None: a site of its own); empty when it can.

        Names and sites share one space: a name that is another's name or site would let one be taken for the other.
        A site of their own that members had who are ``gone`` (refused) may be given to another.
        """
        others = self._base.execute(
            "SELECT name, site, owns_site, member_id FROM member"
            " WHERE member_id <> :id AND (name IN (:name, :site) OR site IN (:name, :site))",
            {"id": member_id, "name": name, "site": site or name},
        ).fetchall()
        for other, its_site, owns, other_id in others:
            if other == name:
                return f"the name {name} is another member's"
            if its_site == name:
                return f"the name {name} is the site of member {other}"
            if site is not None and owns and its_site == site and other_id not in gone:
                return f"the site {site} is member {other}'s own"
            if other == site != its_site:
                return f"the site {site} is the name of another member"
        if site != name and self._base.execute("SELECT 1 FROM ticket WHERE site = ?", (name,)).fetchone():
            return f"the name {name} is a site"
        return ""

    def answer(self, request_digest: bytes) -> bytes | None:
        """Give the answer that admitted the maker of this very request."""
        row = self._base.execute("SELECT answer FROM answer WHERE request_digest = ?", (request_digest,)).fetchone()
        return None if row is None else bytes(row[0])

    def keep_answer(self, request_digest: bytes, member_id: bytes, answer: bytes) -> None:
        """Keep an answer, to give the same bytes again."""
        self._base.execute("INSERT OR REPLACE INTO answer VALUES (?, ?, ?)", (request_digest, member_id, answer))

    def forget_answers(self, member_id: bytes) -> None:
        """Forget what a member was answered, so that it is answered anew."""
        self._base.execute("DELETE FROM answer WHERE member_id = ?", (member_id,))

    def charter(self) -> CharterRow | None:
        """Give the newest charter; None before the first."""
        rows = self.charters(1)
        return rows[0] if rows else None

    def charters(self, most: int = -1) -> list[CharterRow]:
        """Give the charters, the newest first."""
        found = self._base.execute(
            "SELECT version, signed_at, as_of, source, words, statement FROM charter ORDER BY version DESC LIMIT ?",
            (most,),
        )
        return [CharterRow(*row) for row in found]

    def keep_charter(self, row: CharterRow) -> None:
        """Enter a charter, or the newer statement of the same version."""
        values = (row.version, row.signed_at, row.as_of, row.source, row.words, row.statement)
        self._base.execute("INSERT OR REPLACE INTO charter VALUES (?, ?, ?, ?, ?, ?)", values)


_TICKET: Final = "SELECT ticket_id, public, attributes, made_at, expires, spent_by, spent_at, request FROM ticket"
_MEMBER: Final = (
    "SELECT member_id, name, site, owns_site, identity_public, admitted, asked_at, serial, credential FROM member"
)


def _member(row: tuple[bytes, str, str, int, bytes, int, int, int, bytes]) -> MemberRow:
    return MemberRow(row[0], row[1], row[2], bool(row[3]), *row[4:])


def _ticket(row: tuple[bytes, bytes, str, int, int, bytes | None, int | None, bytes | None]) -> TicketRow:
    return TicketRow(row[0], row[1], msgspec.json.decode(row[2], type=dict), *row[3:])
