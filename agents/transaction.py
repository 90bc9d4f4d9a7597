"""Transactions of one lane on a Kafka cluster (KIP-98), over the writer that all lanes share.

Requests to the coordinator travel on connections of their own, so that none waits behind megabytes. An answer that does
not come is asked for again: each of these requests may be repeated, until a transaction is over or somebody fences us.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any, Final

from aiokafka import errors
from aiokafka.client import CoordinationType
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest
from aiokafka.structs import TopicPartition

from sealwire.agents.producer import FOR_GOOD, Doubt, Producer, Refused, doubt
from sealwire.agents.rights import TOPIC_FORBIDDEN, TRANSACTION_FORBIDDEN
from sealwire.agents.troubles import NO_LEADER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from sealwire.agents.parcel import RecordMetadata
    from sealwire.agents.writer import RawWriter

TIMEOUT_MS: Final = 10_000
"""What a coordinator lets a transaction be open for before it aborts it and fences its producer."""
_BACKOFF, _BACKOFF_TO = 0.005, 1.0  # seconds
_HEARTBEATS = 3.0  # seconds: as long as it takes Faust to hear that others have our lanes
_CONNECTIONS = 4  # to each coordinator: a broker answers one request of a connection at a time
_FIRST_GROUP = 2  # aiokafka's own groups of connections are 0 and 1
_SEQUENCES = 2**31

# Error codes by Kafka's protocol guide.
_NO_COORDINATOR = {15, 16}  # not available, not the coordinator
_BAD_TIMEOUT = 50
_NOT_ATTEMPTED = 55
_NOT_THERE = {3, 5}  # unknown topic or partition, leader not available


class LaneTransactions:
    """A producer of transactions, as agents/ports.py describes it; a sender of the writer that made it."""

    def __init__(self, writer: RawWriter, transactional_id: str) -> None:
        self.transactional_id, self.closed = transactional_id, False
        self.waits = ""
        self._writer = writer
        self._producer = Producer(-1, -1)
        self._sequences: dict[TopicPartition, int] = {}
        self._coordinator: int | None = None
        self._out_of_reach = False
        self._group = _FIRST_GROUP + zlib.crc32(transactional_id.encode()) % _CONNECTIONS
        self._asked: set[TopicPartition] = set()
        self._included: set[TopicPartition] = set()
        self._turn = asyncio.Lock()

    # As a sender

    def stamp(self, where: TopicPartition) -> tuple[int, int, int]:
        """Give producer id, epoch and sequence of the next batch."""
        return self._producer.identity, self._producer.epoch, self._sequences.get(where, 0)

    def stored(self, where: TopicPartition, count: int) -> None:
        """Take note that a batch of ``count`` records is stored."""
        self._sequences[where] = (self._sequences.get(where, 0) + count) % _SEQUENCES

    # As a producer

    @property
    def open(self) -> bool:
        """Whether anything is included, so that a transaction is to be ended."""
        return bool(self._included)

    async def begin(self) -> None:
        """Take the transactional id, for as long as it takes. Raises Refused where the cluster knows none.

        Where the cluster was out of reach meanwhile, our group may have given our lanes to others: only when Faust had
        time to hear of that is the id taken, or we would fence those who have them.
        """
        request = InitProducerIdRequest(self.transactional_id, TIMEOUT_MS)
        lost, pause = False, _BACKOFF
        while True:
            self._out_of_reach = False
            found = await self._find()
            if found and lost:
                await asyncio.sleep(_HEARTBEATS)
                lost = False
            answer = await self._ask(request) if found else None
            error = self._judge(answer)
            self._note(answer, error)
            if answer is not None and not error:
                self._writer.rights.granted(self.transactional_id, "transactional id")
                self._producer = Producer(answer.producer_id, answer.producer_epoch)
                return
            lost = lost or self._out_of_reach
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACKOFF_TO)

    async def include(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Open a transaction where none is, and let these partitions be written in it.

        Raises Refused where one has no leader, or may not be written: then it is not included, whatever others are.
        """
        wanted = {TopicPartition(*where) for where in partitions}
        if wanted <= self._included:
            return
        lacking = await self._writer.leaders.lacking(wanted)
        if lacking:
            raise Refused(f"{lacking[0].topic}[{lacking[0].partition}]: {NO_LEADER}")
        self._asked |= wanted
        async with self._turn:
            await asyncio.sleep(0)  # others who ask in the same moment go with the same request
            refused: dict[TopicPartition, str] = {}
            pause = _BACKOFF
            while missing := self._asked - self._included:
                found = await self._add(missing)
                if found is None:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _BACKOFF_TO)
                    continue
                refused |= found
                self._asked -= found.keys()
        lost = wanted - self._included
        if lost:
            where = min(lost)
            words = refused.get(where, f"{where.topic}[{where.partition}] could not be included")
            raise Refused(words, told=where.topic in self._writer.rights.lacking)

    async def _add(self, missing: set[TopicPartition]) -> dict[TopicPartition, str] | None:
        """Ask once; those that may not be written, with the words why. None: nothing is included yet."""
        topics: dict[str, list[int]] = {}
        for where in sorted(missing):
            topics.setdefault(where.topic, []).append(where.partition)
        answer = await self._ask(
            AddPartitionsToTxnRequest(self.transactional_id, *self._producer, list(topics.items()))
        )
        self._note(answer, 0)
        if answer is None:
            return None
        refused: dict[TopicPartition, str] = {}
        again = False
        for topic, partitions in answer.errors:
            for partition, error in partitions:
                where = TopicPartition(topic, partition)
                if error == TOPIC_FORBIDDEN:
                    refused[where] = self._writer.rights.refused("Write", topic)
                elif error in _NOT_THERE:
                    self._writer.leaders.stale()
                    refused[where] = f"{topic}[{partition}]: {NO_LEADER}"
                elif error != _NOT_ATTEMPTED and self._judge_code(error):
                    again = True
                    self._note(answer, error)
        if refused:
            return refused
        if again:
            return None
        self._included |= missing
        return {}

    async def produce(self, topic: str, partition: int, batch: bytearray | memoryview | bytes) -> RecordMetadata:
        """Store a batch in the open transaction, which includes its partition. Raises Refused, Doubt."""
        if self.closed:
            raise Doubt(f"{self.transactional_id} was given up")
        return await self._writer.put(topic, partition, batch, self)

    async def commit(self) -> None:
        """Make everything since include() count; asked again until it is answered."""
        await self._end(commit=True)

    async def abort(self) -> None:
        """Make nothing of it count; asked again until it is answered."""
        await self._end(commit=False)

    async def _end(self, *, commit: bool) -> None:
        request = EndTxnRequest(self.transactional_id, *self._producer, commit)
        pause = _BACKOFF
        while True:
            answer = await self._ask(request)
            error = -1 if answer is None else self._judge_code(answer.error_code)
            self._note(answer, error)
            if not error:
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, _BACKOFF_TO)
        self._asked.clear()
        self._included.clear()

    def close(self) -> None:
        """Give up; what waits to be sent ends as Doubt."""
        self.closed = True
        self._writer.drop(self, Doubt(f"{self.transactional_id} was given up"))

    # The coordinator

    async def _find(self) -> bool:
        """Look for the coordinator where it is not known."""
        if self._coordinator is None:
            look = self._writer.leaders.connected().coordinator_lookup
            self._coordinator = await self._answer(look(CoordinationType.TRANSACTION, self.transactional_id))
        return self._coordinator is not None

    async def _ask(self, request: Any) -> Any:  # noqa: ANN401
        """Send to the coordinator; None where no answer came."""
        if self.closed:
            raise Doubt(f"{self.transactional_id} was given up")
        if not await self._find():
            return None
        client = self._writer.leaders.connected()
        return await self._answer(client.send(self._coordinator, request, group=self._group))

    async def _answer(self, waited: Awaitable[Any]) -> Any:  # noqa: ANN401
        try:
            return await waited
        except errors.TransactionalIdAuthorizationFailed:
            self._writer.rights.refused("Write", self.transactional_id, "transactional id")
        except Exception as error:  # noqa: BLE001 (whatever a broker does wrong: it is asked again)
            # A broker that says what is wrong can be reached, but for the client's own time-out, which is one of those.
            said = isinstance(error, errors.BrokerResponseError) and not isinstance(error, errors.RequestTimedOutError)
            self._out_of_reach = self._out_of_reach or not said
            self._coordinator = None
        return None

    def _note(self, answer: Any, error: int) -> None:  # noqa: ANN401
        """Keep the coordinator's last word, for those who wonder what it is that we wait for."""
        self.waits = "no answer" if answer is None else str(errors.for_code(error).message) if error else ""

    def _judge(self, answer: Any) -> int:  # noqa: ANN401
        """Tell the error of an answer to InitProducerId. Raises Refused."""
        error = -1 if answer is None else int(answer.error_code)
        if error == _BAD_TIMEOUT:
            raise Refused(f"the cluster allows no transactions of {TIMEOUT_MS} ms: raise transaction.max.timeout.ms")
        if error == TRANSACTION_FORBIDDEN:
            self._writer.rights.refused("Write", self.transactional_id, "transactional id")
        elif error in FOR_GOOD:
            raise Refused(errors.for_code(error).description)
        elif error in _NO_COORDINATOR:
            self._coordinator = None
        return error

    def _judge_code(self, error: int) -> int:
        """Tell an error with which something is to be asked again; 0 where all is well. Raises Doubt."""
        if not error:
            return 0
        ends = doubt(error, str(errors.for_code(error).description or errors.for_code(error).message))
        if ends is None and error in FOR_GOOD:
            ends = Doubt(errors.for_code(error).description)
        if ends is not None:
            raise ends
        if error in _NO_COORDINATOR:
            self._coordinator = None
        return error
