"""Names of topics by regular expression: what one matches, and the name that it makes of each match.

RE2 matches in time linear in the name, whatever the pattern is: none can hold a worker up. What it has no linear way
for (backreferences, looking around) it refuses when it is compiled, as it does a pattern that needs too much memory.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

import re2

LONGEST: Final = 1000  # characters
_MEMORY: Final = 1 << 20  # bytes of a compiled pattern
_REFERENCE: Final = re.compile(r"\\(\d)|\\")


class BadPattern(ValueError):
    """A pattern cannot be used; the words say why."""


def is_pattern(text: str) -> bool:
    """Tell a pattern from a name: no topic's name can begin with ``^``."""
    return text.startswith("^")


@lru_cache(maxsize=1024)
def compiled(text: str) -> Any:  # noqa: ANN401 - the library has no types
    """Compile a pattern, which a whole name has to match. Raises BadPattern."""
    if len(text) > LONGEST:
        message = f"it has {len(text)} characters, and {LONGEST} are allowed"
        raise BadPattern(message)
    options = re2.Options()
    options.max_mem, options.log_errors = _MEMORY, False
    try:
        return re2.compile(text, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        raise BadPattern(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from None


def check(text: str, to: str) -> None:
    """Raise BadPattern where ``text`` is no pattern, or ``to`` cannot be made of what it matches."""
    groups = compiled(text).groups
    referred = references(to)
    if max(referred, default=0) > groups:
        message = f"'{to}' asks for group {max(referred)}, and the pattern has {groups}"
        raise BadPattern(message)
    if not referred:
        message = f"'{to}' is one name for all that match: let it have \\1, what the first group matched"
        raise BadPattern(message)


def references(to: str) -> list[int]:
    r"""List the groups that ``to`` refers to, as ``\1`` to ``\9``. Raises BadPattern for any other backslash."""
    found = []
    for match in _REFERENCE.finditer(to):
        if match[1] is None or match[1] == "0":
            message = f"'{to}' has a backslash that is not one of \\1 to \\9"
            raise BadPattern(message)
        found.append(int(match[1]))
    return found


def made(text: str, to: str, name: str) -> str | None:
    """Give the name that the pattern makes of ``name``; None when it does not match the whole of it."""
    match = compiled(text).fullmatch(name)
    if match is None:
        return None
    return _REFERENCE.sub(lambda reference: match[int(reference[1])] or "", to)


def all_made(to: str) -> str:
    """Give a pattern that matches whatever ``to`` can make, and maybe more."""
    return "^" + ".*".join(re2.escape(part) for part in re.split(r"\\\d", to)) + "$"


def exactly(name: str) -> str:
    """Give the pattern that matches one name."""
    return f"^{re2.escape(name)}$"


def matches_any(texts: tuple[str, ...], name: str) -> bool:
    """Tell whether one of the patterns matches the whole name."""
    return any(compiled(text).fullmatch(name) is not None for text in texts)
