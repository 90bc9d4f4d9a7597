"""A broker of a few lines that answers as a test wants it to: errors, lies, silence."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

PRODUCE, FETCH, LIST_OFFSETS, METADATA, VERSIONS, INIT_PRODUCER = 0, 1, 2, 3, 18, 22
FIND_COORDINATOR, ADD_PARTITIONS, END_TXN = 10, 24, 26
_SPOKEN = {
    PRODUCE: (3, 8),
    FETCH: (4, 11),
    LIST_OFFSETS: (0, 3),
    METADATA: (0, 5),
    VERSIONS: (0, 0),
    INIT_PRODUCER: (0, 0),
    FIND_COORDINATOR: (0, 1),
    ADD_PARTITIONS: (0, 0),
    END_TXN: (0, 0),
}

Answer = bytes | asyncio.Future[bytes] | None  # the body after the correlation id; None: no answer at all


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
            FIND_COORDINATOR: lambda _body: self.coordinator(),
            ADD_PARTITIONS: self.included,
            END_TXN: lambda _body: self.ended(),
        }
        self.holds: set[int] = set()  # what is not answered keeps its connection from every later answer
        self._over = asyncio.Event()
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
        self._over.set()
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
                if isinstance(answer, asyncio.Future):
                    answer = await answer
                if answer is None:
                    if api in self.holds:
                        await self._over.wait()
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

    def producer(self, error: int = 0) -> bytes:
        """A new producer id each time."""
        self.producers += 1
        return struct.pack(">ihqh", 0, error, 100 + self.producers, 0)

    def coordinator(self, error: int = 0) -> bytes:
        """Itself as the coordinator of everything (version 1)."""
        return (
            struct.pack(">ih", 0, error)
            + text(None)
            + struct.pack(">i", self.node)
            + text("127.0.0.1")
            + struct.pack(">i", self.port)
        )

    @staticmethod
    def included(body: bytes, errors: dict[tuple[str, int], int] | None = None) -> bytes:
        """The partitions of a request are in the transaction, but those with an error."""
        out = struct.pack(">i", 0)
        topics = partitions_of(body)
        out += struct.pack(">i", len(topics))
        for topic, partitions in topics.items():
            out += text(topic) + struct.pack(">i", len(partitions))
            for partition in partitions:
                out += struct.pack(">ih", partition, (errors or {}).get((topic, partition), 0))
        return out

    @staticmethod
    def ended(error: int = 0) -> bytes:
        """The transaction is over."""
        return struct.pack(">ih", 0, error)

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


def partitions_of(body: bytes) -> dict[str, list[int]]:
    """The partitions that a request asks to include in a transaction."""
    (length,) = struct.unpack_from(">h", body)
    position = 2 + length + 8 + 2  # transactional id, producer id, epoch
    (count,) = struct.unpack_from(">i", body, position)
    position += 4
    found = {}
    for _ in range(count):
        (length,) = struct.unpack_from(">h", body, position)
        topic = body[position + 2 : position + 2 + length].decode()
        position += 2 + length
        (size,) = struct.unpack_from(">i", body, position)
        found[topic] = list(struct.unpack_from(f">{size}i", body, position + 4))
        position += 4 + 4 * size
    return found
