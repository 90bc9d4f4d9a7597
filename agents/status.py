"""What a worker says of itself: at its local port, and into worker.json for the time when nobody answers there."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import Counter
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from sealwire.agents.words import are, count

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sealwire.agents.settings import Settings

_log = logging.getLogger(__name__)
VERSION: Final = metadata.version("sealwire")
_WRITE_EVERY = 5.0  # seconds


def write(file: Path, snapshot: dict[str, Any]) -> None:
    """Replace the file with a snapshot, atomically."""
    aside = file.with_suffix(".tmp")
    aside.write_text(json.dumps(snapshot), encoding="utf-8")
    os.replace(aside, file)  # noqa: PTH105 - the one call that replaces atomically, said by its own name


def starting(settings: Settings, why: str = "") -> dict[str, Any]:
    """Describe a worker that waits for its local cluster, for ``why`` in words, or for Faust to begin."""
    return {
        "direction": settings.direction,
        "identity": settings.identity,
        "project": settings.project,
        "site": settings.site,
        "version": VERSION,
        "ready": False,
        "why": why or "starting: waiting for Faust to join its group at the local cluster",
    }


def degraded(side: Mapping[str, Any], troubles: Mapping[str, str]) -> list[str]:
    """Say which parts of a side do not flow, in a line for each topic, channel and state."""
    found = sorted(set(troubles.values()))
    found += [f"channel {entry['channel']}: {entry['why']}" for entry in side["channels"] if entry.get("why")]
    states = Counter((row["channel"], row["state"]) for row in side["partitions"] if row["state"] != "flowing")
    found += [
        f"channel {channel}: {count(many, 'source partition')} {are(many)} {state}"
        for (channel, state), many in sorted(states.items())
    ]
    stale = Counter(row["channel"] for row in side["partitions"] if row.get("stale"))
    found += [
        f"channel {channel}: {count(many, 'source partition')} {are(many)} stale"
        for channel, many in sorted(stale.items())
    ]
    return found


async def keep_writing(file: Path, snapshot: Callable[[], dict[str, Any]]) -> None:
    """Write a snapshot every few seconds, for ever; a disk that does not take it is said once."""
    refused = False
    while True:
        try:
            await asyncio.to_thread(write, file, snapshot())
            refused = False
        except OSError as error:
            if not refused:
                _log.warning("%s cannot be written: %s; records flow on, make room on that disk", file, error)
            refused = True
        await asyncio.sleep(_WRITE_EVERY)
