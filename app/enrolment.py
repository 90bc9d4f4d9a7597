"""Enrolling: a ticket spent for a credential, over Kafka or with files carried by hand.

Identity and request go into the vault before anything is sent. So whatever is killed, a second run sends the same
bytes, and the authority gives the same answer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealwire.app import papers
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.names import project_topics
from sealwire.app.office import root_key
from sealwire.keys import charter as charters
from sealwire.keys import credential as credentials
from sealwire.keys import request as requests
from sealwire.keys import root as roots
from sealwire.keys import ticket as tickets
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sealwire.app.cloudlog import CloudLog
    from sealwire.app.vault import Vault
    from sealwire.keys.credential import Credential
    from sealwire.keys.root import Root
    from sealwire.keys.ticket import Ticket

WAIT_S: Final = 120.0
REACH_S: Final = 30.0  # to reach the cloud at all
PROGRESS_S: Final = 15.0
_NEW_TICKET: Final = "Ask the project's administrator for a new ticket: sealwire ticket create ..."
_CURES: Final = {
    Reason.SPENT: (
        "The ticket was spent by another identity",
        "If that was not you or yours, tell the administrator at once: somebody else had the ticket, and is a member. "
        + _NEW_TICKET,
    ),
    Reason.EXPIRED: ("The ticket has expired", _NEW_TICKET),
    Reason.UNKNOWN_TICKET: (
        "The authority knows no such ticket",
        f"It was made from other books, or those were restored from a copy. {_NEW_TICKET}",
    ),
    Reason.BAD_SIGNATURE: ("The ticket was altered", f"Copy it again as it was printed. {_NEW_TICKET}"),
    Reason.UNKNOWN_SIGNER: ("The ticket was altered", f"Copy it again as it was printed. {_NEW_TICKET}"),
    Reason.NAME_TAKEN: (
        "The name is another member's, or the name of a site",
        "Make an identity of another name; the ticket is not spent: sealwire identity create OTHER",
    ),
    Reason.CHANGED_REQUEST: (
        "This identity is a member already, under what it asked for first",
        "Use it as it is enrolled, or make another identity and enrol that with a ticket of its own.",
    ),
    Reason.AHEAD: ("This machine's clock is ahead of the authority's", "Set both by NTP, then run this again."),
}


@dataclass(frozen=True)
class Enrolled:
    """How it ended: the member's credential, and whether it was there before."""

    credential: Credential
    before: bool = False


def read_ticket(text: bytes, name: str) -> Ticket:
    """Read the text of a ticket file called ``name``; raises `Failure` that tells a cut ticket from what is none."""
    try:
        return tickets.read(text)
    except Rejected as refusal:
        if refusal.reason is Reason.FOREIGN:
            cause = f"{name} is no ticket." if text.strip() else f"{name} is empty: no ticket."
            cure = "A ticket is the whole output of `sealwire ticket create`."
        elif refusal.reason is Reason.TRUNCATED:
            cause, cure = f"{name} is {refusal.detail}.", "Copy it again, whole, from where it was made."
        else:
            cause = f"{name} is a ticket that cannot be used: {refusal.detail}."
            cure = f"It is damaged, or of another version of sealwire. {_NEW_TICKET}"
        raise Failure(cause, cure, code=CONFIGURATION) from None


