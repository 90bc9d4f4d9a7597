"""Attribute tables: who may produce to a channel and who may consume from it.

A table names attributes, and for each the values that will do. A member satisfies it that has every attribute named,
with one of its values. Anything unclear denies: an empty table, an attribute without values, an unknown language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from sealwire.keys import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ATTRIBUTES: Final = 0  # the policy language that this module is; the byte leaves room for others
Values = Annotated[tuple[wire.Value, ...], msgspec.Meta(max_length=256)]
Table = Annotated[tuple[tuple[wire.Name, Values], ...], msgspec.Meta(max_length=32)]

MEMBERS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (("role", ("member",)),)


def table(mapping: Mapping[str, Iterable[str]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Put a table into the one order that the wire has: attributes rise by name, values rise, each once."""
    return tuple((name, tuple(sorted(set(values)))) for name, values in sorted(mapping.items()))


def well_formed(rows: tuple[tuple[str, tuple[str, ...]], ...]) -> bool:
    """Tell whether a table is in the order of the wire."""
    return table(dict(rows)) == rows


def satisfies(
    attributes: Iterable[tuple[str, str]], rows: tuple[tuple[str, tuple[str, ...]], ...], language: int
) -> bool:
    """Tell whether a member with these attributes satisfies a table."""
    if language != ATTRIBUTES or not rows:
        return False
    held = dict(attributes)
    return all(held.get(name) in values for name, values in rows)


def pattern_matches(pattern: str, name: str) -> bool:
    """Tell whether a pattern of a charter covers a name: equal to it, or `*` after what the name begins with."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
