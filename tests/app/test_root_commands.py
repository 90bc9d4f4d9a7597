"""Root keys carried apart, roots that follow each other by files, and what a bad one is told."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from sealwire.app import keyfiles, papers
from sealwire.app import project as projects
from sealwire.app.cli import main
from sealwire.app.rootwords import fingerprint
from sealwire.keys import root as roots
from sealwire.keys.reason import Rejected

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> int:
    return main(list(words))


def acme(here: Path, *words: str) -> Path:
    """A project of three root keys, each carried to a disk of its own."""
    assert run("project", "create", "acme", "-d", "acme", "--root-keys", "3", "--threshold", "2", *words) == 0
    for number in (1, 2, 3):
        disk = here / f"disk{number}"
        disk.mkdir()
        (here / f"acme/root-{number}.key").rename(disk / "root.key")
    return here / "acme"


def sign(number: int, draft: str = "draft", *words: str) -> int:
    return run("root", "sign", draft, "--root-key", f"disk{number}/root.key", "--yes", *words)


def test_three_root_keys_are_three_private_files_and_the_authority_runs_without_them(here: Path) -> None:
    directory = acme(here)
    project = projects.open_project(directory)
    assert (len(project.root.root_keys), project.root.threshold) == (3, 2)
    assert all((here / f"disk{number}/root.key").stat().st_mode & 0o077 == 0 for number in (1, 2, 3))
    assert project.authority_key(projects.now_ms()).public in {public for _, public, _ in project.root.authority_keys}
    assert run("ticket", "create", "-d", "acme", "-a", "role=member", "--out", "ticket") == 0


def test_a_project_has_one_root_key_unless_more_are_asked_for(here: Path) -> None:
    assert run("project", "create", "acme", "-d", "acme") == 0
    assert [file.name for file in (here / "acme").glob("root*.key")] == ["root.key"]
    assert run("project", "create", "five", "-d", "five", "--root-keys", "5") == 0
    assert projects.open_project(here / "five").root.threshold == 3


@pytest.mark.parametrize("words", [("3", "4"), ("3", "0"), ("0", "0"), ("17", "2")])
def test_a_threshold_that_cannot_be_met_makes_no_project(
    here: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    assert run("project", "create", "acme", "-d", "acme", "--root-keys", words[0], "--threshold", words[1]) == 2
    assert "cannot sign a root" in capsys.readouterr().err
    assert not (here / "acme").exists()


def test_a_root_signed_by_one_holder_after_the_other_follows(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = acme(here)
    assert run("root", "key", "disk4.key") == 0
    assert run("root", "draft", "draft", "-d", "acme", "--add-root-key", "disk4.key.pub", "--threshold", "3") == 0
    assert run("root", "finish", "draft", "-d", "acme") == 1
    assert "it lacks 2 more of the keys of root 1, and 3 more of its own" in capsys.readouterr().err
    assert sign(1) == 0
    assert sign(3) == 0
    assert "It lacks 1 more of the keys of root 2" in capsys.readouterr().err
    assert run("root", "finish", "draft", "-d", "acme") == 1
    assert run("root", "sign", "draft", "--root-key", "disk4.key", "--yes") == 0
    assert run("root", "finish", "draft", "-d", "acme") == 0
    project = projects.open_project(directory)
    assert (project.root.version, len(project.root.root_keys), project.root.threshold) == (2, 4, 3)
    assert [roots.version(statement) for statement in project.chain] == [1, 2]
    assert '"event":"root"' in (directory / "trail.jsonl").read_text()


def test_copies_that_were_signed_apart_are_joined(here: Path) -> None:
    directory = acme(here)
    assert run("root", "draft", "draft", "-d", "acme", "--threshold", "3") == 0
    for number in (1, 2, 3):
        assert sign(number, "draft", "--out", f"from{number}") == 0
    assert run("root", "finish", "from1", "from2", "-d", "acme") == 1
    assert run("root", "finish", "from3", "from1", "from2", "-d", "acme") == 0
    assert projects.open_project(directory).root.threshold == 3


def test_a_draft_says_what_it_changes_and_who_has_signed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = acme(here)
    root = projects.open_project(directory).root
    first, third = (fingerprint(root.root_keys[at][1]) for at in (0, 2))
    assert run("escrow", "create", "vault") == 0
    words = ("--remove-root-key", third, "--escrow", "vault=vault.pub", "--new-authority-key", "--until", "30d")
    assert run("root", "draft", "draft", "-d", "acme", *words) == 0
    assert "authority key ends soon" not in capsys.readouterr().err
    assert sign(1) == 0
    capsys.readouterr()
    assert run("root", "show", "draft") == 0
    shown = capsys.readouterr().out
    assert f"removes root key {third}" in shown
    assert "changes how many root keys must sign: 2 of 3 becomes 2 of 2" in shown
    assert re.search(r"adds authority key [0-9a-f-]{19}\n\s+[0-9a-f-]{19} ends ", shown)
    assert "adds escrow vault" in shown
    assert f"{first} has signed" in shown
    assert "It lacks 1 more of the keys of root 1 and 1 more of the keys of root 2" in shown
    assert run("root", "show", "-d", "acme") == 0
    assert f"  {first}\n" in capsys.readouterr().out


def test_the_draft_that_a_person_does_not_agree_to_stays_unsigned(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acme(here)
    assert run("root", "draft", "draft", "-d", "acme", "--threshold", "1") == 0
    before = (here / "draft").read_bytes()
    for answer, code in (("n\n", 1), ("", 2)):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert run("root", "sign", "draft", "--root-key", "disk1/root.key") == code
        assert (here / "draft").read_bytes() == before


def test_a_stranger_s_key_signs_no_root(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acme(here)
    assert run("root", "draft", "draft", "-d", "acme", "--threshold", "1") == 0
    assert run("root", "key", "stranger.key") == 0
    assert run("root", "sign", "draft", "--root-key", "stranger.key", "--yes") == 2
    assert "stranger.key is no root key of project acme" in capsys.readouterr().err
    statement, *chain = papers.read(papers.DRAFT, here / "draft")
    forged = roots.make_next(
        projects.open_project(here / "acme").root,
        roots.read_draft(statement, roots.read_first(chain[0])).fields,
        [keyfiles.read_signing_key(here / "stranger.key")],
    )
    (here / "forged").write_bytes(papers.write(papers.DRAFT, [forged, *chain]))
    assert run("root", "finish", "draft", "forged", "-d", "acme") == 2
    assert "Somebody signed it whose key neither root names" in capsys.readouterr().err


def test_an_outdated_draft_another_draft_and_one_of_another_project_are_told_apart(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acme(here)
    for draft, threshold in (("old", "1"), ("new", "3")):
        assert run("root", "draft", draft, "-d", "acme", "--threshold", threshold) == 0
        for number in (1, 2, 3):
            assert sign(number, draft) == 0
    assert run("root", "finish", "old", "new", "-d", "acme") == 2
    assert "It is another draft than the other file" in capsys.readouterr().err
    assert run("root", "finish", "new", "-d", "acme") == 0
    assert run("root", "finish", "old", "-d", "acme") == 2
    assert "draft it anew from the present one" in capsys.readouterr().err
    assert run("root", "show", "old", "-d", "acme") == 2
    assert run("project", "create", "other", "-d", "other") == 0
    assert run("root", "draft", "theirs", "-d", "other", "--new-authority-key") == 0
    assert run("root", "finish", "theirs", "-d", "acme") == 2
    assert "It is of another project" in capsys.readouterr().err


def test_an_altered_draft_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acme(here)
    assert run("root", "draft", "draft", "-d", "acme", "--threshold", "3") == 0
    assert sign(1) == 0
    statement, *chain = papers.read(papers.DRAFT, here / "draft")
    altered = bytearray(statement)
    altered[-1] ^= 1
    (here / "draft").write_bytes(papers.write(papers.DRAFT, [bytes(altered), *chain]))
    assert sign(2) == 2
    assert "It was altered after it was signed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Nothing would be different"),
        (["--threshold", "4"], "4 of 3 root keys cannot sign"),
        (["--remove-root-key", "1234"], "there is no root key 1234"),
        (["--drop-authority-key", "1234"], "there is no authority key 1234"),
        (["--distrust-authority-key", "1234"], "there is no authority key 1234"),
        (["--since", "3h"], "goes with"),
        (["--distrust-authority-key", "1234", "--since", "soon"], "--since soon is no time"),
        (["--distrust-authority-key", "1234", "--since", "3h"], "there is no authority key 1234"),
        (["--remove-escrow", "vault"], "there is no escrow vault"),
        (["--escrow", "vault"], "is not NAME=PUBLIC_FILE"),
        (["--escrow", "vault=nowhere.pub"], "cannot be read"),
        (["--new-authority-key", "--until", "always"], "--until always is no time"),
        (["--remove-escrow", "a", "--threshold", "9"], "there is no escrow a; 9 of 3"),
    ],
)
def test_a_root_that_cannot_be_drafted_is_told_why(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    acme(here)
    assert run("root", "draft", "draft", "-d", "acme", *words) == 2
    assert said in capsys.readouterr().err
    assert not (here / "draft").exists()


def test_a_new_authority_key_signs_once_the_root_names_it_and_never_before(here: Path) -> None:
    directory = acme(here)
    before = projects.open_project(directory).authority_key()
    assert run("root", "draft", "draft", "-d", "acme", "--new-authority-key", "--until", "800d") == 0
    assert projects.open_project(directory).authority_key() == before
    assert sign(1) == 0
    assert sign(2) == 0
    assert run("root", "finish", "draft", "-d", "acme") == 0
    project = projects.open_project(directory)
    assert project.authority_key() == keyfiles.read_signing_key(directory / "authority-2.key")
    assert before.public in {public for _, public, _ in project.root.authority_keys}


@pytest.mark.parametrize("since", [(), ("--since", "2h")])
def test_a_distrusted_authority_key_signs_no_more(
    here: Path, capsys: pytest.CaptureFixture[str], since: tuple[str, ...]
) -> None:
    directory = acme(here)
    stolen = fingerprint(projects.open_project(directory).authority_key().public)
    words = ("--distrust-authority-key", stolen, *since)
    assert run("root", "draft", "draft", "-d", "acme", *words) == 0
    assert "no authority key counts under it" in capsys.readouterr().err
    assert run("root", "draft", "draft", "-d", "acme", "--new-authority-key", *words) == 0
    said = f"distrusts authority key {stolen} since " if since else f"distrusts authority key {stolen}: nothing that"
    assert said in capsys.readouterr().out
    assert sign(1) == 0
    assert sign(2) == 0
    assert run("root", "finish", "draft", "-d", "acme") == 0
    (directory / "authority-2.key").rename(here / "away")
    assert run("ticket", "create", "-d", "acme", "-a", "role=member") == 2
    assert "not a key that the root of project acme names" in capsys.readouterr().err


def test_an_authority_key_that_has_ended_signs_nothing(here: Path) -> None:
    project = projects.open_project(acme(here))
    end = project.end_of(project.authority_key().public)
    assert project.authority_key(end).public
    with pytest.raises(projects.Failure, match="has ended"):
        project.authority_key(end + 1)


def test_the_root_names_escrow_keys_and_their_private_half_is_a_private_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("escrow", "create", "vault") == 0
    assert (here / "vault").stat().st_mode & 0o077 == 0
    secret = (here / "vault").read_bytes().strip().decode()
    outcome = capsys.readouterr()
    assert secret not in outcome.out + outcome.err
    assert run("escrow", "create", "vault") == 2
    directory = acme(here, "--escrow", "safe=vault.pub")
    ((name, suite, receiving),) = projects.open_project(directory).root.escrow
    assert (name, suite, receiving) == ("safe", 1, keyfiles.read_public(here / "vault.pub", keyfiles.ESCROW))
    assert run("project", "create", "beta", "-d", "beta", "--escrow", "safe=vault") == 2
    assert "is no public file of this kind" in capsys.readouterr().err
    (here / "other.pub").write_bytes((here / "vault.pub").read_bytes().replace(b"escrow", b"root"))
    assert run("project", "create", "beta", "-d", "beta", "--escrow", "safe=other.pub") == 2
    assert not (here / "beta").exists()


def test_a_root_that_does_not_follow_the_one_before_it_opens_no_project(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = acme(here)
    assert run("project", "create", "other", "-d", "other") == 0
    (directory / "root.2").write_bytes((here / "other/root.1").read_bytes())
    assert run("root", "show", "-d", "acme") == 2
    assert "root.2 is damaged" in capsys.readouterr().err


def test_a_root_by_too_few_never_reaches_the_directory(here: Path) -> None:
    project = projects.open_project(acme(here))
    assert run("root", "draft", "draft", "-d", "acme", "--threshold", "3") == 0
    assert sign(1) == 0
    (statement, *_) = papers.read(papers.DRAFT, here / "draft")
    with pytest.raises(Rejected, match="signed by 1 keys of root 1, which asks for 2"):
        projects.take_root(project, statement)
    assert not projects.root_file(project.directory, 2).exists()
