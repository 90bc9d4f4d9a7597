"""A crash, a refusal or a hang at any point of what is made anew costs nobody a record, and leaves no secret behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from desk import Desk
from in_loop import until
from spoiled_points import Faults
from world import World, a_world

from sealwire.agents import healer, renewal
from sealwire.keys import policy
from sealwire.keys.charter import PolicyRow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from world import Station

HOUR = 3_600_000


class Pair:
    """A sealer and a mirror that may be started anew from their vaults and the cloud's log, and what was sent."""

    def __init__(self, world: World) -> None:
        self.world, self.desk, self.sent = world, Desk(world), 0
        for name, site in (("s", "berlin"), ("r", "paris")):
            store = world.member(name, site)
            self.desk.knows(store, name, site)
            setattr(self, name, world.sealer(store) if name == "s" else world.mirror(store))

    s: Station
    r: Station

    async def begin(self) -> None:
        """Have both run."""
        row = PolicyRow("*", "*", policy.ATTRIBUTES, policy.MEMBERS, policy.MEMBERS, HOUR)
        self.desk.sign(policies=(row,))
        await self.r.start()
        await self.s.start()
        await until(lambda: self.s.side.senders.current("orders") and self.s.seated() and self.r.seated())  # type: ignore[union-attr]

    async def anew(self, who: str) -> None:
        """Start the one that died, from what is left of it."""
        dead: Station = getattr(self, who)
        await dead.kill()
        store = type(dead.store)(dead.store.secrets)
        station = self.world.sealer(store) if who == "s" else self.world.mirror(store)
        setattr(self, who, station)
        await station.start()
        await until(station.control.caught_up.is_set)

    async def delivers(self) -> None:
        """Send, and have all that was ever sent be delivered, once."""
        self.world.berlin.send(some(1, self.sent))
        self.sent += 1
        await until(lambda: len(self.world.paris.got()) >= self.sent)
        assert self.world.paris.got() == some(self.sent)


DEEDS: dict[str, tuple[str, Callable[[Station], Awaitable[str]]]] = {
    "session": ("s", lambda station: station.side.senders.rotate()),  # type: ignore[union-attr]
    "receiving keys": ("r", lambda station: station.control.renewal.receiving_anew()),
    "identity of a sealer": ("s", lambda station: station.control.renewal.identity_anew()),
    "identity of a mirror": ("r", lambda station: station.control.renewal.identity_anew()),
    "credential": ("r", lambda station: station.control.renewal.credential_anew()),
}


async def through(pair: Pair, what: str, how: str) -> int:
    """Spoil each point of a deed in turn; gives how many there were. Who crashed is started anew."""
    who, deed = DEEDS[what]
    at = 0
    while True:
        station: Station = getattr(pair, who)
        faults = Faults(station, at, how)
        doing, reached = asyncio.ensure_future(deed(station)), asyncio.ensure_future(faults.reached.wait())
        await asyncio.wait({doing, reached}, return_when=asyncio.FIRST_COMPLETED)
        faults.end()
        if not faults.spoiled:
            reached.cancel()
            return at
        await reached
        faults.let_go()
        if how.startswith("crash"):
            doing.cancel()
            await pair.anew(who)
        else:
            await doing
        await pair.delivers()
        at += 1


async def has_no_secret_too_many(pair: Pair) -> None:
    """After the next looks nothing of a session that is over is held, but what a backfill keeps; no key waits."""
    world, senders = pair.world, pair.s.side.senders  # type: ignore[union-attr]
    world.clock.ahead += HOUR + 6 * 60_000  # those without a last word are over
    await until(lambda: senders.current("orders"))
    await pair.delivers()

    async def looked() -> bool:
        await pair.r.side.forgetting.look()  # type: ignore[union-attr]
        now = world.clock.now()
        return all(session.not_after > now for session in pair.r.store.secrets.inbound.values())

    while not await looked():
        await asyncio.sleep(0.01)
    world.clock.ahead += HOUR  # and the backfill
    await until(lambda: all(own.not_after + HOUR > world.clock.now() for own in pair.s.store.secrets.sent.values()))
    await until(lambda: not pair.s.store.secrets.following and not pair.r.store.secrets.following)


@pytest.mark.parametrize("how", ["crash before", "crash after", "fail", "hang"])
@pytest.mark.parametrize("what", DEEDS)
def test_whatever_happens_at_any_point_of_what_is_made_anew_every_record_comes_and_no_secret_stays(
    what: str, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def whole() -> None:
        async with asyncio.timeout(40), a_world(monkeypatch, tmp_path) as world:
            pair = Pair(world)
            answering = asyncio.create_task(pair.desk.keep())
            await pair.begin()
            await pair.delivers()
            assert await through(pair, what, how) > 0
            await pair.delivers()
            await has_no_secret_too_many(pair)
            for station in (pair.s, pair.r):
                control = station.control
                assert (control.over, control.renewal.restored, station.errors) == ("", "", [])
                await until(lambda control=control: not control.trouble)  # type: ignore[misc]
            answering.cancel()

    monkeypatch.setattr(healer, "_AFTER", 0.1)
    monkeypatch.setattr(renewal, "_RENEW_EVERY", 0.1)
    monkeypatch.setattr(renewal, "_AGAIN_MS", 50)
    monkeypatch.setattr(renewal, "_ANSWER_WITHIN", 0.5)
    asyncio.run(whole())
