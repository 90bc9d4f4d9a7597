"""A command that prints what opens a vault: run without a shell, bounded, and told in words whatever it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sealwire.app import keycommand
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = 60.0  # seconds: no test waits for it


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys, time\n{code}", *arguments]


def refusal(words: list[str], limit_s: float = LONG) -> Failure:
    with pytest.raises(Failure) as caught:
        keycommand.secret(words, limit_s)
    assert caught.value.__cause__ is None
    return caught.value


@pytest.fixture
def standard_input() -> Iterator[None]:
    """Something to read on our own standard input, such as a ticket."""
    kept, (read, write) = os.dup(0), os.pipe()
    os.write(write, b"a ticket")
    os.close(write)
    os.dup2(read, 0)
    os.close(read)
    yield
    os.dup2(kept, 0)
    os.close(kept)


def test_what_a_command_prints_is_the_secret_byte_for_byte() -> None:
    printed = bytes(range(31)) + b"\n"
    assert keycommand.secret(python(f"sys.stdout.buffer.write({printed!r})")) == printed


def test_no_shell_reads_the_words() -> None:
    words = ["$(echo x)", ";", "a b", "*", "$HOME"]
    assert keycommand.secret(python("print(sys.argv[1:])", *words)) == f"{words}\n".encode()


def test_a_command_has_our_environment_nothing_to_read_and_no_terminal(
    monkeypatch: pytest.MonkeyPatch, standard_input: None
) -> None:
    del standard_input
    monkeypatch.setenv("VAULT_ADDR", "unix:///run/vault/agent.sock")
    code = (
        "print(os.environ['VAULT_ADDR'], repr(sys.stdin.read()), os.getsid(0) == os.getpid())\n"
        "try: os.open('/dev/tty', os.O_RDWR)\n"
        "except OSError: print('no terminal')"
    )
    assert keycommand.secret(python(code)) == b"unix:///run/vault/agent.sock '' True\nno terminal\n"


def test_what_a_command_says_while_all_is_well_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    assert keycommand.secret(python("print('all is well', file=sys.stderr); print('x' * 32)"))
    shown = "".join(capfd.readouterr())
    assert "all is well" not in shown
    assert "x" * 32 not in shown


def test_a_command_that_is_not_there_is_named_with_the_cure() -> None:
    failure = refusal(["tpm3_unseal", "--secret"])
    assert failure.cause == "There is no command tpm3_unseal, which prints what opens the vault."
    assert "whole path" in failure.cure
    assert failure.code == CONFIGURATION


def test_a_command_that_cannot_be_run_says_why(tmp_path: Path) -> None:
    script = tmp_path / "unseal"
    script.write_text("no first line\n")
    assert "Permission denied" in str(refusal([str(script)]))
    script.chmod(0o700)
    assert "Exec format error" in str(refusal([str(script)]))
    assert "null byte" in str(refusal(["a\0b"]))


@pytest.mark.parametrize("code", ["sys.exit(3)", "print('0123456789abcdef' * 2); sys.exit(3)"])
def test_a_command_that_fails_is_told_by_its_code_and_its_words_and_never_by_its_output(code: str) -> None:
    failure = refusal(python(f"print('Error:\\tno route\\x1b[31m to host', file=sys.stderr); {code}"))
    assert "failed with exit code 3; it said: Error: no route [31m to host." in failure.cause
    assert "0123456789abcdef" not in str(failure)
    assert failure.code == RUNTIME  # what holds the secret may only be away


def test_a_command_that_says_its_secret_on_standard_error_too_is_not_repeated() -> None:
    failure = refusal(python("print('s3cret' * 6); print('got ' + 's3cret' * 6, file=sys.stderr); sys.exit(1)"))
    assert "s3cret" not in str(failure)
    assert "which is not shown" in failure.cause


def test_a_command_that_is_killed_is_told_by_its_signal() -> None:
    assert f"was ended by signal {signal.SIGKILL:d}" in str(refusal(python("os.kill(os.getpid(), 9)")))


@pytest.mark.parametrize("code", ["pass", "print()", "print(' \\t ')"])
def test_a_command_that_prints_nothing_is_told(code: str) -> None:
    assert "printed nothing; it said: sealed object not found" in str(
        refusal(python(f"print('sealed object not found', file=sys.stderr); {code}"))
    )


def test_a_command_that_prints_without_end_is_stopped() -> None:
    failure = refusal(python("while True: sys.stdout.write('x' * 65536)"))
    assert "printed more than 4096 bytes and was stopped" in failure.cause
    assert failure.code == CONFIGURATION


def test_a_command_that_says_without_end_keeps_little_of_it_and_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    words = python("sys.stderr.write('long ' * 200000 + 'last'); sys.exit(1)")
    cause = refusal(words).cause
    assert "it said: ... long long" in cause
    assert cause.endswith("long last.")
    assert len(cause) < 1000
    monkeypatch.setattr(keycommand, "_SAID", 9)
    assert refusal(words).cause.endswith("it said: long last.")


def test_a_command_that_hangs_is_killed_with_its_children_and_told() -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)  # noqa: FBT003
    code = "print('waiting for the server', file=sys.stderr, flush=True)\nif os.fork() == 0: pass\ntime.sleep(600)"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keycommand.subprocess, "Popen", partial(subprocess.Popen, pass_fds=(write,)))
        failure = refusal(python(code), limit_s=1)
    os.close(write)
    assert "did not end within 1 s and was killed; it said: waiting for the server" in failure.cause
    assert failure.code == RUNTIME
    assert os.read(read, 1) == b""  # both ends of both processes are closed
    os.close(read)


def test_a_command_that_closes_its_output_and_goes_on_is_waited_for() -> None:
    code = "print('x' * 32, flush=True); os.close(1); sys.stderr.write('y' * 300000); time.sleep(0.2); sys.exit(4)"
    assert "exit code 4" in str(refusal(python(code)))


def test_a_child_left_behind_that_keeps_standard_error_holds_nobody_up() -> None:
    code = "print('x' * 32, flush=True)\nif os.fork() == 0:\n os.close(1)\n time.sleep(20)"
    begun = time.monotonic()
    assert keycommand.secret(python(code)) == b"x" * 32 + b"\n"
    assert time.monotonic() - begun < 15


def test_a_child_left_behind_that_keeps_the_output_open_is_no_end() -> None:
    code = "print('x' * 32, flush=True)\nif os.fork() == 0: time.sleep(600)"
    assert "did not end within 1 s" in str(refusal(python(code), limit_s=1))
