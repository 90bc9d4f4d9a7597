"""A worker: one direction, one identity, one Faust app at home; wired here and nowhere else."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import faust

from sealwire.agents import clock, driver, ending, garbage, status
from sealwire.agents.budget import Budget
from sealwire.agents.control import Control
from sealwire.agents.driver import FRAME_CAP
from sealwire.agents.health import Health
from sealwire.agents.home import Home, options
from sealwire.agents.lanes import Lanes, PassThrough
from sealwire.agents.narrator import Narrator
from sealwire.agents.opening_side import Opening
from sealwire.agents.port import Port
from sealwire.agents.reader import RawReader
from sealwire.agents.sealing import Sealing
from sealwire.agents.table import StateTable
from sealwire.agents.topics import TopicWatch
from sealwire.agents.writer import RawWriter

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sealwire.agents.ports import SecretStore, Trail
    from sealwire.agents.settings import Settings

_log = logging.getLogger(__name__)
_CLOUD_FRAME_CAP = 48 * 1024 * 1024  # bytes: two of these, and what is in flight, leave a mirror below its bound
_COMMIT_WITHIN = 5.0  # seconds, when lanes are given up


class _Boot(faust.App.BootStrategy):  # type: ignore[misc]
    """No web server of Faust's, whatever `faust worker` says: it shows tables, to all interfaces, and comes up late."""

    enable_web = False


class BridgeApp(faust.App):  # type: ignore[misc]
    """A Faust app that waits for its own cluster instead of crashing when it starts first."""

    BootStrategy = _Boot
    home: Home
    health: Health
    port: Port
    lasting: tuple[asyncio.Task[None], ...] = ()
    ends_for: str = ""  # why this process ends for good; empty while it does not
    worker: Worker | None = None  # made when the loop runs: clients belong to a loop

    async def on_first_start(self) -> None:
        """Open the port, and wait for the local cluster, saying so once."""
        await super().on_first_start()
        self.lasting = (asyncio.create_task(self.port.keep()), asyncio.create_task(self.health.keep()))
        for task in self.lasting:
            task.add_done_callback(self._lasting_ended)
        await self.home.wait()

    def _lasting_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("the worker ends: %s", error)
            self.crashing = asyncio.ensure_future(self.crash(error))

    async def on_stop(self) -> None:
        """Write what is ours before Faust stops what is its own: that may hang while its cluster is away."""
        self.health.tell("STOPPING=1")
        if self.worker is not None:
            await self.worker.stop()
        await super().on_stop()

    async def on_shutdown(self) -> None:
        """Close the port, last of all."""
        await super().on_shutdown()
        for task in self.lasting:
            task.cancel()
        await asyncio.gather(*self.lasting, return_exceptions=True)


