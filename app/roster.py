"""Who is a member now, as a site's worker believes: what each may do on this node's channels, and who is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sealwire.app.screen import when
from sealwire.keys import identity as identities
from sealwire.keys import keypackage
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sealwire.app.belief import Belief
    from sealwire.app.config import Node
    from sealwire.keys.charter import Refusal
    from sealwire.keys.trust import Trust

Place = tuple[str, str]  # channel and cloud topic


@dataclass(frozen=True)
class Entry:
    """One member, or one that was. ``why`` says why nothing of it counts now; "" where it is a member.

    ``until`` and ``keys_until`` are ms; None: none is known. ``vetoed``: channels whose mapping here names other
    readers. A refused one whose credential the cloud no longer shows has no name.
    """

    member_id: bytes
    name: str = ""
    site: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    serial: int = 0
    admitted: int | None = None
    until: int | None = None
    keys_until: int | None = None
    produces: tuple[Place, ...] = ()
    consumes: tuple[Place, ...] = ()
    vetoed: tuple[str, ...] = ()
    refusal: Refusal | None = None
    why: str = ""

    @property
    def fingerprint(self) -> str:
        """What people compare."""
        return identities.fingerprint(self.member_id)

    def as_json(self, *, of_books: bool = False) -> dict[str, Any]:
        """Give it as `members --json` prints it. Of books: no node's channels were asked about, so nothing is said."""
        row = self.refusal
        unasked = dict.fromkeys(("produces", "consumes", "vetoed")) if of_books else {}
        return {
            "name": self.name,
            "site": self.site,
            "attributes": dict(self.attributes),
            "member_id": self.member_id.hex(),
            "fingerprint": self.fingerprint,
            "serial": self.serial,
            "admitted_ms": self.admitted,
            "credential_until_ms": self.until,
            "keys_until_ms": self.keys_until,
            "member": not self.why,
            "why": self.why,
            "refused": None if row is None else {"since_ms": row.since, "why": row.why},
            "produces": [{"channel": channel, "cloud_topic": topic} for channel, topic in self.produces],
            "consumes": [{"channel": channel, "cloud_topic": topic} for channel, topic in self.consumes],
            "vetoed": list(self.vetoed),
            **unasked,
        }

    def cells(self, places: Sequence[Place]) -> tuple[str, ...]:
        """Give it as a row of the table; ``places`` are all that this node has."""
        others = ", ".join(f"{name}={value}" for name, value in self.attributes if name != "site")
        granted = [place for place in self.consumes if place[0] not in self.vetoed]
        consumes = [_channels(granted, places), *(f"{each} (not from here)" for each in self.vetoed)]
        return (
            self.name or "?",
            self.site,
            self.fingerprint,
            others,
            "" if self.admitted is None else when(self.admitted),
            "" if self.until is None else when(self.until),
            _channels(self.produces, places),
            ", ".join(filter(None, consumes)),
            "" if self.keys_until is None else when(self.keys_until),
            self._state(),
        )

    def _state(self) -> str:
        row = self.refusal
        if row is None:
            return self.why or "member"
        return f"refused since {when(row.since) if row.since else 'ever'}: {row.why}"


COLUMNS = (
    "name", "site", "member id", "attributes", "admitted", "credential until", "produces", "consumes", "keys until",
    "state",
)  # fmt: skip


OF_NODES = ("produces", "consumes", "keys until")  # what an authority's books say nothing of


def entries(belief: Belief, places: Sequence[Place]) -> tuple[Entry, ...]:
    """List everybody whose credential was proven, by name, and whom the charter refuses."""
    trust, now = belief.trust, belief.now
    refusals = {row.member_id: row for row in trust.charter.refusals}
    found = []
    for credential in sorted(trust.credentials.values(), key=lambda each: each.name):
        package = trust.packages.get(credential.member_id)
        entry = Entry(
            credential.member_id,
            credential.name,
            credential.site,
            credential.attributes,
            credential.serial,
            credential.admitted,
            credential.not_after,
            None if package is None else keypackage.live_until(package),
            _allowed(trust.may_send, credential.member_id, places, now),
            _allowed(trust.may_read, credential.member_id, places, now),
            refusal=refusals.pop(credential.member_id, None),
            why=_why(trust, credential.member_id, now),
        )
        found.append(entry)
    gone = [Entry(row.member_id, refusal=row, why="refused-member") for row in refusals.values()]
    return (*found, *gone)


def with_vetoes(node: Node, found: Iterable[Entry]) -> tuple[Entry, ...]:
    """Take out what a mapping's own `readers:` at this node does not grant."""
    named = [(each.channel, each.readers) for each in node.sealing if each.readers is not None]
    result = []
    for entry in found:
        held = {channel for channel, readers in named if entry.name not in readers}
        vetoed = tuple(sorted(held & {channel for channel, _ in entry.consumes}))
        result.append(replace(entry, vetoed=vetoed))
    return tuple(result)


def _why(trust: Trust, member_id: bytes, now: int) -> str:
    try:
        trust.member(member_id, now)
    except Rejected as refusal:
        credential = trust.credential_of(member_id)
        begins_later = refusal.reason is Reason.EXPIRED and credential is not None and credential.not_before > now
        return str(Reason.AHEAD if begins_later else refusal.reason)  # by a clock of ours that is behind
    return ""


def _allowed(
    check: Callable[[bytes, str, str, int], object], member_id: bytes, places: Sequence[Place], now: int
) -> tuple[Place, ...]:
    def passes(place: Place) -> bool:
        try:
            check(member_id, *place, now)
        except Rejected:
            return False
        return True

    return tuple(place for place in places if passes(place))


def _channels(some: Sequence[Place], places: Sequence[Place]) -> str:
    """Name channels; with how many of their cloud topics, where it is not all of them."""
    words = []
    for channel in dict.fromkeys(channel for channel, _ in some):
        count, of = (sum(each == channel for each, _ in those) for those in (some, places))
        words.append(channel if count == of else f"{channel} ({count} of {of} topics)")
    return ", ".join(words)
