"""Every reach into the insides of aiokafka and of Faust, and nothing else: the one file to read when either moves.

self_check() is called at every start and by a test: it names what is no longer as this file expects it.
"""

from __future__ import annotations

import inspect
import logging
import struct
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import aiokafka
import aiokafka.client
import aiokafka.conn
from aiokafka import errors
from aiokafka.protocol.metadata import MetadataRequest

from sealwire.agents import environment
from sealwire.agents.frames import FetchReader, ProduceBatches, beginning
from sealwire.agents.framing import Frames
from sealwire.agents.security import ANSWER_CAP

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    import faust

WORKER_ENVIRONMENT = environment.WORKER_ENVIRONMENT
FRAME_CAP = 128 * 1024 * 1024  # bytes: a broker that announces a larger answer to a fetch is not believed


class Moved(RuntimeError):
    """An inside of aiokafka or Faust that this version relies on is not what it was."""


class FrameRefused(ConnectionError):
    """A broker's answer was larger than allowed, or could not be decoded; its connection is closed."""


_connecting: ContextVar[BoundedClient | None] = ContextVar("sealwire_connecting", default=None)
_stock_create_conn = aiokafka.client.create_conn


class BoundedConnection(aiokafka.conn.AIOKafkaConnection):  # type: ignore[misc]
    """A connection that believes no size, raises only connection errors, and makes no topic by asking for it."""

    frame_cap = FRAME_CAP

    async def connect(self) -> Any:  # noqa: ANN401
        """Connect; whatever a broker says wrong at the start is a KafkaConnectionError."""
        try:
            return await super().connect()
        except (OSError, TimeoutError, errors.KafkaError):
            raise
        except Exception as error:
            raise errors.KafkaConnectionError(f"{self.host}:{self.port}: {error!r}") from error

    def send(self, request: Any, expect_response: bool = True) -> Any:  # noqa: ANN401, FBT001, FBT002
        """Send as the stock one does, but for metadata: asking for a topic must not create it, nor harm who asks."""
        metadata = type(request) is MetadataRequest
        if metadata:
            request = MetadataRequest(request._topics, allow_auto_topic_creation=False)  # noqa: SLF001
        try:
            answer = super().send(request, expect_response)
        except (errors.IncompatibleBrokerVersion, NotImplementedError) as error:
            # What it said that it speaks may have been a lie, and is asked once a connection.
            self.close(reason=aiokafka.conn.CloseReason.CONNECTION_BROKEN, exc=error)
            raise errors.IncompatibleBrokerVersion(str(error)) from error
        return self._judged(answer) if metadata else answer

    async def _judged(self, answer: Awaitable[Any]) -> Any:  # noqa: ANN401
        """Wait for metadata, and give it when aiokafka can take it in; else the connection is closed."""
        metadata = await answer
        if not _whole(metadata):
            error = FrameRefused("metadata with lists or names that are null")
            self.close(reason=aiokafka.conn.CloseReason.CONNECTION_BROKEN, exc=error)
            raise errors.KafkaConnectionError(str(error)) from error
        return metadata

    def _create_reader_task(self) -> Any:  # noqa: ANN401
        """Have answers received in place, before the first byte of any is read."""
        self.frames = Frames(self._protocol, self._writer.transport)
        self._writer.transport.set_protocol(self.frames)
        return super()._create_reader_task()

    @staticmethod
    async def _read(self_ref: Any) -> None:  # noqa: ANN401
        connection = self_ref()
        if connection is None:
            return
        reader, cap = connection.frames, connection.frame_cap
        del connection
        while True:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            connection = self_ref()
            if connection is None:
                return
            request = connection._awaited()  # noqa: SLF001
            most = cap if isinstance(getattr(request, "RESPONSE_TYPE", None), FetchReader) else min(cap, ANSWER_CAP)
            if not 4 <= size <= most:  # noqa: PLR2004
                raise FrameRefused(f"an answer of {size} bytes, {most} allowed")
            del connection
            frame = await reader.readexactly(size)
            connection = self_ref()
            if connection is None:
                return
            try:
                connection._handle_frame(beginning(frame, request))  # noqa: SLF001
            except Exception as error:
                raise FrameRefused(f"an answer that cannot be decoded: {error!r}") from error
            del connection

    def _awaited(self) -> Any:  # noqa: ANN401
        """Return the request that the next answer is to. Raises FrameRefused where nothing was asked."""
        if not self._requests:
            raise FrameRefused("an answer to nothing that was asked")
        return self._requests[0][1]


