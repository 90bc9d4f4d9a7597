"""Fetch and produce on the wire, with the batches as they are: views of the answer, one join of the request.

Built on aiokafka's public request classes; only decoding and encoding are our own, since the stock ones copy a batch
two and about eight times.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.produce import (
    ProduceRequest_v3,
    ProduceRequest_v8,
    ProduceResponse_v3,
    ProduceResponse_v5,
    ProduceResponse_v8,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from io import BytesIO

Versions = dict[int, tuple[int, int]]  # api key -> lowest and highest version that the broker speaks

_FETCH_FROM = 4  # the first version with aborted transactions
_PRODUCE_FROM, _PRODUCE_TO = 3, 8  # the first with transactional ids, the first with the broker's own words

_MOST_ABORTED = 2**16  # transactions in one answer: each takes eight times as much memory as bytes on the wire
_RESPONSE_HEADER = 64  # bytes: as much of an answer as holds its header
_ERROR_AND_SESSION = struct.Struct(">hi")
_PARTITION = struct.Struct(">ihqq")
_ABORTED = struct.Struct(">qq")
_COUNT = struct.Struct(">i")
_LONG = struct.Struct(">q")
_NAME = struct.Struct(">h")


class PartitionAnswer(NamedTuple):
    """What a broker answered for one partition; ``data`` is a view of the frame."""

    topic: str
    partition: int
    error: int
    high_watermark: int
    last_stable: int
    log_start: int
    aborted: tuple[tuple[int, int], ...]
    data: memoryview


class FetchAnswer(NamedTuple):
    """A fetch response: an error of the whole request, or its partitions; ``size`` is that of the frame in bytes."""

    error: int
    partitions: list[PartitionAnswer]
    size: int


class FetchReader:
    """Reads fetch responses of one version; any wrong length raises ValueError, struct.error or IndexError.

    ``frame``, where it is set, is the whole answer: then what decode() is given may be only its beginning, which saves
    a copy of what was received into a buffer. ``most``: partitions that were asked for, and so may be answered for.
    """

    def __init__(self, version: int, most: int) -> None:
        self._version, self._most = version, most
        self._aborted = 0
        self.frame: bytes | bytearray | None = None

    def decode(self, source: BytesIO) -> FetchAnswer:
        """Read on from where the header of the answer ends."""
        frame = source.getvalue() if self.frame is None else self.frame
        view = memoryview(frame).toreadonly()
        position = source.tell() + 4  # throttle time
        error = 0
        if self._version >= 7:  # noqa: PLR2004
            error, _session = _ERROR_AND_SESSION.unpack_from(view, position)
            position += 6
        found: list[PartitionAnswer] = []
        self._aborted = 0
        topics, position = self._count(view, position)
        for _ in range(topics):
            (length,) = _NAME.unpack_from(view, position)
            position += 2
            topic = str(view[position : position + length], "utf-8")
            position += length
            partitions, position = self._count(view, position)
            for _ in range(partitions):
                answer, position = self._partition(view, position, topic)
                found.append(answer)
                if len(found) > self._most:
                    message = f"more than the {self._most} partitions that were asked for"
                    raise ValueError(message)
        return FetchAnswer(error, found, len(frame))

    def _partition(self, view: memoryview, position: int, topic: str) -> tuple[PartitionAnswer, int]:
        number, error, high_watermark, last_stable = _PARTITION.unpack_from(view, position)
        position += 22
        log_start = -1
        if self._version >= 5:  # noqa: PLR2004
            (log_start,) = _LONG.unpack_from(view, position)
            position += 8
        count, position = self._count(view, position)
        self._aborted += count
        if self._aborted > _MOST_ABORTED:
            message = f"{self._aborted} aborted transactions"
            raise ValueError(message)
        aborted = tuple(_ABORTED.iter_unpack(view[position : position + 16 * count]))
        position += 16 * count
        if self._version >= 11:  # noqa: PLR2004
            position += 4  # preferred read replica: never asked for
        (length,) = _COUNT.unpack_from(view, position)
        position += 4
        length = max(length, 0)
        if position + length > len(view):
            message = f"{length} bytes of records in a frame of {len(view)}"
            raise ValueError(message)
        data = view[position : position + length]
        answer = PartitionAnswer(topic, number, error, high_watermark, last_stable, log_start, aborted, data)
        return answer, position + length

    @staticmethod
    def _count(view: memoryview, position: int) -> tuple[int, int]:
        (count,) = _COUNT.unpack_from(view, position)
        count = max(count, 0)  # a null array is an empty one
        if count > len(view):
            message = f"{count} entries in a frame of {len(view)} bytes"
            raise ValueError(message)
        return count, position + 4


def beginning(frame: bytes | bytearray, request: Any) -> bytes | bytearray:  # noqa: ANN401
    """Return what aiokafka needs of an answer: its header where a FetchReader is given the whole of it, else all."""
    reader = getattr(request, "RESPONSE_TYPE", None)
    if not isinstance(reader, FetchReader):
        return frame
    reader.frame = frame
    return bytes(frame[:_RESPONSE_HEADER])


class FetchBatches(FetchRequest):  # type: ignore[misc]
    """A fetch whose answer is a FetchAnswer."""

    def prepare(self, versions: Versions) -> Any:  # noqa: ANN401
        """Choose the version for this broker. Raises IncompatibleBrokerVersion for brokers before Kafka 0.11."""
        request = super().prepare(versions)
        if request.API_VERSION < _FETCH_FROM:
            message = "fetch before version 4"
            raise IncompatibleBrokerVersion(message)
        request.RESPONSE_TYPE = FetchReader(request.API_VERSION, sum(len(parts) for _topic, parts in self.topics))
        return request


class _Message:
    """Header and pieces of a request; a plain left operand (its size, as aiokafka writes it) makes it bytes."""

    def __init__(self, pieces: list[bytes | bytearray | memoryview]) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return sum(len(piece) for piece in self._pieces)

    def __radd__(self, before: bytes) -> bytes:
        return b"".join((before, *self._pieces))


class _Body(_Message):
    """The pieces of a request before it has its header."""

    def __radd__(self, before: bytes) -> _Message:  # type: ignore[override]
        return _Message([before, *self._pieces])


class _Produce(RequestStruct):  # type: ignore[misc]
    """One produce request of a certain version, which all have the same layout."""

    API_KEY = 0
    API_VERSION = 3
    RESPONSE_TYPE = ProduceResponse_v3
    SCHEMA = ProduceRequest_v3.SCHEMA

    def __init__(self, pieces: list[bytes | bytearray | memoryview]) -> None:
        super().__init__(None, -1, 0, [])  # for its repr only
        self._pieces = pieces

    def encode(self) -> _Body:
        return _Body(self._pieces)


def _version(number: int) -> type[_Produce]:
    answer = ProduceResponse_v3 if number < 5 else ProduceResponse_v5 if number < 8 else ProduceResponse_v8  # noqa: PLR2004
    schema = ProduceRequest_v8.SCHEMA if number == _PRODUCE_TO else ProduceRequest_v3.SCHEMA
    return type(f"_Produce_v{number}", (_Produce,), {"API_VERSION": number, "RESPONSE_TYPE": answer, "SCHEMA": schema})


_PRODUCE_VERSIONS = {number: _version(number) for number in range(_PRODUCE_FROM, _PRODUCE_TO + 1)}


class Produced(NamedTuple):
    """A broker's word on one batch: error code (0 is good), base offset, and what it says about the error."""

    error: int
    base_offset: int
    words: str


