"""Lengths of time in a YAML and on a command line: a number and its unit, as 60s, 5m or 2h."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import yaml

if TYPE_CHECKING:
    from sealwire.app.document import Section

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_EXAMPLE: Final = 7 * 86400
_DURATION: Final = re.compile(r"([0-9]{1,9})([smhd])")


def seconds(section: Section, setting: str, default: int, least: int, most: int) -> int:
    """Give a setting's length in seconds, within bounds; the default when it is missing or refused."""
    cure = f"a number and its unit, as {shown(default or min(most, _EXAMPLE))}"
    node = section.value(setting, cure=cure)
    if node is None:
        return default
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    found = length(text)
    if found is None:
        section.fault(setting, f"'{text[:40]}' is no length of time" if text else "must be a length of time", cure)
        return default
    if not least <= found <= most:
        section.fault(setting, f"must be from {shown(least)} to {shown(most)}, not {text}")
        return default
    return found


def length(text: str) -> int | None:
    """Read a length, in seconds; None for what is none."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


def shown(length: int) -> str:
    """Write a length as one would in a YAML, in the largest unit that it is a multiple of."""
    unit = max((each for each in _UNITS if length % _UNITS[each] == 0), key=lambda each: _UNITS[each])
    return f"{length // _UNITS[unit]}{unit}"
