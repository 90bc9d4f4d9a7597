"""What workers put on record: every session and every first grant, and nothing that is secret."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from batch_made import some
from in_loop import until
from world import World, in_world

from sealwire.app.trail import Trail
from sealwire.app.trail_check import check, lines

if TYPE_CHECKING:
    from pathlib import Path

    from world import Station


def told(station: Station, file: Path) -> Trail:
    """Give a worker a trail of its own, before it starts."""
    station.control.trail = trail = Trail(file)
    return trail


def secrets_of(*stations: Station) -> list[bytes]:
    """All that must never stand in a file of names and times."""
    found = []
    for station in stations:
        held = station.control.secrets
        found += [held.identity.signing.seed, *(each.receiving.encode() for each in held.held)]
        found += [session.secret for session in held.inbound.values()]
    return found


@in_world
async def test_sessions_and_first_grants_are_on_record_and_no_secret_is(world: World) -> None:
    sealer, mirror = world.sealer(), world.mirror()
    directory = sealer.settings.state
    directory.mkdir(parents=True, exist_ok=True)
    trails = [told(sealer, directory / "sealer.jsonl"), told(mirror, directory / "mirror.jsonl")]
    await mirror.start()
    await sealer.start()
    await until(lambda: sealer.side.senders.current("orders"))  # type: ignore[union-attr]
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    outbound = sealer.side.senders.current("orders").outbound  # type: ignore[union-attr]
    for trail in trails:
        trail.settle()
    found = [line for line in lines(directory / "sealer.jsonl") if not isinstance(line, bytes)]
    granted = [line.fields for line in found if line.event == "granted"]
    assert granted[0]["member_id"] == mirror.control.secrets.identity.member_id.hex()
    assert granted[0]["session"] == outbound.id.hex()
    files = [trail.file for trail in trails if trail.file.exists()]
    assert check(files).whole
    written = b"".join(file.read_bytes() for file in files)
    for secret in [*secrets_of(sealer, mirror), outbound.secret, outbound.signing.seed]:
        assert secret.hex().encode() not in written
        assert base64.b64encode(secret).rstrip(b"=") not in written


def granted(file: Path) -> list[tuple[object, object]]:
    found = [line for line in lines(file) if not isinstance(line, bytes)] if file.exists() else []
    return [(line.fields["session"], line.fields["member_id"]) for line in found if line.event == "granted"]


@in_world
async def test_a_grant_of_a_session_that_comes_to_nothing_is_on_record(world: World) -> None:
    """The secret is out, though nothing is ever sealed under it."""
    sealer, mirror = world.sealer(), world.mirror()
    trail = told(sealer, world._tmp / "sealer.jsonl")
    sealer.side.senders._all_may_read = lambda *_: False  # type: ignore[union-attr]
    await mirror.start()
    await sealer.start()
    await until(lambda: mirror.control.sessions)
    trail.settle()
    assert sealer.side.senders.current("orders") is None  # type: ignore[union-attr]
    assert [who for _, who in granted(trail.file)] == [mirror.control.secrets.identity.member_id.hex()]


@in_world
async def test_what_a_neighbour_is_granted_is_on_record_where_it_is_granted(world: World) -> None:
    sealer, mirror = await world.flow()
    trail = told(mirror, world._tmp / "mirror.jsonl")
    before = sealer.side.senders.current("orders").outbound.id  # type: ignore[union-attr]
    await until(lambda: before in mirror.control.sessions)
    second = world.mirror()
    await second.start()
    await until(lambda: before in second.control.sessions)
    trail.settle()
    assert granted(trail.file) == [(before.hex(), second.control.secrets.identity.member_id.hex())]
