"""The authority of a world: answers renewals and replacements, and signs charters."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from sealwire.agents.single import record_batch
from sealwire.keys import charter as charters
from sealwire.keys import request, wire
from sealwire.keys.charter import BUILT_IN, CharterFields, Refusal
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from world import Store, World


class Desk:
    """Reads `requests` from where it stands, and puts what it signs into `control`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[request.Request] = []
        self.charter: CharterFields = BUILT_IN
        self._names: dict[bytes, tuple[str, str]] = {}
        self._seen = 0

    def knows(self, store: Store, name: str, site: str) -> None:
        """Take a member into the books."""
        self._names[store.secrets.identity.member_id] = (name, site)

    def look(self, *, answers: bool = True) -> int:
        """Read on, and answer; tells how many requests were read."""
        log, read = self.world.cloud.at("acme.requests"), 0
        while self._seen < log.end:
            statement = log.value(self._seen)
            self._seen += 1
            if wire.type_of(statement) is not Type.REQUEST:
                continue
            asked = request.read(statement, self.world.project.root.project_id)
            self.asked.append(asked)
            read += 1
            if answers:
                self.answer(asked)
        return read

    def answer(self, asked: request.Request) -> None:
        """Sign the credential that was asked for."""
        name, site = self._names[asked.member_id]
        who: Any = SimpleNamespace(member_id=asked.member_id, public=asked.identity_key)
        self.world.tell(self.world.project.admit(who, name, site, self.world.clock.now()))

    async def keep(self) -> None:
        """Answer, for ever."""
        while True:
            self.look()
            await asyncio.sleep(0.01)

    def sign(self, **changes: Any) -> CharterFields:
        """Sign the next charter and publish it: the last one with changes, or `as_of` alone where there are none."""
        version = self.charter.version + (1 if changes.keys() - {"as_of"} or not self.charter.version else 0)
        fields = {"version": version, "as_of": self.world.clock.now(), **changes}
        self.charter = msgspec.structs.replace(self.charter, **fields)
        project = self.world.project
        statement = charters.make(project.root, project.authority, self.charter)
        self.world.cloud.at("acme.control").append(record_batch(statement, 1, b"charter"))
        return self.charter

    def refuse(self, *stores: Store, since: int = 0) -> CharterFields:
        """Refuse members for what they made from a time (ms) on."""
        rows = {row.member_id: row for row in self.charter.refusals}
        rows |= {
            each.secrets.identity.member_id: Refusal(each.secrets.identity.member_id, since, "") for each in stores
        }
        return self.sign(refusals=tuple(row for _, row in sorted(rows.items())))
