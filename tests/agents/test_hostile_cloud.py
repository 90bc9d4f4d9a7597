"""Whatever the cloud does: what is delivered is the beginning of what was sent, and in the end all of it."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from in_loop import in_loop, until
from world import World, a_world

from sealwire.agents.header import read_header

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from world import Station

WHERE = ("orders", 0)


class Play:
    """One run: applications send, the cloud does its worst, workers come and go."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.dice = world, random.Random(seed)
        self.sent = 0
        self.sealer: Station
        self.mirror: Station

    @property
    def moves(self) -> list[Callable[[], Awaitable[None]]]:
        send = [self.send] * 5
        return [
            *send, self.drop, self.repeat, self.swap, self.alter, self.inject, self.hide, self.show,
            self.new_mirror, self.new_sealer, self.lose_events,
        ]  # fmt: skip

    def pick(self) -> int | None:
        offsets = [read_header(batch).base_offset for batch in self.world.envelopes.batches]
        return self.dice.choice(offsets) if offsets else None

    async def send(self) -> None:
        count = self.dice.randint(1, 4)
        before = self.world.envelopes.end
        self.world.berlin.send(some(count, self.sent), codec=self.dice.randint(0, 4))
        self.sent += count
        await until(lambda: self.world.envelopes.end > before)

    async def drop(self) -> None:
        offset = self.pick()
        if offset is not None:
            self.world.envelopes.drop(offset)

    async def repeat(self) -> None:
        offset = self.pick()
        if offset is not None:
            self.world.envelopes.inject(self.world.envelopes.value(offset))

    async def swap(self) -> None:
        one, other = self.pick(), self.pick()
        if one is not None and other is not None and one != other:
            self.world.envelopes.swap(one, other)

    async def alter(self) -> None:
        offset = self.pick()
        if offset is not None:
            value = bytearray(self.world.envelopes.value(offset))
            value[self.dice.randrange(len(value))] ^= 1 << self.dice.randrange(8)
            self.world.envelopes.replace(offset, bytes(value))

    async def inject(self) -> None:
        self.world.envelopes.inject(self.dice.randbytes(self.dice.randint(0, 300)))

    async def hide(self) -> None:
        self.world.envelopes.show(self.world.envelopes.end)

    async def show(self) -> None:
        self.world.envelopes.show()

    async def new_mirror(self) -> None:
        await self.mirror.stop()
        self.mirror = self.world.mirror(self.mirror.store)
        await self.mirror.start()
        await until(self.mirror.seated)

    async def new_sealer(self) -> None:
        """One that begins at an older position, as after a crash."""
        await self.sealer.kill()
        known = self.world.berlin.committed.get(WHERE)
        if known is not None:
            older = replace(known, offset=self.dice.randint(max(known.offset - 5, 0), known.offset))
            self.world.berlin.committed[WHERE] = older
        self.sealer = self.world.sealer(self.sealer.store)
        await self.sealer.start()
        await until(self.sealer.seated)

    async def lose_events(self) -> None:
        self.dice.choice([self.sealer, self.mirror]).agent.lose = 1

    async def play(self, moves: int) -> None:
        self.sealer, self.mirror = await self.world.flow()
        for _ in range(moves):
            await self.dice.choice(self.moves)()
            got = self.world.paris.got()
            assert got == some(self.sent)[: len(got)]
        self.world.envelopes.show()
        await until(lambda: self.sealer.seated() and self.sealer.seat().position == self.sent)
        for batch in list(self.world.envelopes.written):
            self.world.envelopes.append(batch)
        everything = some(self.sent)
        with suppress(AssertionError):
            await until(lambda: len(self.world.paris.got()) >= self.sent)
        assert self.world.paris.got() == everything


@pytest.mark.parametrize("seed", range(12))
def test_what_is_delivered_is_the_beginning_of_what_was_sent_and_in_the_end_all_of_it(
    seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @in_loop
    async def run() -> None:
        async with a_world(monkeypatch, tmp_path) as world:
            await Play(world, seed).play(40)

    run()
