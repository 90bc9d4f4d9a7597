"""Speaking to a cluster: the raw client, the administrator's questions, and positions kept in a group that nobody joins.

Settings arrive in librdkafka's names. confluent-kafka's calls block, so they run in threads.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka.errors import KafkaError
from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka import KafkaError as LibrdkafkaError
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic, ResourceType

from sealwire.agents.driver import FRAME_CAP, BoundedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Future

    from sealwire.agents.settings import Cluster

Result = TypeVar("Result")

REQUEST_TIMEOUT_MS = 10_000
_ADMIN_TIMEOUT = 15.0  # seconds
_BACKOFF_TO = 5.0  # seconds

_log = logging.getLogger(__name__)
_librdkafka_log = logging.getLogger("sealwire.librdkafka")


class ClusterAway(Exception):
    """No broker of the cluster answered in time; it may answer later."""


class ClusterRefused(Exception):
    """A broker answered and will not do it: the text is its own."""


def stock_settings(cluster: Cluster) -> dict[str, Any]:
    """Translate a cluster's security into aiokafka's arguments (Faust's consumer takes them as well).

    Raises ValueError for a mechanism that aiokafka does not speak or a setting that contradicts another.
    """
    given = cluster.security
    protocol = given.get("security.protocol", "PLAINTEXT").upper()
    settings: dict[str, Any] = {"security_protocol": protocol}
    if protocol in {"SSL", "SASL_SSL"}:
        settings["ssl_context"] = _ssl_context(given)
    if protocol in {"SASL_PLAINTEXT", "SASL_SSL"}:
        mechanism = given.get("sasl.mechanism", given.get("sasl.mechanisms", "PLAIN")).upper()
        if mechanism not in {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}:
            message = f"sasl.mechanism {mechanism}: PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are supported"
            raise ValueError(message)
        if not given.get("sasl.username") or not given.get("sasl.password"):
            message = "sasl.username and sasl.password are needed"
            raise ValueError(message)
        settings["sasl_mechanism"] = mechanism
        settings["sasl_plain_username"] = given["sasl.username"]
        settings["sasl_plain_password"] = given["sasl.password"]
    return settings


def _ssl_context(given: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(
        ssl.Purpose.SERVER_AUTH, cafile=given.get("ssl.ca.location") or None, cadata=given.get("ssl.ca.pem") or None
    )
    if certificate := given.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, given.get("ssl.key.location") or None, given.get("ssl.key.password"))
    if given.get("ssl.endpoint.identification.algorithm", "https").lower() in {"none", ""}:
        context.check_hostname = False
    if given.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def librdkafka_settings(cluster: Cluster, client_id: str) -> dict[str, Any]:
    """Give a cluster's settings as librdkafka wants them. The result holds secrets: never log it."""
    return {
        "bootstrap.servers": cluster.bootstrap,
        "client.id": client_id,
        "socket.timeout.ms": REQUEST_TIMEOUT_MS,
        "reconnect.backoff.max.ms": 2000,
        "log_level": 2,  # critical only: it would report an absent broker several times a second
        **cluster.security,
    }


async def connect(
    cluster: Cluster, client_id: str, *, frame_cap: int = FRAME_CAP, deadline: float | None = None
) -> BoundedClient:
    """Connect a raw client, waiting with back-off while no broker answers (said once in the log).

    ``deadline``: seconds after which ClusterAway is raised; None waits for as long as it takes.
    """
    loop = asyncio.get_running_loop()
    until = None if deadline is None else loop.time() + deadline
    pause, said = 0.1, False
    while True:
        client = BoundedClient(
            frame_cap=frame_cap,
            bootstrap_servers=cluster.bootstrap,
            client_id=client_id,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            metadata_max_age_ms=60_000,
            **stock_settings(cluster),
        )
        try:
            await client.bootstrap()
        except (KafkaError, OSError, TimeoutError) as error:
            await close(client)
            if until is not None and loop.time() + pause > until:
                raise ClusterAway(cluster.bootstrap) from error
            if not said:
                _log.warning("no broker answers at %s: waiting for it", cluster.bootstrap)
                said = True
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACKOFF_TO)
        except BaseException:
            await close(client)
            raise
        else:
            if said:
                _log.warning("a broker answers at %s", cluster.bootstrap)
            return client


