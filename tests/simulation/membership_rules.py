"""What members and their authority may do in the simulation: make keys anew, sign charters, leave, be away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import rule
from people import people
from sim_kafka import readable

from sealwire.agents.single import record_batch
from sealwire.keys import charter as charters
from sealwire.keys import request, wire
from sealwire.keys.charter import BUILT_IN, Refusal
from sealwire.keys.reason import Rejected
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from simulation import Simulation, Worker

numbers = st.integers(0, (1 << 16) - 1)
whiles = st.sampled_from((0.0, 0.02, 0.3, 2.0))


class Desk:
    """The authority: reads what members truly asked, and signs. What it publishes goes through the hostile cloud."""

    def __init__(self, run: Simulation) -> None:
        self.run, self.charter = run, BUILT_IN
        self._answered: set[bytes] = set()

    def look(self) -> None:
        """Answer every request that was not answered yet."""
        project = people().project
        for topic, _partition, batch in list(self.run.world.cloud.given):
            for value in readable(batch) if topic == "acme.requests" else ():
                if value in self._answered or wire.type_of(value) is not Type.REQUEST:
                    continue
                self._answered.add(value)
                try:
                    asked = request.read(value, project.root.project_id)
                except Rejected:
                    continue
                who: Any = SimpleNamespace(member_id=asked.member_id, public=asked.identity_key)
                site = "berlin" if asked.name.startswith("s") else "paris"
                version = self.charter.version
                self.publish(project.admit(who, asked.name, site, self.run.now(), charter=version))

    def sign(self, **changes: Any) -> None:
        """Sign a charter of the next version; of the same one, as of now, where nothing changes."""
        version = self.charter.version + (1 if changes or not self.charter.version else 0)
        self.charter = msgspec.structs.replace(self.charter, version=version, as_of=self.run.now(), **changes)
        project = people().project
        self.publish(charters.make(project.root, project.authority, self.charter), b"charter")

    def refuse(self, name: str) -> None:
        """Refuse a member from the beginning of time on."""
        member_id = people().members[name][1].identity.member_id
        rows = {row.member_id: row for row in self.charter.refusals} | {member_id: Refusal(member_id, 0, "")}
        self.sign(refusals=tuple(row for _, row in sorted(rows.items())))

    def refuses(self, name: str) -> bool:
        """Tell whether a member is refused."""
        return self.charter.refused_since(people().members[name][1].identity.member_id) is not None

    def publish(self, statement: bytes, record_key: bytes = b"member") -> None:
        """Put a statement into the control topic."""
        self.run.world.cloud.store("acme.control", 0, bytes(record_batch(statement, self.run.now(), record_key)))


class MembershipRules:
    """Rules of the machine. ``s1`` and ``r1`` stay members: with them all is delivered in the end."""

    run: Simulation
    _one: Any

    @property
    def desk(self) -> Desk:
        """The authority of this run."""
        if not hasattr(self, "_desk"):
            self._desk = Desk(self.run)
        return self._desk

    @rule(number=numbers, what=st.sampled_from(("sessions", "receiving", "credential", "identity")), wait=whiles)
    def rotate(self, number: int, what: str, wait: float) -> None:
        """Have a worker make something anew by order; the authority answers a moment later."""
        worker: Worker | None = self._one(number, {"sessions": "s", "receiving": "r"}.get(what, ""))
        if worker is None or worker.process.stopped is not None or not worker.station.control.caught_up.is_set():
            return
        worker.spawn(worker.station.side.deeds[what]())
        self.run.let(0.3)
        self.desk.look()
        self.run.reach(f"rotate_{what}")
        self.run.let(wait)

    @rule(wait=whiles)
    def date_the_charter(self, wait: float) -> None:
        """Let the authority sign the same charter as of now."""
        self.desk.look()
        self.desk.sign()
        self.run.reach("charter")
        self.run.let(wait)

    @rule(max_age=st.sampled_from((0, 3_600_000, 30_000)), wait=whiles)
    def let_charters_age(self, max_age: int, wait: float) -> None:
        """Let the charter say for how long it counts: of half a minute nobody can make anything."""
        self.desk.sign(max_age=max_age)
        self.run.reach("charter_that_ages")
        self.run.let(wait)

    @rule(name=st.sampled_from(("s2", "r2")), sends=st.integers(0, 3), wait=whiles)
    def revoke(self, name: str, sends: int, wait: float) -> None:
        """Refuse a member; what it made and nobody delivered comes from another."""
        if self.desk.refuses(name):
            return
        for number in range(sends):
            self.run.send(number, 1, number)
        self.desk.refuse(name)
        self.run.reach("revoke_a_sealer" if name.startswith("s") else "revoke_a_mirror")
        if name.startswith("r"):
            self.run.model.twice = "a mirror was refused"
        self.run.let(wait)

    @rule(number=numbers, seconds=st.sampled_from((600.0, 4000.0)))
    def be_away(self, number: int, seconds: float) -> None:
        """Let a machine be off for a while."""
        worker = self._one(number)
        if worker is None:
            return
        worker.kill(lose=False)
        self.run.model.twice = "a mirror was killed"
        self.run.reach("be_away")
        self.run.let(seconds)
        self.run.begin(worker.name, ahead=worker.process.ahead)
