"""What a vault is under: key files and passphrases."""

from __future__ import annotations

import base64
import os
import pty
from typing import TYPE_CHECKING

import pytest

from sealwire.app import custody as custodies
from sealwire.app.custody import Cost, Custody, make_key_file, read_key_file
from sealwire.app.faults import Failure
from sealwire.app.lockdir import DirectoryLock

if TYPE_CHECKING:
    from pathlib import Path

CHEAP = Cost(1, 1 << 20)
SALT = bytes(range(16))


def private(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    file.chmod(0o600)
    return file


def test_a_made_key_file_is_private_and_kept_when_made_again(tmp_path: Path) -> None:
    file = tmp_path / "vault.key"
    assert make_key_file(file)
    first = read_key_file(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert not make_key_file(file)
    assert read_key_file(file) == first


def test_a_key_file_may_be_raw_or_base64(tmp_path: Path) -> None:
    content = os.urandom(32)
    raw = private(tmp_path / "raw", content)
    encoded = private(tmp_path / "base64", base64.b64encode(content) + b"\n")
    assert read_key_file(raw) == read_key_file(encoded) == content


def test_a_key_file_that_others_can_read_is_refused_with_its_mode_and_the_cure(tmp_path: Path) -> None:
    file = private(tmp_path / "open", os.urandom(32))
    file.chmod(0o640)
    with pytest.raises(Failure, match=r"too open: its mode is 0640.*chmod 600"):
        read_key_file(file)


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 33, base64.b64encode(b"x" * 31), b"\xff" * 40])
def test_a_key_file_of_another_size_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Failure, match="does not hold 32 bytes"):
        read_key_file(private(tmp_path / "bad", content))


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"There is no key file .*gone"):
        read_key_file(tmp_path / "gone")


def test_a_passphrase_from_a_file_and_from_a_pipe_are_the_same_without_their_line_end(tmp_path: Path) -> None:
    file = private(tmp_path / "words", b"correct horse\n")
    reading, writing = os.pipe()
    os.write(writing, b"correct horse")
    os.close(writing)
    of_file = Custody(passphrase_file=file).sealing_secret(SALT, CHEAP, asking_for="x")
    of_pipe = Custody(passphrase_fd=reading).sealing_secret(SALT, CHEAP, asking_for="x")
    assert of_file == of_pipe
    assert len(of_file) == 32


def test_an_empty_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="empty"):
        Custody(passphrase_file=private(tmp_path / "words", b"\n")).sealing_secret(SALT, CHEAP, asking_for="x")


def test_without_a_terminal_nobody_is_asked_for_a_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custodies, "_has_terminal", lambda: False)
    with pytest.raises(Failure, match="no terminal"):
        Custody().sealing_secret(SALT, CHEAP, asking_for="identity 'x'")


def test_a_closed_descriptor_is_a_failure_in_words() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.close(writing)
    with pytest.raises(Failure, match="No passphrase could be read from file descriptor"):
        Custody(passphrase_fd=reading).sealing_secret(SALT, CHEAP, asking_for="x")


def test_other_salts_give_other_secrets(tmp_path: Path) -> None:
    custody = Custody(key_file=private(tmp_path / "k", os.urandom(32)))
    secrets = {custody.sealing_secret(bytes([salt]) * 16, CHEAP, asking_for="x") for salt in range(4)}
    assert len(secrets) == 4


def test_a_locked_directory_names_its_holder_and_is_free_again_when_let_go(tmp_path: Path) -> None:
    held = DirectoryLock(tmp_path)
    with pytest.raises(Failure, match=rf"in use by another process: pid {os.getpid()}, "):
        DirectoryLock(tmp_path)
    held.close()
    DirectoryLock(tmp_path).close()


def test_a_directory_that_cannot_be_locked_is_a_failure_in_words(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="cannot be locked: No such file or directory"):
        DirectoryLock(tmp_path / "gone")


def test_a_lock_does_not_outlive_its_process(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        DirectoryLock(tmp_path)
        os._exit(0)
    os.waitpid(child, 0)
    DirectoryLock(tmp_path).close()


def test_a_passphrase_asked_on_the_terminal_is_not_shown_there_and_a_new_one_is_asked_twice() -> None:
    for second, ended in ((b"words", 0), (b"swords", 3)):
        child, terminal = pty.fork()
        if not child:
            try:
                secret = Custody().sealing_secret(SALT, CHEAP, asking_for="identity 'x'", twice=True)
                os._exit(0 if len(secret) == 32 else 1)
            except Failure as failure:
                os._exit(3 if "differ" in failure.cause else 4)
        shown = b""
        for expected, typed in ((b"identity 'x': ", b"words"), (b"again: ", second)):
            while expected not in shown:
                shown += os.read(terminal, 1024)
            os.write(terminal, typed + b"\n")
        _, status = os.waitpid(child, 0)
        os.close(terminal)
        assert os.waitstatus_to_exitcode(status) == ended
        assert b"words" not in shown
