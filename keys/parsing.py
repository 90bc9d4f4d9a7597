"""Parsing statements once that are looked at twice: ahead, for their signatures, and when they are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sealwire.keys import wire

if TYPE_CHECKING:
    import msgspec

    from sealwire.keys.wire import Frame, Type

T = TypeVar("T")
AT_ONCE: Final = 64


class Parser(Generic[T]):
    """Takes statements of one type apart, and remembers the last ones: by identity, since to hash 35 kB takes long.

    Nothing in what it gives is believed. It is the same for the same bytes, whoever asks.
    """

    def __init__(self, kind: Type, decoder: msgspec.msgpack.Decoder[T]) -> None:
        """Begin with none."""
        self._kind, self._decoder = kind, decoder
        self._last: dict[int, tuple[bytes, bytes, tuple[T, Frame]]] = {}

    def __call__(self, statement: bytes, project_id: bytes) -> tuple[T, Frame]:
        """Give a statement's fields and frame, or raise `Rejected` for what is none of this type and project."""
        known = self._last.get(id(statement))
        if known is not None and known[0] is statement and known[1] == project_id:
            return known[2]
        frame = wire.read(statement, self._kind, project_id)
        parsed = wire.unpack(frame.body, self._decoder), frame
        if len(self._last) >= AT_ONCE:
            self._last.clear()
        self._last[id(statement)] = statement, project_id, parsed
        return parsed
