"""A disk that is full holds what needs it, in its own words, and nothing else; when there is room, all goes on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from batch_made import some
from in_loop import until
from world import World, in_world

from sealwire.agents.table import StateTable

if TYPE_CHECKING:
    import pytest
    from world import Station

WORDS = "The vault could not be written: No space left on device. The old one stands."


class Refusal(Exception):
    """As the vault says it."""


def fill(station: Station) -> list[bool]:
    """Let nothing be saved while the list that this gives is empty."""
    save, room = station.store.save, list[bool]()

    def full(secrets: object) -> None:
        if not room:
            raise Refusal(WORDS) from OSError(28, "No space left on device")
        save(secrets)  # type: ignore[arg-type]

    station.store.save = full  # type: ignore[method-assign]
    return room


@in_world
async def test_a_session_that_the_vault_has_no_room_for_is_not_used_and_what_came_before_goes_on(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    room, saved = fill(mirror), mirror.store.saved
    await sealer.stop()
    another = world.sealer(sealer.store)  # begins a session of its own
    await another.start()
    world.berlin.send(some(2, 3))
    await until(lambda: mirror.control.trouble == WORDS)
    await until(lambda: world.envelopes.end >= 2)
    assert len(world.paris.got()) == 3
    assert mirror.store.saved == saved
    room.append(True)
    await until(lambda: len(world.paris.got()) == 5)
    assert mirror.control.trouble == ""
    assert world.paris.got() == some(5)


@in_world
async def test_receiving_keys_that_the_vault_has_no_room_for_are_not_announced_until_it_has(world: World) -> None:
    mirror = world.mirror()
    room = fill(mirror)
    await mirror.start()
    await until(lambda: mirror.control.trouble == WORDS)
    assert not mirror.control.caught_up.is_set()
    room.append(True)
    await until(mirror.control.caught_up.is_set)
    assert mirror.control.trouble == ""


def test_a_table_that_cannot_be_written_is_said_once_and_goes_on_when_it_can(caplog: pytest.LogCaptureFixture) -> None:
    class Table(dict[bytes, bytes]):
        full = True

        def __setitem__(self, name: bytes, row: bytes) -> None:
            if self.full:
                raise Exception("IO error: No space left on device: While appending to file")  # noqa: TRY002
            super().__setitem__(name, row)

    rows = Table()
    table = StateTable(SimpleNamespace(Table=lambda *_names, **_settings: rows), 4)  # type: ignore[arg-type]
    for _ in range(3):
        table.write({b"a": b"1"})
    rows.full = False
    table.write({b"a": b"2"})
    assert rows == {b"a": b"2"}
    assert sum("the table cannot be written: IO error" in each for each in caplog.messages) == 1