async def close(client: BoundedClient, within: float = 2.0) -> None:
    """Close a client; a connection that does not close in time is left to the operating system."""
    with suppress(TimeoutError, KafkaError, OSError):
        async with asyncio.timeout(within):
            await client.close()


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """What a cluster says of a topic: its id (16 bytes, KIP-516) and how many partitions it has."""

    topic_id: bytes
    partitions: int


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic to be made; ``replication`` -1 is the broker's default, ``config`` its settings by Kafka's names."""

    name: str
    partitions: int
    replication: int = -1
    config: Mapping[str, str] = field(default_factory=dict)


class Admin:
    """An administrator's questions to one cluster. Every method raises ClusterAway or ClusterRefused."""

    def __init__(self, cluster: Cluster, client_id: str = "sealwire-admin") -> None:
        self._cluster = cluster
        self._client = AdminClient(librdkafka_settings(cluster, client_id), logger=_librdkafka_log)

    async def cluster_id(self) -> str:
        """Ask for the id that the cluster gave itself."""
        found = await asyncio.to_thread(_wait, lambda: self._client.describe_cluster(request_timeout=_ADMIN_TIMEOUT))
        return str(found.cluster_id)

    async def topics(self) -> dict[str, int]:
        """List every topic with its number of partitions."""
        metadata = await asyncio.to_thread(_blocking, lambda: self._client.list_topics(timeout=_ADMIN_TIMEOUT))
        return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}

    async def describe(self, names: Iterable[str]) -> dict[str, TopicFacts]:
        """Describe those of ``names`` that exist."""
        wanted = list(dict.fromkeys(names))
        if not wanted:
            return {}
        return await asyncio.to_thread(self._describe, wanted)

    def _describe(self, names: list[str]) -> dict[str, TopicFacts]:
        asked = self._client.describe_topics(TopicCollection(names), request_timeout=_ADMIN_TIMEOUT)
        found: dict[str, TopicFacts] = {}
        for name, answer in asked.items():
            topic = _answer(answer, missing_is_none=True)
            if topic is not None:
                identity = topic.topic_id
                halves = (identity.get_most_significant_bits(), identity.get_least_significant_bits())
                found[name] = TopicFacts(struct.pack(">qq", *halves), len(topic.partitions))
        return found

    async def topic_ids(self, names: Iterable[str]) -> dict[str, bytes]:
        """Ask for the ids of those of ``names`` that exist."""
        return {name: facts.topic_id for name, facts in (await self.describe(names)).items()}

    async def create_topics(self, plans: Iterable[TopicPlan]) -> list[str]:
        """Make the topics that are not there; the names that were made. Settings of those that exist are left alone."""
        wanted = list(plans)
        return await asyncio.to_thread(self._create, wanted) if wanted else []

    def _create(self, plans: list[TopicPlan]) -> list[str]:
        replication = 1 if self._cluster.embedded else -1
        asked = self._client.create_topics(
            [
                NewTopic(
                    plan.name,
                    plan.partitions,
                    replication if plan.replication < 0 else plan.replication,
                    config=dict(plan.config),
                )
                for plan in plans
            ],
            request_timeout=_ADMIN_TIMEOUT,
        )
        return [name for name, answer in asked.items() if _answer(answer, existing_is_none=True) is not None]

    async def grow(self, name: str, partitions: int) -> None:
        """Raise the number of partitions of a topic."""
        await asyncio.to_thread(
            _wait,
            lambda: self._client.create_partitions([NewPartitions(name, partitions)], request_timeout=_ADMIN_TIMEOUT)[
                name
            ],
        )

    async def config(self, name: str) -> dict[str, str]:
        """Ask for the settings of a topic, by Kafka's names."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        found = await asyncio.to_thread(
            _wait, lambda: self._client.describe_configs([resource], request_timeout=_ADMIN_TIMEOUT)[resource]
        )
        return {entry.name: str(entry.value) for entry in found.values()}


@dataclass(frozen=True, slots=True)
class Position:
    """Where reading goes on: an offset, and the words that were committed with it ("" where a broker drops them)."""

    offset: int
    metadata: str = ""


class Positions:
    """Committed offsets of a group without members, as operators' tools show them. One thread, one call at a time."""

    def __init__(self, cluster: Cluster, client_id: str, group: str) -> None:
        self._settings = {
            **librdkafka_settings(cluster, client_id),
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
        }
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="positions")
        self._consumer: Consumer | None = None

    async def load(self, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Position]:
        """Read what is committed for these; absent ones are left out. Raises ClusterAway or ClusterRefused."""
        wanted = [TopicPartition(topic, partition) for topic, partition in partitions]
        if not wanted:
            return {}
        found = await self._run(lambda consumer: consumer.committed(wanted, timeout=_ADMIN_TIMEOUT))
        for entry in found:
            if entry.error is not None:
                raise _named(entry.error)
        return {
            (entry.topic, entry.partition): Position(entry.offset, entry.metadata or "")
            for entry in found
            if entry.offset >= 0
        }

    async def commit(self, positions: Mapping[tuple[str, int], Position]) -> None:
        """Commit these, all answered for on return. Raises ClusterAway or ClusterRefused."""
        if not positions:
            return
        offsets = [
            TopicPartition(topic, partition, position.offset, position.metadata)
            for (topic, partition), position in positions.items()
        ]
        for entry in await self._run(lambda consumer: consumer.commit(offsets=offsets, asynchronous=False)):
            if entry.error is not None:
                raise _named(entry.error)

    async def close(self) -> None:
        """Let the consumer go; what was committed stays."""
        with suppress(ClusterAway, ClusterRefused, TimeoutError):
            if self._consumer is not None:
                async with asyncio.timeout(5):
                    await self._run(lambda consumer: consumer.close())
        self._thread.shutdown(wait=False)

    async def _run(self, call: Callable[[Consumer], Result]) -> Result:
        def work() -> Result:
            if self._consumer is None:
                self._consumer = Consumer(self._settings, logger=_librdkafka_log)
            consumer = self._consumer
            return _blocking(lambda: call(consumer))

        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _blocking(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except KafkaException as error:
        raise _named(error.args[0]) from error


def _wait(call: Callable[[], Future[Result]]) -> Result:
    answer: Result = _answer(_blocking(call))
    return answer


def _answer(answer: Future[Any], *, missing_is_none: bool = False, existing_is_none: bool = False) -> Any:  # noqa: ANN401
    try:
        found = answer.result(_ADMIN_TIMEOUT + 5)
    except KafkaException as error:
        code = error.args[0].code()
        if missing_is_none and code == LibrdkafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        if existing_is_none and code == LibrdkafkaError.TOPIC_ALREADY_EXISTS:
            return None
        raise _named(error.args[0]) from error
    except TimeoutError as error:
        raise ClusterAway(str(error)) from error
    return True if found is None else found


def _named(error: LibrdkafkaError) -> Exception:
    """Tell a cluster that is away, or not ready yet, from one that refuses."""
    return ClusterAway(error.str()) if error.code() < 0 or error.retriable() else ClusterRefused(error.str())
