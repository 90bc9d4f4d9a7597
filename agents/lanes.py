"""Lanes follow Faust's assignment: a Lane object for each partition of the lane topic that this worker was given."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import faust

from sealwire.agents.lane import Item, Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from faust.types import TP, EventT, Message

    from sealwire.agents.lane import Work
    from sealwire.agents.topics import TopicWatch

_log = logging.getLogger(__name__)
_LOOK_EVERY = 3.0  # seconds between two looks at the clusters' topics
_TABLE_EVERY = 1.0  # seconds between two table writes of one lane: a working copy, and each row is a changelog record
_TICK_EVERY = 1.0  # seconds between two moments that a quiet lane is given for it
_AGAIN_AFTER, _AGAIN_TO = 0.2, 10.0  # seconds before a lane that ended is seated anew; longer where it never lasts
_LASTS = 10.0  # seconds
_BEAT_EVERY, _ASLEEP = 1.0, 3.0  # seconds, and how much later a beat may come before we were stopped, or starved
# Seconds until a lane is seated anew that somebody else may have: as long as it takes a group to miss a member, and
# Faust to tell us so. A new assignment comes first, if it comes.
_NOT_OURS_FOR = 12.0
_CLOSE_WITHIN = 5.0  # seconds
_TWIN = (
    "lanes were assigned {} times within a minute: are there two workers of this identity? Stop one; each node needs "
    "an identity of its own (sealwire ticket create, sealwire enroll)"
)
_TURN = 0.01  # seconds: whoever waits for an answer of a cluster has it no later than that
_RESTLESS, _RESTLESS_FOR = 10, 60.0  # assignments within so many seconds: static members that fence each other
_BEGINS_WITHIN = 60.0  # seconds
_SEATS_WITHIN = 10.0  # seconds: a lane that takes longer is told of


class PassThrough(faust.Schema):  # type: ignore[misc]
    """A lane's events are objects of this process: nothing is serialized, nothing comes from a broker."""

    def compile(self, app: faust.App, **_unused: Any) -> Callable[..., Any]:  # noqa: ANN401
        """Return a decoder that hands the value through."""

        async def decode(message: Message, *, propagate: bool = False) -> EventT:  # noqa: ARG001
            return app.create_event(None, message.value, {}, message)

        return decode


