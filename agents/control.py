"""The control reader: follows the project's statements in the cloud, and publishes our own.

What counts is decided in keys/ (Trust); what is secret goes to the vault before it is used. A worker that has not read
the control topic to its end is not ready.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from sealwire.agents import clock
from sealwire.agents.following import Following
from sealwire.agents.renewal import Renewal
from sealwire.agents.single import record_batch
from sealwire.agents.untold import Untold
from sealwire.keys.events import Admitted, Chartered, KeysAnnounced, Opened, Refused, Rooted
from sealwire.keys.reason import Reason
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sealwire.agents.ports import Reader, SecretStore, Trail, Writer
    from sealwire.agents.settings import Settings
    from sealwire.keys.credential import Credential
    from sealwire.keys.secrets import Secrets
    from sealwire.keys.session import InboundSession

_log = logging.getLogger(__name__)
_JUDGE_AGAIN_EVERY = 10.0  # seconds: statements that waited for a clock or for another statement
_SAMPLES = 20  # refused statements of one Reason that are told in the log
_AGAIN = 5.0  # seconds before a vault that could not be written is tried again


class Control:
    """Follows control and sessions; holds the Trust and the secrets of this worker.

    Who changes either holds ``changing``, from the look at what is there to the change.
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
        self.renewal = Renewal(settings, self)
        self._following = Following(reader, self._learn, self.refused)
        self._unsaved = ""
        self.on_sessions: Callable[[set[bytes]], None] = lambda _ids: None
        self.on_statements: Callable[[list[bytes], set[bytes]], None] = lambda _statements, _ids: None
        self.on_members: Callable[[], None] = lambda: None
        self.on_keys: Callable[[bytes], object] = lambda _member: None
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
        """Our own newest credential."""
        return self.trust.credential_of(self.secrets.identity.member_id)

    @property
    def trouble(self) -> str:
        """What keeps statements from being read, answered or remembered, in words; empty when nothing does."""
        return "; ".join(each for each in (self._following.trouble, self._unsaved, self.renewal.trouble) if each)

    async def begin(self) -> None:
        """Read what is followed to its present end, however long the cloud takes; then go on following."""
        wanted = {self._settings.control_topic, self._settings.sessions_topic}
        await self._following.wait_for(self._settings.cloud, wanted)
        await asyncio.gather(*(self._following.follow(topic) for topic in self._followed))
        await self.renewal.announce()
        self.caught_up.set()

    async def keep(self) -> None:
        """Judge again what waits, and renew what is our own, for ever."""
        while True:
            await asyncio.sleep(_JUDGE_AGAIN_EVERY)
            await self._learn([])
            self._following.read_what_lacks(asyncio.get_running_loop().time(), lacks=self.lacks())
            await self.renewal.look()

    async def publish(self, topic: str, statement: bytes, record_key: bytes) -> None:
        """Store a statement in a project topic; returns when the cloud has acknowledged it."""
        await self._writer.produce(topic, 0, record_batch(statement, clock.now(), record_key))

    async def forget(self) -> None:
        """Erase the secrets that are over."""
        async with self.changing:
            await self.save(self.secrets.forget(clock.now()))

    async def save(self, secrets: Secrets) -> None:
        """Save first, use then: what the disk does not take is tried again, and nothing is used before."""
        while secrets is not self.secrets:
            try:
                await asyncio.to_thread(self._store.save, secrets)
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

    # Learning

    async def _learn(self, statements: list[bytes]) -> None:
        async with self.changing:
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
                    case Chartered(statement=statement):
                        secrets = secrets.chartered(statement)
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
            await self.save(secrets)
            self.trust = trust
        self.on_statements(statements, fresh)
        if renewed:
            await self.renewal.announce()  # a key package counts under the serial of the newest credential only
        self._tell(members, announced if self.caught_up.is_set() else [], fresh)

    def _tell(self, members: bool, newcomers: list[bytes], fresh: set[bytes]) -> None:  # noqa: FBT001
        if members:
            self.on_members()
        for member_id in newcomers:  # whoever announced before we had caught up is others' to answer
            self.on_keys(member_id)
        if fresh:
            self.on_sessions(fresh)
