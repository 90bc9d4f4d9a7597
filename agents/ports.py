"""The seams of the agents: what they need of the outside, as protocols that a simulation can stand behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from sealwire.agents.budget import Budget
    from sealwire.agents.seat import Fetched, Seat
    from sealwire.agents.writer import RecordMetadata
    from sealwire.keys.secrets import Secrets


class SecretStore(Protocol):
    """Where a worker's secrets are at rest: one whole value, replaced atomically.

    ``behind`` is how many later saves of it are known to be missing: above 0 an old copy was restored.
    """

    behind: int

    def load(self) -> Secrets:
        """Return what was saved last."""
        ...

    def save(self, secrets: Secrets) -> None:
        """Make ``secrets`` durable before returning; blocks for as long as the disk does.

        Where the disk refuses it raises an OSError, or what has one as its cause: then it may be called again.
        """
        ...


class Trail(Protocol):
    """Where events of trust are put on record, one line each in a chain of digests."""

    trouble: str
    """Why nothing can be written, in words; "" where it can. It stops nothing: what is missing is counted and told."""

    def note(self, event: str, **fields: str | int) -> None:
        """Note an event: names, ids, versions, times (ms) and Reasons, never a secret. Never waits, never raises."""
        ...


class Reader(Protocol):
    """The groupless reader of one cluster, shared by all lanes of a worker."""

    budget: Budget

    def seat(
        self,
        topic: str,
        partition: int,
        offset: int,
        take: Callable[[Fetched], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> Seat:
        """Read a partition from ``offset`` on; ``take`` gets every answer in order, ``failed`` the end of it."""
        ...

    def unseat(self, seat: Seat) -> None:
        """Stop: nothing is delivered to this seat any more."""
        ...

    async def log_start(self, topic: str, partition: int) -> int:
        """Return the first offset that is there."""
        ...

    async def end_offset(self, topic: str, partition: int, *, committed: bool = False) -> int:
        """Return the offset after the last record."""
        ...


class Writer(Protocol):
    """The writer of one cluster: acks=all, one batch in flight a partition, repeated for as long as it takes."""

    async def produce(self, topic: str, partition: int, batch: bytearray | memoryview | bytes) -> RecordMetadata:
        """Return when the cluster has acknowledged; raises Refused when it never will."""
        ...

    def transactions(self, transactional_id: str) -> Transactions:
        """Return a producer of transactions. Nothing is asked of the cluster before its begin()."""
        ...


class Transactions(Protocol):
    """A producer under one transactional id: one transaction at a time, for as long as nobody else takes the id.

    Every method but begin() and close() raises Doubt, or Fenced, which is one: then only close() is left to be called,
    and what became of the open transaction is read back by whoever begins next.
    """

    waits: str
    """Why begin(), include(), commit() or abort() goes on for so long: the last word of the coordinator, else ""."""

    @property
    def open(self) -> bool:
        """Whether anything is included, so that a transaction is to be ended."""
        ...

    async def begin(self) -> None:
        """Take the transactional id, for as long as it takes: whoever had it is fenced, what was open is aborted."""
        ...

    async def include(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Open a transaction where none is, and let these partitions be written in it. Raises Refused, too."""
        ...

    async def produce(self, topic: str, partition: int, batch: bytearray | memoryview | bytes) -> RecordMetadata:
        """Store a batch in the open transaction, which includes its partition.

        Raises Refused where the cluster never takes it: then nothing of it is stored, and the transaction goes on.
        """
        ...

    async def commit(self) -> None:
        """Make everything since include() count, once; every produce() must have returned before."""
        ...

    async def abort(self) -> None:
        """Make nothing of it count."""
        ...

    def close(self) -> None:
        """Give up; what was not sent never is, and what waits ends as Doubt."""
        ...
