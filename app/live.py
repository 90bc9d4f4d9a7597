"""The live sessions of a project, as a site's worker believes: whose, since when, who was granted them, how far.

What nobody proved is marked as claimed; the progress of a session is shown where this identity can open it, since only
then it is proven.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sealwire.app.screen import ago, when
from sealwire.keys import grant as grants
from sealwire.keys import progress as progresses
from sealwire.keys import wire
from sealwire.keys.grant import MEMBER
from sealwire.keys.reason import Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from sealwire.app.belief import Belief
    from sealwire.keys.progress import Progress
    from sealwire.keys.session import Claim, InboundSession


@dataclass(frozen=True)
class Live:
    """One session. ``opens``: this identity can open it, which also proves it; ``grants``: readers that hold it."""

    claim: Claim
    grants: int
    opens: bool
    refused: bool  # the charter refuses what its sender made then
    progress: Progress | None = None

    @property
    def state(self) -> str:
        """Say what it is worth."""
        return "refused" if self.refused else "opens" if self.opens else "claimed: no grant of it opens here"

    def as_json(self) -> dict[str, Any]:
        """Give it as `sessions --json` prints it."""
        claim, told = self.claim, self.progress
        return {
            "channel": claim.channel,
            "session": claim.id.hex(),
            "sender": claim.sender.name,
            "site": claim.sender.site,
            "member_id": claim.sender.member_id.hex(),
            "number": claim.number,
            "made_ms": claim.made_at,
            "until_ms": claim.not_after,
            "charter": claim.charter_version,
            "grants": self.grants,
            "proven": self.opens,
            "opens": self.opens,
            "refused": self.refused,
            "progress": None
            if told is None
            else {
                "number": told.number,
                "as_of_ms": told.as_of,
                "next_by_ms": told.next_by,
                "final": told.final,
                "source_partitions": sum(len(topic.partitions) for topic in told.topics),
            },
        }

    def cells(self, now: int) -> tuple[str, ...]:
        """Give it as a row of the table."""
        claim, told = self.claim, self.progress
        said = "" if told is None else f"{ago(now - told.as_of)} ago{', its last word' if told.final else ''}"
        return (
            claim.channel,
            claim.sender.name,
            claim.sender.site,
            claim.id.hex()[:16],
            when(claim.made_at),
            when(claim.not_after),
            str(self.grants),
            said,
            self.state,
        )


COLUMNS = ("channel", "sender", "site", "session", "made", "until", "grants#", "progress", "here")


def sessions(belief: Belief) -> tuple[tuple[Live, ...], Counter[str]]:
    """Give the live sessions by channel, sender and number; and what was not believed of grants and progress."""
    refused: Counter[str] = Counter()
    claims = [each for each in belief.claims if each.made_at <= belief.now + wire.SKEW and each.not_after > belief.now]
    by_id: dict[bytes, list[Claim]] = {}
    for claim in claims:
        by_id.setdefault(claim.id, []).append(claim)
    granted: dict[bytes, set[bytes]] = {}
    told: dict[bytes, Progress] = {}
    for statement in belief.statements:
        try:
            kind = wire.type_of(statement)
            if kind is Type.GRANTS:
                _count(belief, statement, by_id, granted)
            elif kind is Type.PROGRESS:
                _hear(belief, statement, told)
        except Rejected as refusal:
            refused[str(refusal.reason)] += 1
    found = []
    for claim in claims:
        inbound = belief.opened.get(claim.id)
        if inbound is not None and not _is(claim, inbound):
            continue  # a false claim of a session whose true one is proven
        judged = belief.trust.refuses(claim.sender.member_id, claim.made_at)
        count = len(granted.get(claim.digest, ()))
        found.append(Live(claim, count, inbound is not None, judged, told.get(claim.id)))
    found.sort(key=lambda each: (each.claim.channel, each.claim.sender.name, each.claim.number, each.claim.digest))
    return tuple(found), refused


def _is(claim: Claim, inbound: InboundSession) -> bool:
    return (claim.verifying_key, claim.sender.member_id) == (inbound.verifying_key, inbound.member_id)


def _count(belief: Belief, statement: bytes, by_id: dict[bytes, list[Claim]], granted: dict[bytes, set[bytes]]) -> None:
    """Count readers whose grants the session's own key signed, or a member's: those of other sessions are left."""
    fields, frame = grants.read(statement, belief.trust.project_id)
    refusal: Rejected | None = None
    for claim in by_id.get(fields.session_id, []):
        granter = None if fields.granter is None else belief.trust.credential_of(fields.granter)
        try:
            grants.check(fields, frame, claim, None if granter is None else granter.identity_key)
        except Rejected as caught:
            refusal = refusal or caught
        else:
            readers = granted.setdefault(claim.digest, set())
            readers.update(each.recipient for each in fields.grants if each.kind == MEMBER)
            return
    if refusal is not None:
        raise refusal


def _hear(belief: Belief, statement: bytes, told: dict[bytes, Progress]) -> None:
    said = progresses.peek(statement, belief.trust.project_id)
    inbound = belief.opened.get(said.session_id)
    if inbound is None:
        return
    known = told.get(said.session_id)
    if known is None or said.number > known.number:
        told[said.session_id] = progresses.read(statement, inbound, belief.now)
