"""Three Kafka clients that write what they are told, behind one surface: Java's, librdkafka, aiokafka."""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import subprocess
import threading
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer
from kafka_cluster import BUILD, HERE, libraries

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from matrix_records import Record

WRITERS: Final = ("java", "librdkafka", "aiokafka")
WITHIN: Final = 120.0  # seconds that one order may take on a busy machine
LARGEST: Final = 12 << 20  # bytes of a request
OPEN_MOST: Final = 600_000  # ms that a transaction may stay open
FILLED: Final = 30_000  # ms of linger: a batch goes when it is full, and at a flush, on a busy machine too
_OWN_CLOCK: Final = -(1 << 63)
_AT_ONCE: Final = 2_000  # records on their way to aiokafka


class NotWritten(AssertionError):
    """A client could not write what it was asked to."""


@dataclass(frozen=True)
class Manner:
    """How a producer writes, whichever client it is. `batch` is its bound in bytes: 1 makes one record a batch."""

    codec: str = "none"
    level: int | None = None
    batch: int = 100_000
    linger: int = 20  # ms
    acks: str = "all"
    idempotent: bool = False
    transactional: str = ""


class Hand(Protocol):
    """A producer of one of the clients. Every method is done when it returns, but `send`, which `flush` ends."""

    def send(self, topic: str, records: Iterable[Record]) -> None: ...
    def flush(self) -> None: ...
    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...


class Librdkafka:
    """A producer of confluent-kafka."""

    def __init__(self, bootstrap: str, manner: Manner) -> None:
        settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "compression.type": manner.codec,
            "batch.size": manner.batch,
            "batch.num.messages": 1 if manner.batch == 1 else 1_000_000,
            "linger.ms": manner.linger,
            "acks": manner.acks,
            "enable.idempotence": manner.idempotent or bool(manner.transactional),
            "message.max.bytes": LARGEST,
            "queue.buffering.max.messages": 200_000,
            "queue.buffering.max.kbytes": 64 << 10,
            "log_level": 0,
        }
        if manner.level is not None:
            settings["compression.level"] = manner.level
        if manner.transactional:
            settings |= {"transactional.id": manner.transactional, "transaction.timeout.ms": OPEN_MOST}
        self._producer = Producer(settings)
        self._troubles: list[str] = []
        if manner.transactional:
            self._producer.init_transactions(WITHIN)

    def send(self, topic: str, records: Iterable[Record]) -> None:
        for partition, record_key, value, headers, timestamp in records:
            given: dict[str, Any] = {} if timestamp is None else {"timestamp": timestamp}
            while True:
                try:
                    self._producer.produce(
                        topic, value, record_key, partition, self._told, headers=list(headers) or None, **given
                    )
                    break
                except BufferError:
                    self._producer.poll(0.1)
            self._producer.poll(0)

    def _told(self, error: object, _message: object) -> None:
        if error is not None:
            self._troubles.append(str(error))

    def flush(self) -> None:
        left = self._producer.flush(WITHIN)
        if left or self._troubles:
            raise NotWritten(f"{left} records not written: {self._troubles[:2]}")

    def begin(self) -> None:
        self._producer.begin_transaction()

    def commit(self) -> None:
        self.flush()
        self._producer.commit_transaction(WITHIN)

    def abort(self) -> None:
        self._producer.abort_transaction(WITHIN)

    def close(self) -> None:
        self._producer.flush(1)


class Aiokafka:
    """A producer of aiokafka, in a loop that all of them share."""

    _loop: asyncio.AbstractEventLoop | None = None
    _lock = threading.Lock()

    def __init__(self, bootstrap: str, manner: Manner) -> None:
        with self._lock:
            if Aiokafka._loop is None:
                Aiokafka._loop = asyncio.new_event_loop()
                threading.Thread(target=Aiokafka._loop.run_forever, name="aiokafka writers", daemon=True).start()
        settings: dict[str, Any] = {
            "bootstrap_servers": bootstrap,
            "compression_type": None if manner.codec == "none" else manner.codec,
            "max_batch_size": manner.batch,
            "linger_ms": manner.linger,
            "acks": manner.acks if manner.acks == "all" else int(manner.acks),
            "max_request_size": LARGEST,
            "enable_idempotence": manner.idempotent or bool(manner.transactional),
            "request_timeout_ms": 60_000,
        }
        if manner.transactional:
            settings |= {"transactional_id": manner.transactional, "transaction_timeout_ms": OPEN_MOST}
        self._filled = manner.linger >= FILLED
        self._sent: list[asyncio.Future[Any]] = []
        self._producer: AIOKafkaProducer | None = None
        self._run(self._start(settings))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(work, self._loop).result(WITHIN)

    async def _start(self, settings: dict[str, Any]) -> None:
        self._producer = AIOKafkaProducer(**settings)
        await self._producer.start()

    @property
    def _ours(self) -> AIOKafkaProducer:
        assert self._producer is not None
        return self._producer

    def send(self, topic: str, records: Iterable[Record]) -> None:
        if self._filled:
            self._run(self._by_hand(topic, records))
            return
        waiting = iter(records)
        while some := list(itertools.islice(waiting, _AT_ONCE)):
            self._run(self._send(topic, some))

    async def _send(self, topic: str, records: list[Record]) -> None:
        for partition, record_key, value, headers, timestamp in records:
            self._sent.append(
                await self._ours.send(
                    topic, value, record_key, partition, timestamp_ms=timestamp, headers=list(headers)
                )
            )

    def flush(self) -> None:
        self._run(self._flush())

    async def _flush(self) -> None:
        await self._ours.flush()
        await asyncio.gather(*self._sent)
        self._sent.clear()

    async def _by_hand(self, topic: str, records: Iterable[Record]) -> None:
        """Write batches that are filled to their bound first: send() lets them go as soon as the broker is idle."""
        filling: dict[int, Any] = {}
        for partition, record_key, value, headers, timestamp in records:
            made = {"key": record_key, "value": value, "timestamp": timestamp, "headers": list(headers)}
            if partition not in filling:
                filling[partition] = self._ours.create_batch()
            if filling[partition].append(**made) is None:
                await (await self._ours.send_batch(filling[partition], topic, partition=partition))
                filling[partition] = self._ours.create_batch()
                assert filling[partition].append(**made) is not None
        for partition, batch in filling.items():
            await (await self._ours.send_batch(batch, topic, partition=partition))

    def begin(self) -> None:
        self._run(self._ours.begin_transaction())

    def commit(self) -> None:
        self.flush()
        self._run(self._ours.commit_transaction())

    def abort(self) -> None:
        self._run(self._ours.abort_transaction())
        self._sent.clear()

    def close(self) -> None:
        self._run(self._ours.stop())


