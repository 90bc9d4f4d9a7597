"""What a worker is told at its start: plain values, read from the node's YAML by the app layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sealwire.keys.keypackage import GRACE
from sealwire.keys.secrets import HOLD
from sealwire.keys.session import Rules

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Direction = Literal["seal", "open"]
How = Literal["exactly-once", "at-least-once"]
TABLE = "state"  # the Faust table of a direction
STALE_AFTER_MS = 60_000  # senders say every half of it how far they are


@dataclass(frozen=True)
class Cluster:
    """One Kafka cluster: where it is and how to speak to it.

    ``security`` holds librdkafka's names (``security.protocol``, ``sasl.username`` ...): it may hold secrets and is
    never shown.
    """

    bootstrap: str
    embedded: bool = False
    security: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Lifetimes:
    """How long secrets live (ms).

    ``keep`` is how long a session's secret stays when everything of it is delivered, ``hold_secrets`` how long after
    the session's end at most, ``receive_grace`` how long a receiving key stays when its window is over. ``session``
    says when a sender begins its next one, ``identity`` is the age at which an identity key is replaced.
    """

    keep: int = 0
    receive_grace: int = GRACE
    hold_secrets: int = HOLD
    session: Rules = field(default_factory=Rules)
    identity: int = 30 * 24 * 3600 * 1000


@dataclass(frozen=True)
class SealRoute:
    """A mapping of the sealing side: one local topic into one cloud topic, under one channel.

    ``readers`` names the only members that are granted its sessions, of those that the charter allows; None: all.
    """

    channel: str
    source_topic: str
    cloud_topic: str
    compress: bool = True
    padding: bool = False
    readers: tuple[str, ...] | None = None

    @property
    def reads(self) -> str:
        """The topic that is read."""
        return self.source_topic

    @property
    def writes(self) -> str:
        """The topic that is written."""
        return self.cloud_topic


@dataclass(frozen=True)
class SealPattern:
    """A mapping of many local topics: those whose whole name matches, each into the cloud topic that ``to`` makes."""

    channel: str
    pattern: str
    to: str
    compress: bool = True
    padding: bool = False
    readers: tuple[str, ...] | None = None

    def route(self, source_topic: str, cloud_topic: str) -> SealRoute:
        """Give the route of one match."""
        return SealRoute(self.channel, source_topic, cloud_topic, self.compress, self.padding, self.readers)


@dataclass(frozen=True)
class OpenRoute:
    """A mapping of the opening side: one cloud topic to one local topic, under one channel.

    ``begin_anywhere`` is a person's word that a source partition met for the first time may begin without its log
    start. ``stale_after_ms`` is how long at most a source partition is not known to be complete before it is stale.
    """

    channel: str
    cloud_topic: str
    sink_topic: str
    begin_anywhere: bool = False
    stale_after_ms: int = STALE_AFTER_MS

    @property
    def reads(self) -> str:
        """The topic that is read."""
        return self.cloud_topic

    @property
    def writes(self) -> str:
        """The topic that is written."""
        return self.sink_topic


@dataclass(frozen=True)
class OpenPattern:
    """A mapping of many cloud topics: those whose whole name matches, each to the local topic that ``to`` makes."""

    channel: str
    pattern: str
    to: str
    begin_anywhere: bool = False
    stale_after_ms: int = STALE_AFTER_MS

    def route(self, cloud_topic: str, sink_topic: str) -> OpenRoute:
        """Give the route of one match."""
        return OpenRoute(self.channel, cloud_topic, sink_topic, self.begin_anywhere, self.stale_after_ms)


@dataclass(frozen=True)
class Settings:
    """Everything that one worker needs to know, but its secrets.

    No pattern of the worker's direction reads a topic that one of ``never_read`` matches, nor writes one that one of
    ``never_write`` does.
    """

    project: str
    site: str
    identity: str
    direction: Direction
    state: Path
    local: Cluster
    cloud: Cluster
    seal: tuple[SealRoute, ...] = ()
    open: tuple[OpenRoute, ...] = ()
    seal_patterns: tuple[SealPattern, ...] = ()
    open_patterns: tuple[OpenPattern, ...] = ()
    never_read: tuple[str, ...] = ()
    never_write: tuple[str, ...] = ()
    manage_topics: bool = False
    delivery: How = "exactly-once"
    lanes: int = 16
    linger_ms: int = 10
    chunk_bytes: int = 900_000
    in_flight_bytes: int = 48 * 1024 * 1024
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    web_port: int = 0
    web_host: str = "127.0.0.1"

    @property
    def routes(self) -> tuple[SealRoute, ...] | tuple[OpenRoute, ...]:
        """The mappings by name of this worker's direction."""
        return self.seal if self.direction == "seal" else self.open

    @property
    def patterns(self) -> tuple[SealPattern, ...] | tuple[OpenPattern, ...]:
        """The mappings by regular expression of this worker's direction, in the order of the YAML."""
        return self.seal_patterns if self.direction == "seal" else self.open_patterns

    @property
    def app_id(self) -> str:
        """The Faust app's id, which is also its group on the local cluster."""
        return f"_sealwire.{self.project}.{self.site}.{self.direction}"

    @property
    def lane_topic(self) -> str:
        """The empty local topic whose partitions are the lanes of this direction."""
        return f"{self.app_id}.lanes"

    @property
    def cursor_topic(self) -> str:
        """The compacted local topic of delivery records; its partition is the lane."""
        return f"_sealwire.{self.project}.{self.site}.cursors"

    @property
    def ledger_topic(self) -> str:
        """The local topic of all that was delivered, from whom and where to; its partition is the lane."""
        return f"_sealwire.{self.project}.{self.site}.ledger"

    @property
    def orders_topic(self) -> str:
        """The local topic of what persons order; one partition, kept for ever."""
        return f"_sealwire.{self.project}.{self.site}.orders"

    @property
    def quarantine_topic(self) -> str:
        """The local topic of refused envelopes that members truly signed, still sealed; one partition, bounded."""
        return f"_sealwire.{self.project}.{self.site}.quarantine"

    def transactional_id(self, lane: int) -> str:
        """The id under which a lane delivers: whoever takes it fences its last holder."""
        return f"{self.app_id}.{lane}"

    @property
    def changelog_topic(self) -> str:
        """The compacted local topic behind the direction's table; its partition is the lane."""
        return f"{self.app_id}-{TABLE}-changelog"

    @property
    def positions_group(self) -> str:
        """The group under which the sealing side's positions are committed, for operators to see as lag."""
        return f"sealwire.{self.project}.{self.site}.seal"

    @property
    def control_topic(self) -> str:
        """Root, charter, credentials and key packages, in the cloud."""
        return f"{self.project}.control"

    @property
    def sessions_topic(self) -> str:
        """Session statements, grants and progress, in the cloud."""
        return f"{self.project}.sessions"

    @property
    def requests_topic(self) -> str:
        """Requests and answers, in the cloud."""
        return f"{self.project}.requests"
