"""Enrolling over a broker and by hand: a ticket becomes a credential once, whatever is repeated, forged or killed."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from sealwire.agents.settings import Cluster
from sealwire.app import papers
from sealwire.app import project as projects
from sealwire.app.authority import Authority
from sealwire.app.cloudlog import CloudLog
from sealwire.app.custody import Custody, make_key_file
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.enrolment import Enrolled, Enrolment, read_ticket
from sealwire.app.faults import Failure
from sealwire.app.names import project_topics
from sealwire.app.office import CHARTER_KEY, Office, member_key, publish_roots, root_key
from sealwire.app.project import Project, now_ms
from sealwire.app.vault import Vault, create_vault, open_vault, vault_file
from sealwire.keys import identity as identities
from sealwire.keys import request as requests
from sealwire.keys import wire
from sealwire.keys.charter import Refusal
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.secrets import Secrets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealwire.keys.ticket import Ticket

BERLIN = {"role": "member", "site": "berlin"}
DAY = 24 * 3_600_000
SECONDS = 20.0


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@dataclass
class World:
    """A project with its topics on a broker, and the places where identities live."""

    project: Project
    bootstrap: str
    directory: Path
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        make_key_file(self.directory / "vault.key")
        self.log = CloudLog(Cluster(self.bootstrap, embedded=True), self.said.append)

    def ticket_text(self, life: int = DAY) -> bytes:
        return Authority(self.project, self.project.books()).make_ticket(
            BERLIN, life, self.bootstrap, os.urandom, now_ms()
        )

    def ticket(self) -> Ticket:
        return read_ticket(self.ticket_text(), "ticket")

    def vault(self, name: str) -> Vault:
        file, custody = vault_file(self.directory, name), Custody(self.directory / "vault.key")
        if file.exists():
            return open_vault(file, custody)
        return create_vault(file, custody, Secrets.begin(identities.create(os.urandom, now_ms())))

    def enroll(self, ticket: Ticket, name: str, *, seconds: float = SECONDS) -> Enrolled | None:
        with self.vault(name) as vault:
            return Enrolment(vault, name, now_ms).over_the_cloud(ticket, self.log, self.said.append, seconds=seconds)

    def answer_what_waits(self) -> int:
        books = self.project.books()
        with CloudLog(Cluster(self.bootstrap, embedded=True), self.said.append) as log:
            answered = Office(Authority(self.project, books), log, now_ms, self.said.append).run(once=True)
        books.close()
        return answered

    @property
    def control(self) -> str:
        return project_topics(self.project.name)[0]

    @property
    def requests(self) -> str:
        return project_topics(self.project.name)[2]

    def answers(self, ticket: Ticket, request: bytes) -> list[bytes]:
        digest = requests.read(request, ticket.project_id).digest
        found = []
        for record in self.log.read_whole(self.requests):
            try:
                if requests.peek_answer(record.value, ticket.project_id).request == digest:
                    found.append(record.value)
            except Rejected:
                pass
        return found


@pytest.fixture
def world(broker: EmbeddedBroker, tmp_path: Path) -> Iterator[World]:
    name = f"acme-{os.urandom(4).hex()}"
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for made in admin.create_topics([NewTopic(topic, 1, 1) for topic in project_topics(name)]).values():
        made.result()
    found = World(projects.create(name, tmp_path / "project"), broker.bootstrap, tmp_path)
    publish_roots(found.project, found.log)
    yield found
    found.log.close()


def test_an_identity_that_the_charter_refuses_is_told_so_before_it_spends_another_ticket(world: World) -> None:
    ticket = world.ticket()
    world.enroll(ticket, "producer1", seconds=0)
    world.answer_what_waits()
    assert world.enroll(ticket, "producer1") is not None
    authority = Authority(world.project, world.project.books())
    with world.vault("producer1") as vault:
        member_id = vault.load().identity.member_id
        row = authority.charters.refuse(Refusal(member_id, 0, "laptop lost"), "revoke", now_ms())
        assert row is not None
        vault.save(replace(vault.load(), charter=row.statement))  # as its worker learned
    with pytest.raises(Failure, match="'producer1' is refused by the charter: laptop lost.*--identity OTHER"):
        world.enroll(world.ticket(), "producer1")


def test_a_ticket_is_spent_over_kafka_for_a_credential_that_all_can_read(world: World) -> None:
    ticket = world.ticket()
    assert world.enroll(ticket, "producer1", seconds=0) is None
    assert world.answer_what_waits() == 1
    enrolled = world.enroll(ticket, "producer1")
    assert enrolled is not None
    assert (enrolled.credential.name, enrolled.credential.site) == ("producer1", "berlin")
    published = {record.record_key: record.value for record in world.log.read_whole(world.control)}
    assert published[member_key(enrolled.credential.member_id)] == enrolled.credential.statement
    assert published[root_key(1)] == world.project.root.statement
    with world.vault("producer1") as vault:
        assert vault.load().credential == enrolled.credential.statement
        assert vault.load().root == world.project.root.statement
        assert vault.load().request is None


def test_a_running_authority_answers_while_the_member_waits(world: World) -> None:
    stop = threading.Event()
    books_thread = threading.Thread(target=_serve, args=(world, stop))
    books_thread.start()
    try:
        assert world.enroll(world.ticket(), "producer1") is not None
        assert world.enroll(world.ticket(), "producer2") is not None
    finally:
        stop.set()
        books_thread.join()


def _serve(world: World, stop: threading.Event) -> None:
    books = world.project.books()
    with CloudLog(Cluster(world.bootstrap, embedded=True), world.said.append) as log:
        Office(Authority(world.project, books), log, now_ms, world.said.append).run(stop=stop.is_set)
    books.close()


def test_a_second_run_sends_the_same_bytes_and_takes_the_answer_that_stands_there(world: World) -> None:
    ticket = world.ticket()
    for _ in range(3):
        assert world.enroll(ticket, "producer1", seconds=0) is None
    sent = {record.value for record in world.log.read_whole(world.requests)}
    assert len(sent) == 1
    assert world.answer_what_waits() == 1
    assert world.enroll(ticket, "producer1") is not None


def test_the_request_is_in_the_vault_before_the_cloud_is_asked(world: World) -> None:
    ticket = world.ticket()
    nobody = CloudLog(Cluster("127.0.0.1:1"), world.said.append)
    with world.vault("producer1") as vault, pytest.raises(Failure, match="No answer from"):
        Enrolment(vault, "producer1", now_ms).over_the_cloud(ticket, nobody, world.said.append, reach=0.1)
    with world.vault("producer1") as vault:
        kept = vault.load().request
    assert kept is not None
    assert requests.read(kept, ticket.project_id).ticket_id == ticket.ticket_id
    assert world.enroll(ticket, "producer1", seconds=0) is None
    assert kept in {record.value for record in world.log.read_whole(world.requests)}


def test_an_enrolled_identity_is_told_so_and_sends_nothing(world: World) -> None:
    ticket = world.ticket()
    world.enroll(ticket, "producer1", seconds=0)
    world.answer_what_waits()
    world.enroll(ticket, "producer1")
    before = len(world.log.read_whole(world.requests))
    again = world.enroll(ticket, "producer1")
    assert again is not None
    assert again.before
    assert len(world.log.read_whole(world.requests)) == before


def test_a_spent_ticket_names_the_winners_fingerprint(world: World) -> None:
    ticket = world.ticket()
    world.enroll(ticket, "producer1", seconds=0)
    world.answer_what_waits()
    winner = world.enroll(ticket, "producer1")
    assert winner is not None
    world.enroll(ticket, "thief", seconds=0)
    world.answer_what_waits()
    with pytest.raises(
        Failure, match=rf"spent by another identity .*{identities.fingerprint(winner.credential.member_id)}"
    ):
        world.enroll(ticket, "thief")


def test_an_expired_ticket_is_refused_before_anything_is_sent(world: World) -> None:
    ticket = read_ticket(world.ticket_text(life=1), "ticket")
    deadline = time.monotonic() + 5
    while now_ms() <= ticket.expiry and time.monotonic() < deadline:
        pass
    with pytest.raises(Failure, match="expired"):
        world.enroll(ticket, "producer1", seconds=0)
    assert world.log.read_whole(world.requests) == []


def test_a_ticket_of_another_project_leaves_a_member_as_it_is(world: World, tmp_path: Path) -> None:
    ticket = world.ticket()
    world.enroll(ticket, "producer1", seconds=0)
    world.answer_what_waits()
    world.enroll(ticket, "producer1")
    other = projects.create("other", tmp_path / "other")
    text = Authority(other, other.books()).make_ticket(BERLIN, DAY, "", os.urandom, now_ms())
    with pytest.raises(Failure, match="member of another project"):
        world.enroll(read_ticket(text, "ticket"), "producer1")


def test_the_root_of_another_project_under_the_same_name_is_not_believed(world: World, tmp_path: Path) -> None:
    impostor = projects.create(world.project.name, tmp_path / "impostor")
    world.log.publish(world.control, root_key(1), impostor.root.statement)
    with pytest.raises(Failure, match="is not the ticket's"):
        world.enroll(world.ticket(), "producer1", seconds=0)


def test_forged_answers_are_passed_over(world: World, tmp_path: Path) -> None:
    ticket = world.ticket()
    world.enroll(ticket, "producer1", seconds=0)
    with world.vault("producer1") as vault:
        request = vault.load().request or b""
    forger = projects.create("forger", tmp_path / "forger")
    digest = requests.read(request, ticket.project_id).digest
    forged = bytearray(requests.answer(forger.root, forger.authority_key(), digest, now_ms(), reason=Reason.SPENT))
    forged[5:37] = ticket.project_id
    world.log.publish(world.requests, b"x", bytes(forged))
    assert world.enroll(ticket, "producer1", seconds=0) is None
    assert world.answer_what_waits() == 1
    assert world.enroll(ticket, "producer1") is not None


def test_garbage_in_the_requests_is_counted_and_the_rest_is_answered(world: World) -> None:
    for garbage in (b"hello", b"", b"SW", bytes(2000), os.urandom(500), wire.MAGIC + b"\x24\x01\x01" + bytes(80)):
        world.log.publish(world.requests, b"", garbage)
    ticket = world.ticket()
    world.enroll(ticket, "producer1", seconds=0)
    books = world.project.books()
    office = Office(Authority(world.project, books), world.log, now_ms, world.said.append)
    assert office.run(once=True) == 1
    assert office.skipped.total() == 6
    assert world.enroll(ticket, "producer1") is not None


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_authority_killed_between_its_books_and_the_cloud_says_the_same_bytes_at_its_next_start(
    world: World, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    ticket = world.ticket()
    world.enroll(ticket, "producer1", seconds=0)
    with world.vault("producer1") as vault:
        request = vault.load().request or b""
    real, published = CloudLog.publish, []

    class Killed(BaseException):
        pass

    def publish(log: CloudLog, topic: str, record_key: bytes, value: bytes, **rest: float | None) -> int:
        if len(published) == after:
            raise Killed
        published.append(topic)
        return real(log, topic, record_key, value, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(CloudLog, "publish", publish)
        with pytest.raises(Killed):
            world.answer_what_waits()
    digest = requests.read(request, ticket.project_id).digest
    charter, decided = world.project.books().charter(), world.project.books().answer(digest)
    assert charter is not None
    assert (decided is None) == (after == 0)  # the charter is published first, then credential and answer
    assert world.answers(ticket, request) == []
    assert world.answer_what_waits() == 1
    published_now = {record.record_key: record.value for record in world.log.read_whole(world.control)}
    assert published_now[CHARTER_KEY] == charter.statement
    assert decided is None or world.answers(ticket, request) == [decided]
    assert world.answer_what_waits() == 0
    assert world.enroll(ticket, "producer1") is not None


def test_a_control_topic_that_lost_its_statements_gets_them_again(world: World) -> None:
    ticket = world.ticket()
    world.enroll(ticket, "producer1", seconds=0)
    world.answer_what_waits()
    enrolled = world.enroll(ticket, "producer1")
    assert enrolled is not None
    world.log.publish(world.control, root_key(1), b"")
    world.log.publish(world.control, member_key(enrolled.credential.member_id), b"")
    world.answer_what_waits()
    published = {record.record_key: record.value for record in world.log.read_whole(world.control)}
    assert published[root_key(1)] == world.project.root.statement
    assert published[member_key(enrolled.credential.member_id)] == enrolled.credential.statement


def test_strangers_get_a_bounded_number_of_answers(world: World) -> None:
    ticket = world.ticket()
    with sqlite3.connect(world.project.books().file) as base:
        base.execute("DELETE FROM ticket")
    for number in range(70):
        request = requests.ask(ticket, identities.create(os.urandom, now_ms()), f"n{number}", now_ms())
        world.log.publish(world.requests, b"", request)
    books = world.project.books()
    office = Office(Authority(world.project, books), world.log, lambda: 1_000_000, world.said.append)
    assert office.run(once=True) <= 60
    assert office.skipped["too-many"] >= 10


def test_enrolling_by_hand_needs_no_broker(world: World, tmp_path: Path) -> None:
    ticket = world.ticket()
    request, answer = tmp_path / "producer1.request", tmp_path / "producer1.answer"
    with world.vault("producer1") as vault:
        Enrolment(vault, "producer1", now_ms).write_request(ticket, request)
        first = request.read_bytes()
        Enrolment(vault, "producer1", now_ms).write_request(ticket, request)
        assert request.read_bytes() == first
    (statement,) = papers.read(papers.REQUEST, request)
    verdict = Authority(world.project, world.project.books()).decide(statement, now_ms())
    answer.write_bytes(papers.write(papers.ANSWER, [verdict.answer, world.project.root.statement]))
    with world.vault("producer1") as vault:
        assert Enrolment(vault, "producer1", now_ms).take_answer(answer).credential.name == "producer1"
        assert Enrolment(vault, "producer1", now_ms).take_answer(answer).before


def test_an_answer_by_hand_to_another_identity_is_refused(world: World, tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    with world.vault("producer1") as vault:
        statement = Enrolment(vault, "producer1", now_ms).request(world.ticket())
    with world.vault("producer2") as vault:
        Enrolment(vault, "producer2", now_ms).request(world.ticket())
        verdict = Authority(world.project, world.project.books()).decide(statement, now_ms())
        answer.write_bytes(papers.write(papers.ANSWER, [verdict.answer, world.project.root.statement]))
        with pytest.raises(Failure, match="does not answer the request of identity 'producer2'"):
            Enrolment(vault, "producer2", now_ms).take_answer(answer)


@pytest.mark.parametrize("left", [0.0, 0.05, 0.3, 0.7, 0.97])
def test_a_ticket_or_paper_that_is_cut_says_so(world: World, tmp_path: Path, left: float) -> None:
    text = world.ticket_text()
    with pytest.raises(Failure, match=r"no ticket|end is missing|part is missing|cut"):
        read_ticket(text[: int(len(text) * left)], "my.ticket")
    paper = papers.write(papers.REQUEST, [b"statement" * 30])
    file = tmp_path / "paper"
    file.write_bytes(paper[: int(len(paper) * left)])
    with pytest.raises(Failure, match=r"does not begin as one|part is missing"):
        papers.read(papers.REQUEST, file)


def test_an_altered_ticket_is_told_from_a_foreign_file(world: World) -> None:
    text = bytearray(world.ticket_text())
    text[100] = ord("A") if text[100] != ord("A") else ord("B")
    with pytest.raises(Failure, match="altered"):
        read_ticket(bytes(text), "my.ticket")
    with pytest.raises(Failure, match="is no ticket"):
        read_ticket(b"{}", "my.ticket")


def test_a_topic_that_is_missing_is_named_with_the_command_that_makes_it(world: World) -> None:
    with pytest.raises(Failure, match=r"There is no topic nowhere\.control .*sealwire project cloud"):
        world.log.read_whole("nowhere.control")


def test_a_broker_that_is_away_is_said_once_and_waited_for() -> None:
    said: list[str] = []
    with EmbeddedBroker() as broker:
        bootstrap = broker.bootstrap
    log = CloudLog(Cluster(bootstrap), said.append)
    with pytest.raises(Failure, match="No answer from"):
        log.wait("acme.control", seconds=4)
    assert said == [f"{bootstrap} does not answer; waiting for it"]
    log.close()


def test_reading_to_the_end_ends_where_records_keep_coming() -> None:
    with EmbeddedBroker() as broker, CloudLog(Cluster(broker.bootstrap, embedded=True), print) as log:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("acme.requests", 1, 1)])["acme.requests"].result()
        for number in range(3):
            log.publish("acme.requests", b"%d" % number, b"before")
        seen = 0
        for record in log.follow("acme.requests", to_end=True):
            if record is not None:
                log.publish("acme.requests", b"%d" % (3 + seen), b"one more for each that was read")
                seen += 1
            assert seen < 100
        assert seen == 3


def test_a_follower_that_loses_its_broker_says_so_once_and_goes_on() -> None:
    said: list[str] = []
    with EmbeddedBroker() as broker:
        log = CloudLog(Cluster(broker.bootstrap), said.append)
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("acme.requests", 1, 1)])["acme.requests"].result()
        following = log.follow("acme.requests")
        assert next(following) is None
    away = [next(following) for _ in range(6)]
    assert away == [None] * 6
    assert said == [f"{broker.bootstrap} does not answer; waiting for it"]
    log.close()
