"""An authority restored from yesterday goes on behind all that the cloud shows of today, and nothing counts twice."""

from __future__ import annotations

import base64
import io
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import registry as registries
from registry import BERLIN, DAY, HOUR, Desk

from sealwire.app import backup, catchup, keyfiles, office
from sealwire.app import project as projects
from sealwire.app.authority import Authority
from sealwire.app.books import RESTORED
from sealwire.app.cli import main
from sealwire.app.cloudlog import CloudRecord
from sealwire.app.custody import Custody
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.faults import Failure
from sealwire.app.office import CHARTER_KEY, member_key
from sealwire.keys import charter as charters
from sealwire.keys import credential as credentials
from sealwire.keys import keypackage as keypackages
from sealwire.keys import request as requests
from sealwire.keys.charter import BUILT_IN, Refusal
from sealwire.keys.credential import Credential
from sealwire.keys.reason import Reason, Rejected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealwire.keys.identity import Identity
    from sealwire.keys.ticket import Ticket


@pytest.fixture
def words(tmp_path: Path) -> Custody:
    file = tmp_path / "words"
    file.write_text("correct horse battery")
    file.chmod(0o600)
    return Custody(passphrase_file=file)


class Yesterday:
    """An authority that is backed up, goes on for a day, and is restored."""

    def __init__(self, directory: Path, custody: Custody) -> None:
        self.directory, self.custody = directory, custody
        self.desk = registries.make(directory / "acme")
        self.old, self.old_credential = self.desk.admit("old-1")
        self.gone, self.gone_credential = self.desk.admit("gone-1")
        self.spent, self.open = self.desk.ticket(life=9 * DAY), self.desk.ticket({**BERLIN, "site": "oslo"}, 9 * DAY)
        self.desk.run_once()
        backup.write(self.desk.authority.project, directory / "backup", custody, self.desk.now)
        self.desk.now += DAY

    def today(self) -> tuple[Identity, Credential]:
        """What happened since: a member came, one renewed, one was revoked."""
        desk = self.desk
        new = desk.identity()
        desk.send(requests.ask(self.spent, new, "new-1", desk.now))
        desk.send(requests.ask_renewal(self.old, self.old_credential, desk.now))
        desk.authority.charters.refuse(Refusal(self.gone.member_id, 0, "stolen"), "revoke", desk.now)
        assert desk.run_once() == 2
        desk.now += HOUR
        credential = desk.log.newest_by_key(desk.control)[member_key(new.member_id)]
        return new, credentials.read(credential, desk.authority.project.root, desk.now)

    def restored(self) -> Desk:
        project, _ = backup.restore(self.directory / "backup", self.directory / "again", self.custody)
        return Desk(Authority(project, project.books()), self.desk.now, self.desk.log)

    def taken_over(self, *, least: int = 0) -> Desk:
        desk = self.restored()
        news = catchup.look(desk.authority.project, desk.authority.books, desk.log)
        catchup.take(desk.authority, news, desk.log, desk.now, least=least)
        return desk


@pytest.fixture
def yesterday(tmp_path: Path, words: Custody) -> Yesterday:
    return Yesterday(tmp_path, words)


def ask(desk: Desk, ticket: Ticket, name: str, identity: Identity | None = None) -> Credential | Rejected:
    request = requests.ask(ticket, identity or desk.identity(), name, desk.now)
    return desk.read(request, desk.decide(request))


def test_a_backup_has_books_keys_and_roots_and_no_secret_in_the_clear(tmp_path: Path, words: Custody) -> None:
    desk = registries.make(tmp_path / "acme")
    _, credential = desk.admit("old-1")
    backup.write(desk.authority.project, tmp_path / "backup", words, 1000)
    content = (tmp_path / "backup").read_bytes()
    for secret in ("authority.key", "root.key"):
        assert (tmp_path / "acme" / secret).read_bytes().strip() not in content
    assert b"old-1" not in content
    assert (tmp_path / "backup").stat().st_mode & 0o077 == 0
    project, taken_at = backup.restore(tmp_path / "backup", tmp_path / "again", words)
    assert (project.id, taken_at) == (desk.authority.project.id, 1000)
    assert project.authority_key() == desk.authority.project.authority_key()
    assert [row.credential for row in project.books().members()] == [credential.statement]
    assert not (tmp_path / "again/root.key").exists()
    for name in ("authority.key", "books.sqlite"):
        assert (tmp_path / "again" / name).stat().st_mode & 0o077 == 0


