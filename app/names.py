"""Which names Kafka and we accept, and the names that are ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from sealwire.agents.topic_names import collision, project_topics, topic_problem

__all__ = ["collision", "project_topics", "topic_problem"]

NAME_LENGTH = 64  # of projects, sites and identities: they become parts of longer names
CHANNEL_LENGTH = 200

Rule = Callable[[str], str]  # gives what is wrong with a name, or nothing

_PLAIN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_IDENTITY = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]*")

FIRST_PORT = 24_000  # below the ephemeral ports of Linux (32768) and macOS (49152)
PORTS = 4_000


def plain_problem(name: str) -> str:
    """Say why a project or a site cannot have this name; empty when it can. They are joined by dots."""
    return _problem(
        name,
        _PLAIN,
        "letters, digits, '_' and '-', and begins with a letter or a digit",
    )


def identity_problem(name: str) -> str:
    """Say why an identity cannot have this name; empty when it can. It is also the name of a directory."""
    return _problem(
        name,
        _IDENTITY,
        "letters, digits, '.', '_' and '-', and begins with a letter or a digit",
    )


def channel_problem(name: str) -> str:
    """Say why a channel cannot have this name; empty when it can."""
    if len(name) > CHANNEL_LENGTH:
        return f"has {len(name)} characters; at most {CHANNEL_LENGTH}"
    return _problem(
        name,
        _IDENTITY,
        "letters, digits, '.', '_' and '-', and begins with a letter or a digit",
        CHANNEL_LENGTH,
    )


def _problem(name: str, pattern: re.Pattern[str], rule: str, most: int = NAME_LENGTH) -> str:
    if not name:
        return "is empty"
    if len(name) > most:
        return f"has {len(name)} characters; at most {most}"
    return "" if pattern.fullmatch(name) else f"'{name}' cannot be a name: it takes {rule}"


def web_port(project: str, identity: str, direction: str) -> int:
    """Choose the local port of a worker: always the same one, so that `status` finds it untold."""
    seed = hashlib.sha256(f"{project}\0{identity}\0{direction}".encode()).digest()
    return FIRST_PORT + int.from_bytes(seed[:4], "big") % PORTS
