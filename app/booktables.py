"""The tables of the authority's books, and how books of an older version become those of this one, in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

VERSION: Final = 2

_FIRST: Final = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE ticket (
    ticket_id BLOB PRIMARY KEY CHECK (length(ticket_id) = 16),
    public BLOB NOT NULL CHECK (length(public) = 32),
    attributes TEXT NOT NULL,
    site TEXT,
    made_at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    spent_by BLOB,
    spent_at INTEGER,
    request BLOB
) STRICT;
CREATE TABLE member (
    member_id BLOB PRIMARY KEY CHECK (length(member_id) = 32),
    name TEXT NOT NULL UNIQUE,
    site TEXT NOT NULL,
    owns_site INTEGER NOT NULL,
    identity_public BLOB NOT NULL,
    admitted INTEGER NOT NULL,
    asked_at INTEGER NOT NULL,
    serial INTEGER NOT NULL,
    credential BLOB NOT NULL
) STRICT;
CREATE INDEX member_site ON member (site);
CREATE TABLE answer (
    request_digest BLOB PRIMARY KEY CHECK (length(request_digest) = 32),
    member_id BLOB NOT NULL REFERENCES member,
    answer BLOB NOT NULL
) STRICT;
"""
_CHARTERS: Final = """
CREATE TABLE IF NOT EXISTS charter (
    version INTEGER PRIMARY KEY,
    signed_at INTEGER NOT NULL,
    as_of INTEGER NOT NULL,
    source TEXT NOT NULL,
    words TEXT NOT NULL,
    statement BLOB NOT NULL
) STRICT;
"""
_STEPS: Final = {0: _FIRST, 1: _CHARTERS}  # by the version before it


def bring_up(base: sqlite3.Connection, version: int) -> int:
    """Bring books of a version (0: empty) to `VERSION`, in one transaction; gives the version that they have then.

    Books of a later version are left as they are.
    """
    if version >= VERSION:
        return version
    steps = "".join(_STEPS[each] for each in range(version, VERSION))
    base.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT;")
    return VERSION
