"""What a vault is under: key files, passphrases, credentials of systemd's, and commands."""

from __future__ import annotations

import base64
import errno
import os
import pty
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sealwire.app import custody as custodies
from sealwire.app.custody import Cost, Custody, Kind, make_key_file, read_key_file
from sealwire.app.faults import Failure
from sealwire.app.keyfiles import make_signing_key
from sealwire.app.lockdir import DirectoryLock

if TYPE_CHECKING:
    from collections.abc import Callable

CHEAP = Cost(1, 1 << 20)
SALT = bytes(range(16))


def printing(content: bytes) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import sys; sys.stdout.buffer.write({content!r})")


def secret_of(custody: Custody, *, new: bool = False) -> bytes:
    return custody.sealing_secret(SALT, CHEAP, asking_for="identity 'x'", new=new)


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


@pytest.mark.parametrize("disk", ["", "without links"])
def test_a_key_file_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: str) -> None:
    file = tmp_path / "vault.key"
    if disk:

        def refuse(*_: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr("os.link", refuse)
    with monkeypatch.context() as full:

        def no_room(_descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr("os.fsync", no_room)
        with pytest.raises(Failure, match="cannot be used: No space left"):
            make_key_file(file)
    assert list(tmp_path.iterdir()) == []
    assert make_key_file(file)
    assert [each.name for each in tmp_path.iterdir()] == ["vault.key"]


@pytest.mark.parametrize("make", [make_key_file, make_signing_key])
def test_a_key_that_another_process_made_between_our_look_and_our_write_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object]
) -> None:
    file = private(tmp_path / "the.key", base64.b64encode(os.urandom(32)))
    theirs = file.read_bytes()
    monkeypatch.setattr(Path, "exists", lambda _path: False)
    make(file)
    assert file.read_bytes() == theirs


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda content: content,
    "base64": lambda content: base64.b64encode(content) + b"\n",
    "hex": lambda content: content.hex().encode() + b"\r\n",
    "HEX": lambda content: content.hex().upper().encode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_32_bytes_may_be_raw_in_base64_or_in_hex(tmp_path: Path, form: str) -> None:
    for content in (os.urandom(32), bytes(32), b"\n" * 32, b"a" * 32):
        assert read_key_file(private(tmp_path / "vault.key", FORMS[form](content))) == content


def test_a_key_file_that_others_can_read_is_refused_with_its_mode_and_the_cure(tmp_path: Path) -> None:
    file = private(tmp_path / "open", os.urandom(32))
    file.chmod(0o640)
    with pytest.raises(Failure, match=r"too open: its mode is 0640.*chmod 600"):
        read_key_file(file)


@pytest.mark.parametrize(
    "content", [b"", b"x" * 31, b"x" * 33, b"x" * 64, b"\xff" * 64, base64.b64encode(b"x" * 31), b"\xff" * 40]
)
def test_a_key_file_of_another_size_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Failure, match="does not hold 32 bytes"):
        read_key_file(private(tmp_path / "bad", content))
    with pytest.raises(Failure, match=r"printed \d+ bytes: not 32|printed nothing"):
        secret_of(Custody(command=printing(content)))


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


def test_the_same_32_bytes_open_a_vault_wherever_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    content = os.urandom(32)
    file = private(tmp_path / "vault.key", base64.b64encode(content))
    kinds = [Custody(file), Custody(credential="vault.key"), Custody(command=printing(content))]
    assert len({secret_of(each) for each in kinds}) == 1
    assert [each.kind for each in kinds] == [Kind.KEY_FILE, Kind.CREDENTIAL, Kind.COMMAND]


def test_a_credential_that_is_not_there_says_who_would_put_it_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(Failure, match=r"There is no credential vault\.key: .*LoadCredential=vault\.key:FILE"):
        secret_of(Custody(credential="vault.key"))
    private(tmp_path / "vault.key", b"short")
    with pytest.raises(Failure, match=r"The credential .*vault\.key does not hold 32 bytes"):
        secret_of(Custody(credential="vault.key"))
    (tmp_path / "vault.key").chmod(0o604)
    with pytest.raises(Failure, match="The credential .* is too open"):
        secret_of(Custody(credential="vault.key"))


def test_a_command_that_prints_something_else_each_time_is_taken_for_no_vault(tmp_path: Path) -> None:
    script = tmp_path / "random"
    script.write_text(f"#!{sys.executable}\nimport os, sys\nsys.stdout.buffer.write(os.urandom(32))\n")
    script.chmod(0o700)
    with pytest.raises(Failure, match="prints something else each time"):
        secret_of(Custody(command=(str(script),)), new=True)


def test_a_commands_arguments_and_output_stand_in_no_words_of_ours() -> None:
    content = os.urandom(16)
    custody = Custody(command=(*printing(content), "--token=hunter2"))
    with pytest.raises(Failure, match="printed 16 bytes") as caught:
        secret_of(custody)
    shown = f"{custody} {custody!r} {caught.value!r}"
    assert "hunter2" not in shown
    assert content.hex() not in shown
    assert repr(content) not in shown


@pytest.mark.parametrize("custody", [Custody(Path("k")), Custody(credential="c"), Custody(command=("c",))], ids=str)
def test_only_a_passphrase_without_a_file_is_asked_for(custody: Custody) -> None:
    assert not custody.asks
    assert Custody().asks
    assert not Custody(passphrase_file=Path("p")).asks


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
                secret = Custody().sealing_secret(SALT, CHEAP, asking_for="identity 'x'", new=True)
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