def test_a_thief_of_the_directory_or_of_an_opened_backup_has_the_authoritys_key_and_no_other_secret(
    tmp_path: Path, words: Custody
) -> None:
    """A member's secrets never leave its site, a ticket is kept without its seed, and the root keys lie elsewhere."""
    desk = registries.make(tmp_path / "acme", root_keys=3)
    roots = []
    for file in sorted((tmp_path / "acme").glob("root-*.key")):
        roots.append(keyfiles.read_signing_key(file))
        file.rename(tmp_path / file.name)
    ticket, member = desk.ticket(), desk.identity()
    request = requests.ask(desk.ticket(), member, "consumer1", desk.now)
    credential = desk.read(request, desk.decide(request))
    assert isinstance(credential, Credential)
    desk.renew(member, credential)
    held, package = keypackages.renew(member, credential, credential.project_id, (), desk.now, os.urandom)
    assert package is not None
    desk.log.publish(desk.control, b"", package)
    desk.run_once()
    backup.write(desk.authority.project, tmp_path / "backup", words, desk.now)
    backup.restore(tmp_path / "backup", tmp_path / "again", words)
    secrets = [member.signing.seed, ticket.seed, *(root.seed for root in roots)]
    secrets += [each.receiving.seed for each in held]
    assert len(secrets) > 5
    own = desk.authority.project.authority_key().seed
    for directory in (tmp_path / "acme", tmp_path / "again"):
        content = b"".join(file.read_bytes() for file in sorted(directory.iterdir()))
        assert any(form in content for form in forms(own))
        assert not [form for secret in secrets for form in forms(secret) if form in content]


def forms(secret: bytes) -> tuple[bytes, ...]:
    """How a file may hold a secret."""
    return secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"=")


def test_a_backup_taken_while_books_are_written_is_whole(tmp_path: Path, words: Custody) -> None:
    desk = registries.make(tmp_path / "acme")
    stop = threading.Event()

    def write() -> None:
        mine = Authority(desk.authority.project, desk.authority.project.books())
        while not stop.is_set():
            mine.make_ticket(BERLIN, DAY, "", os.urandom, desk.now)
        mine.books.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for number in range(3):
            backup.write(desk.authority.project, tmp_path / "backup", words, number)
    finally:
        stop.set()
        thread.join()
    project, _ = backup.restore(tmp_path / "backup", tmp_path / "again", words)
    books = project.books()
    assert books._base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("how", ["words", "cut", "altered", "header", "foreign", "dear", "free", "version"])
def test_a_backup_that_cannot_be_opened_restores_nothing(tmp_path: Path, words: Custody, how: str) -> None:
    desk = registries.make(tmp_path / "acme")
    file = tmp_path / "backup"
    backup.write(desk.authority.project, file, words, 1000)
    content = bytearray(file.read_bytes())
    if how == "words":
        (tmp_path / "words").write_text("wrong")
    elif how == "cut":
        content = content[:-1]
    elif how == "altered":
        content[-20] ^= 1
    elif how == "header":
        content[40] ^= 1
    elif how in ("dear", "free"):
        content[len(backup.MAGIC) + 1] = 255 if how == "dear" else 0
    elif how == "version":
        content[len(backup.MAGIC)] = 2
    else:
        content = bytearray(b"hello")
    file.write_bytes(content)
    said = {
        "foreign": "is no backup of an authority",
        "dear": "names a cost that none of ours has",
        "free": "names a cost that none of ours has",
        "version": "this sealwire knows 1",
    }.get(how, "another passphrase, or it was cut or altered")
    with pytest.raises(Failure, match=said):
        backup.restore(file, tmp_path / "again", words)
    assert not (tmp_path / "again").exists()


def test_a_backup_overwrites_backups_alone_and_a_restore_nothing(tmp_path: Path, words: Custody) -> None:
    desk = registries.make(tmp_path / "acme")
    (tmp_path / "mine").write_text("a letter")
    with pytest.raises(Failure, match="it is no backup"):
        backup.write(desk.authority.project, tmp_path / "mine", words, 1000)
    backup.write(desk.authority.project, tmp_path / "backup", words, 1000)
    backup.write(desk.authority.project, tmp_path / "backup", words, 2000)
    with pytest.raises(Failure, match="There is a project"):
        backup.restore(tmp_path / "backup", tmp_path / "acme", words)
    assert backup.restore(tmp_path / "backup", tmp_path / "again", words)[1] == 2000


