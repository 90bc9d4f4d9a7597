"""The commands of administrators and members, as they are typed: output to pipe on, words on failure, no traceback."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sealwire.app.cli import main
from sealwire.app.custody import Custody
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.project import now_ms
from sealwire.app.vault import open_vault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEALWIRE_STATE", str(tmp_path / "state"))
    return tmp_path


def run(*words: str) -> int:
    return main(list(words))


def ticket(here: Path, capfdbinary: pytest.CaptureFixture[bytes], *words: str) -> str:
    capfdbinary.readouterr()
    assert run("ticket", "create", "-d", "acme", "-a", "role=member", "-a", "site=berlin", *words) == 0
    file = here / f"{os.urandom(4).hex()}.ticket"
    file.write_bytes(capfdbinary.readouterr().out)
    return str(file)


def test_from_a_project_to_an_enrolled_identity_as_the_article_does_it(
    here: Path, broker: EmbeddedBroker, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run("project", "create", "acme", "-d", "acme") == 0
    assert run("project", "cloud", "-d", "acme", "--bootstrap", broker.bootstrap, "--embedded") == 0
    assert run("project", "cloud", "-d", "acme") == 0
    mine = ticket(here, capfdbinary)
    assert run("identity", "create", "producer1") == 0
    assert run("enroll", mine, "--identity", "producer1", "--wait", "0") == 1
    assert b"No answer within 0 s" in capfdbinary.readouterr().err
    assert run("authority", "run", "-d", "acme", "--once") == 0
    assert run("enroll", mine, "--identity", "producer1") == 0
    assert b"Identity producer1 is enrolled: role=member, site=berlin." in capfdbinary.readouterr().err
    assert run("enroll", mine, "--identity", "producer1") == 0
    assert b"already enrolled" in capfdbinary.readouterr().err


def test_an_authority_in_a_process_of_its_own_answers_and_ends_at_a_signal(
    here: Path, broker: EmbeddedBroker, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("project", "create", "beta", "-d", "acme")
    run("project", "cloud", "-d", "acme", "--bootstrap", broker.bootstrap, "--embedded")
    mine = ticket(here, capfdbinary)
    command = [sys.executable, "-c", "import sys; from sealwire.app.cli import main; sys.exit(main())"]
    authority = subprocess.Popen([*command, "authority", "run", "-d", "acme"], stderr=subprocess.PIPE)
    try:
        assert run("enroll", mine, "--identity", "producer1") == 0
        assert run("authority", "run", "-d", "acme", "--once") == 2
        assert f"in use by another process: pid {authority.pid},".encode() in capfdbinary.readouterr().err
    finally:
        authority.send_signal(signal.SIGTERM)
        _, words = authority.communicate(timeout=20)
    assert authority.returncode == 0
    assert b"Traceback" not in words


def test_a_project_directory_that_is_none_is_said_with_the_cure(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("ticket", "create", "-a", "role=member") == 2
    assert "sealwire project create" in capsys.readouterr().err
    assert not (here / "books.sqlite").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-a", "site"], "has no '='"),
        (["-a", "site=a.b"], "names a site that"),
        (["-a", "si te=x"], "cannot be an attribute's name"),
        (["-a", "role=a", "-a", "role=b"], "twice"),
        (["-a", "role="], "needs a value"),
        (["--expires", "soon"], "no time of up to 90d"),
        (["--expires", "91d"], "no time of up to 90d"),
        (["--expires", "0h"], "no time of up to 90d"),
        (["--bootstrap", "cloud.example"], "'cloud.example' is not host:port"),
        (["--bootstrap", "cloud.example:kafka"], "is not host:port"),
    ],
)
def test_a_ticket_that_cannot_be_is_refused_in_words(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    run("project", "create", "acme", "-d", str(here / "acme"))
    capsys.readouterr()
    assert run("ticket", "create", "-d", "acme", *words) == 2
    outcome = capsys.readouterr()
    assert said in outcome.err
    assert outcome.out == ""


def test_all_that_is_wrong_with_a_ticket_is_told_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("project", "create", "acme", "-d", "acme")
    capsys.readouterr()
    assert run("ticket", "create", "-d", "acme", "-a", "site", "-a", "si te=x", "--expires", "soon", "-b", "x") == 2
    said = capsys.readouterr().err
    assert [word in said for word in ("site: has no '='", "'si te'", "--expires soon", "'x' is not")] == [True] * 4


def test_a_ticket_in_a_file_is_private(here: Path) -> None:
    run("project", "create", "acme", "-d", "acme")
    assert run("ticket", "create", "-d", "acme", "-a", "role=member", "--out", "t") == 0
    assert (here / "t").stat().st_mode & 0o777 == 0o600


def test_a_refused_ticket_makes_no_identity(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "bad.ticket").write_text("not one")
    assert run("enroll", "bad.ticket", "--identity", "producer1") == 2
    assert "is no ticket" in capsys.readouterr().err
    assert not (here / "state").exists()


def test_by_hand_the_request_and_the_answer_go_as_files(here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    run("project", "create", "acme", "-d", "acme")
    mine = ticket(here, capfdbinary)
    assert run("enroll", mine, "--identity", "producer1", "--request-file", "r") == 0
    assert run("authority", "admit", "r", "-d", "acme", "--answer", "a") == 0
    assert run("enroll", "--answer", "a", "--identity", "producer1") == 0
    assert b"is enrolled" in capfdbinary.readouterr().err
    assert run("members", "--directory", "acme", "--json") == 0
    assert b'"producer1"' in capfdbinary.readouterr().out


def test_who_is_refused_by_hand_has_an_answer_that_says_so_and_the_exit_code_tells(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("project", "create", "acme", "-d", "acme")
    mine = ticket(here, capfdbinary)
    for name in ("producer1", "thief"):
        run("enroll", mine, "--identity", name, "--request-file", name)
    assert run("authority", "admit", "producer1", "-d", "acme", "--answer", "a") == 0
    capfdbinary.readouterr()
    assert run("authority", "admit", "thief", "-d", "acme", "--answer", "a2") == 1
    said = capfdbinary.readouterr().err
    assert b"refused, spent" in said
    assert b"Others hear of the member" not in said
    assert run("enroll", "--answer", "a2", "--identity", "thief") == 1
    assert b"spent" in capfdbinary.readouterr().err


def test_a_member_that_is_given_another_ticket_by_hand_stays_one(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("project", "create", "acme", "-d", "acme")
    mine, another = ticket(here, capfdbinary), ticket(here, capfdbinary)
    run("enroll", mine, "--identity", "producer1", "--request-file", "r")
    run("authority", "admit", "r", "-d", "acme", "--answer", "a")
    assert run("enroll", "--answer", "a", "--identity", "producer1") == 0
    before = (here / "state/producer1/vault").read_bytes()
    capfdbinary.readouterr()
    assert run("enroll", another, "--identity", "producer1", "--request-file", "r2") == 0
    assert b"producer1 is already enrolled" in capfdbinary.readouterr().err
    assert (here / "state/producer1/vault").read_bytes() == before
    assert not (here / "r2").exists()


def test_a_member_whose_credential_ended_is_told_who_makes_the_next(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("project", "create", "acme", "-d", "acme")
    mine = ticket(here, capfdbinary)
    run("enroll", mine, "--identity", "producer1", "--request-file", "r")
    run("authority", "admit", "r", "-d", "acme", "--answer", "a")
    assert run("enroll", "--answer", "a", "--identity", "producer1") == 0
    monkeypatch.setattr("sealwire.app.commands_member.now_ms", lambda: now_ms() + 8 * 86_400_000)
    capfdbinary.readouterr()
    assert run("enroll", mine, "--identity", "producer1") == 0
    said = capfdbinary.readouterr().err
    assert b"Its credential 1 ended " in said
    assert b"its worker asks for the next one while the authority runs" in said
    assert b"holds until" not in said


def test_a_clock_behind_the_credential_is_told_in_words(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("project", "create", "acme", "-d", "acme")
    mine = ticket(here, capfdbinary)
    run("identity", "create", "producer1")
    with monkeypatch.context() as later:
        for module in ("commands_member", "commands_authority"):
            later.setattr(f"sealwire.app.{module}.now_ms", lambda: now_ms() + 3_600_000)
        run("enroll", mine, "--identity", "producer1", "--request-file", "r")
        run("authority", "admit", "r", "-d", "acme", "--answer", "a")
        assert run("enroll", "--answer", "a", "--identity", "producer1") == 0
    assert run("enroll", mine, "--identity", "producer1") == 2
    assert b"this machine's clock is behind" in capfdbinary.readouterr().err


def rotate_root(here: Path) -> None:
    assert run("root", "draft", "draft", "-d", "acme", "--new-authority-key", "--until", "300d") == 0
    assert run("root", "sign", "draft", "--root-key", "acme/root.key", "--yes") == 0
    assert run("root", "finish", "draft", "-d", "acme") == 0


def test_by_hand_an_answer_brings_all_roots_up_to_the_one_that_counts(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("project", "create", "acme", "-d", "acme")
    old = ticket(here, capfdbinary)
    rotate_root(here)
    for name, each in (("old", old), ("new", ticket(here, capfdbinary))):
        assert run("enroll", each, "--identity", name, "--request-file", "r") == 0
        assert run("authority", "admit", "r", "-d", "acme", "--answer", "a") == 0
        assert run("enroll", "--answer", "a", "--identity", name) == 0


def test_over_the_cloud_tickets_of_the_former_and_of_the_present_root_admit(
    here: Path, broker: EmbeddedBroker, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("project", "create", "rotated", "-d", "acme")
    run("project", "cloud", "-d", "acme", "--bootstrap", broker.bootstrap, "--embedded")
    old = ticket(here, capfdbinary)
    rotate_root(here)
    new = ticket(here, capfdbinary)
    assert run("enroll", old, "--identity", "old", "--wait", "0") == 1
    capfdbinary.readouterr()
    assert run("enroll", new, "--identity", "new", "--wait", "0") == 1
    assert b"root 2, which the ticket pins, is not there" in capfdbinary.readouterr().err
    assert run("authority", "run", "-d", "acme", "--once") == 0
    assert run("enroll", new, "--identity", "new", "--wait", "0") == 1
    assert run("authority", "run", "-d", "acme", "--once") == 0
    for name, each in (("old", old), ("new", new)):
        assert run("enroll", each, "--identity", name) == 0


def test_a_ticket_of_another_project_of_the_same_name_is_told_so(
    here: Path, broker: EmbeddedBroker, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    run("project", "create", "twin", "-d", "acme")
    run("project", "cloud", "-d", "acme", "--bootstrap", broker.bootstrap, "--embedded")
    run("project", "create", "twin", "-d", "other")
    assert run("ticket", "create", "-d", "other", "-a", "role=member", "-b", broker.bootstrap, "--out", "t") == 0
    assert run("enroll", "t", "--identity", "producer1", "--wait", "0") == 1
    assert b"is not the ticket's" in capfdbinary.readouterr().err
    assert run("enroll", "t", "--identity", "producer1", "--request-file", "r") == 0
    assert run("authority", "admit", "r", "-d", "acme", "--answer", "a") == 2
    assert b"r is no request to project twin" in capfdbinary.readouterr().err


def test_an_identity_under_a_passphrase_file_opens_with_nothing_else(
    here: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    (here / "words").write_text("correct horse")
    (here / "words").chmod(0o600)
    run("project", "create", "acme", "-d", "acme")
    mine = ticket(here, capfdbinary)
    assert run("identity", "create", "producer1", "--passphrase-file", "words") == 0
    assert not (here / "state" / "vault.key").exists()
    assert run("enroll", mine, "--identity", "producer1", "--request-file", "r") == 2
    assert b"is under a passphrase" in capfdbinary.readouterr().err
    assert run("enroll", mine, "--identity", "producer1", "--passphrase-file", "words", "--request-file", "r") == 0


def test_no_seed_of_identity_or_ticket_is_ever_printed(here: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    run("project", "create", "acme", "-d", "acme")
    mine = ticket(here, capfdbinary)
    run("identity", "create", "producer1")
    run("enroll", mine, "--identity", "producer1", "--request-file", "r")
    run("authority", "admit", "r", "-d", "acme", "--answer", "a")
    run("enroll", "--answer", "a", "--identity", "producer1")
    outcome = capfdbinary.readouterr()
    for file in ("acme/root.key", "acme/authority.key", "state/vault.key"):
        secret = (here / file).read_bytes().strip()
        assert secret not in outcome.out + outcome.err
        assert base64.b64decode(secret).hex().encode() not in outcome.out + outcome.err


def test_a_vault_is_put_under_another_custody_by_a_command(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "secret").write_bytes(b"a" * 32)
    assert run("identity", "create", "producer1", "--state", "state") == 0
    move = ("identity", "custody", "producer1", "--state", "state")
    assert run(*move) == 2
    assert "Under what shall it be?" in capsys.readouterr().err
    assert run(*move, "--to-key-command", "cat secret") == 0
    said = capsys.readouterr().err
    assert "opens with what comes of command cat" in said
    assert "former key file state/vault.key opens it no more" in said
    assert run(*move, "--to-key-file", "other.key") == 2
    assert "Wrong key file state/vault.key" in capsys.readouterr().err
    assert run(*move, "--key-command", "cat secret", "--to-key-file", "other.key") == 0
    assert "keep that on another disk" in capsys.readouterr().err
    assert run(*move, "--key-file", "other.key", "--to-credential", "vault.key") == 2
    assert "There is no credential vault.key" in capsys.readouterr().err
    (here / "words").write_text("correct horse")
    (here / "words").chmod(0o600)
    assert run(*move, "--key-file", "other.key", "--to-passphrase-file", "words") == 0
    assert "without that nothing opens it" in capsys.readouterr().err


def test_a_vault_that_stays_under_the_same_secret_is_never_called_shut_to_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("identity", "create", "producer1", "--state", "state") == 0
    (here / "copy.key").write_bytes((here / "state/vault.key").read_bytes())
    (here / "copy.key").chmod(0o600)
    move = ("identity", "custody", "producer1", "--state", "state")
    for words in (
        ("--to-key-file", "state/vault.key"),
        ("--to-key-file", "copy.key"),
        ("--to-key-command", "cat copy.key"),
        ("--key-command", "cat copy.key", "--to-key-command", "cat copy.key"),
    ):
        capsys.readouterr()
        assert run(*move, *words) == 0
        said = capsys.readouterr().err
        assert "It is the same secret as before" in said
        assert "destroy" not in said


def test_a_vault_that_a_worker_holds_is_not_put_under_another_custody(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("identity", "create", "producer1", "--state", "state") == 0
    file = here / "state/producer1/vault"
    before = file.read_bytes()
    with open_vault(file, Custody(here / "state/vault.key")):
        assert run("identity", "custody", "producer1", "--state", "state", "--to-key-file", "other.key") == 2
    assert "in use by another process" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert not (here / "other.key").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to-key-file", "x", "--to-passphrase"], "Give one of --to-key-file, --to-passphrase, "),
        (["--key-file", "x", "--credential", "y", "--to-passphrase"], "Give one of --key-file, --passphrase, "),
        (["--to-key-command", "cat 'x"], "--to-key-command cannot be taken apart: No closing quotation"),
        (["--to-key-command", " "], "--to-key-command names no program"),
        (["--key-command", "''", "--to-passphrase"], "--key-command names no program"),
    ],
)
def test_options_of_custody_that_cannot_be_are_told(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert run("identity", "custody", "producer1", "--state", "state", *words) == 2
    assert said in capsys.readouterr().err


def test_a_key_file_below_a_file_is_told_in_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("")
    assert run("identity", "create", "producer1", "--state", "state", "--key-file", "file/vault.key") == 2
    assert "cannot be used: Not a directory" in capsys.readouterr().err