class ProduceBatches(Request[ProduceRequest_v3]):  # type: ignore[misc]
    """Whole stamped batches for many partitions, acks=all, each copied once on its way to the socket."""

    API_KEY = 0

    def __init__(
        self,
        batches: Mapping[str, Sequence[tuple[int, bytes | bytearray | memoryview]]],
        *,
        timeout_ms: int,
        transactional_id: str | None = None,
    ) -> None:
        pieces: list[bytes | bytearray | memoryview] = [
            _name(transactional_id) + struct.pack(">hii", -1, timeout_ms, len(batches))
        ]
        for topic, parts in batches.items():
            pieces.append(_name(topic) + _COUNT.pack(len(parts)))
            for partition, batch in parts:
                pieces += (struct.pack(">ii", partition, len(batch)), batch)
        self._pieces = pieces

    def build(self, request_struct_class: type[_Produce]) -> _Produce:
        """Make the request of one version."""
        return request_struct_class(self._pieces)

    def prepare(self, versions: Versions) -> _Produce:
        """Choose the version for this broker. Raises IncompatibleBrokerVersion for brokers before Kafka 0.11."""
        lowest, highest = versions.get(self.API_KEY, (0, 0))
        version = min(highest, _PRODUCE_TO)
        if version < max(lowest, _PRODUCE_FROM):
            message = f"produce versions {lowest} to {highest}"
            raise IncompatibleBrokerVersion(message)
        return self.build(_PRODUCE_VERSIONS[version])


def read_produced(answer: Any) -> dict[tuple[str, int], Produced]:  # noqa: ANN401
    """What a produce response says of each partition."""
    found: dict[tuple[str, int], Produced] = {}
    for topic, partitions in answer.topics or ():
        for partition, error, base_offset, _timestamp, *more in partitions or ():
            record_errors, words = more[1:3] if len(more) > 2 else ((), "")  # noqa: PLR2004
            texts = [words or "", *(text or "" for _index, text in record_errors or ())]
            found[topic, partition] = Produced(error, base_offset, "; ".join(dict.fromkeys(filter(None, texts))))
    return found


def _name(text: str | None) -> bytes:
    if text is None:
        return _NAME.pack(-1)
    encoded = text.encode()
    return _NAME.pack(len(encoded)) + encoded
