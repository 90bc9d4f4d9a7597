"""Ordering a rotation: a file in the directory of a worker, and its answer beside it."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sealwire.agents.rotation import ANSWER, ORDER, WHAT
from sealwire.app.faults import CONFIGURATION, Failure
from sealwire.app.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sealwire.agents.settings import Direction
    from sealwire.app.config import Node

_LOOK_EVERY: Final = 0.2  # seconds
_OF: Final[dict[Direction, tuple[str, ...]]] = {
    "seal": ("sessions", "credential", "identity"),
    "open": ("receiving", "credential", "identity"),
}


@dataclass(frozen=True)
class Answer:
    """What came of an order to one worker. ``done`` is None while it has not answered; ``runs``: it is alive."""

    direction: Direction
    identity: str
    runs: bool
    done: tuple[tuple[str, str], ...] | None = None


def order(node: Node, what: str, within: float) -> list[Answer]:
    """Order something made anew from each worker of a node that has it, and wait so many seconds for the answers.

    ``what`` is one of WHAT, or "all". Raises `Failure` where no worker of the node has it, or a directory is missing.
    """
    wanted = WHAT if what == "all" else (what,)
    ways = [way for way in node.directions if set(wanted) & set(_OF[way])]
    if not ways:
        has, end = ("sealing", "sending") if what == "sessions" else ("opening", "receiving")
        held = "receiving keys" if what == "receiving" else what
        raise Failure(
            f"{node.path} has no {has} mapping: no worker of it has {held}.",
            f"They are made anew at the {end} site: give its YAML there.",
            code=CONFIGURATION,
        )
    number = os.urandom(8).hex()
    for way in ways:
        directory = node.directory(way)
        if not directory.is_dir():
            raise Failure(f"There is no identity in {directory}.", "sealwire enroll makes one.", code=CONFIGURATION)
        told = {"id": number, "what": [each for each in wanted if each in _OF[way]]}
        try:
            write_whole(directory / ORDER, json.dumps(told).encode())
        except OSError as error:
            raise Failure(
                f"The order cannot be written into {directory}: {error.strerror}.",
                "Run as the user of the worker, on a disk that can be written.",
                code=CONFIGURATION,
            ) from None
    return _wait(node, ways, number, within)


def _wait(node: Node, ways: Sequence[Direction], number: str, within: float) -> list[Answer]:
    until = time.monotonic() + within
    while True:
        found = [_answer(node, way, number) for way in ways]
        if time.monotonic() >= until or all(each.done is not None or not each.runs for each in found):
            return found
        time.sleep(_LOOK_EVERY)


def _answer(node: Node, way: Direction, number: str) -> Answer:
    directory = node.directory(way)
    runs = _in_use(directory)
    try:
        told: Any = json.loads((directory / ANSWER).read_bytes())
    except (OSError, ValueError):
        told = {}
    if told.get("id") != number:
        return Answer(way, node.identities[way], runs)
    done = tuple((str(each["what"]), str(each["words"])) for each in told["done"])
    return Answer(way, node.identities[way], runs, done)


def _in_use(directory: Path) -> bool:
    """Tell whether the process that wrote the lock of a directory lives: it is the one that reads orders there.

    The lock itself is not tried: a worker that starts at that moment would find it taken.
    """
    try:
        found = re.match(r"pid ([0-9]+),", (directory / "lock").read_text(encoding="utf-8", errors="replace"))
        if found is None:
            return False
        os.kill(int(found[1]), 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
