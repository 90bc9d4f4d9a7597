"""The charters that an authority signs: each version is in the books before anybody hears of it, and only grows.

A new `as_of` of the same version says nothing else than the version did; all else takes the next version.
Refusals are rows that never go, and whose `since` only sinks.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec

from sealwire.app import charterfile
from sealwire.app.books import CharterRow
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.keys import charter as charters
from sealwire.keys.charter import BUILT_IN, CharterFields, Refusal
from sealwire.keys.cursor import FLOOR_ALLOWANCE
from sealwire.keys.reason import Misuse
from sealwire.keys.session import LIFE
from sealwire.keys.wire import SKEW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sealwire.app.books import Books
    from sealwire.app.project import Project

RENEW: Final = 600_000  # ms between two dates of a charter
EXCLUDE_BEFORE: Final = LIFE + SKEW + FLOOR_ALLOWANCE
"""ms before a theft down to which a thief may date what it makes and be believed: readers allow so much below their
session floor, and that is where the stolen node's last session began, a life and two clocks ago at most."""


class Charters:
    """The charters of one project, over its open books. Every method that writes is one transaction of its own."""

    def __init__(self, project: Project, books: Books, note: Callable[..., None] = lambda *_, **__: None) -> None:
        """Take the project, and what hears of each new version for the audit trail."""
        self._project = project
        self._books = books
        self._note = note

    @property
    def present(self) -> CharterFields:
        """What holds: the newest charter, or the built-in one before the first."""
        row = self._books.charter()
        return BUILT_IN if row is None else charters.peek(row.statement, self._project.id)

    @property
    def version(self) -> int:
        """The newest charter's version, 0 before the first."""
        row = self._books.charter()
        return 0 if row is None else row.version

    def refuses(self, member_id: bytes) -> bool:
        """Tell whether the charter refuses this member, from whenever on."""
        return any(row.member_id == member_id for row in self.present.refusals)

    def sign(self, fields: CharterFields, words: str, now: int, *, least: int = 0) -> CharterRow:
        """Sign what `fields` say as the next version, `least` at least; give the row of the books.

        Refusals of before that `fields` lack are kept, and those that it has later than before.
        """
        with self._books.transaction():
            row = self._sign(fields, words, now, least)
        return self._noted(row)

    def renew(self, now: int) -> CharterRow:
        """Sign the newest charter with a new date, the first one where there is none; give the row of the books.

        What else changed (the root, or a clock of ours that was ahead and is right again) takes a new version.
        """
        with self._books.transaction():
            former = self._books.charter()
            words = "the first: members may send and read everywhere" if former is None else self.outgrown(former, now)
            if former is not None and not words:
                return self._dated(former, now)
            row = self._sign(self.present, words, now)
        return self._noted(row)

    def outgrown(self, row: CharterRow, now: int) -> str:
        """Say why a charter cannot be given a new date alone; empty where it can."""
        if charters.peek(row.statement, self._project.id).root_version != self._project.root.version:
            return f"root {self._project.root.version}"
        return "the authority's clock was ahead, and is right again" if row.as_of > now + SKEW else ""

    def _dated(self, row: CharterRow, now: int) -> CharterRow:
        as_of = max(now, row.as_of + 1)
        fields = msgspec.structs.replace(charters.peek(row.statement, self._project.id), as_of=as_of)
        dated = replace(row, as_of=as_of, statement=self._statement(fields, now))
        self._books.keep_charter(dated)
        return dated

    def refuse(self, refusal: Refusal, words: str, now: int) -> CharterRow | None:
        """Sign a charter with this refusal; None where it says so already (nothing is signed)."""
        with self._books.transaction():
            fields = self.present
            if any(row.member_id == refusal.member_id and row.since <= refusal.since for row in fields.refusals):
                return None
            row = self._sign(with_refusals(fields, [refusal]), words, now)
        return self._noted(row)

    def _sign(self, fields: CharterFields, words: str, now: int, least: int = 0) -> CharterRow:
        former = self.present
        fields = msgspec.structs.replace(
            with_refusals(fields, former.refusals),
            version=max(former.version + 1, least),
            as_of=now,
            root_version=self._project.root.version,
        )
        source = charterfile.write(fields, self._project.name)
        row = CharterRow(fields.version, now, now, source, words, self._statement(fields, now))
        self._books.keep_charter(row)
        return row

    def _noted(self, row: CharterRow) -> CharterRow:
        self._note("charter", version=row.version, words=row.words)
        return row

    def _statement(self, fields: CharterFields, now: int) -> bytes:
        try:
            return charters.make(self._project.root, self._project.authority_key(now), fields)
        except Misuse as error:
            raise Failure(f"No charter can say this: {error}.", code=CONFIGURATION) from None


def with_refusals(fields: CharterFields, more: Iterable[Refusal]) -> CharterFields:
    """Give a charter with more refusals; of two of one member the earlier since holds, with its why."""
    rows = {row.member_id: row for row in fields.refusals}
    for row in more:
        known = rows.get(row.member_id)
        if known is None or row.since < known.since:
            rows[row.member_id] = row
    return msgspec.structs.replace(fields, refusals=tuple(rows[member_id] for member_id in sorted(rows)))