class Worker:
    """The parts of a running worker."""

    def __init__(self, app: BridgeApp, settings: Settings, store: SecretStore, trail: Trail | None = None) -> None:
        self.app, self.settings = app, settings
        self._narrator = Narrator()
        self._since = clock.now()
        self._budget = budget = Budget(settings.in_flight_bytes)
        self._watch = TopicWatch(settings)
        name = f"sealwire-{settings.identity}"
        sealing = settings.direction == "seal"
        self._local = RawReader(
            settings.local, client_id=name, linger_ms=settings.linger_ms, budget=budget if sealing else None
        )
        self._cloud = RawReader(
            settings.cloud,
            client_id=name,
            linger_ms=settings.linger_ms,
            frame_cap=FRAME_CAP if sealing else _CLOUD_FRAME_CAP,
            budget=None if sealing else budget,
            check_crc=sealing,
        )
        self._cloud_writer = RawWriter(settings.cloud, name)
        self._local_writer = RawWriter(settings.local, name)
        self._control = Control(settings, store, self._cloud, self._cloud_writer, trail)
        self._control.on_over = lambda why: ending.end_for_good(app, why)
        self.side: Sealing | Opening = (
            Sealing(settings, self._control, self._watch, self._local, self._cloud_writer)
            if sealing
            else Opening(settings, self._control, self._watch, self._cloud, self._local, self._local_writer)
        )
        self.lanes = Lanes(app, settings.lane_topic, self.side.make, self._watch)
        self.side.lanes = self.lanes
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """Connect, catch up with the project's statements, then let the lanes begin; runs as the app's one task."""
        driver.quiet_loggers()
        self._spawn(status.keep_writing(self.settings.state / "worker.json", self._looked_at))
        starts = [self._cloud.start(), self._cloud_writer.start(), self._local.start()]
        if self.settings.direction == "open":
            starts.append(self._local_writer.start())
        await asyncio.gather(*starts, self._watch.look())
        self._spawn(self.lanes.keep_ticking())
        self.app.health.watch(self.lanes, self._ended_loops)
        if self.settings.direction == "seal":
            # What is read ahead of the first session costs nothing: lanes seat while control is caught up with.
            self.lanes.begin()
        for task in self.side.early():
            self._spawn(task)
        await self._control.begin()
        garbage.settle()
        self._spawn(self._control.keep())
        for task in self.side.tasks():
            self._spawn(task)
        self.lanes.begin()
        self._spawn(self.lanes.keep_dealing())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._stopping:
            return
        error = task.exception()
        if error is not None:
            _log.error("the worker ends: %r", error, exc_info=error)
            self._tasks.add(asyncio.ensure_future(self.app.crash(error)))

    async def on_revoked(self) -> None:
        """Give up every lane, in order."""
        await self.lanes.on_revoked()
        with suppress(TimeoutError):  # what is not committed is sealed again by whoever is next
            async with asyncio.timeout(_COMMIT_WITHIN):
                await self.side.commit()

    async def stop(self) -> None:
        """Give up the lanes in order, write what is left, close every connection."""
        self._stopping = True
        self.app.health.watch(self.lanes, tuple)
        await self.on_revoked()
        for task in list(self._tasks):
            task.cancel()
        await self.side.close()
        await asyncio.gather(
            self._cloud.stop(), self._local.stop(), self._cloud_writer.stop(), self._local_writer.stop()
        )
        await asyncio.to_thread(status.write, self.settings.state / "worker.json", self.snapshot())

    def _ended_loops(self) -> list[str]:
        return [
            each for part in (self._cloud, self._local, self._cloud_writer, self._local_writer) for each in part.ended
        ]

    def _looked_at(self) -> dict[str, Any]:
        told = self.snapshot()
        self._narrator.hear(told)
        return told

    def snapshot(self) -> dict[str, Any]:
        """Describe this worker for status, worker.json and whoever asks at its port."""
        settings, control, side = self.settings, self._control, self.side
        away, rights = self._away(), self._rights()
        causes = {
            "stopping": "stopping" if self._stopping else "",
            "project": "" if control.caught_up.is_set() else f"reading {settings.control_topic}",
            "statements": control.trouble,
            "lanes": "" if self.lanes.assigned else "waiting for Faust's assignment",
            **{cluster: f"the {cluster} cluster does not answer{words}" for cluster, words in away.items()},
            # Where others flow, what one topic waits for makes this worker degraded, not unready.
            "topics": "" if side.reads else side.why_not,
            "rights": "" if side.reads and control.caught_up.is_set() else "; ".join(sorted(set(rights.values()))),
        }
        causes = {short: words for short, words in causes.items() if words}
        others = {
            "trail": control.trail.trouble,
            "vault": control.renewal.restored,
            "charter": control.old_charter,
            "clocks": control.clocks,
        }
        others = {what: words for what, words in others.items() if words}
        told, troubles = side.snapshot(), {**side.troubles, **rights, **others}
        refused = control.refused + side.refused
        credential = control.credential
        return {
            "direction": settings.direction,
            "identity": settings.identity,
            "project": settings.project,
            "site": settings.site,
            "version": status.VERSION,
            "since_ms": self._since,
            "at_ms": clock.now(),
            "ready": not causes,
            "why": "; ".join(causes.values()),
            "causes": list(causes),
            "degraded": status.degraded(told, troubles),
            "troubles": troubles,
            "clusters": {cluster: cluster not in away for cluster in ("local", "cloud")},
            "lanes": sorted(self.lanes.open),
            **told,
            "refused": dict(refused),
            "refused_statements": dict(control.refused),
            "refused_envelopes": dict(side.refused),
            "counters": dict(side.counters),
            "passed": side.tallies.rows(),
            "in_flight": {"bytes": self._budget.used, "limit": self._budget.total},
            "retrying": {"local": len(self._local_writer.troubles), "cloud": len(self._cloud_writer.troubles)},
            "credential_until_ms": credential.not_after if credential is not None else None,
            "charter": control.charter_row(),
            "loop_lag_s": self.app.health.loop_lag,
        }

    def _away(self) -> dict[str, str]:
        readers = {"local": self._local, "cloud": self._cloud}
        # What we may not read is no cluster's absence.
        silent = {name: "" for name, reader in readers.items() if reader.away and not reader.rights.lacking}
        return silent | {name: f": {words}" for name, words in self._watch.troubles.items()}

    def _rights(self) -> dict[str, str]:
        parts = (self._cloud, self._local, self._cloud_writer, self._local_writer)
        return {topic: words for part in parts for topic, words in part.rights.lacking.items()}


def build(settings: Settings, store: SecretStore, trail: Trail | None = None) -> faust.App:
    """Build the Faust app of one worker. Nothing is connected before the app starts."""
    garbage.begin()
    driver.self_check(with_faust=True)
    app = BridgeApp(settings.app_id, **options(settings))
    app.home = Home(settings)
    app.health = Health(app)
    app.port = Port(
        settings.web_host,
        settings.web_port,
        app.health,
        lambda: app.worker.snapshot() if app.worker else status.starting(settings, app.home.why),
    )
    topic = app.topic(
        settings.lane_topic,
        schema=PassThrough(),
        partitions=settings.lanes,
        acks=False,
        internal=False,
    )
    table = StateTable(app, settings.lanes)
    assigned: set[Any] = set()

    @app.task
    async def bridge() -> None:
        app.worker = Worker(app, settings, store, trail)
        app.worker.lanes.on_assigned(assigned)
        await app.worker.run()

    @app.agent(topic)
    async def lanes(events: faust.Stream) -> None:
        while app.worker is None:
            await asyncio.sleep(0.01)
        await app.worker.lanes.follow(events, table.write, table.has_room)

    @app.on_partitions_assigned.connect
    async def on_assigned(_app: faust.App, partitions: set[Any], **_unused: Any) -> None:  # noqa: ANN401
        assigned.clear()
        assigned.update(partitions)
        if app.worker is not None:
            app.worker.lanes.on_assigned(partitions)

    @app.on_partitions_revoked.connect
    async def on_revoked(_app: faust.App, _partitions: set[Any], **_unused: Any) -> None:  # noqa: ANN401
        assigned.clear()
        if app.worker is not None:
            await app.worker.on_revoked()

    return app
