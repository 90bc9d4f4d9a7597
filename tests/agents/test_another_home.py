"""A worker whose surroundings are not what they were: another cluster, no state of its own, a twin."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from batch_made import some
from in_loop import until
from test_cursors import flowing
from world import World, in_world

from sealwire.agents import lanes

if TYPE_CHECKING:
    from world import Station

    from sealwire.agents.topics import Facts


class Elsewhere:
    """A watch whose local cluster says that it is another one."""

    def __init__(self, station: Station) -> None:
        self._watch = station.watch

    def __getattr__(self, name: str) -> object:
        return getattr(self._watch, name)

    @property
    def facts(self) -> Facts:
        return replace(self._watch.facts, local_cluster="another-cluster")


@in_world
async def test_cursors_that_were_brought_to_another_cluster_hold_what_they_tell_of(world: World) -> None:
    """The way on is a person's rewind: tests/keys/test_order.py."""
    _, mirror = await flowing(world)
    await mirror.stop()
    again = world.mirror(mirror.store)
    again.watch = again.side.watch = Elsewhere(again)
    await again.start()
    await until(lambda: again.state() == "held")
    why = again.standing().row()["why"]  # type: ignore[union-attr]
    assert why == "sink-changed: the sink is cluster another-cluster, and the last delivery went to local-cluster"
    world.berlin.send(some(2, 1))
    await until(lambda: world.envelopes.end >= 2)
    assert len(world.paris.got()) == 1


@in_world
async def test_two_nodes_of_one_identity_and_site_deliver_each_record_once(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "_NOT_OURS_FOR", 3600.0)  # only Faust says whose a lane is, and it says it to one
        _, first = await flowing(world)
        twin = world.mirror(first.store)
        assert twin.store.secrets.identity.member_id == first.store.secrets.identity.member_id
        await twin.start()
        await until(twin.seated)
        for at in range(1, 6):
            world.berlin.send(some(1, at))
        await until(lambda: len(world.paris.got()) == 6)
        first.assign()  # and back, as a static member that comes again
        await until(first.seated)
        for at in range(6, 11):
            world.berlin.send(some(1, at))
        await until(lambda: len(world.paris.got()) == 11)
        assert world.paris.got() == some(11)


@in_world
async def test_a_mirror_without_the_table_that_it_had_goes_on_by_its_cursors(world: World) -> None:
    _, mirror = await flowing(world)
    await until(lambda: mirror.table)
    await mirror.stop()
    again = world.mirror(mirror.store)
    again.table.update({b"of another lane": b"\x00"})
    await again.start()
    world.berlin.send(some(3, 1))
    await until(lambda: len(world.paris.got()) == 4)
    assert world.paris.got() == some(4)
    await until(lambda: len(again.table) == 2)
