"""Which topics there are, asked in frames of our own: librdkafka can be made to crash by what a broker answers.

Metadata of versions 10 to 12, which have the ids of topics (KIP-516): Kafka 2.8 or later.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka.errors import IncompatibleBrokerVersion, KafkaError
from aiokafka.protocol.api import Request, RequestStruct
from aiokafka.protocol.metadata import MetadataRequest_v5

from sealwire.agents.blocking import ClusterAway
from sealwire.agents.driver import BoundedClient
from sealwire.agents.security import REQUEST_TIMEOUT_MS, stock_settings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BytesIO

    from sealwire.agents.frames import Versions
    from sealwire.agents.settings import Cluster

_METADATA = 3
_FROM, _TO = 10, 12
_WITH_CLUSTER_RIGHTS = 10  # the last version that asks for them
_LONGEST_VARINT = 5  # bytes
_NO_ID = bytes(16)


class Topic(NamedTuple):
    """What a broker says of a topic: an error code (0 is good), its id (16 bytes), how many partitions it has."""

    error: int
    topic_id: bytes
    partitions: int


class _Reading:
    """A flexible answer (KIP-482), front to back; a wrong length raises ValueError, struct.error or IndexError."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> Any:  # noqa: ANN401
        (found,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return found

    def skip(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            message = f"{size} bytes where {len(found)} are left"
            raise ValueError(message)
        self._at += size
        return found

    def count(self) -> int:
        """Read an unsigned varint."""
        found = 0
        for place in range(_LONGEST_VARINT):
            byte = self._data[self._at]
            self._at += 1
            found |= (byte & 0x7F) << 7 * place
            if byte < 0x80:  # noqa: PLR2004
                return found
        message = "a count of more than five bytes"
        raise ValueError(message)

    def length(self) -> int:
        """Read how many entries or bytes there are; a null is none."""
        found = max(self.count() - 1, 0)
        if found > len(self._data) - self._at:
            message = f"{found} entries in {len(self._data) - self._at} bytes"
            raise ValueError(message)
        return found

    def text(self) -> str:
        return self.skip(self.length()).decode()

    def tags(self) -> None:
        for _ in range(self.count()):
            self.count()
            self.skip(self.count())


class _Topics:
    """Reads an answer."""

    @staticmethod
    def decode(source: BytesIO) -> dict[str, Topic]:
        """Read on from where the header of the answer ends."""
        reading = _Reading(source.read())
        reading.take(">i")
        for _ in range(reading.length()):
            reading.take(">i")
            reading.text()
            reading.take(">i")
            reading.text()
            reading.tags()
        reading.text()
        reading.take(">i")
        found: dict[str, Topic] = {}
        for _ in range(reading.length()):
            error, name, topic_id = reading.take(">h"), reading.text(), reading.skip(16)
            reading.take(">b")
            partitions = reading.length()
            for _ in range(partitions):
                reading.skip(14)  # error, number, leader, its epoch
                for _ in range(3):
                    reading.skip(4 * reading.length())
                reading.tags()
            reading.take(">i")
            reading.tags()
            found[name] = Topic(error, topic_id, partitions)
        return found


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class _Ask(RequestStruct):  # type: ignore[misc]
    """One request of a certain version."""

    API_KEY = _METADATA
    API_VERSION = _TO
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Topics
    SCHEMA = MetadataRequest_v5.SCHEMA  # for its repr only

    def __init__(self, body: bytes) -> None:
        super().__init__([], False)  # noqa: FBT003
        self._body = body

    def encode(self) -> bytes:
        return self._body


_ASKS = {version: type(f"_Ask_v{version}", (_Ask,), {"API_VERSION": version}) for version in range(_FROM, _TO + 1)}


class AskTopics(Request[_Ask]):  # type: ignore[misc]
    """Ask for topics by their names, or for all; makes none by asking."""

    API_KEY = _METADATA

    def __init__(self, names: Iterable[str] | None) -> None:
        self._names = None if names is None else list(names)

    def build(self, request_struct_class: type[_Ask]) -> _Ask:
        """Make the request of one version."""
        body = _varint(0 if self._names is None else len(self._names) + 1)
        for name in self._names or ():
            encoded = name.encode()
            body += _NO_ID + _varint(len(encoded) + 1) + encoded + b"\0"
        rights = b"\0\0" if request_struct_class.API_VERSION <= _WITH_CLUSTER_RIGHTS else b"\0"
        return request_struct_class(body + b"\0" + rights + b"\0")

    def prepare(self, versions: Versions) -> _Ask:
        """Choose the version for this broker. Raises IncompatibleBrokerVersion for brokers before Kafka 2.8."""
        lowest, highest = versions.get(_METADATA, (0, 0))
        version = min(highest, _TO)
        if version < max(lowest, _FROM):
            message = f"metadata versions {lowest} to {highest}: topics have ids from Kafka 2.8 on"
            raise IncompatibleBrokerVersion(message)
        return self.build(_ASKS[version])


async def ask_topics(cluster: Cluster, client_id: str, names: Iterable[str] | None) -> dict[str, Topic]:
    """Ask any broker of a cluster, on a connection of its own. Raises ClusterAway."""
    client = BoundedClient(
        bootstrap_servers=cluster.bootstrap,
        client_id=client_id,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **stock_settings(cluster),
    )
    try:
        await client.bootstrap()
        return dict(await client.send(client.get_random_node(), AskTopics(names)))
    except (KafkaError, OSError, TimeoutError) as error:
        raise ClusterAway(str(client.cause or error.__cause__ or error)) from error
    finally:
        await client.close()