def _whole(metadata: Any) -> bool:  # noqa: ANN401
    """Tell whether brokers, topics and partitions are lists and have names: aiokafka takes that for granted."""
    if metadata.brokers is None or metadata.topics is None:
        return False
    places = [broker[1] for broker in metadata.brokers] + [topic[1] for topic in metadata.topics]
    return None not in places and None not in [topic[-1] for topic in metadata.topics]


@contextmanager
def _bounded(client: BoundedClient) -> Iterator[None]:
    token = _connecting.set(client)
    try:
        yield
    finally:
        _connecting.reset(token)


class BoundedClient(aiokafka.client.AIOKafkaClient):  # type: ignore[misc]
    """An AIOKafkaClient whose connections are bounded ones. ``frame_cap``: bytes of the largest answer."""

    def __init__(self, *, frame_cap: int = FRAME_CAP, **settings: Any) -> None:  # noqa: ANN401
        super().__init__(**settings)
        self.frame_cap = frame_cap
        self.cause: Exception | None = None  # of the last connection that did not come about

    async def bootstrap(self) -> None:
        """Connect to the first bootstrap address that answers. Raises KafkaConnectionError; ``cause`` says more."""
        with _bounded(self):
            await super().bootstrap()

    async def _metadata_update(self, cluster_metadata: Any, topics: Any) -> bool:  # noqa: ANN401
        """Ask the brokers that are known and, where none answers, the bootstrap addresses: metadata may have lied."""
        if await super()._metadata_update(cluster_metadata, topics):
            return True
        try:
            await self.bootstrap()
        except (OSError, TimeoutError, errors.KafkaError):
            return False
        return bool(await super()._metadata_update(cluster_metadata, topics))

    async def _get_conn(self, node_id: Any, **settings: Any) -> Any:  # noqa: ANN401
        with _bounded(self):
            return await super()._get_conn(node_id, **settings)


async def _create_conn(host: str, port: int, **settings: Any) -> Any:  # noqa: ANN401
    client = _connecting.get()
    if client is None:
        return await _stock_create_conn(host, port, **settings)
    connection = BoundedConnection(host, port, **settings)
    connection.frame_cap, client.cause = client.frame_cap, None
    try:
        await connection.connect()
    except Exception as error:
        client.cause = error  # bootstrap() and what asks for metadata keep it to themselves
        raise
    return connection


def install() -> None:
    """Put the bounded connection in place; doing it again changes nothing."""
    aiokafka.client.create_conn = _create_conn
    # It reports an absent broker tens of times a second; what matters is said once by those who use it.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


async def deliver(
    consumer: Any,  # noqa: ANN401
    topic: str,
    partition: int,
    offset: int,
    value: object,
    *,
    generation: int,
    timestamp: float = 0.0,
) -> None:
    """Hand ``value``, any object, to the agents of ``topic`` as if the consumer had read it; waits while they are full.

    The conductor silently drops what carries another generation than generation(app).
    """
    from faust.types import TP  # noqa: PLC0415 (Faust takes half a second to import: only workers pay it)
    from faust.types.tuples import ConsumerMessage  # noqa: PLC0415

    message: Any = ConsumerMessage
    where = TP(topic, partition)
    await consumer.callback(
        message(topic, partition, offset, timestamp, 0, None, None, value, None, 0, 0, where, generation_id=generation)
    )


def generation(app: faust.App) -> int:
    """Tell the group generation that this worker's partitions were assigned in."""
    return int(app.consumer_generation_id)


def quiet_loggers() -> None:
    """Raise the levels that Faust leaves at DEBUG once its worker has set up logging: 12-17 % of CPU when quiet."""
    root = logging.getLogger()
    root.setLevel(max(root.level, logging.WARNING))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for name in ("faust", "mode", "asyncio"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))


def self_check(*, with_faust: bool = False) -> None:
    """Raise Moved, naming it, when an inside that this file relies on is not as it expects."""
    moved = [*_moved_in_aiokafka(), *(_moved_in_faust() if with_faust else ())]
    if moved:
        raise Moved(f"aiokafka {aiokafka.__version__}: " + "; ".join(moved))


def _parameters(function: Any) -> list[str]:  # noqa: ANN401
    return list(inspect.signature(function).parameters)


def _names(function: Any) -> set[str]:  # noqa: ANN401
    """Every name that a function uses, its inner functions' included."""
    found: set[str] = set()
    codes = [inspect.unwrap(function).__code__]
    while codes:
        code = codes.pop()
        found.update(code.co_names)
        codes += [constant for constant in code.co_consts if inspect.iscode(constant)]
    return found


