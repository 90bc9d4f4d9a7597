"""What becomes of the cursors of a site whose mirrors are down: lost, restored from a backup, compacted."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from batch_made import Made, build
from sim_kafka import Reader
from sim_link import Link, LocalWriter
from world import LANES

from sealwire.agents import records
from sealwire.agents.header import read_header
from sealwire.agents.settings import Cluster as Address
from sealwire.app import site
from sealwire.app.faults import Failure
from sealwire.keys.landmark import BEGUN_KEY

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Iterable

    from sim_kafka import Log
    from simulation import Simulation

    from sealwire.agents.settings import Settings

CURSORS = "_sealwire.acme.paris.cursors"


def _logs(run: Simulation) -> list[Log]:
    return run.world.paris.kafka.topics[CURSORS][1]  # type: ignore[return-value]


def _made_anew(run: Simulation) -> list[list[bytes]]:
    """Make the topic of cursors anew, with nothing in it; what was committed in the old one."""
    before = [log.committed() for log in _logs(run)]
    run.world.paris.kafka.make(CURSORS, LANES)
    for number in range(LANES):
        run.world.broker.forget((CURSORS, number))
    return before


def lost_cursors(run: Simulation, _dice: random.Random) -> None:
    """Nothing is left of them."""
    _made_anew(run)


def restored_cursors(run: Simulation, dice: random.Random) -> None:
    """They are those of some time ago: a backup tool produced them again, or the log ends earlier."""
    if dice.random() < 0.5:
        for number, batches in enumerate(_made_anew(run)):
            log = _logs(run)[number]
            for batch in batches[: dice.randint(1, max(len(batches), 1))]:
                log.append(plain(batch))
            log.pending.append("restored_cursors")
        return
    for log in _logs(run):
        headers = [read_header(batch) for batch in log.batches]
        ends = [at for at, header in enumerate(headers, 1) if header.control or not header.transactional][-6:]
        committed = {id(batch) for batch in log.committed()}
        known = [at for at in ends if _begin(each for each in _ended(log.batches[:at]) if id(each) in committed)]
        if not known:
            continue
        log.batches = _ended(log.batches[: dice.choice(known)])
        log.open.clear()
        log.end = read_header(log.batches[-1]).last_offset + 1
        log.aborts = [each for each in log.aborts if each[2] < log.end]
        log.pending.append("restored_cursors")
    for number in range(LANES):
        run.world.broker.forget((CURSORS, number))


def _begin(batches: Iterable[bytes]) -> bool:
    """Tell whether these say where the cursors begin: where none does, they are lost, which is another fault."""
    return any(each.record_key == BEGUN_KEY for batch in batches for each in records.read(memoryview(batch)))


def _ended(batches: list[bytes]) -> list[bytes]:
    """Leave out what belongs to transactions whose markers are not there."""
    kept: list[bytes] = []
    for batch in reversed(batches):
        header = read_header(batch)
        ended = {read_header(each).producer_id for each in kept if read_header(each).control}
        if header.control or not header.transactional or header.producer_id in ended:
            kept.append(batch)
    return kept[::-1]


def compacted_cursors(run: Simulation, _dice: random.Random) -> None:
    """A cleaner left of each record key the last record."""
    for log in _logs(run):
        keep, seen = [], set[bytes]()
        counts = {id(batch) for batch in log.committed()}
        for batch in reversed(log.batches):
            if id(batch) not in counts:
                keep.append(batch)
                continue
            found = {bytes(record.record_key or b"") for record in records.read(memoryview(batch))}
            if found - seen:
                keep.append(batch)
            seen |= found
        if len(keep) < len(log.batches):
            log.batches = keep[::-1]
            log.pending.append("compacted_cursors")


CURSOR_FAULTS = {each.__name__: each for each in (lost_cursors, restored_cursors, compacted_cursors)}


def plain(batch: bytes) -> bytes:
    """The records of a batch as somebody else's producer would write them."""
    made = [
        Made(1, None if each.record_key is None else bytes(each.record_key), bytes(each.value or b""), [])
        for each in records.read(memoryview(batch))
    ]
    return build(made, 0)


class NoMembers:
    """An administrator's answers at a site whose mirrors are down."""

    def __init__(self, run: Simulation) -> None:
        self._run = run

    async def members(self, _group: str) -> int:
        return 0

    async def topic_ids(self, names: list[str]) -> dict[str, bytes]:
        return {name: self._run.world.paris.kafka.topics[name][0] for name in names}


def restore(run: Simulation, settings: Settings) -> Any:
    """Do what `sealwire site restore` does; a task."""

    @asynccontextmanager
    async def clients(_cluster: Address) -> AsyncIterator[Any]:
        view = run.world.view_of(run.world.paris.kafka)
        writer = LocalWriter(Address("paris:1"), Link(run.world.broker, "site"))
        await writer.start()
        yield Reader(run.loop, view, None, run.dice), writer
        await writer.stop()

    async def work() -> None:
        before, site._clients = site._clients, clients
        try:
            while True:
                with suppress(Failure):  # a person does it again
                    await site.restore(settings, settings.local, NoMembers(run))  # type: ignore[arg-type]
                    return
        finally:
            site._clients = before

    return run.loop.create_task(work())
