"""The control reader: follows the project's statements in the cloud, and publishes our own.

What counts is decided in keys/ (Trust); what is secret goes to the vault before it is used. A worker that has not read
the control topic to its end is not ready.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from sealwire.agents import clock, other_clocks
from sealwire.agents.following import Following
from sealwire.agents.learned import News, gather, put_on_record
from sealwire.agents.proving import verify_many
from sealwire.agents.renewal import Renewal
from sealwire.agents.single import record_batch
from sealwire.agents.twins import Twins
from sealwire.agents.untold import Untold
from sealwire.agents.writer import Refused
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealwire.agents.ports import Reader, SecretStore, Trail, Writer
    from sealwire.agents.settings import Settings
    from sealwire.keys.credential import Credential
    from sealwire.keys.reason import Rejected
    from sealwire.keys.secrets import Secrets
    from sealwire.keys.session import InboundSession

_log = logging.getLogger(__name__)
_JUDGE_AGAIN_EVERY = 10.0  # seconds: statements that waited for a clock or for another statement
_LATE_EVERY = 10.0  # seconds between two looks whether it is too late for what the cloud has not acknowledged
_AGAIN = 5.0  # seconds before a vault that could not be written is tried again
_HOUR_MS = 3600 * 1000


class Control:
    """Follows control and sessions; holds the Trust and the secrets of this worker.

    Who changes either holds ``changing``, from the look at what is there to the change. ``holding`` is why nothing may
    be sealed or delivered now, ``over`` why this worker is to end for good; both empty when all is well.
    """

    def __init__(
        self, settings: Settings, store: SecretStore, reader: Reader, writer: Writer, trail: Trail | None = None
    ) -> None:
        self.trail: Trail = trail or Untold()
        self._settings, self._store, self._writer = settings, store, writer
        self.reader = reader
        self.secrets = store.load()
        self.trust = Trust.begin(self.secrets, clock.now())
        self.caught_up = asyncio.Event()
        self.refused: Counter[str] = Counter()
        self.changing = asyncio.Lock()
        self.holding = self.over = self._clocks = ""
        self.renewal = Renewal(settings, self, store.behind)
        self.twins = Twins(self, clock.now())
        self._following = Following(reader, self._learn, self.refused)
        self._unsaved = ""
        # What others of this worker want to be told.
        self.on_sessions: Callable[[set[bytes]], None] = lambda _ids: None
        self.on_statements: Callable[[list[bytes], set[bytes]], None] = lambda _statements, _ids: None
        self.on_members: Callable[[], None] = lambda: None
        self.on_keys: Callable[[bytes], object] = lambda _member: None
        self.on_charter: Callable[[], None] = lambda: None
        self.on_dropped: Callable[[set[bytes]], None] = lambda _members: None
        self.on_hold: Callable[[], None] = lambda: None  # ``holding`` began, or is over
        self.on_over: Callable[[str], None] = lambda _why: None
        self.lacks: Callable[[], bool] = lambda: False  # whether statements are missed that may long be in the cloud
        self._followed = (
            (settings.control_topic,)
            if settings.direction == "seal"
            else (settings.control_topic, settings.sessions_topic)
        )

    @property
    def sessions(self) -> Mapping[bytes, InboundSession]:
        """The sessions that were granted to us, by id."""
        return self.secrets.inbound

    @property
    def credential(self) -> Credential | None:
        """Our own newest credential, where we hold the identity key that it names."""
        mine = self.trust.credential_of(self.secrets.identity.member_id)
        return mine if mine is not None and self.secrets.is_ours(mine) else None

    @property
    def trouble(self) -> str:
        """What keeps statements from being read, answered or remembered, in words; empty when nothing does."""
        words = (self.over, self._following.trouble, self._unsaved, self.renewal.trouble, self.holding)
        return "; ".join(each for each in words if each)

    def forgotten(self, session_id: bytes) -> bool:
        """Tell whether a session was granted to us and its secret is erased since: what is of it was delivered."""
        return session_id in self.trust.opened and session_id not in self.secrets.inbound

    @property
    def old_charter(self) -> str:
        """Say in words that the charter is of more than an hour ago; empty where it is not, as charter 0 never is."""
        charter, now = self.trust.charter, clock.now()
        if not charter.version or now - charter.as_of <= _HOUR_MS:
            return ""
        hours = (now - charter.as_of) // _HOUR_MS
        return (
            f"charter {charter.version} is as of more than {hours} h ago: the authority is away, or the cloud keeps "
            "back what it signed since; who was refused meanwhile is not known here"
        )

    @property
    def clocks(self) -> str:
        """Say in words whose clock is ahead of ours; empty where none is, or where ours is told to be wrong."""
        return "" if self.holding else other_clocks.told(self.trust, clock.now())

    def charter_row(self) -> dict[str, Any]:
        """Describe the charter that counts: its version, and as of when."""
        return {"version": self.trust.charter.version, "as_of_ms": self.trust.charter.as_of or None}

    async def begin(self) -> None:
        """Read what is followed to its present end, and to our charter, however long the cloud takes; then follow."""
        wanted = {self._settings.control_topic, self._settings.sessions_topic}
        await self._following.wait_for(self._settings.cloud, wanted)
        await asyncio.gather(*(self._following.follow(topic) for topic in self._followed))
        self._weigh()
        while self._lacks_charter():
            # Our credential names one: before that is here, nobody knows whom it refuses.
            await asyncio.sleep(min(_JUDGE_AGAIN_EVERY, 1.0))
            await self._learn([])  # it may be here, and dated ahead of our clock
            self._following.read_what_lacks(asyncio.get_running_loop().time(), lacks=True)
        await self.renewal.begin()
        self.caught_up.set()

    async def keep(self) -> None:
        """Look at the time, judge again what waits, and renew what is our own, for ever.

        Each by itself: neither a cloud that takes no request of ours nor a disk that takes no vault keeps this worker
        from noticing that its charter is too old.
        """
        async with asyncio.TaskGroup() as loops:
            for each in (self._weigh_again(), self._judge_again(), *self.renewal.loops()):
                loops.create_task(each)

    async def _weigh_again(self) -> None:
        while True:
            await asyncio.sleep(_JUDGE_AGAIN_EVERY)
            self._weigh()

    async def _judge_again(self) -> None:
        while True:
            await asyncio.sleep(_JUDGE_AGAIN_EVERY)
            await self._learn([])
            lacks = self.lacks() or bool(self.holding)
            self._following.read_what_lacks(asyncio.get_running_loop().time(), lacks=lacks)

    async def publish(self, topic: str, statement: bytes, record_key: bytes, until: int | None = None) -> None:
        """Store a statement in a project topic; returns when the cloud has acknowledged it.

        Raises Refused and Stopped as the writer does, and Refused when our clock is past ``until`` (ms): nobody waits
        any longer then, though the cloud may take it later all the same.
        """
        self.twins.ours(statement)
        loop, looking = asyncio.get_running_loop(), list[asyncio.TimerHandle]()

        def look() -> None:  # at our clock: it counts what a machine slept
            if until is not None and clock.now() > until:
                limit.reschedule(loop.time())
            else:
                looking[:] = [loop.call_later(_LATE_EVERY, look)]

        try:
            async with asyncio.timeout(None) as limit:
                look()
                await self._writer.produce(topic, 0, record_batch(statement, clock.now(), record_key))
        except TimeoutError:
            raise Refused("the cloud has not acknowledged it in its time") from None
        finally:
            for each in looking:
                each.cancel()

    async def save(self, secrets: Secrets) -> None:
        """Save first, use then: what the disk does not take is tried again, and nothing is used before.

        Who is cancelled meanwhile waits for the end of it: two threads must never write one vault.
        """
        while secrets is not self.secrets:
            saving = asyncio.ensure_future(asyncio.to_thread(self._store.save, secrets))
            try:
                await asyncio.shield(saving)
            except asyncio.CancelledError:
                await _end_of(saving)
                raise
            except Exception as error:
                if not isinstance(error, OSError) and not isinstance(error.__cause__, OSError):
                    raise
                if self._unsaved != str(error):
                    _log.warning("%s; trying again", error)
                self._unsaved = str(error)
                await asyncio.sleep(_AGAIN)
                continue
            self._unsaved = ""
            self.secrets = secrets

    def end(self, why: str) -> None:
        """Have this worker end for good: from now on it seals and delivers nothing, and says why."""
        if not self.over:
            self.over = why
            self.on_hold()
            self.on_over(why)

    # Learning

    async def _learn(self, statements: list[bytes]) -> None:
        async with self.changing:
            now = clock.now()
            trust, events = self.trust.learn(statements, now, verify_many)
            trust, secrets, opened = trust.unwrap_new(self.secrets, now)
            news = gather((*events, *opened), secrets, trust.floors, self.refused)
            before = self.secrets
            await self.save(news.secrets)
            self.trust = trust
            put_on_record(self.trail, events, trust, before)
        self._weigh()
        self.on_statements(statements, news.fresh)
        if self.caught_up.is_set():
            for statement in statements:
                self.twins.look(statement)
        self._tell(news)

    def _tell(self, news: News) -> None:
        ready = self.caught_up.is_set()
        if news.own_key_package and ready:
            self.twins.look_at_package()
        if news.admitted and ready:
            self.renewal.admitted(news.identity_replaced)
        if news.chartered:
            self.on_charter()
        if news.dropped:
            self.on_dropped(news.dropped)
        if news.members:
            self.on_members()
        for member_id in news.announced if ready else []:  # before we had caught up it is others' to answer
            self.on_keys(member_id)
        if news.fresh:
            self.on_sessions(news.fresh)

    def _weigh(self) -> None:
        """Look whether anything may be sealed and delivered, and whether we are still a member."""
        now = clock.now()
        age, wrong = self.trust.holds(now), self.trust.clock(now)
        # A clock of ours that is behind is why a charter is not believed, and so seems to lack.
        clocks = other_clocks.told(self.trust, now) if age is not None and wrong is None else ""
        before, self.holding = self.holding, "; ".join(filter(None, (_words(wrong or age), clocks)))
        told, self._clocks = self._clocks, self.clocks
        if self._clocks and not told:
            _log.warning("%s", self._clocks)
        if self.holding and not before:
            _log.error("nothing is sealed and nothing delivered: %s", self.holding)
            if age is not None:
                self.trail.note("held-for-age", words=self.holding)
        elif before and not self.holding:
            _log.warning("sealing and delivering go on")
        if bool(before) != bool(self.holding):
            self.on_hold()
        if self.trust.refuses(self.secrets.identity.member_id, now):
            self.end("the charter refuses this member: what it makes counts no more. A new identity needs a new ticket")

    def _lacks_charter(self) -> bool:
        mine = self.credential
        return mine is not None and mine.charter_version > self.trust.charter.version


async def _end_of(saving: asyncio.Future[None]) -> None:
    while not saving.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({saving})
    if not saving.cancelled():
        saving.exception()  # whoever comes next saves again, or meets the same


def _words(refusal: Rejected | None) -> str:
    return "" if refusal is None else str(refusal)
