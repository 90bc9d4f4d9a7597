"""What this site's workers believe of their project: what a vault remembers, and what the cloud shows it now.

The vault is read as it is, whether or not a worker runs, and nothing is kept: what the statements prove is learned as a
worker learns it, and what they do not prove is counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sealwire.agents import other_clocks, patterns
from sealwire.agents.admin import Admin
from sealwire.agents.routes import route
from sealwire.agents.stale_words import moment
from sealwire.app import membership, topics
from sealwire.app import project as projects
from sealwire.app.cloudlog import CloudLog
from sealwire.app.factory import custody
from sealwire.app.faults import Failure
from sealwire.app.names import project_topics
from sealwire.app.options import say
from sealwire.app.project import now_ms
from sealwire.app.vault import open_vault
from sealwire.keys.events import Refused
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sealwire.agents.settings import Direction
    from sealwire.app.config import Node
    from sealwire.keys.secrets import Secrets
    from sealwire.keys.session import Claim, InboundSession

WITHIN: Final = 20.0  # seconds for the cloud to answer at all
RECENT: Final = 2 * 3600 * 1000  # ms: no live session is older than an hour, and clocks may differ


@dataclass(frozen=True)
class Belief:
    """What is believed at a time (``now``, ms) by one identity; ``refused`` counts statements by Reason."""

    identity: str
    trust: Trust
    now: int
    refused: Mapping[str, int]
    claims: tuple[Claim, ...] = ()  # of sessions; whose secret was not proven by a grant is only claimed
    opened: Mapping[bytes, InboundSession] = field(default_factory=dict, repr=False)
    statements: tuple[bytes, ...] = field(default=(), repr=False)  # of the sessions topic

    @property
    def notes(self) -> list[str]:
        """Say what was not believed, and why nothing counts at all where that is so; a line each."""
        why, clock = self.trust.holds(self.now), self.trust.clock(self.now)
        lines = [f"nothing is sealed or delivered now: {each}" for each in (why, clock) if each is not None]
        old = {str(Reason.OUTDATED)}  # beside its newer one: what a topic that is not compacted yet looks like
        told = [f"{count} {reason}" for reason, count in sorted(self.refused.items()) if reason not in old]
        if told:
            lines.append(f"statements that are not believed, and not shown: {', '.join(told)}")
        ahead = sum(each.after is not None for each in self.trust.waiting.values())
        if ahead:
            lines.append(f"statements dated ahead of our clock, {moment(self.now)}, and not shown: {ahead}")
        if clocks := other_clocks.told(self.trust, self.now):
            lines.append(clocks)
        if rest := len(self.trust.waiting) - ahead:
            lines.append(f"statements that rest on what is not known yet, and are not shown: {rest}")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Give what `members`, `sessions` and `charter show` have in common, for programs."""
        why = self.trust.holds(self.now)
        return {
            "identity": self.identity,
            "project": self.trust.root.project_name,
            "at_ms": self.now,
            "root": self.trust.root.version,
            "charter": self.trust.charter.version,
            "charter_as_of_ms": self.trust.charter.as_of,
            "holds": None if why is None else str(why),
            "refused_statements": dict(self.refused),
            "waiting_statements": len(self.trust.waiting),
        }


def of_node(node: Node, *, sessions: bool = False) -> Belief:
    """Learn what the workers of a node learn: of control, and with ``sessions`` of that topic's last hours.

    The mirror's identity is taken where there is one. Raises `Failure` where it is no member, or nobody answers.
    """
    direction: Direction = "open" if "open" in node.directions else "seal"
    with open_vault(node.directory(direction) / "vault", custody(node), lock=False) as vault:
        secrets = vault.load()
    membership.check(node, direction, secrets)
    control, said, _ = project_topics(node.project)
    now = now_ms()
    with CloudLog(node.cloud, say) as log:
        log.wait(control, seconds=WITHIN)
        statements = [record.value for record in log.read_whole(control) if record.value]
        of_sessions = (
            [record.value for record in log.read_since(said, now - RECENT) if record.value] if sessions else []
        )
    return believed(node.identities[direction], secrets, statements, of_sessions, now)


def of_project(directory: Path) -> Belief:
    """Learn what the books of a project's directory hold: its own credentials and charter. Raises `Failure`."""
    project, now = projects.open_project(directory), now_ms()
    books = project.books()
    try:
        charter = books.charter()
        statements = [*([] if charter is None else [charter.statement]), *(row.credential for row in books.members())]
    finally:
        books.close()
    trust, events = Trust.begin(project.root.statement, now).learn(statements, now)
    refused = Counter(str(event.reason) for event in events if isinstance(event, Refused))
    return Belief("the authority", trust, now, refused)


def believed(
    identity: str, secrets: Secrets, control: Sequence[bytes], of_sessions: Sequence[bytes], now: int
) -> Belief:
    """Learn statements as a worker with these secrets does. Raises `Failure` where the vault's own do not pass."""
    try:
        trust = Trust.begin(
            replace(secrets, inbound={}), now
        )  # else sessions that the vault has are passed over as known
    except Rejected as refusal:
        raise Failure(
            f"What the vault of '{identity}' remembers of its project does not pass: {refusal}.",
            "Is this machine's clock right?",
        ) from None
    trust, events = trust.learn(control, now)
    trust, more = trust.learn(of_sessions, now)
    claims = tuple(claim for several in trust.claims.values() for claim in several)
    trust, unwrapped, opened = trust.unwrap_new(secrets, now)
    refused = Counter(str(event.reason) for event in (*events, *more, *opened) if isinstance(event, Refused))
    return Belief(identity, trust, now, refused, claims, unwrapped.inbound, tuple(of_sessions))


def places(node: Node) -> list[tuple[str, str]]:
    """Give the channels of a node's mappings, with each cloud topic that they seal into or open now.

    Raises `Failure` where mappings by pattern are there, and the cloud does not answer.
    """
    found: set[tuple[str, str]] = set()
    there: Iterable[str] = ()
    ours = project_topics(node.project)
    if any(mapping.by_pattern for mapping in node.mappings):
        there = topics.run(node.cloud, Admin(node.cloud).topics())
    if "open" in node.directions:
        found.update((each.channel, each.reads) for each in route(node.settings("open"), there).routes)
    for sealed in node.sealing:
        if sealed.by_pattern:
            made = patterns.all_made(sealed.cloud_topic)
            could = (name for name in there if patterns.matches_any((made,), name) and name not in ours)
            found.update((sealed.channel, name) for name in could)
        else:
            found.add((sealed.channel, sealed.cloud_topic))
    return sorted(found)
