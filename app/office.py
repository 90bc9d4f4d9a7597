"""The authority at work: follows the requests in the cloud, answers them, and keeps what it signed published.

It signs the charter with a new date every ten minutes, and looks every second for what other commands changed: root and
charter. One office runs in a project directory: whoever starts it holds the directory's lock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

from sealwire.app import catchup
from sealwire.app import project as projects
from sealwire.app.chartering import RENEW
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.inspect import stamp
from sealwire.app.names import project_topics
from sealwire.app.waiting import PROVEN_A_MINUTE, UNPROVEN_A_MINUTE, Budget, Waiting
from sealwire.keys import request as requests
from sealwire.keys import wire
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.app.authority import Authority, Verdict
    from sealwire.app.books import Books
    from sealwire.app.cloudlog import CloudLog
    from sealwire.app.project import Project
    from sealwire.keys.request import Request

MOST_ANSWERED: Final = 10_000  # answers remembered, so that none is given twice in a minute
AGAIN: Final = 60_000  # ms: an equal request is answered again after that, not at once: the first answer stands there
MOST_TOLD: Final = 5  # things that the cloud knows and the books do not, in one message
LOOK_EVERY: Final = 1000  # ms between two looks at what other commands changed
REACH_S: Final = 15.0  # how long a command tries to reach the cloud
CHARTER_KEY: Final = b"charter"  # the record key of the charter on the control topic
NOTE_EVERY: Final = 1000  # skipped records between two notes of their number


def root_key(version: int) -> bytes:
    """Give the record key of a root on the control topic."""
    return b"root/%d" % version


def member_key(member_id: bytes) -> bytes:
    """Give the record key of a member's credential on the control topic."""
    return b"member/" + member_id.hex().encode()


def publish_roots(project: Project, log: CloudLog) -> list[int]:
    """Publish each root that the control topic lacks, from the first on; gives their versions."""
    control, _, _ = project_topics(project.name)
    found = {record.record_key: record.value for record in log.read_whole(control)}
    lacking = [
        (version, statement)
        for version, statement in enumerate(project.chain, 1)
        if found.get(root_key(version)) != statement
    ]
    for version, statement in lacking:
        log.publish(control, root_key(version), statement)
    return [version for version, _ in lacking]


def publish_charter(project: Project, books: Books, log: CloudLog, *, seconds: float | None = None) -> int:
    """Publish the newest charter of the books; gives its version, 0 where there is none to publish."""
    published = None
    while (row := books.charter()) is not None and row != published:
        # Another process may sign and publish a newer one while the cloud lets us wait: ours would stand after it.
        log.publish(project_topics(project.name)[0], CHARTER_KEY, row.statement, seconds=seconds)
        published = row
    return 0 if row is None else row.version


class OldBooks(Failure):
    """The cloud knows what this authority signed, and its books do not."""


def refuse_older(project: Project, books: Books, log: CloudLog) -> None:
    """Raise `OldBooks` where the cloud knows of a charter or a credential by this authority that its books do not."""
    news = catchup.look(project, books, log)
    if news:
        raise OldBooks(
            f"The books of project {project.name} are not the newest: the cloud knows "
            f"{'; '.join(news.told()[:MOST_TOLD])}.",
            "Were they restored, or copied? Then: sealwire authority catch-up. If not, somebody else has the authority "
            "key: make the next root with another, and distrust this one (sealwire root draft).",
            code=CONFIGURATION,
        )


