"""How members leave: revoked, retired or excluded; who is meant, what is refused of them, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from sealwire.app import screen
from sealwire.app.chartering import EXCLUDE_BEFORE, with_refusals
from sealwire.app.faults import CONFIGURATION, Failure, did_you_mean
from sealwire.app.inspect import stamp
from sealwire.keys import credential as credentials
from sealwire.keys import dryrun
from sealwire.keys import identity as identities
from sealwire.keys.charter import Refusal
from sealwire.keys.dryrun import Member, Trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealwire.app.books import Books, MemberRow
    from sealwire.keys.charter import CharterFields
    from sealwire.keys.dryrun import Concern

_ID_DIGITS: Final = 64
MOST_WHY: Final = 200  # characters


class Way(Enum):
    """How a member leaves."""

    REVOKE = "revoke"  # nothing of it that is not delivered yet, whatever its date
    RETIRE = "retire"  # a good leaver: nothing that it makes from now on
    EXCLUDE = "exclude"  # nothing that it made since its keys were stolen


@dataclass(frozen=True)
class Leaver:
    """Who is meant: a member of the books, or one that they do not know (admitted by a thief), by its id."""

    name: str
    member_id: bytes
    row: MemberRow | None


def find(books: Books, word: str) -> Leaver:
    """Find the member of a name, a fingerprint or an id (64 hex digits); raises `Failure` with the nearest names."""
    members = books.members()
    for row in members:
        if word in (row.name, identities.fingerprint(row.member_id), row.member_id.hex()):
            return Leaver(row.name, row.member_id, row)
    if len(word) == _ID_DIGITS:
        try:
            return Leaver(word, bytes.fromhex(word), None)
        except ValueError:
            pass
    near = did_you_mean(word, [row.name for row in members], "`sealwire members --directory DIR` lists them.")
    raise Failure(f"There is no member {word}.", near.capitalize(), code=CONFIGURATION)


def refusal(leaver: Leaver, way: Way, why: str, now: int, since: int = 0) -> Refusal:
    """Give the row of the charter; ``since`` (ms) is for `exclude`. Raises `Failure` for a why that cannot be."""
    if not why.strip() or len(why) > MOST_WHY or not why.isprintable():
        raise Failure(
            f"--why takes 1 to {MOST_WHY} characters, in one line.",
            "Say it shorter: members and the trail have it for ever.",
            code=CONFIGURATION,
        )
    start = {Way.REVOKE: 0, Way.RETIRE: now, Way.EXCLUDE: max(0, since - EXCLUDE_BEFORE)}[way]
    return Refusal(leaver.member_id, start, why.strip())


def members(books: Books, project_id: bytes) -> list[Member]:
    """Give all members of the books as a dry run takes them."""
    return [
        Member(row.name, row.member_id, credentials.peek(row.credential, project_id).attributes)
        for row in books.members()
    ]


def refused(present: CharterFields, books: Books) -> list[str]:
    """Tell whom a charter refuses, by name where the books know it, a line each, whatever is in its words."""
    names = {member.member_id: member.name for member in books.members()}
    return [
        screen.plain(
            f"refused: {names.get(row.member_id, row.member_id.hex())} since "
            f"{stamp(row.since) if row.since else 'ever'}: {row.why}"
        )
        for row in present.refusals
    ]


def locks_out(present: CharterFields, row: Refusal, everybody: Sequence[Member], now: int) -> list[Concern]:
    """Give the places where with this refusal nobody could send, or nobody could read, any more."""
    after = with_refusals(present, [row])
    found = dryrun.concerns(present, after, everybody, now)
    return [each for each in found if each.trouble in (Trouble.NO_SENDER, Trouble.NO_READER)]


def consequences(
    leaver: Leaver, way: Way, row: Refusal, books: Books, project_id: bytes, present: CharterFields
) -> list[str]:
    """Tell what follows, a line each; ``present`` is the charter of before."""
    name, max_age = leaver.name, present.max_age
    if row.since == 0:
        lines = [f"{name} is revoked: nothing of it that is not delivered yet will be, whatever its date."]
    else:
        early = f" ({EXCLUDE_BEFORE // 60_000} minutes earlier: so far back may a thief date)" * (way is Way.EXCLUDE)
        lines = [f"{name} is refused since {stamp(row.since)}{early}: what it made before that counts on."]
    lines.append("Senders begin new sessions without it, and it is not renewed any more.")
    bound = "at once where the cloud delivers the news"
    ends = []
    if leaver.row is not None:
        ends.append(f"when its credential ends, {stamp(credentials.peek(leaver.row.credential, project_id).not_after)}")
    if max_age:
        ends.append(f"when the charter that a member knows is {max_age // 3_600_000} h old")
    lines.append(f"This takes effect {bound}{', else ' if ends else ''}{', or '.join(ends)}.")
    gone = {leaver.member_id, *(each.member_id for each in present.refusals)}
    if leaver.row is not None and not any(
        other.site == leaver.row.site and other.member_id not in gone for other in books.members()
    ):
        lines.append(
            f"What is refused of it is a gap at the readers until another member of site {leaver.row.site} seals it "
            f"again: enrol one, under another name."
        )
    else:
        lines.append("What is refused of it is a gap at the readers; another worker of its site seals it again.")
    lines.append("Enrolled anew it is another member, under another name, with keys of its own.")
    return lines
