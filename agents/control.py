"""The control reader: follows the project's statements in the cloud, and publishes our own.

What counts is decided in keys/ (Trust); what is secret goes to the vault before it is used. A worker that has not read
the control topic to its end is not ready.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from sealwire.agents import clock, records
from sealwire.agents.admin import Admin
from sealwire.agents.blocking import ClusterAway, ClusterRefused
from sealwire.agents.cloud_topic import opened_most
from sealwire.agents.seat import OffsetOutOfRange
from sealwire.agents.single import record_batch
from sealwire.agents.writer import Refused as WriterRefused
from sealwire.agents.writer import Stopped
from sealwire.keys import keypackage, request, wire
from sealwire.keys.events import Admitted, KeysAnnounced, Opened, Refused, Rooted
from sealwire.keys.reason import Reason
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealwire.agents.ports import Reader, SecretStore, Writer
    from sealwire.agents.seat import Fetched, Seat
    from sealwire.agents.settings import Settings
    from sealwire.keys.credential import Credential
    from sealwire.keys.session import InboundSession

_log = logging.getLogger(__name__)
_JUDGE_AGAIN_EVERY = 10.0  # seconds: statements that waited for a clock or for another statement
_RENEW_EVERY = 600.0  # seconds between two looks at our own receiving keys
_ASK_EVERY_MS = 3600 * 1000  # between two requests for the next credential
_NO_CREDENTIAL = "no credential of our own: enroll this identity again (sealwire enroll)"
_SAMPLES = 20  # refused statements of one Reason that are told in the log
_READ_AGAIN, _READ_AGAIN_TO = 30.0, 600.0  # seconds between two readings of all statements while some are lacking
_AGAIN = 5.0  # seconds before a topic that could not be read is tried again
_END_AGAIN = 10.0  # seconds before it is asked again where a topic ends that is not read to its end


class Control:
    """Follows control and sessions; holds the Trust and the secrets of this worker."""

    def __init__(self, settings: Settings, store: SecretStore, reader: Reader, writer: Writer) -> None:
        self._settings, self._store, self._writer = settings, store, writer
        self.reader = reader
        self.secrets = store.load()
        self.trust = Trust.begin(self.secrets, clock.now())
        self.caught_up = asyncio.Event()
        self.refused: Counter[str] = Counter()
        self.trouble = ""
        self.on_sessions: Callable[[set[bytes]], None] = lambda _ids: None
        self.on_statements: Callable[[list[bytes], set[bytes]], None] = lambda _statements, _ids: None
        self.on_members: Callable[[], None] = lambda: None
        self.on_keys: Callable[[bytes], object] = lambda _member: None
        self.lacks: Callable[[], bool] = lambda: False  # whether statements are missed that may long be in the cloud
        self._seats: dict[str, Seat] = {}
        self._start_over: list[Callable[[], None]] = []
        self._read_at, self._read_pause = 0.0, _READ_AGAIN
        self._learning = asyncio.Lock()
        self._asked_at = 0
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
        """Our own newest credential."""
        return self.trust.credential_of(self.secrets.identity.member_id)

    async def begin(self) -> None:
        """Read what is followed to its present end, however long the cloud takes; then go on following."""
        await self._wait_for_topics()
        await asyncio.gather(*(self._follow(topic) for topic in self._followed))
        if self._settings.direction == "open":
            await self._announce()
        self.caught_up.set()

    async def keep(self) -> None:
        """Judge again what waits, and renew our receiving keys, for ever."""
        renewed = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(_JUDGE_AGAIN_EVERY)
            await self._learn([])
            self._read_what_lacks(asyncio.get_running_loop().time())
            await self._renew_credential()
            if asyncio.get_running_loop().time() - renewed >= _RENEW_EVERY:
                renewed = asyncio.get_running_loop().time()
                if self._settings.direction == "open":
                    await self._renew()
                async with self._learning:
                    await self._adopt(self.trust, self.secrets.forget(clock.now()))

    async def publish(self, topic: str, statement: bytes, record_key: bytes) -> None:
        """Store a statement in a project topic; returns when the cloud has acknowledged it."""
        await self._writer.produce(topic, 0, record_batch(statement, clock.now(), record_key))

    # Following

    async def _wait_for_topics(self) -> None:
        """Wait until the project's topics are there, saying once which is lacking and what makes it."""
        admin = Admin(self._settings.cloud, "sealwire-control")
        wanted = {self._settings.control_topic, self._settings.sessions_topic}
        while True:
            try:
                missing = sorted(wanted - set(await admin.describe(wanted)))
            except (ClusterAway, ClusterRefused) as error:
                trouble = f"the cloud does not answer: {error}"
            else:
                trouble = f"cloud topic {', '.join(missing)} is missing: sealwire project cloud makes it"
                if not missing:
                    self.trouble = ""
                    return
            if trouble != self.trouble:
                _log.warning(trouble)
            self.trouble = trouble
            await asyncio.sleep(_AGAIN)

    async def _follow(self, topic: str) -> None:
        end = await self.reader.end_offset(topic, 0)
        start = read_to = await self.reader.log_start(topic, 0)
        reached = asyncio.Event()

        async def take(fetched: Fetched) -> None:
            nonlocal read_to
            await self._take(fetched)
            if self.trouble.startswith(f"{topic}: "):
                self.trouble = ""
            read_to = fetched.next
            if read_to >= end:
                reached.set()

        def failed(error: Exception) -> None:
            self.trouble = f"{topic}: {error}"
            _log.warning("%s; reading it from its start again", self.trouble)
            offset = error.log_start if isinstance(error, OffsetOutOfRange) else start
            asyncio.get_running_loop().call_later(_AGAIN, again, offset)

        def again(offset: int) -> None:
            if topic in self._seats:
                self.reader.unseat(self._seats[topic])
            self._seats[topic] = self.reader.seat(topic, 0, offset, take, failed)

        again(start)
        self._start_over.append(lambda: again(start))
        while read_to < end and not reached.is_set():
            # A compacted tail may hold no record at its very end: then the broker's own next offset says so.
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_AGAIN):
                    await reached.wait()
                    return
            # The end that we were told may have been a lie, or is taken back: we would wait for it for ever.
            end = min(end, await self.reader.end_offset(topic, 0))

    def _read_what_lacks(self, now: float) -> None:
        """Read everything from its start again while something is lacking, ever less often: it may have been withheld.

        Offsets are the cloud's word: one that was wrong once has us pass over statements that are there.
        """
        if not self.lacks():
            self._read_pause = _READ_AGAIN
        elif now >= self._read_at:
            self._read_at, self._read_pause = now + self._read_pause, min(self._read_pause * 2, _READ_AGAIN_TO)
            for start_over in self._start_over:
                start_over()

    async def _take(self, fetched: Fetched) -> None:
        statements: list[bytes] = []
        for header, batch in fetched.scan.application():
            try:
                found = records.read(batch, opened_most(batch))
            except ValueError as error:
                self.refused["malformed"] += 1
                if self.refused["malformed"] <= _SAMPLES:
                    _log.warning("statements at offset %d cannot be read: %s", header.base_offset, error)
                continue
            statements += [bytes(record.value) for record in found if record.value is not None]
        fetched.release()
        await self._learn(statements)

    async def _learn(self, statements: list[bytes]) -> None:
        async with self._learning:
            now = clock.now()
            trust, events = self.trust.learn(statements, now)
            trust, secrets, opened = trust.unwrap_new(self.secrets, now)
            secrets = secrets.raised(trust.floors)
            members = renewed = False
            announced: list[bytes] = []
            for event in (*events, *opened):
                match event:
                    case Refused(reason, detail, digest):
                        self.refused[str(reason)] += 1
                        # An older statement beside its newer one is what a topic not compacted yet looks like.
                        if self.refused[str(reason)] <= _SAMPLES and reason is not Reason.OUTDATED:
                            _log.warning("statement %s refused: %s: %s", digest.hex()[:16], reason, detail)
                    case Rooted(statement=statement):
                        secrets = secrets.rooted(statement)
                        members = True
                    case Admitted(credential):
                        members = True
                        if credential.member_id == secrets.identity.member_id:
                            secrets = secrets.admitted(credential.statement)
                            renewed = self.caught_up.is_set()
                    case KeysAnnounced(member_id, new):
                        members = True
                        announced += [member_id] if new else []
                    case _:
                        pass
            fresh = {event.session.id for event in opened if isinstance(event, Opened)}
            await self._adopt(trust, secrets)
        self.on_statements(statements, fresh)
        if renewed and self._settings.direction == "open":
            await self._announce()  # a key package counts under the serial of the newest credential only
        self._tell(members, announced if self.caught_up.is_set() else [], fresh)

    def _tell(self, members: bool, newcomers: list[bytes], fresh: set[bytes]) -> None:  # noqa: FBT001
        if members:
            self.on_members()
        for member_id in newcomers:  # whoever announced before we had caught up is others' to answer
            self.on_keys(member_id)
        if fresh:
            self.on_sessions(fresh)

    async def _adopt(self, trust: Trust, secrets: object) -> None:
        """Save first, use then: what the disk does not take is tried again, and nothing is used before."""
        refused = ""
        while secrets is not self.secrets:
            try:
                await asyncio.to_thread(self._store.save, secrets)  # type: ignore[arg-type]
            except Exception as error:
                if not isinstance(error, OSError) and not isinstance(error.__cause__, OSError):
                    raise
                if refused != str(error):
                    _log.warning("%s; trying again", error)
                self.trouble = refused = str(error)
                await asyncio.sleep(_AGAIN)
                continue
            self.trouble = "" if self.trouble == refused else self.trouble
            self.secrets = secrets  # type: ignore[assignment]
        self.trust = trust

    # Our own credential and receiving keys

    async def _renew_credential(self) -> None:
        """Ask for the next credential when a third of this one's life is over; the control topic brings the answer."""
        credential, now = self.credential, clock.now()
        if credential is None or now < credential.not_before + (credential.not_after - credential.not_before) // 3:
            return
        if now < self._asked_at + _ASK_EVERY_MS:
            return
        self._asked_at = now
        asked = request.ask_renewal(self.secrets.identity, credential, now)
        key = wire.statement_digest(asked).hex().encode()
        _log.info("asking for the next credential")
        try:
            await self.publish(self._settings.requests_topic, asked, key)
        except (WriterRefused, Stopped) as error:
            _log.warning("the request for the next credential was not taken: %s", error)

    async def _announce(self) -> None:
        """Make the receiving keys that are missing and publish them: nobody knows whether the last word got out."""
        await self._renew(always=True)

    async def _renew(self, *, always: bool = False) -> None:
        credential = self.credential
        if credential is None:
            self.trouble = _NO_CREDENTIAL
            _log.warning(self.trouble)
            return
        if self.trouble == _NO_CREDENTIAL:
            self.trouble = ""
        async with self._learning:
            identity, project = self.secrets.identity, self.trust.project_id
            now = clock.now()
            held, package = keypackage.renew(identity, credential, project, self.secrets.held, now, os.urandom)
            if package is None and always:
                package = keypackage.announce(identity, credential, project, held, now)
            await self._adopt(self.trust, self.secrets.holding(held) if held != self.secrets.held else self.secrets)
        if package is not None:
            key = b"keys/" + identity.member_id.hex().encode()
            await self.publish(self._settings.control_topic, package, key)
