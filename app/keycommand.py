"""A command whose standard output is the secret that opens a vault: run without a shell, for a bounded time."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final, NoReturn

from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT_S: Final = 30.0  # less than a unit's TimeoutStartSec: what hangs is told in words before systemd ends us
MOST: Final = 4096  # bytes of output; the secret is 32 bytes, however it is written
_SAID: Final = 2000  # bytes of standard error that are kept, the last ones
_SHOWN: Final = 600  # characters of it that are shown
_LOOK_S: Final = 0.05  # how soon an end without a last word is noticed


def secret(words: Sequence[str], limit_s: float = LIMIT_S) -> bytes:
    """Run a command and give what it printed, at most `MOST` bytes.

    It has our environment and nothing to read, and a session of its own, so that it cannot ask on a terminal. Raises
    `Failure` where it is not there, fails, does not end within ``limit_s`` seconds, prints nothing or too much. What
    it printed is never shown; what it said on standard error is, where it failed, without what it printed.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own words, as they stand, and no shell
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        _not_started(words[0], error)
    run = _Run(words[0], process)
    try:
        run.collect(time.monotonic() + limit_s, limit_s)
    finally:
        run.end()
    return run.judge()


def _not_started(program: str, error: OSError | ValueError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        raise Failure(
            f"There is no command {program}, which prints what opens the vault.",
            "Install it, or name it by its whole path: a service has another PATH than a terminal.",
            code=CONFIGURATION,
        ) from None
    why = error.strerror if isinstance(error, OSError) else error
    raise Failure(
        f"The command {program}, which prints what opens the vault, cannot be run: {why}.",
        "Make it executable for the user of this process; a script says in its first line what runs it.",
        code=CONFIGURATION,
    ) from None


class _Run:
    """One run of a command."""

    def __init__(self, program: str, process: subprocess.Popen[bytes]) -> None:
        self._program = program
        self._process = process
        self._printed = b""
        self._said = b""
        self._ended = False

    def collect(self, until: float, limit_s: float) -> None:
        """Read until it has ended and printed its last. A child that it leaves behind may keep standard error."""
        assert self._process.stdout is not None  # noqa: S101 - both are pipes
        assert self._process.stderr is not None  # noqa: S101
        printing = self._process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(printing, selectors.EVENT_READ)
            selector.register(self._process.stderr.fileno(), selectors.EVENT_READ)
            while True:
                ready = selector.select(_LOOK_S)
                for each, _ in ready:
                    part = os.read(each.fd, 65536)
                    if not part:
                        selector.unregister(each.fd)
                    elif each.fd == printing:
                        self._print(part)
                    else:
                        self._said = (self._said + part)[-_SAID:]
                if not ready and printing not in selector.get_map() and self._process.poll() is not None:
                    self._ended = True
                    return
                if time.monotonic() > until:
                    self._fail(f"did not end within {limit_s:g} s and was killed")

    def end(self) -> None:
        """Leave nothing of it that runs, children included, where it did not end by itself."""
        if not self._ended:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def judge(self) -> bytes:
        """Give what it printed, or say why that is no secret."""
        code = self._process.returncode
        if code:
            self._fail(f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}")
        if not self._printed.strip():
            self._fail("printed nothing")
        return self._printed

    def _print(self, part: bytes) -> None:
        self._printed += part
        if len(self._printed) > MOST:
            self._fail(f"printed more than {MOST} bytes and was stopped", CONFIGURATION)

    def _fail(self, how: str, code: int = RUNTIME) -> NoReturn:
        """Say it. Exit code 1 where another try may help: what holds the secret may only be away."""
        raise Failure(
            f"The command {self._program}, which prints what opens the vault, {how}{self._words()}.",
            "Run it by hand as the user of this process: it has to print 32 bytes, raw, in base64 or in hex.",
            code=code,
        )

    def _words(self) -> str:
        printed = self._printed.strip()
        if printed and printed in self._said:
            return "; it said on standard error what it printed, which is not shown"
        text = "".join(each if each.isprintable() else " " for each in self._said.decode(errors="replace"))
        said = " ".join(text.split())
        if len(said) > _SHOWN:
            said = f"... {said[-_SHOWN:].partition(' ')[2]}"
        return f"; it said: {said}".rstrip(".") if said else ""