class Enrolment:
    """One identity on its way into a project. ``now`` gives ms."""

    def __init__(self, vault: Vault, name: str, now: Callable[[], int]) -> None:
        """Take the identity's open vault and its name."""
        self._vault = vault
        self._name = name
        self._now = now

    def already(self, ticket: Ticket | None = None) -> Enrolled | None:
        """Tell whether the identity is a member.

        Raises `Failure` where it is one of another project than the ticket's, or is refused as far as the vault knows.
        """
        secrets = self._vault.load()
        if secrets.credential is None or secrets.root is None:
            return None
        root = roots.trusted(secrets.root)
        if ticket is not None and ticket.project_id != root.project_id:
            raise Failure(
                f"Identity '{self._name}' is a member of another project, {root.project_name}.",
                "An identity belongs to one project: make another (sealwire identity create OTHER) and enrol that. "
                "The ticket is not spent.",
                code=CONFIGURATION,
            )
        known = charters.peek(secrets.charter, root.project_id).refusals if secrets.charter else ()
        for row in known:
            if row.member_id == secrets.identity.member_id:
                raise Failure(
                    f"Identity '{self._name}' is refused by the charter: {row.why}.",
                    "It is not admitted again. Give the ticket to an identity under another name: --identity OTHER",
                    code=CONFIGURATION,
                )
        try:
            credential = credentials.read(secrets.credential, root, max(self._now(), secrets.identity.made_at))
        except Rejected as refusal:
            raise self._no_credential(refusal) from None
        return Enrolled(credential, before=True)

    def _no_credential(self, refusal: Rejected) -> Failure:
        """Say why the credential in the vault does not count now."""
        if refusal.reason is Reason.AHEAD:
            return Failure(
                f"The credential of identity '{self._name}' begins later than now: this machine's clock is behind.",
                "Set it by NTP, then run this again.",
                code=CONFIGURATION,
            )
        return Failure(
            f"The credential of identity '{self._name}' counts no more: {refusal.detail or refusal.reason}.",
            "Start its worker: it takes what the authority signed since. Else make another identity and enrol that.",
            code=CONFIGURATION,
        )

    def request(self, ticket: Ticket) -> bytes:
        """Give the request for this ticket: from the vault where one is kept, else made and kept there first."""
        secrets = self._vault.load()
        if secrets.request is not None:
            try:
                kept = requests.read(secrets.request, ticket.project_id)
            except Rejected:  # of another project: that ticket was given up for this one
                kept = None
            if kept and kept.ticket_id == ticket.ticket_id and kept.name == self._name:
                return secrets.request
        if ticket.expiry < self._now():
            raise self._refused(Rejected(Reason.EXPIRED, f"it ended {_since(self._now() - ticket.expiry)} ago"))
        request = requests.ask(ticket, secrets.identity, self._name, self._now())
        # The root is not known yet. The ticket pins it; here the project's id does, which is the first root's digest.
        self._vault.save(replace(secrets, project_id=ticket.project_id, root=None, request=request))
        return request

    def over_the_cloud(
        self,
        ticket: Ticket,
        log: CloudLog,
        say: Callable[[str], None],
        *,
        seconds: float = WAIT_S,
        reach: float = REACH_S,
    ) -> Enrolled | None:
        """Publish the request and wait for the answer; None when there was none in time: run again, it goes on.

        ``seconds`` are for the authority, ``reach`` are for the cloud.

        Raises `Failure`: refused (with the winner's fingerprint where the ticket was spent), nobody there, no topics.
        """
        before = self.already(ticket)
        if before:
            return before
        request = self.request(ticket)
        digest = requests.read(request, ticket.project_id).digest
        control, _, topic = project_topics(ticket.project_name)
        log.wait(control, seconds=reach)
        root = newest_root(ticket, {record.record_key: record.value for record in log.read_whole(control)})
        say(f"root {root.version} of project {root.project_name} is the one that the ticket pins")
        offset = 0
        for record in log.follow(topic, to_end=True):
            if record is not None:
                offset = record.offset + 1
                answered = self._try(record.value, request, digest, root, say)
                if answered:
                    return answered
        log.publish(topic, digest.hex().encode(), request, seconds=reach)
        say(f"request {digest.hex()[:16]} sent; waiting up to {seconds:.0f} s for the authority's answer")
        left = next_word = seconds
        deadline = time.monotonic() + seconds
        for record in log.follow(topic, offset):
            answered = self._try(record.value, request, digest, root, say) if record else None
            if answered:
                return answered
            left = deadline - time.monotonic()
            if left <= 0:
                break
            if left <= next_word - PROGRESS_S:
                next_word = left
                say(f"waiting for the authority, {left:.0f} s more")
        return None

    def write_request(self, ticket: Ticket, file: Path) -> None:
        """Write the request as a file, to be carried to the authority by hand."""
        papers.put(papers.REQUEST, file, [self.request(ticket)])

    def take_answer(self, file: Path) -> Enrolled:
        """Take the answer that came back by hand. Raises `Failure` for a refusal, and for what answers nothing here."""
        answer, *chain = papers.read(papers.ANSWER, file)
        secrets = self._vault.load()
        if secrets.request is None or secrets.project_id is None:
            before = self.already()
            if before:
                return before
            raise Failure(
                f"Identity '{self._name}' has asked for nothing.",
                "First: sealwire enroll TICKET --identity NAME --request-file OUT",
                code=CONFIGURATION,
            )
        try:
            root = _chained(chain, secrets.project_id)
            return self._take(requests.read_answer(answer, secrets.request, root, self._now()), root)
        except Rejected as refusal:
            raise Failure(
                f"{file} does not answer the request of identity '{self._name}': {refusal.detail or refusal.reason}.",
                "Is it the answer to this identity's newest request, of the same project, and are both clocks right?",
                code=CONFIGURATION,
            ) from None

    def _try(
        self, statement: bytes, request: bytes, digest: bytes, root: Root, say: Callable[[str], None]
    ) -> Enrolled | None:
        """Take a statement of the requests topic if it is our answer; pass over the rest, forged ones too."""
        try:
            if requests.peek_answer(statement, root.project_id).request != digest:
                return None
        except Rejected:
            return None
        try:
            outcome = requests.read_answer(statement, request, root, self._now())
        except Rejected as refusal:  # by anybody who can write there, or by an authority whose clock is ahead of ours
            say(f"an answer that does not count was passed over: {refusal}")
            return None
        return self._take(outcome, root)

    def _take(self, outcome: Credential | Rejected, root: Root) -> Enrolled:
        if isinstance(outcome, Rejected):
            raise self._refused(outcome)
        self._vault.save(self._vault.load().rooted(root.statement).admitted(outcome.statement))
        return Enrolled(outcome)

    def _refused(self, refusal: Rejected) -> Failure:
        cause, cure = _CURES.get(refusal.reason, (f"The authority refused: {refusal.reason}", _NEW_TICKET))
        return Failure(f"{cause}{f' ({refusal.detail})' if refusal.detail else ''}.", cure)


