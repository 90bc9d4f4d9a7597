"""Numbers in sentences: one of a thing reads otherwise than two."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Say how many there are of what: 1 reader, 2 readers, 1,000 record batches."""
    plural = "es" if noun.endswith(("ch", "s")) else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def are(number: int) -> str:
    """Give the verb that goes with so many."""
    return "is" if number == 1 else "are"
