"""The authority at work: follows the requests in the cloud, answers them, and keeps root and credentials published."""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

from sealwire.app.names import project_topics
from sealwire.keys import request as requests
from sealwire.keys import wire
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwire.app.authority import Authority, Verdict
    from sealwire.app.cloudlog import CloudLog
    from sealwire.app.project import Project

MOST_OPEN: Final = 10_000  # requests remembered while the topic is read at a start; a flood pushes out the oldest
AGAIN: Final = 60_000  # ms: an equal request is answered again after that, not at once: the first answer stands there
UNPROVEN: Final = 60  # answers a minute to those who showed no ticket of ours: enough for honest mistakes
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
        self._unproven_minute = 0
        self._unproven = 0
        self.skipped: Counter[str] = Counter()

    def run(self, *, once: bool = False, stop: Callable[[], bool] = lambda: False) -> int:
        """Answer what waits, then what comes, until told to stop; with ``once`` only what waits. Gives the number.

        Raises `Failure` when the cloud refuses the login or lacks the topics; while it is away it waits.
        """
        self._publish_what_lacks()
        waiting, offset = self._read_up()
        answered = sum(self._handle(request) for request in waiting.values())
        if once:
            return answered
        self._say(f"project {self._project.name}: {answered} answered, waiting for requests")
        for record in self._log.follow(self._requests, offset):
            if stop():
                break
            if record is not None and self._type(record.value) is Type.REQUEST:
                answered += self._handle(record.value)
        return answered

    def _publish_what_lacks(self) -> None:
        """Publish the root, and each credential that the control topic lacks: an answer given by hand, a killed run."""
        for version in publish_roots(self._project, self._log):
            self._say(f"published root {version}")
        found = {record.record_key: record.value for record in self._log.read_whole(self._control)}
        for member in self._authority.books.members():
            if found.get(member_key(member.member_id)) != member.credential:
                self._log.publish(self._control, member_key(member.member_id), member.credential)
                self._say(f"{member.name}: published its credential")

    def _read_up(self) -> tuple[OrderedDict[bytes, bytes], int]:
        """Read the requests topic to its end: the requests without an answer of ours, and the offset after it."""
        waiting: OrderedDict[bytes, bytes] = OrderedDict()
        offset = 0
        for record in self._log.follow(self._requests, to_end=True):
            if record is None:
                continue
            offset = record.offset + 1
            kind = self._type(record.value)
            try:
                if kind is Type.REQUEST:
                    digest = requests.read(record.value, self._project.id).digest
                    if digest not in self._answered:
                        waiting[digest] = record.value
                    if len(waiting) > MOST_OPEN:
                        waiting.popitem(last=False)
                elif kind is Type.ANSWER:
                    digest = self._own_answer(record.value)
                    waiting.pop(digest, None)
                    self._note(digest)
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

    def _handle(self, request: bytes) -> int:
        now = self._now()
        try:
            digest = requests.read(request, self._project.id).digest
            if now - self._answered.get(digest, -AGAIN) < AGAIN:
                return 0
            verdict = self._authority.decide(request, now)
        except Rejected as refusal:
            self._skip(refusal.reason)
            return 0
        if not verdict.proven and not self._may_answer_unproven(now):
            self._skip(Reason.TOO_MANY)
            return 0
        self._answer(verdict)
        return 1

    def _answer(self, verdict: Verdict) -> None:
        # The credential first: whoever reads the answer may go on, so what others need must stand already.
        if verdict.member:
            self._log.publish(self._control, member_key(verdict.member.member_id), verdict.member.credential)
        self._log.publish(self._requests, verdict.request_digest.hex().encode(), verdict.answer)
        self._note(verdict.request_digest)
        self._say(verdict.words)

    def _note(self, digest: bytes) -> None:
        self._answered[digest] = self._now()
        self._answered.move_to_end(digest)
        if len(self._answered) > MOST_OPEN:
            self._answered.popitem(last=False)

    def _may_answer_unproven(self, now: int) -> bool:
        minute = now // 60_000
        if minute != self._unproven_minute:
            self._unproven_minute, self._unproven = minute, 0
        self._unproven += 1
        return self._unproven <= UNPROVEN

    def _skip(self, reason: str) -> None:
        self.skipped[reason] += 1
        if self.skipped.total() % NOTE_EVERY == 1:
            counted = ", ".join(f"{count} {why}" for why, count in sorted(self.skipped.items()))
            self._say(f"skipped what is no request: {counted}")
