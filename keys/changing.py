"""A mapping that is copied when it is first changed: a batch that brings nothing new of a kind copies nothing of it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

K = TypeVar("K")
V = TypeVar("V")


class Changing(MutableMapping[K, V]):
    """What a mapping becomes. The one given is never changed; `result` is it again, where nothing was."""

    def __init__(self, before: Mapping[K, V]) -> None:
        """Begin with what is there."""
        self.result = before
        self._own: dict[K, V] | None = None

    def __getitem__(self, name: K) -> V:
        """Give what stands there now."""
        return self.result[name]

    def __setitem__(self, name: K, value: V) -> None:
        """Let something else stand there."""
        self._copied()[name] = value

    def __delitem__(self, name: K) -> None:
        """Let nothing stand there."""
        del self._copied()[name]

    def __iter__(self) -> Iterator[K]:
        """Go through the names."""
        return iter(self.result)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.result)

    def _copied(self) -> dict[K, V]:
        if self._own is None:
            self.result = self._own = dict(self.result)
        return self._own
