"""worker.json: a snapshot that is always whole."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

from batch_made import some
from in_loop import in_loop, until
from world import World, in_world

from sealwire.agents import status

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_snapshot_replaces_the_one_before_and_leaves_nothing_aside(tmp_path: Path) -> None:
    file = tmp_path / "worker.json"
    for number in range(3):
        status.write(file, {"ready": True, "number": number})
    assert json.loads(file.read_text()) == {"ready": True, "number": 2}
    assert [each.name for each in tmp_path.iterdir()] == ["worker.json"]


def test_it_is_written_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "_WRITE_EVERY", 0.001)
    file, told = tmp_path / "worker.json", []

    def snapshot() -> dict[str, Any]:
        told.append(1)
        return {"number": len(told)}

    @in_loop
    async def writing() -> None:
        task = asyncio.create_task(status.keep_writing(file, snapshot))
        await until(lambda: len(told) > 2 and json.loads(file.read_text())["number"] >= 2)
        task.cancel()

    writing()


def test_a_disk_that_is_full_ends_nothing_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(status, "_WRITE_EVERY", 0.001)
    file, told, replace = tmp_path / "worker.json", [], os.replace

    def full(*paths: Any) -> None:
        told.append(paths)
        if len(told) < 5:
            raise OSError(28, "No space left on device")
        replace(*paths)

    @in_loop
    async def writing() -> None:
        monkeypatch.setattr(os, "replace", full)
        task = asyncio.create_task(status.keep_writing(file, lambda: {"number": len(told)}))
        await until(file.exists)
        task.cancel()

    writing()
    assert sum("No space left on device; records flow on, make room" in each for each in caplog.messages) == 1


@in_world
async def test_a_side_s_snapshot_is_plain_json_and_holds_no_secret(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: len(world.paris.got()) == 3)
    secrets = [session.secret.hex() for session in mirror.control.sessions.values()]
    secrets += [each.receiving.encode().hex() for each in mirror.control.secrets.held]
    secrets += [station.control.secrets.identity.signing.seed.hex() for station in (sealer, mirror)]
    for station in (sealer, mirror):
        told = json.dumps(station.side.snapshot())
        assert not any(secret in told for secret in secrets)
        (channel,) = station.side.snapshot()["channels"]
        (row,) = station.side.snapshot()["partitions"]
        assert (channel["channel"], row["topic"], row["state"]) == ("orders", "orders", "flowing")


@in_world
async def test_table_rows_hold_no_secret(world: World) -> None:
    sealer, mirror = await world.flow()
    world.berlin.send(some(3))
    await until(lambda: sealer.table and mirror.table)
    rows = b"".join([*sealer.table.values(), *mirror.table.values()])
    assert not any(session.secret in rows for session in mirror.control.sessions.values())
