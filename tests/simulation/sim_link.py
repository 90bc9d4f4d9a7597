"""The connection of one worker to a broker, as the product's client shows it: what is sent travels, or is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka import errors
from aiokafka.protocol.transaction import AddPartitionsToTxnRequest, InitProducerIdRequest
from sim_broker import Produce
from virtual_loop import NOBODY

from sealwire.agents.leaders import Leaders
from sealwire.agents.writer import RawWriter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.structs import TopicPartition
    from sim_broker import Broker

    from sealwire.agents.settings import Cluster as Address

_ASKED_FOR = 10.0  # seconds after which a client has waited for long enough
_CUT_AFTER = (0.001, 0.02, 0.5, _ASKED_FOR)  # seconds until it hears that a connection is cut, or gives up


def deed_of(request: Any) -> str:
    """Name what is asked for."""
    if isinstance(request, Produce):
        return "produce"
    if isinstance(request, InitProducerIdRequest):
        return "begin"
    return "include" if isinstance(request, AddPartitionsToTxnRequest) else "commit"


class Link:
    """A client that is connected. ``cuts`` are (deed, whether it was done): each for the next request of that deed."""

    unauthorized_topics: tuple[str, ...] = ()

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker, self.name = broker, name
        self.cluster = self
        self.cuts: list[tuple[str, bool]] = []
        self.lag = 0.0  # seconds, beyond the usual
        self.going: dict[asyncio.Future[Any], asyncio.TimerHandle] = {}
        self.asked: dict[asyncio.Future[Any], str] = {}

    # What it knows

    def leader_for_partition(self, where: TopicPartition) -> int:
        topics = self.broker.cluster.topics
        return 1 if where.topic in topics and where.partition < len(topics[where.topic][1]) else -1

    def set_topics(self, topics: Iterable[str]) -> None:
        pass

    async def force_metadata_update(self) -> bool:
        await asyncio.sleep(self._pause())
        return True

    def get_random_node(self) -> int:
        return 1

    async def coordinator_lookup(self, _kind: int, _name: str) -> int:
        await asyncio.sleep(self._pause())
        return 1

    def _pause(self) -> float:
        usual: float = self.broker.dice.choice((0.001, 0.001, 0.001, 0.002, 0.002, 0.005, 0.03))
        return usual + self.lag

    # What it sends

    async def send(self, _node: int, request: Any, group: object = None) -> Any:  # noqa: ARG002
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        deed = deed_of(request)
        if self.lag and deed != "begin":
            self.broker.reached("slow_sink")
        cut = next((each for each in self.cuts if each[0] == deed), None)
        if cut is None:
            self._travel(request, answer, heard=True)
        else:
            self.cuts.remove(cut)
            self.broker.reached(f"{deed}_{'unanswered' if cut[1] else 'lost'}")
            self._cut(request, answer, done=cut[1])
        self.asked[answer] = deed
        try:
            return await answer
        finally:
            self.asked.pop(answer, None)

    def _travel(self, request: Any, answer: asyncio.Future[Any], *, heard: bool) -> float:
        """Have a request arrive, and perhaps its answer; return after how many seconds it does."""
        loop = self.broker.loop

        def arrive() -> None:
            self.going.pop(answer, None)
            word = self.broker.answer(self, request)
            if heard:
                loop.call_later(self._pause(), give, word, context=NOBODY)

        def give(word: Any) -> None:
            if not answer.done():
                answer.set_result(word)

        after = self._pause()
        self.going[answer] = loop.call_later(after, arrive, context=NOBODY)
        return after

    def _cut(self, request: Any, answer: asyncio.Future[Any], *, done: bool) -> None:
        """Have the connection be cut before a request arrives, or before its answer does."""

        def lose() -> None:
            if not answer.done():
                answer.set_exception(errors.KafkaConnectionError("cut"))

        after = self._travel(request, answer, heard=False) if done else 0.0
        after += self.broker.dice.choice(_CUT_AFTER)
        self.broker.loop.call_later(after, lose, context=NOBODY)

    def lose(self) -> None:
        """What is on its way never arrives."""
        for handle in self.going.values():
            handle.cancel()
        self.going.clear()

    async def close(self) -> None:
        """Be a client."""


class Linked(Leaders):
    """The product's own knowledge of leaders, over a link."""

    def __init__(self, link: Link, *more: Any) -> None:
        super().__init__(*more)
        self._link: Any = link

    async def start(self) -> asyncio.Task[None]:
        self._client = self._link
        return asyncio.create_task(self._refresh())


class LocalWriter(RawWriter):
    """The product's own writer, over a link."""

    def __init__(self, address: Address, link: Link) -> None:
        super().__init__(address, link.name)
        self.link = link
        self.leaders = Linked(
            link, address, link.name, lambda: self._queues, self._wake.set, self.rights, self._troubles
        )

    def lose(self) -> None:
        """What is on its way never arrives."""
        self.link.lose()