class Office:
    """One authority on one cloud. ``now`` gives ms; ``say`` takes words for the log, a line each."""

    def __init__(self, authority: Authority, log: CloudLog, now: Callable[[], int], say: Callable[[str], None]) -> None:
        """Take its parts; nothing is read yet."""
        self._authority = authority
        self._project = authority.project
        self._log = log
        self._now = now
        self._say = say
        self._control, _, self._requests = project_topics(self._project.name)
        self._answered: OrderedDict[bytes, int] = OrderedDict()  # request digest -> when (ms)
        self._budget = Budget()
        self._looked_at = 0
        self._warned_at = 0
        self._charter = (0, 0)  # version and as_of of the one that was published last
        self.skipped: Counter[str] = Counter()

    def run(self, *, once: bool = False, stop: Callable[[], bool] = lambda: False) -> int:
        """Answer what waits, then what comes, until told to stop; with ``once`` only what waits. Gives the number.

        Raises `Failure` when the cloud refuses the login or lacks the topics; while it is away it waits.
        """
        self._warn_of_end()
        self._refuse_older_books()
        self._publish_what_lacks()
        waiting, offset = self._read_up()
        answered = sum(self._handle(request) for request in waiting)
        if once:
            return answered
        self._say(f"project {self._project.name}: {answered} answered, waiting for requests")
        for record in self._log.follow(self._requests, offset):
            if stop():
                break
            self._look()
            if record is not None and self._type(record.value) is Type.REQUEST:
                answered += self._handle(record.value)
        return answered

    def _refuse_older_books(self) -> None:
        """Take up the roots that the cloud has; raise `Failure` where it knows what the books do not."""
        project = catchup.adopt_roots(self._project, self._log, self._authority.note)
        if project.root.version > self._project.root.version:
            self._project, self._authority = project, self._authority.under(project)
            self._say(f"took root {project.root.version} from the cloud")
        refuse_older(project, self._authority.books, self._log)

    def _publish_what_lacks(self) -> None:
        """Publish what the control topic lacks, after an answer by hand or a killed run: roots, charter, members."""
        for version in publish_roots(self._project, self._log):
            self._say(f"published root {version}")
        for member in self._authority.sign_anew(self._now()):
            self._say(f"{member.name}: signed anew, since the root bears its credential no more")
        found = {record.record_key: record.value for record in self._log.read_whole(self._control)}
        for member in self._authority.books.members():
            if found.get(member_key(member.member_id)) != member.credential:
                self._log.publish(self._control, member_key(member.member_id), member.credential)
                self._say(f"{member.name}: published its credential")
        row = self._authority.books.charter()
        if row is not None and found.get(CHARTER_KEY) == row.statement:
            self._charter = row.version, row.as_of
        self._keep_charter()

    def _look(self) -> None:
        """Take up what other commands put into the directory, and keep the charter's date, once a second."""
        now = self._now()
        if 0 <= now - self._looked_at < LOOK_EVERY:
            return
        self._looked_at = now
        if projects.root_file(self._project.directory, self._project.root.version + 1).exists():
            self._take_root()
        self._keep_charter()
        self._warn_of_end()

    def _take_root(self) -> None:
        """Go on under the next root, and by the authority key that it names. Raises `Failure` where none is here."""
        self._project = projects.open_project(self._project.directory)
        self._authority = self._authority.under(self._project)
        self._say(f"goes on under root {self._project.root.version}")
        self._publish_what_lacks()

    def _keep_charter(self) -> None:
        """Give the charter a new date when it is due, and publish the newest one where that was not done."""
        charters, now = self._authority.charters, self._now()
        row = self._authority.books.charter()
        if row is None or charters.outgrown(row, now) or now - row.as_of >= RENEW:
            row = charters.renew(now)
        if (row.version, row.as_of) == self._charter:
            return
        self._log.publish(self._control, CHARTER_KEY, row.statement)
        if row.version != self._charter[0]:
            self._say(f"published charter {row.version}: {row.words}")
        self._charter = row.version, row.as_of

    def _warn_of_end(self) -> None:
        now = self._now()
        end = self._project.end_of(self._project.authority_key(now).public)
        if end - now < projects.NEAR_END and now - self._warned_at >= projects.DAY:
            self._warned_at = now
            self._say(
                f"warning: the authority key ends {stamp(end)}, and with it all that it signed. A root must name "
                f"another before that: sealwire root draft OUT --new-authority-key"
            )

    def _read_up(self) -> tuple[Waiting, int]:
        """Read the requests topic to its end: the requests without an answer of ours, and the offset after it."""
        waiting = Waiting()
        offset = 0
        for record in self._log.follow(self._requests, to_end=True):
            if record is None:
                continue
            offset = record.offset + 1
            kind = self._type(record.value)
            try:
                if kind is Type.REQUEST:
                    request = requests.read(record.value, self._project.id)
                    if request.digest not in self._answered and not waiting.put(
                        request, record.value, proven=self._authority.proves(request, self._now())
                    ):
                        self._skip(Reason.TOO_MANY)
                elif kind is Type.ANSWER:
                    digest = self._own_answer(record.value)
                    waiting.drop(digest)
                    self._remember(digest)
            except Rejected as refusal:
                self._skip(refusal.reason)
        return waiting, offset

    def _own_answer(self, statement: bytes) -> bytes:
        """Give the request's digest of an answer that the authority signed; raises `Rejected` for any other."""
        fields = requests.peek_answer(statement, self._project.id)
        frame = wire.read(statement, Type.ANSWER, self._project.id)
        self._project.root.check_authority(frame, fields.made_at, self._now())
        return fields.request

    def _type(self, statement: bytes) -> Type | None:
        """Tell requests from the rest of the topic: answers and reseal requests are not ours to skip and count."""
        try:
            return wire.type_of(statement)
        except Rejected as refusal:
            self._skip(refusal.reason)
            return None

    def _handle(self, statement: bytes) -> int:
        now = self._now()
        try:
            request = requests.read(statement, self._project.id)
            if now - self._answered.get(request.digest, -AGAIN) < AGAIN:
                return 0
            if not self._may_answer(request, now):
                self._skip(Reason.TOO_MANY)
                return 0
            verdict = self._authority.decide(statement, now)
        except Rejected as refusal:
            self._skip(refusal.reason)
            return 0
        self._answer(verdict)
        return 1

    def _may_answer(self, request: Request, now: int) -> bool:
        """Tell whether there is room for one more answer: strangers share one budget, and nobody uses up another's."""
        if self._authority.proves(request, now):
            return self._budget.allows(request.ticket_id or request.member_id, PROVEN_A_MINUTE, now)
        return self._budget.allows(b"", UNPROVEN_A_MINUTE, now)

    def _answer(self, verdict: Verdict) -> None:
        # The credential first: whoever reads the answer may go on, so what others need must stand already.
        if verdict.member:
            self._log.publish(self._control, member_key(verdict.member.member_id), verdict.member.credential)
        self._log.publish(self._requests, verdict.request_digest.hex().encode(), verdict.answer)
        self._remember(verdict.request_digest)
        self._say(verdict.words)

    def _remember(self, digest: bytes) -> None:
        self._answered[digest] = self._now()
        self._answered.move_to_end(digest)
        if len(self._answered) > MOST_ANSWERED:
            self._answered.popitem(last=False)

    def _skip(self, reason: str) -> None:
        self.skipped[reason] += 1
        if self.skipped.total() % NOTE_EVERY == 1:
            counted = ", ".join(f"{count} {why}" for why, count in sorted(self.skipped.items()))
            self._say(f"skipped what is no request to answer: {counted}")
