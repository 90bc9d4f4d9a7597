"""A node's workers as processes: started, watched, started again with back-off, and stopped together."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import getpass
import os
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog

from sealwire.app.factory import NODE, PASSPHRASE_FD
from sealwire.app.faults import CONFIGURATION, RUNTIME, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sealwire.agents.settings import Direction
    from sealwire.app.config import Node

MODULES: Final[dict[Direction, str]] = {"seal": "sealwire.app.seal", "open": "sealwire.app.mirror"}
_PR_SET_PDEATHSIG: Final = 1  # Linux, prctl(2)

_log = structlog.stdlib.get_logger("sealwire.up")


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds: before a worker is started again, and for its end when it is asked to stop."""

    first: float = 0.2
    most: float = 30.0
    forgiven_after: float = 60.0  # a worker that lived this long begins at `first` again
    grace: float = 30.0

    def pause(self, failures: int) -> float:
        """Give the pause after so many failures in a row: doubling, up to the most."""
        return float(min(self.first * 2 ** min(failures - 1, 32), self.most))


@dataclass
class Worker:
    """One worker to run: its command, its environment, and the passphrase it is handed through a pipe, if any."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    passphrase: str | None = field(default=None, repr=False)


def workers(node: Node, ask: Callable[[str], str] = getpass.getpass) -> list[Worker]:
    """Say what a node runs. A passphrase that the YAML leaves to the terminal is asked for here, once a worker."""
    # Imported late: it brings Faust, and a YAML with faults should say so at once.
    from sealwire.agents.driver import WORKER_ENVIRONMENT  # noqa: PLC0415

    found = []
    for way in node.directions:
        environment = {**WORKER_ENVIRONMENT, **os.environ, NODE: str(node.path), "PYTHONUNBUFFERED": "1"}
        command = (sys.executable, "-m", "faust", "--quiet", "-A", MODULES[way], "worker", "--loglevel", "info")
        name = f"{way} {node.identities[way]}"
        found.append(Worker(name, command, environment, _ask(ask, node.identities[way]) if node.custody.asks else None))
    return found


def _ask(ask: Callable[[str], str], identity: str) -> str:
    if not sys.stdin.isatty():
        raise Failure(
            f"The vault of identity '{identity}' is under a passphrase, and there is no terminal to ask for it.",
            "Name a file of mode 0600 in the YAML: vault: {passphrase_file: FILE}",
            code=CONFIGURATION,
        )
    return ask(f"Passphrase of identity '{identity}': ")


class Supervisor:
    """Runs workers until it is told to stop, or until none is left that could be started again."""

    def __init__(self, workers: Sequence[Worker], patience: Patience | None = None) -> None:
        """Take the workers; nothing is started yet."""
        self._workers = workers
        self._patience = patience or Patience()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Ask all workers to stop; asked a second time, kill them."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def run(self) -> int:
        """Run until the end, and give the exit code.

        0: stopped when asked; 1: a worker had to be killed; 2: a worker is misconfigured, which no new start cures.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._keep(worker)) for worker in self._workers]
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        return max((task.result() for task in tasks), default=0)

    async def _keep(self, worker: Worker) -> int:
        """Keep one worker running; gives its part of the exit code."""
        loop = asyncio.get_running_loop()
        failures = 0
        while not self._stopping.is_set():
            begun = loop.time()
            process = await _start(worker)
            _log.info("worker started", worker=worker.name, pid=process.pid)
            ended = asyncio.create_task(process.wait())
            asked = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if not ended.done():
                return await self._end(worker, process, ended)
            code = ended.result()
            if self._stopping.is_set():
                break
            if code == CONFIGURATION:
                _log.error("worker is misconfigured, as it says above: not started again", worker=worker.name)
                return CONFIGURATION
            failures = 1 if loop.time() - begun >= self._patience.forgiven_after else failures + 1
            pause = self._patience.pause(failures)
            _log.warning("worker ended", worker=worker.name, **_how(code), again_in=f"{pause:g}s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        return 0

    async def _end(self, worker: Worker, process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> int:
        """Stop one worker: asked first, killed when its time is over."""
        _signal(process, signal.SIGTERM)
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait({ended, hurry}, timeout=self._patience.grace, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if ended.done():
            _log.info("worker stopped", worker=worker.name, **_how(ended.result()))
            return 0
        _signal(process, signal.SIGKILL)
        await ended
        _log.warning("worker killed: it did not stop in time", worker=worker.name)
        return RUNTIME


async def _start(worker: Worker) -> asyncio.subprocess.Process:
    """Start a worker in a session of its own: a Ctrl-C on the terminal reaches us alone, and we ask it to stop."""
    environment = dict(worker.environment)
    inherited: tuple[int, ...] = ()
    if worker.passphrase is not None:
        read, write = os.pipe()  # a kilobyte at most: it fits, so that writing cannot block
        os.write(write, worker.passphrase.encode())
        os.close(write)
        inherited, environment[PASSPHRASE_FD] = (read,), str(read)
    try:
        return await asyncio.create_subprocess_exec(
            *worker.command,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=inherited,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
    finally:
        for descriptor in inherited:
            os.close(descriptor)


_libc: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """In the child, before its program: ask for SIGTERM when we are killed, so that no worker is left without us."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _how(code: int) -> dict[str, object]:
    if code < 0:
        with contextlib.suppress(ValueError):
            return {"signal": signal.Signals(-code).name}
    return {"exit_code": code}