class Lanes:
    """Makes, deals to and closes the lanes of one worker; every change of assignment makes new ones."""

    def __init__(self, app: faust.App, topic: str, make: Callable[[Lane], Work], watch: TopicWatch) -> None:
        self._app, self._topic, self._make, self._watch = app, topic, make, watch
        self.open: dict[int, Lane] = {}
        self.assigned = False
        self.turns = 0  # events that Faust handed to our agent: it stops counting where Faust is stuck
        self._begun = False
        self._seating: dict[int, asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._wanted: set[int] = set()
        self._seated_at: dict[int, float] = {}
        self._pause: dict[int, float] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._given: deque[float] = deque(maxlen=_RESTLESS)  # when lanes were assigned
        self._beat_at, self._woke = 0.0, float("-inf")
        self._beating: asyncio.TimerHandle | None = None

    # Faust's signals; neither waits for any cluster

    def on_assigned(self, assigned: set[TP]) -> None:
        """Take up the lanes that were assigned."""
        self._wanted = {tp.partition for tp in assigned if tp.topic == self._topic}
        self.assigned = True
        self._loop = asyncio.get_running_loop()
        self._given.append(self._loop.time())
        self._seat_all()

    async def on_revoked(self) -> None:
        """Close every lane: whoever is given it next begins from what is written."""
        self._wanted = set()
        await self.close(orderly=True)

    def begin(self) -> None:
        """Seat what was assigned so far; before this nothing is."""
        self._begun = True
        self._seat_all()

    async def close(self, *, orderly: bool) -> None:
        """Close all lanes and wait for it."""
        for number, lane in list(self.open.items()):
            lane.open = False
            self._shut(number, lane, orderly=orderly)
        if self._closing:
            await asyncio.wait(self._closing, timeout=_CLOSE_WITHIN)

    @property
    def trouble(self) -> str:
        """Say why lanes do not get on, "" where they do: they are taken from us all the time, or take long to begin."""
        if self._loop is None:
            return ""
        now = self._loop.time()
        if len(self._given) == _RESTLESS and now - self._given[0] < _RESTLESS_FOR:
            return _TWIN.format(_RESTLESS)
        late = [lane for _, lane in sorted(self.open.items()) if not lane.begun]
        late = [lane for lane in late if self._seated_at[lane.number] < now - _SEATS_WITHIN]
        if not late:
            return ""
        others = f", and so do {len(late) - 1} more" if len(late) > 1 else ""
        return f"lane {late[0].number} waits for {late[0].work.waits}{others}: nothing of it is delivered meanwhile"

    # Seating

    def _seat_all(self) -> None:
        if not self._begun:
            return
        if self._beating is None:
            self._beat()
        for number in sorted(self._wanted - set(self.open)):
            self._seat(number)

    def _seat(self, number: int) -> None:
        self._seated_at[number] = asyncio.get_running_loop().time()
        lane = Lane(self._app, self._topic, number, self._ended)
        lane.work = self._make(lane)
        self.open[number] = lane
        self._seating[number] = asyncio.create_task(self._begin(lane))

    async def _begin(self, lane: Lane) -> None:
        try:
            await self._begin_work(lane)
            lane.begun = True
            if lane.open:
                await lane.work.deal(self._watch.facts)
                await lane.tick()
        except asyncio.CancelledError:
            lane.fail("its beginning was cancelled")  # where that was not us: else it is closed already
            raise
        except Exception as error:  # noqa: BLE001 (any doubt ends the lane, never the worker)
            _log.warning("lane %d: %r", lane.number, error, exc_info=_log.isEnabledFor(logging.DEBUG))
            lane.fail(f"{error}")

    @staticmethod
    async def _begin_work(lane: Lane) -> None:
        """Have a lane's work begin, from the start where that takes long: an answer may be lost for good on its way."""
        within = _BEGINS_WITHIN
        while True:
            try:
                async with asyncio.timeout(within) as limit:
                    return await lane.work.begin()
            except TimeoutError:
                if not limit.expired():
                    raise
            within *= 2  # what is slow only, and is read back whole, must come to its end some time

    def _ended(self, lane: Lane, _why: str) -> None:
        if self.open.get(lane.number) is lane:
            # What is in flight is in order, whatever ended the lane: a new one begins when it is written down.
            closing = self._shut(lane.number, lane, orderly=True)
            loop = asyncio.get_running_loop()
            pause = self._pause_of(lane)
            closing.add_done_callback(lambda _: loop.call_later(pause, self._again, lane.number))

    def _pause_of(self, lane: Lane) -> float:
        """Tell how long to wait before a lane is seated anew, if no new assignment comes first."""
        now = asyncio.get_running_loop().time()
        lasted = now - self._seated_at[lane.number] >= _LASTS
        before = 0.0 if lasted else self._pause.get(lane.number, 0.0)
        pause = self._pause[lane.number] = min(max(2 * before, _AGAIN_AFTER), _AGAIN_TO)
        return _NOT_OURS_FOR if lane.fenced else pause

    def _beat(self) -> None:
        """Notice that this process did not run for a while: others may have its lanes, and it has not heard of it."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._beating is not None and now - self._beat_at > _BEAT_EVERY + _ASLEEP:
            self._woke = now
        self._beat_at = now
        self._beating = loop.call_later(_BEAT_EVERY, self._beat) if self._wanted else None

    def _again(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        if number in self._wanted and number not in self.open:
            if loop.time() < self._woke + _NOT_OURS_FOR:
                loop.call_at(self._woke + _NOT_OURS_FOR, self._again, number)
            else:
                self._seat(number)

    def _shut(self, number: int, lane: Lane, *, orderly: bool) -> asyncio.Task[None]:
        del self.open[number]
        task = self._seating.pop(number, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        closing = asyncio.create_task(self._close_work(lane, orderly=orderly))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    @staticmethod
    async def _close_work(lane: Lane, *, orderly: bool) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_WITHIN):
                await lane.work.close(orderly=orderly)

    # What goes on all the time

    async def keep_dealing(self) -> None:
        """Look for topics that come, grow or go, for ever, and deal them."""
        while True:
            facts = await self._watch.look()
            for lane in list(self.open.values()):
                task = self._seating.get(lane.number)
                if lane.open and task is not None and task.done():
                    await self._deal(lane, facts)
            await asyncio.sleep(_LOOK_EVERY)

    async def _deal(self, lane: Lane, facts: Any) -> None:  # noqa: ANN401
        try:
            await lane.work.deal(facts)
        except Exception as error:  # noqa: BLE001 (any doubt ends the lane, never the worker)
            lane.fail(f"{error!r}")

    async def keep_ticking(self) -> None:
        """Give lanes that are quiet their moment for the table, for ever."""
        said = ""
        while True:
            await asyncio.sleep(_TICK_EVERY)
            if (words := self.trouble) and not said:
                _log.warning(words)
            said = words
            for lane in list(self.open.values()):
                if lane.open and not self._app.rebalancing:
                    await lane.tick()

    async def follow(
        self,
        events: faust.Stream,
        write: Callable[[dict[bytes, bytes]], None],
        has_room: Callable[[], bool] = lambda: True,
    ) -> None:
        """Be the agent: each event goes to its lane's work, and what changed goes to the table while that has room."""
        loop = asyncio.get_running_loop()
        wrote: dict[int, float] = {}
        turn = loop.time()
        async for event in events.events():
            self.turns += 1
            item: Item = event.value
            lane = item.lane
            if not lane.accept(item):
                continue
            if item.load is not None:
                for _ in lane.work.take(item.load):
                    turn = await _share(turn)
                    if not lane.open:
                        break
            turn = await _share(turn)
            now = loop.time()
            if now - wrote.get(lane.number, 0.0) >= _TABLE_EVERY and has_room():
                wrote[lane.number] = now
                write(lane.work.changes())


async def _share(turn: float) -> float:
    """Let others run where a turn that began at ``turn`` has lasted long enough; return when the present one began."""
    loop = asyncio.get_running_loop()
    if loop.time() - turn >= _TURN:
        await asyncio.sleep(0)
        return loop.time()
    return turn