def _chained(chain: list[bytes], project_id: bytes) -> Root:
    """Read the roots that came with an answer, from the first, which the project's id pins, to the newest."""
    if not chain:
        raise Rejected(Reason.TRUNCATED, "an answer without the root")
    root = roots.read_first(chain[0], project_id)
    for statement in chain[1:]:
        root = roots.read_next(statement, root)
    return root


def newest_root(ticket: Ticket, found: Mapping[bytes | None, bytes]) -> Root:
    """Follow the roots of a control topic from the one that the ticket pins; raises `Failure` where that is missing."""
    pinned = found.get(root_key(ticket.root_version))
    if pinned is None:
        raise Failure(
            f"The control topic of project {ticket.project_name} does not have the ticket's root: "
            f"root {ticket.root_version}, which the ticket pins, is not there.",
            "Is it the project's own cloud (--bootstrap)? If so, the administrator runs `sealwire project cloud` or "
            "`sealwire authority run`, which publish the root.",
        )
    try:
        root = ticket.check_root(pinned)
        while (following := found.get(root_key(root.version + 1))) is not None:
            root = roots.read_next(following, root)
    except Rejected as refusal:
        raise Failure(
            f"The control topic of project {ticket.project_name} there is not the ticket's: {refusal.detail}.",
            "Is it the project's own cloud (--bootstrap)? If so, somebody altered the root there: the administrator "
            "runs `sealwire project cloud` or `sealwire authority run`, which publish it again.",
        ) from None
    return root


def _since(ms: int) -> str:
    """Write a span of time for a person, roughly."""
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000)):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms // 1000} seconds"
