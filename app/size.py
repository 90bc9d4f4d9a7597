"""Amounts of bytes in a YAML: a number and its unit, as 512MiB or 64GiB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import yaml

if TYPE_CHECKING:
    from sealwire.app.document import Section

_UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,9})([KMGT]iB)")


def read(section: Section, setting: str, default: int, least: int, most: int) -> int:
    """Give a setting in bytes, within bounds; the default when it is missing or refused."""
    cure = f"a number and its unit, as {shown(default)}"
    node = section.value(setting, cure=cure)
    if node is None:
        return default
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    match = _SIZE.fullmatch(text)
    if match is None:
        section.fault(setting, f"'{text[:40]}' is no amount of bytes" if text else "must be an amount of bytes", cure)
        return default
    found = int(match[1]) * _UNITS[match[2]]
    if not least <= found <= most:
        section.fault(setting, f"must be from {shown(least)} to {shown(most)}, not {text}")
        return default
    return found


def shown(size: int) -> str:
    """Write an amount as one would in a YAML, in the largest unit that it is a multiple of."""
    unit = max((each for each in _UNITS if size % _UNITS[each] == 0), key=lambda each: _UNITS[each])
    return f"{size // _UNITS[unit]}{unit}"