def test_what_a_killed_restore_left_beside_the_books_does_not_get_into_those_of_the_next(
    tmp_path: Path, words: Custody
) -> None:
    desk = registries.make(tmp_path / "acme")
    backup.write(desk.authority.project, tmp_path / "backup", words, 1000)
    desk.admit("old-1")  # in the write-ahead log of the books, which are open
    (tmp_path / "again").mkdir(mode=0o700)
    left = (tmp_path / "acme/books.sqlite-wal").read_bytes()
    assert left
    (tmp_path / "again/books.sqlite-wal").write_bytes(left)
    project, _ = backup.restore(tmp_path / "backup", tmp_path / "again", words)
    assert project.books().members() == []
    assert project.books().setting(RESTORED) == "1000"


def test_books_that_are_older_than_the_cloud_do_not_run(yesterday: Yesterday) -> None:
    yesterday.today()
    desk = yesterday.restored()
    desk.authority.books.forget(RESTORED)  # as a copied directory is
    before = len(desk.log.topics[desk.control])
    with pytest.raises(Failure, match="are not the newest: the cloud knows .*charter 2 with 1 refusal.*new-1"):
        desk.run_once()
    assert len(desk.log.topics[desk.control]) == before


def test_a_restored_authority_goes_on_behind_the_cloud_s_charter_with_all_its_refusals(yesterday: Yesterday) -> None:
    yesterday.today()
    desk = yesterday.taken_over()
    desk.run_once()
    published = desk.published_charter()
    assert published.version == 3
    assert [row.member_id for row in published.refusals] == [yesterday.gone.member_id]
    refusal = desk.renew(yesterday.gone, yesterday.gone_credential)
    assert isinstance(refusal, Rejected)
    assert refusal.reason is Reason.REFUSED_MEMBER


def test_a_refusal_that_only_the_backup_knows_is_kept_too(yesterday: Yesterday) -> None:
    yesterday.today()
    desk = yesterday.restored()
    desk.authority.charters.refuse(Refusal(b"m" * 32, 5, "before"), "revoke", desk.now)
    news = catchup.look(desk.authority.project, desk.authority.books, desk.log)
    assert news.charter is not None  # of the same version, with other content
    catchup.take(desk.authority, news, desk.log, desk.now)
    present = desk.authority.charters.present
    assert (present.version, {row.why for row in present.refusals}) == (3, {"stolen", "before"})


def test_a_higher_charter_that_somebody_remembers_is_gone_beyond(yesterday: Yesterday) -> None:
    yesterday.today()
    assert yesterday.taken_over(least=41).authority.charters.version == 42


def test_a_charter_that_only_credentials_name_is_gone_beyond(yesterday: Yesterday) -> None:
    """The cloud serves the charter of yesterday, and the credentials of today."""
    old = yesterday.desk.log.newest_by_key(yesterday.desk.control)[CHARTER_KEY]
    yesterday.desk.authority.charters.sign(BUILT_IN, "kept back", yesterday.desk.now)
    yesterday.today()
    yesterday.desk.log.publish(yesterday.desk.control, CHARTER_KEY, old)
    desk = yesterday.taken_over()
    named = max(
        credentials.peek(value, desk.authority.project.id).charter_version
        for name, value in desk.log.newest_by_key(desk.control).items()
        if name is not None and name.startswith(b"member/")
    )
    assert named > 1
    assert desk.authority.charters.version == named + 1


def test_members_admitted_since_are_members_and_serials_go_on_behind_all_that_were_given(yesterday: Yesterday) -> None:
    new, credential = yesterday.today()
    desk = yesterday.taken_over()
    renewed = desk.renew(new, credential)
    assert isinstance(renewed, Credential)
    assert (renewed.name, renewed.attributes, renewed.admitted) == ("new-1", credential.attributes, credential.admitted)
    assert renewed.serial > credential.serial + catchup.LEAP - 1
    desk.now += HOUR
    again = desk.renew(yesterday.old, yesterday.old_credential)
    assert isinstance(again, Credential)
    assert again.serial > 2
    assert desk.run_once() == 0


def test_a_ticket_that_was_spent_since_is_spent_and_the_others_are_not(yesterday: Yesterday) -> None:
    new, _ = yesterday.today()
    desk = yesterday.taken_over()
    refusal = ask(desk, yesterday.spent, "thief")
    assert isinstance(refusal, Rejected)
    assert refusal.reason is Reason.SPENT
    assert new.fingerprint in refusal.detail
    assert isinstance(ask(desk, yesterday.open, "oslo-1"), Credential)


