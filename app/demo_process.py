"""The demo's child processes: each with a log of its own, and none that outlives the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sealwire.app.embedded import dies_with_parent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAST_LINES: Final = 12
POLL_S: Final = 0.02


@dataclass
class DemoFailed(Exception):
    """A part of the demo did not come up, or ended; `words` says what, `tail` is what it said last."""

    part: str
    words: str
    tail: Sequence[str] = ()

    def __str__(self) -> str:
        """Name the part and what is wrong with it."""
        return f"{self.part} {self.words}"


@dataclass
class Child:
    """One process. Start it from the main thread: the kernel ends it together with the thread that made it."""

    name: str
    argv: Sequence[str]
    log: Path
    output: Path | None = None  # standard output alone goes here
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _asked: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin, with standard error (and output, if it has no file of its own) in the log."""
        with contextlib.ExitStack() as files:
            log = files.enter_context(self.log.open("ab"))
            output = files.enter_context(self.output.open("wb")) if self.output else log
            self.process = subprocess.Popen(  # noqa: S603 - our own commands, no shell
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
                start_new_session=True,  # Ctrl-C reaches the demo alone, which ends its children in order
                preexec_fn=dies_with_parent(signal.SIGTERM),  # noqa: PLW1509 - only a prctl
            )

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs or was never started."""
        return self.process.poll() if self.process else None

    def check(self) -> None:
        """Raise DemoFailed if it is not running any more."""
        if self.exit_code is not None:
            raise DemoFailed(self.name, f"ended with exit code {self.exit_code}", self.tail())

    def tail(self, lines: int = LAST_LINES) -> list[str]:
        """Give the last lines of its log."""
        if not self.log.exists():
            return []
        return self.log.read_text(errors="replace").splitlines()[-lines:]

    def ask_to_stop(self) -> None:
        """Send SIGTERM, once (`sealwire up` takes a second one as: now); `end` waits for it."""
        if self.process is not None and self.process.poll() is None and not self._asked:
            self._asked = True
            self.process.terminate()

    def end(self, until: float) -> None:
        """Wait for its end until that moment of the monotonic clock; then it is killed, with all that it started."""
        if self.process is None:
            return
        self.ask_to_stop()
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def finish(children: Sequence[Child], deadline_s: float) -> None:
    """Wait for commands that end by themselves; raises DemoFailed for the first that fails or takes too long."""
    until = time.monotonic() + deadline_s
    waiting = list(children)
    while waiting:
        for child in list(waiting):
            code = child.exit_code
            if code == 0:
                waiting.remove(child)
            elif code is not None:
                raise DemoFailed(child.name, f"failed with exit code {code}", child.tail())
        if waiting and time.monotonic() > until:
            late = waiting[0]
            raise DemoFailed(late.name, f"did not finish within {deadline_s:.0f} s", late.tail())
        time.sleep(POLL_S if waiting else 0)


def stop_all(children: Sequence[Child], patience_s: float = 10.0) -> None:
    """Ask all to stop at once, and see to it that they do."""
    until = time.monotonic() + patience_s
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.end(until)
