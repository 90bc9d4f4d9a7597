"""What a worker says of itself: at its local port, and into worker.json for the time when nobody answers there."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_WRITE_EVERY = 5.0  # seconds


def write(file: Path, snapshot: dict[str, Any]) -> None:
    """Replace the file with a snapshot, atomically."""
    aside = file.with_suffix(".tmp")
    aside.write_text(json.dumps(snapshot), encoding="utf-8")
    os.replace(aside, file)  # noqa: PTH105 - the one call that replaces atomically, said by its own name


async def keep_writing(file: Path, snapshot: Callable[[], dict[str, Any]]) -> None:
    """Write a snapshot every few seconds, for ever."""
    while True:
        await asyncio.to_thread(write, file, snapshot())
        await asyncio.sleep(_WRITE_EVERY)