def test_two_members_that_two_authorities_admitted_under_one_name_both_go_on_under_it(yesterday: Yesterday) -> None:
    """A directory was copied, and both copies ran: the cloud has another member of a name that the books have, too."""
    twin = yesterday.restored()
    theirs, credential = twin.admit("new-1")
    yesterday.desk.log.publish(yesterday.desk.control, member_key(credential.member_id), credential.statement)
    yesterday.desk.admit("new-1")
    desk = yesterday.desk
    news = catchup.look(desk.authority.project, desk.authority.books, desk.log)
    catchup.take(desk.authority, news, desk.log, desk.now)
    for _ in range(2):
        desk.now += HOUR
        desk.send(requests.ask_renewal(theirs, credential, desk.now))
        assert desk.run_once() == 1
        statement = desk.log.newest_by_key(desk.control)[member_key(theirs.member_id)]
        renewed = credentials.read(statement, desk.authority.project.root, desk.now)
        assert (renewed.name, renewed.serial > credential.serial) == ("new-1", True)
        credential = renewed
    rows = [row.name for row in desk.authority.books.members() if row.name.startswith("new-1")]
    assert rows == ["new-1", f"new-1 ({theirs.fingerprint})"]


def test_where_the_request_is_gone_every_ticket_that_could_have_been_the_one_is_spent(yesterday: Yesterday) -> None:
    other = yesterday.desk.ticket(life=9 * DAY)  # after the backup: the restored books do not know it
    yesterday.today()
    yesterday.desk.log.topics[yesterday.desk.requests].clear()
    desk = yesterday.taken_over()
    for ticket, reason in ((yesterday.spent, Reason.SPENT), (other, Reason.UNKNOWN_TICKET)):
        refusal = ask(desk, ticket, "thief")
        assert isinstance(refusal, Rejected)
        assert refusal.reason is reason
    assert isinstance(ask(desk, yesterday.open, "oslo-1"), Credential)


def test_a_renewed_credential_is_news_and_what_the_cloud_shows_is_what_the_books_have_then(
    yesterday: Yesterday,
) -> None:
    yesterday.today()
    desk = yesterday.restored()
    news = catchup.look(desk.authority.project, desk.authority.books, desk.log)
    assert [(each.name, each.serial) for each in news.members if each.name == "old-1"] == [("old-1", 2)]
    catchup.take(desk.authority, news, desk.log, desk.now)
    found = desk.log.newest_by_key(desk.control)
    for row in desk.authority.books.members():
        assert found[member_key(row.member_id)] == row.credential
    assert not catchup.look(desk.authority.project, desk.authority.books, desk.log).members


def test_a_forged_request_spends_no_ticket_of_restored_books(yesterday: Yesterday) -> None:
    new, _ = yesterday.today()
    forged = requests.RequestFields(
        yesterday.open.ticket_id, "new-1", new.member_id, new.public, None, yesterday.desk.now
    )
    project_id = yesterday.desk.authority.project.id
    statement = requests.wire.write(requests.Type.REQUEST, project_id, forged, [new.signing])
    yesterday.desk.log.topics[yesterday.desk.requests].insert(
        0, CloudRecord(0, 0, b"", statement)
    )  # before the true one
    desk = yesterday.taken_over()
    assert isinstance(ask(desk, yesterday.open, "oslo-1"), Credential)


def test_what_others_sign_on_the_control_topic_is_no_news(yesterday: Yesterday, tmp_path: Path) -> None:
    thief = registries.make(tmp_path / "thief")
    _, credential = thief.admit("new-1")
    charter = thief.authority.charters.sign(BUILT_IN, "x", thief.now, least=9).statement
    ours = yesterday.desk.authority.project.id
    borrowed = [each[:5] + ours + each[37:] for each in (charter, credential.statement)]
    for statement in (credential.statement, charter, b"hello", *borrowed):
        yesterday.desk.log.publish(yesterday.desk.control, os.urandom(4), statement)
    desk = yesterday.restored()
    news = catchup.look(desk.authority.project, desk.authority.books, desk.log)
    assert not news
    assert news.named == 1


