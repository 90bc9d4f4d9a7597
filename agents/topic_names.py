"""Which topic names Kafka and we accept."""

from __future__ import annotations

import re
from typing import Final

TOPIC_LENGTH: Final = 249  # Kafka's own limit: a log directory is the name, a dash and a partition, within 255 bytes
OURS: Final = "_sealwire."

_TOPIC: Final = re.compile(r"[a-zA-Z0-9._-]+")


def topic_problem(name: str) -> str:  # noqa: PLR0911 - a list of rules
    """Say why Kafka, or we, refuse a topic name; empty when it is good.

    The rules are those of Kafka's ``Topic.validate``, and of what a bridge must never touch: Kafka's internal topics
    and our own.
    """
    if not name:
        return "is empty"
    if name in {".", ".."}:
        return f"'{name}' is a name that Kafka refuses"
    if len(name) > TOPIC_LENGTH:
        return f"has {len(name)} characters, and Kafka takes at most {TOPIC_LENGTH}"
    if not _TOPIC.fullmatch(name):
        bad = sorted({char for char in name if not _TOPIC.fullmatch(char)})
        return f"'{name}' has {' '.join(map(repr, bad))}, and Kafka takes only letters, digits, '.', '_' and '-'"
    if name.startswith("__"):
        return f"'{name}' is one of Kafka's internal topics"
    if name.startswith(OURS):
        return f"'{name}' is one of sealwire's own topics"
    return ""


def collision(name: str) -> str:
    """Give the form in which Kafka compares topic names: 'a.b' and 'a_b' cannot both exist in a cluster."""
    return name.replace(".", "_")


def project_topics(project: str) -> tuple[str, str, str]:
    """Name the three topics that a project has in the cloud, besides those of its mappings."""
    return f"{project}.control", f"{project}.sessions", f"{project}.requests"
