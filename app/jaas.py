"""The line by which a Java client logs in: `module flag name=value ... ;` (JAAS)."""

from __future__ import annotations

import re

_FLAGS = frozenset({"required", "requisite", "sufficient", "optional"})
_SHORTEST = 3  # module, flag, semicolon
_JAAS = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s;="']+)|([;=]))""", re.DOTALL)


def jaas_words(text: str) -> tuple[str, dict[str, str]] | None:
    """Take `module flag name=value ... ;` apart, as Java's JaasConfig does; None where that fails."""
    tokens: list[str] = []
    place = 0
    while place < len(text.rstrip()):
        match = _JAAS.match(text, place)
        if match is None:
            return None
        quoted = match[1] if match[1] is not None else match[2]
        tokens.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3] or match[4])
        place = match.end()
    if len(tokens) < _SHORTEST or tokens[1].lower() not in _FLAGS:
        return None
    if tokens[-1] != ";":
        return None
    rest = tokens[2:-1]
    if len(rest) % 3 or any(equals != "=" for equals in rest[1::3]):
        return None
    return tokens[0], dict(zip(rest[::3], rest[2::3], strict=True))