def test_a_credential_that_the_books_did_not_give_is_noticed_by_a_running_authority_at_its_next_start(
    yesterday: Yesterday,
) -> None:
    """Somebody else has the authority key."""
    thief = yesterday.desk.reopened()
    row = thief.authority.books.member(yesterday.old.member_id)
    assert row is not None
    thief.authority.books.close()
    thief_desk = yesterday.restored()
    _, credential = thief_desk.admit("nobody-1")
    yesterday.desk.log.publish(yesterday.desk.control, member_key(credential.member_id), credential.statement)
    with pytest.raises(Failure, match="that the books do not know: nobody-1 .*somebody else has the authority"):
        yesterday.desk.run_once()


def test_roots_that_the_cloud_has_are_taken_up_where_they_follow(yesterday: Yesterday) -> None:
    project = yesterday.desk.authority.project
    signing = projects.keyfiles.read_signing_key(project.directory / "root.key")
    fields = {name: getattr(project.root, name) for name in projects.roots.RootFields.__struct_fields__}
    fields = projects.roots.RootFields(**{**fields, "made_at": yesterday.desk.now})
    projects.take_root(project, projects.roots.make_next(project.root, fields, [signing]))
    yesterday.desk.reopened().run_once()
    desk = yesterday.restored()
    assert desk.authority.project.root.version == 1
    assert catchup.adopt_roots(desk.authority.project, desk.log, desk.note).root.version == 2
    assert desk.noted == [("root", {"version": 2})]
    desk.log.publish(desk.control, office.root_key(3), b"anybody's bytes")
    assert projects.open_project(desk.authority.project.directory).root.version == 2
    project = projects.open_project(desk.authority.project.directory)
    assert catchup.adopt_roots(project, desk.log, desk.note).root.version == 2


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


def run(*given: str) -> int:
    return main(list(given))


def test_the_drill_of_the_runbook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: EmbeddedBroker, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words").write_text("correct horse")
    (tmp_path / "words").chmod(0o600)
    under = ("--passphrase-file", "words")
    name = f"acme{os.getpid()}{time.monotonic_ns()}"
    assert run("project", "create", name, "-d", "acme") == 0
    assert run("project", "cloud", "-d", "acme", "--bootstrap", broker.bootstrap, "--embedded") == 0
    assert run("authority", "run", "-d", "acme", "--once", "--embedded") == 0
    assert run("authority", "backup", "yesterday", "-d", "acme", *under) == 0
    assert run("revoke", "ab" * 32, "--why", "stolen", "-d", "acme", "--embedded") == 0
    nowhere = ("--bootstrap", "127.0.0.1:1")
    assert run("authority", "restore", "yesterday", "-d", "again", *under, *nowhere) == 1
    said = capsys.readouterr().err
    assert "NOT COMPARED WITH THE CLOUD" in said
    assert "The authority does not run before that" in said
    for words in (
        ("authority", "run", "-d", "again", "--once"),
        ("revoke", "cd" * 32, "--why", "x", "-d", "again"),
        ("ticket", "create", "-d", "again"),
    ):
        assert run(*words) == 2
        assert "sealwire authority catch-up" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("authority", "catch-up", "-d", "again", "--embedded") == 2
    assert "Nothing was changed. Nobody is there to answer" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run("authority", "catch-up", "-d", "again", "--embedded") == 1
    assert "Nothing was changed." in capsys.readouterr().err
    assert run("authority", "catch-up", "-d", "again", "--embedded", "--yes") == 0
    assert "charter 2 with 1 refusal" in capsys.readouterr().out
    assert run("authority", "run", "-d", "again", "--once", "--embedded") == 0
    assert run("authority", "catch-up", "-d", "again", "--embedded") == 0
    project = projects.open_project(tmp_path / "again")
    row = project.books().charter()
    assert row is not None
    fields = charters.peek(row.statement, project.id)
    assert (fields.version, [each.why for each in fields.refusals]) == (3, ["stolen"])
    assert run("authority", "catch-up", "-d", "again", "--embedded", "--yes", "--at-least", "7") == 0
    row = project.books().charter()
    assert row is not None
    assert row.version == 8
    assert run("authority", "run", "-d", "acme", "--once", "--embedded") == 2  # the old machine came back
    assert "are not the newest" in capsys.readouterr().err
    assert run("revoke", "cd" * 32, "--why", "x", "-d", "acme", "--embedded") == 1
    said = capsys.readouterr().err
    assert "NOT PUBLISHED" in said
    assert "authority run --once" not in said  # which would refuse these books as well
    assert run("authority", "catch-up", "-d", "acme", *nowhere) == 1
    assert "The authority does not run before that" not in capsys.readouterr().err  # it does: nothing was restored
    assert run("authority", "catch-up", "-d", "acme", "--at-least", "-3") == 2
