"""An event loop without a clock of its own: time jumps to the next timer when nothing is ready. One handle a step.

Every handle belongs to the worker whose code asked for it (by its context), or to nobody: the network, the test. A
worker that was killed runs nothing more, not even a ``finally``; one that is stopped runs all of it when it goes on.
"""

from __future__ import annotations

import asyncio
import heapq
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(eq=False)
class Process:
    """What runs on one machine. ``ahead`` is how far its clock is (ms), ``stopped`` what waits for SIGCONT."""

    name: str
    ahead: int = 0
    dead: bool = False
    stopped: list[asyncio.Handle] | None = None
    slept: tuple[float, float] = (0.0, 0.0)  # from when to when it was stopped last (the loop's clock)
    context: Context = field(default_factory=copy_context)

    def __post_init__(self) -> None:
        self.context.run(RUNS.set, self)


RUNS: ContextVar[Process | None] = ContextVar("runs", default=None)
NOBODY = Context()


class Deadlock(Exception):
    """Nothing is ready, and nothing ever will be."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The same calls give the same steps. ``steps`` counts them; ``errors`` is what no one caught.

    The one order that it cannot fix is that of sets of objects.
    """

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self.steps = 0
        self._timers = 0  # all that there ever were: of two at one time the older one comes first
        self._ending = False
        self._graves: list[asyncio.Handle] = []  # what the dead would have done next
        self._trap: tuple[int, Callable[[], None]] | None = None
        self.errors: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, what: self.errors.append(what))
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._now

    def _write_to_self(self) -> None:
        """Nothing sleeps that would have to be woken."""

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, _executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """Do in a step what a thread would do; the answer comes a step later."""
        done = self.create_future()

        def work() -> None:
            try:
                answer = func(*args)
            except Exception as error:  # noqa: BLE001 (as a thread would hand it on)
                self.call_soon(self._answer, done, None, error)
            else:
                self.call_soon(self._answer, done, answer, None)

        self.call_soon(work)
        return done

    @staticmethod
    def _answer(done: asyncio.Future[Any], answer: Any, error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(answer)
        else:
            done.set_exception(error)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers += 1
        heapq.heappush(self._scheduled, (when, self._timers, timer))  # type: ignore[attr-defined]
        return timer

    def _run_once(self) -> None:
        ready, timers = self._ready, self._scheduled  # type: ignore[attr-defined]
        while timers and (timers[0][0] <= self._now or timers[0][2]._cancelled or not ready):
            if not timers[0][2]._cancelled and timers[0][0] > self._now:
                self._now = timers[0][0]
            timer = heapq.heappop(timers)[2]
            if not timer._cancelled:
                ready.append(timer)
        if not ready:
            raise Deadlock
        handle = ready.popleft()
        if handle._cancelled:
            return
        runs = handle._context.get(RUNS)
        if runs is not None and not self._ending:
            if runs.dead:
                self._graves.append(handle)
                return
            if runs.stopped is not None:
                runs.stopped.append(handle)
                return
        self.steps += 1
        handle._run()
        if self._trap is not None and self.steps >= self._trap[0]:
            (_, spring), self._trap = self._trap, None
            spring()

    # What a test does with it

    def run_for(self, seconds: float) -> None:
        """Let this much time pass."""
        self.call_later(seconds, self.stop, context=NOBODY)
        self.run_forever()

    def run_until(self, holds: Callable[[], object], within: float, every: float = 0.05) -> bool:
        """Let time pass until ``holds()``, or ``within`` seconds; tell whether it does."""
        end = self._now + within
        while not holds():
            if self._now >= end:
                return False
            self.run_for(every)
        return True

    def after_steps(self, steps: int, spring: Callable[[], None]) -> None:
        """Call ``spring`` after so many steps: between any two awaits of anybody."""
        self._trap = (self.steps + max(steps, 1), spring)

    def spring(self) -> None:
        """Do now what was to be done after some steps, if it was not."""
        if self._trap is not None:
            (_, spring), self._trap = self._trap, None
            spring()

    def suspend(self, process: Process) -> None:
        """Stop a process between two steps."""
        process.stopped, process.slept = [], (self._now, self._now)

    def resume(self, process: Process) -> None:
        """Let a stopped process go on, with all that it missed."""
        handles, process.stopped = process.stopped or [], None
        process.slept = process.slept[0], self._now
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def end(self) -> None:
        """Cancel all that is left, of the dead as well, and let it end."""
        self._ending = True
        self._ready.extend(self._graves)  # type: ignore[attr-defined]
        for _ in range(20):
            self._scheduled.clear()  # type: ignore[attr-defined]
            tasks = asyncio.all_tasks(self)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.run_for(0.0)
            for _ in range(10):
                self.run_for(0.0)
        self._ready.clear()  # type: ignore[attr-defined]
        self.close()