def _moved_in_aiokafka() -> Iterator[str]:
    connection, client = aiokafka.conn.AIOKafkaConnection, aiokafka.client.AIOKafkaClient
    expected = {
        "AIOKafkaConnection._read is not a static method of (self_ref)": lambda: (
            isinstance(inspect.getattr_static(connection, "_read"), staticmethod)
            and _parameters(connection._read) == ["self_ref"]  # noqa: SLF001
        ),
        "AIOKafkaConnection._read does not use _reader and _handle_frame": lambda: (
            {"_reader", "_handle_frame", "readexactly"} <= _names(connection._read)  # noqa: SLF001
        ),
        "AIOKafkaConnection._create_reader_task does not use _read, or connect not it, _writer and _protocol": lambda: (
            "_read" in _names(connection._create_reader_task)  # noqa: SLF001
            and {"_writer", "_protocol", "StreamWriter", "_create_reader_task"} <= _names(connection.connect)
        ),
        "AIOKafkaConnection._handle_frame does not find what was asked for in _requests": lambda: (
            _parameters(connection._handle_frame) == ["self", "resp"]  # noqa: SLF001
            and {"_requests", "RESPONSE_TYPE", "decode"} <= _names(connection._handle_frame)  # noqa: SLF001
        ),
        "AIOKafkaClient._md_synchronizer does not use _metadata_update, or that not _get_conn": lambda: (
            "_metadata_update" in _names(client._md_synchronizer)  # noqa: SLF001
            and {"_get_conn", "update_metadata"} <= _names(client._metadata_update)  # noqa: SLF001
            and _parameters(client._metadata_update) == ["self", "cluster_metadata", "topics"]  # noqa: SLF001
        ),
        "AIOKafkaConnection.send has other parameters": lambda: (
            _parameters(connection.send) == ["self", "request", "expect_response"]
        ),
        "MetadataRequest._topics is gone": lambda: MetadataRequest(["a"])._topics == ["a"],  # noqa: SLF001
        "AIOKafkaClient._get_conn or bootstrap do not use create_conn": lambda: (
            "create_conn" in _names(client._get_conn) and "create_conn" in _names(client.bootstrap)  # noqa: SLF001
        ),
        "create_conn does not make an AIOKafkaConnection": lambda: (
            {"AIOKafkaConnection", "connect"} <= _names(_stock_create_conn)
        ),
        "AIOKafkaConnection.send does not write size + header + body": _sends_joined,
    }
    for what, holds in expected.items():
        try:
            if not holds():
                yield what
        except Exception as error:  # noqa: BLE001 (whatever it is, the inside has moved)
            yield f"{what} ({error!r})"


def _sends_joined() -> bool:
    """Send one request through the stock method to a writer that only remembers."""

    class Writer:
        written = b""

        def write(self, data: bytes) -> None:
            self.written = data

        async def drain(self) -> None:
            return

    class Stub:
        _writer = Writer()
        _versions = {0: (3, 8)}  # noqa: RUF012
        _client_id = "check"
        _host, _port = "", 0

        @staticmethod
        def _next_correlation_id() -> int:
            return 7

    request = ProduceBatches({"topic": [(1, memoryview(b"batch"))]}, timeout_ms=1)
    aiokafka.conn.AIOKafkaConnection.send(Stub(), request, expect_response=False).close()
    written = Stub._writer.written  # noqa: SLF001
    return (
        type(written) is bytes
        and struct.unpack_from(">ihhi", written) == (len(written) - 4, 0, 8, 7)
        and written.endswith(struct.pack(">ii", 1, 5) + b"batch")
    )


def _moved_in_faust() -> Iterator[str]:
    import faust  # noqa: PLC0415
    from faust.transport.consumer import Consumer  # noqa: PLC0415
    from faust.types.tuples import ConsumerMessage  # noqa: PLC0415

    expected = [
        "topic", "partition", "offset", "timestamp", "timestamp_type", "headers", "key", "value", "checksum",
        "serialized_key_size", "serialized_value_size", "tp",
    ]  # fmt: skip
    parameters = _parameters(ConsumerMessage.__init__)
    if parameters[1:13] != expected or "generation_id" not in parameters:
        yield "faust ConsumerMessage has other parameters"
    if "callback" not in _parameters(Consumer.__init__):
        yield "faust Consumer has no callback"
    if not hasattr(faust.App, "consumer_generation_id") and "consumer_generation_id" not in _names(faust.App.__init__):
        yield "faust App has no consumer_generation_id"


install()
