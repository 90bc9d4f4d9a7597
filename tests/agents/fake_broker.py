"""A broker of a few lines that answers as a test wants it to: errors, lies, silence."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCE, FETCH, LIST_OFFSETS, METADATA, VERSIONS, INIT_PRODUCER = 0, 1, 2, 3, 18, 22
_SPOKEN = {
    PRODUCE: (3, 8),
    FETCH: (4, 11),
    LIST_OFFSETS: (0, 3),
    METADATA: (0, 5),
    VERSIONS: (0, 0),
    INIT_PRODUCER: (0, 0),
}

Answer = bytes | None  # the body after the correlation id; None: no answer at all


def text(value: str | None) -> bytes:
    """A nullable string."""
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value)) + value.encode()


class FakeBroker:
    """Leader of one partition of every topic it is asked for. ``on[api]`` answers; ``seen`` is what came."""

    def __init__(self, partitions: int = 1, node: int = 1) -> None:
        self.partitions, self.node = partitions, node
        self.port = 0
        self.seen: list[int] = []
        self.connections = 0
        self.producers = 0
        self.on: dict[int, Callable[[bytes], Answer]] = {
            VERSIONS: lambda _body: self.versions(),
            METADATA: self.metadata,
            INIT_PRODUCER: lambda _body: self.producer(),
        }
        self.frame: Callable[[bytes], bytes] = lambda body: struct.pack(">i", len(body)) + body
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._served: set[asyncio.Task[None]] = set()

    @property
    def bootstrap(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 24)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.gather(*self._served, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._served.add(task)
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                request = await reader.readexactly(size)
                api, _version, correlation, name = struct.unpack_from(">hhih", request)
                self.seen.append(api)
                answer = self.on[api](request[10 + max(name, 0) :])
                if answer is None:
                    continue
                writer.write(self.frame(struct.pack(">i", correlation) + answer))
                await writer.drain()
        self._writers.discard(writer)

    @staticmethod
    def versions() -> bytes:
        """What it speaks."""
        spoken = b"".join(struct.pack(">hhh", api, *range_) for api, range_ in _SPOKEN.items())
        return struct.pack(">hi", 0, len(_SPOKEN)) + spoken

    def metadata(self, body: bytes) -> bytes:
        """Itself as the leader of everything (metadata version 5)."""
        (count,) = struct.unpack_from(">i", body)
        position, topics = 4, []
        for _ in range(max(count, 0)):
            (length,) = struct.unpack_from(">h", body, position)
            topics.append(body[position + 2 : position + 2 + length].decode())
            position += 2 + length
        out = struct.pack(">iii", 0, 1, self.node) + text("127.0.0.1") + struct.pack(">i", self.port) + text(None)
        out += text("fake") + struct.pack(">ii", self.node, len(topics))
        for topic in topics:
            out += struct.pack(">h", 0) + text(topic) + b"\0" + struct.pack(">i", self.partitions)
            for partition in range(self.partitions):
                out += struct.pack(">hii", 0, partition, self.node)
                out += struct.pack(">iiiii", 1, self.node, 1, self.node, 0)
        return out

    def producer(self) -> bytes:
        """A new producer id each time."""
        self.producers += 1
        return struct.pack(">ihqh", 0, 0, 100 + self.producers, 0)

    @staticmethod
    def produced(topic: str, partition: int, error: int, base: int = 0, words: str | None = None) -> bytes:
        """A produce answer of version 8 for one partition."""
        return (
            struct.pack(">i", 1)
            + text(topic)
            + struct.pack(">iihqqqi", 1, partition, error, base, -1, 0, 0)
            + text(words)
            + struct.pack(">i", 0)
        )

    @staticmethod
    def fetched(topic: str, partition: int, data: bytes, *, error: int = 0, high_watermark: int = 0) -> bytes:
        """A fetch answer of version 11 for one partition."""
        return (
            struct.pack(">ihii", 0, 0, 0, 1)
            + text(topic)
            + struct.pack(">iihqqqiii", 1, partition, error, high_watermark, high_watermark, 0, -1, -1, len(data))
            + data
        )


def batch_of(body: bytes) -> bytes:
    """The batch inside a produce request for one partition."""
    (length,) = struct.unpack_from(">h", body)
    position = 2 + max(length, 0) + 2 + 4 + 4  # transactional id, acks, time-out, number of topics
    (length,) = struct.unpack_from(">h", body, position)
    position += 2 + length + 4 + 4  # topic, number of partitions, partition
    (size,) = struct.unpack_from(">i", body, position)
    return body[position + 4 : position + 4 + size]