class Peer:
    """Java's client in a process of its own, started once: writers and readers are connections to it."""

    def __init__(self) -> None:
        classes = BUILD / "java"
        classes.mkdir(parents=True, exist_ok=True)
        path = f"{libraries()}/*"
        source = HERE / "java" / "MatrixPeer.java"
        subprocess.run(["javac", "-cp", path, "-d", str(classes), str(source)], check=True, stdin=subprocess.DEVNULL)
        (BUILD / "logs").mkdir(exist_ok=True)
        flags = ("-Xmx768m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        with (BUILD / "logs" / "matrix-peer.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["java", *flags, "-cp", f"{classes}:{path}", "MatrixPeer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def connect(self, what: bytes, settings: dict[str, str]) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._port), timeout=WITHIN)
        pairs = b"".join(_utf(name) + _utf(value) for name, value in settings.items())
        connection.sendall(what + struct.pack(">i", len(settings)) + pairs)
        return connection

    def digests(self, bootstrap: str, topic: str) -> dict[int, tuple[int, str]]:
        """Read a topic with Java's consumer, read_committed: how many records a partition has, and their SHA-256."""
        settings = {
            "bootstrap.servers": bootstrap,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": "false",
            "max.partition.fetch.bytes": str(16 << 20),
        }
        with self.connect(b"R", settings) as connection:
            connection.sendall(_utf(topic))
            with connection.makefile("rb") as answers:
                count = answers.read(4)
                assert count, f"Java's consumer cannot read {topic}: build/logs/matrix-peer.log says why"
                (partitions,) = struct.unpack(">i", count)
                return {
                    partition: (struct.unpack(">i", answers.read(4))[0], _read_utf(answers))
                    for partition in range(partitions)
                }


class Java:
    """A producer of Java's client."""

    def __init__(self, peer: Peer, bootstrap: str, manner: Manner) -> None:
        settings = {
            "bootstrap.servers": bootstrap,
            "compression.type": manner.codec,
            "batch.size": str(manner.batch),
            "linger.ms": str(manner.linger),
            "acks": manner.acks,
            "enable.idempotence": str(manner.idempotent or bool(manner.transactional)).lower(),
            "max.request.size": str(LARGEST),
            "buffer.memory": str(max(32 << 20, 3 * manner.batch)),
        }
        if manner.level is not None:
            settings[f"compression.{manner.codec}.level"] = str(manner.level)
        if manner.transactional:
            settings |= {"transactional.id": manner.transactional, "transaction.timeout.ms": str(OPEN_MOST)}
        self._connection = peer.connect(b"W", settings)
        self._answers = self._connection.makefile("rb")
        self._heard()

    def _heard(self) -> None:
        trouble = _read_utf(self._answers)
        if trouble:
            raise NotWritten(trouble)

    def _order(self, what: bytes) -> None:
        self._connection.sendall(what)
        self._heard()

    def send(self, topic: str, records: Iterable[Record]) -> None:
        name, parts, size = _utf(topic), list[bytes](), 0
        for partition, record_key, value, headers, timestamp in records:
            at = _OWN_CLOCK if timestamp is None else timestamp
            made = [b"R", name, struct.pack(">iq", partition, at), _sized(record_key), _sized(value)]
            made.append(struct.pack(">i", len(headers)))
            made += [_utf(each) + _sized(content) for each, content in headers]
            parts += made
            size += sum(map(len, made))
            if size > 1 << 18:
                self._connection.sendall(b"".join(parts))
                parts, size = [], 0
        self._connection.sendall(b"".join(parts))

    def flush(self) -> None:
        self._order(b"F")

    def begin(self) -> None:
        self._order(b"B")

    def commit(self) -> None:
        self._order(b"C")

    def abort(self) -> None:
        self._order(b"A")

    def close(self) -> None:
        self._answers.close()
        self._connection.close()


@cache
def _utf(words: str) -> bytes:
    """As DataInput.readUTF has it; nothing here is beyond the first plane but what is spelt as surrogates."""
    encoded = b"".join(_unit(unit) for unit in struct.iter_unpack(">H", words.encode("utf-16-be")))
    return struct.pack(">H", len(encoded)) + encoded


def _unit(unit: tuple[int]) -> bytes:
    return chr(unit[0]).encode("utf-8", "surrogatepass")


def _read_utf(source: Any) -> str:  # noqa: ANN401
    (size,) = struct.unpack(">H", source.read(2))
    return str(source.read(size).decode(errors="replace"))


def _sized(content: bytes | None) -> bytes:
    return struct.pack(">i", -1) if content is None else struct.pack(">i", len(content)) + content
