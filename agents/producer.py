"""Who a writer is to its cluster, and what the cluster's error codes mean to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from aiokafka import errors
from aiokafka.protocol.transaction import InitProducerIdRequest

from sealwire.agents.header import NO_PRODUCER
from sealwire.agents.rights import CLUSTER_FORBIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiokafka.structs import TopicPartition

    from sealwire.agents.driver import BoundedClient
    from sealwire.agents.rights import Rights

_BACKOFF, _BACKOFF_TO = 0.05, 2.0  # seconds
_ANY = "of ours, not one"
_SEQUENCES = 2**31

# Error codes by Kafka's protocol guide.
DUPLICATE = 46
LOST_PRODUCER = {45, 47, 49, 59}  # out of order sequence, invalid epoch, invalid mapping, unknown producer id
FENCED = {47, 90}  # of a transaction: invalid producer epoch, producer fenced
BROKEN = {45, 48, 49, 59, 120}  # of a transaction: a sequence or a state that is not ours, or it can only be aborted
FOR_GOOD = {10, 17, 18, 21, 22, 32, 33, 35, 42, 43, 44, 53, 65, 76, 87, 90}
TOO_LARGE = {10, 18}  # message too large, record list too large
STALE = {3, 5, 6, 9, 56, 72, 74, 75}  # metadata is to be asked for anew
REPLICAS = {19, 20}  # too few in sync: no broker's absence to us, so told in its own words
UNKNOWN = -1  # the broker's own error: nobody says what it has done
DOUBTFUL = {UNKNOWN, 2}  # may pass or not: a bounded number of times
DOUBTFUL_TRIES = 8


class Refused(Exception):
    """The cluster will never take this batch; the text is the broker's word.

    ``too_large``: smaller ones may do. ``told``: the log has it already.
    """

    def __init__(self, words: str, *, too_large: bool = False, told: bool = False) -> None:
        super().__init__(words)
        self.too_large, self.told = too_large, told


class Doubt(Exception):
    """What became of a transaction is not known, or it cannot go on: its lane ends, and a new one reads back the truth.

    The text says why.
    """


class Fenced(Doubt):
    """Somebody else took our transactional id, or the broker aborted what we left open: nothing of ours counts now."""


def doubt(error: int, words: str) -> Doubt | None:
    """Say what an error code means to an open transaction: Fenced, a Doubt, or None where it may go on."""
    if error in FENCED:
        return Fenced(f"fenced: {words}")
    return Doubt(words) if error in BROKEN else None


class Producer(NamedTuple):
    """A producer's identity on the broker."""

    identity: int
    epoch: int


async def new_producer(connected: Callable[[], BoundedClient], rights: Rights) -> Producer:
    """Ask for a producer id of our own (KIP-98), for as long as it takes. Raises Refused.

    A login gets one that may write to any topic at all (KIP-679).
    """
    pause = _BACKOFF
    while True:
        client = connected()
        node = client.get_random_node()
        error = -1
        with suppress(errors.KafkaError, TimeoutError, OSError):
            if node is not None:
                request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=10_000)
                answer = await client.send(node, request)
                error = answer.error_code
                if not error:
                    rights.granted(_ANY)
                    return Producer(answer.producer_id, answer.producer_epoch)
        if error in FOR_GOOD:
            raise Refused(errors.for_code(error).description)
        if error == CLUSTER_FORBIDDEN:
            rights.refused("Write", _ANY)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _BACKOFF_TO)


class Producers:
    """Who a writer is to each partition, and which sequence is next there: one producer id for all until one is lost.

    Without begin() it has no producer id at all, as for a broker that knows none.
    """

    transactional_id: str | None = None
    closed = False

    def __init__(self) -> None:
        self._shared: Producer | None = None
        self._own: dict[TopicPartition, Producer] = {}
        self._sequences: dict[TopicPartition, int] = {}

    async def begin(self, connected: Callable[[], BoundedClient], rights: Rights) -> None:
        """Ask for the producer id that all partitions share. Raises Refused."""
        self._shared = await new_producer(connected, rights)

    async def begin_anew(self, where: TopicPartition, connected: Callable[[], BoundedClient], rights: Rights) -> None:
        """Have a new producer for a partition whose broker forgot ours, or knows more of it than we do. Raises Refused.

        What was stored in spite of an error becomes a duplicate, as after a crash of ours.
        """
        self._own[where] = await new_producer(connected, rights)
        self._sequences[where] = 0

    def stamp(self, where: TopicPartition) -> tuple[int, int, int]:
        """Give producer id, epoch and sequence of the next batch."""
        if self._shared is None:
            return NO_PRODUCER
        producer = self._own.get(where, self._shared)
        return producer.identity, producer.epoch, self._sequences.get(where, 0)

    def stored(self, where: TopicPartition, count: int) -> None:
        """Take note that a batch of ``count`` records is stored."""
        self._sequences[where] = (self._sequences.get(where, 0) + count) % _SEQUENCES
