"""Rotation by order: what a person wants made anew now, said in a file in the worker's own directory.

`sealwire rotate` writes the order and waits for the answer beside it: no port and no Kafka is needed for that, and who
may write there has the worker's secrets anyway.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import TYPE_CHECKING, Any, Final

from sealwire.agents import clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

_log = logging.getLogger(__name__)
ORDER: Final = "rotate.json"  # in the worker's directory: what is to be made anew
ANSWER: Final = "rotated.json"  # beside it: what was
WHAT: Final = ("sessions", "receiving", "credential", "identity")
_LOOK_EVERY = 1.0  # seconds
_LONGEST = 4096  # bytes of an order


class Rotation:
    """Carries out orders. ``deeds`` gives for each thing how it is made anew; each tells in words what came of it."""

    def __init__(self, directory: Path, deeds: Callable[[], Mapping[str, Callable[[], Awaitable[str]]]]) -> None:
        self._directory, self._deeds = directory, deeds
        self._told = ""

    async def keep(self) -> None:
        """Look for an order every second, for ever. A disk that does not take the answer keeps it for the next look."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            try:
                await self.look()
            except OSError as error:
                if self._told != str(error):
                    _log.warning("an order to rotate cannot be read or answered: %s", error)
                self._told = str(error)

    async def look(self) -> None:
        """Carry out the order that is there, if one is; it is gone when its answer stands. Raises OSError."""
        file = self._directory / ORDER
        if not file.exists():
            return
        order = _read(file)
        if order is None:
            _log.warning("%s holds no order to rotate: it is removed", file)
            file.unlink(missing_ok=True)
            return
        done = []
        for what in order["what"]:
            deed = self._deeds().get(what)
            if deed is not None:
                done.append({"what": what, "words": await deed()})
        words = json.dumps({"id": order["id"], "at_ms": clock.now(), "done": done})
        aside = self._directory / f"{ANSWER}.new"
        aside.write_text(words, encoding="utf-8")
        os.replace(aside, self._directory / ANSWER)  # noqa: PTH105 - the one call that replaces atomically
        file.unlink(missing_ok=True)
        self._told = ""


def _read(file: Path) -> dict[str, Any] | None:
    with file.open("rb") as source:
        content = source.read(_LONGEST + 1)
    try:
        order = json.loads(content) if len(content) <= _LONGEST else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(order, dict) or not isinstance(order.get("id"), str) or not isinstance(order.get("what"), list):
        return None
    return order if all(isinstance(what, str) for what in order["what"]) else None
