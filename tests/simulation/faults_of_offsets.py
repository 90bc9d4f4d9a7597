"""Lies about where a log begins and ends, and about the offsets of what it holds. Each is told once, to a mirror."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from batch_made import apart
from hand import fault
from hostile_cloud import ENVELOPES, STATEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from hand import Hand

FAR = 1 << 40


@dataclass(frozen=True)
class Lie:
    """``about`` what; ``shift`` is added to a number, or to the offsets of what is served."""

    fault: str
    about: Literal["fetch", "start", "end"]
    shift: int = 0
    out_of_range: bool = False
    ends: bool = False

    def instead(self, truth: int) -> int:
        """The number that is told."""
        return max(truth + self.shift, 0)

    def told(self, data: bytes, high: int, stable: int, start: int) -> tuple[bytes, int, int, int]:
        """The answer that is told."""
        if self.ends:
            return data, self.instead(high), self.instead(stable), self.instead(start)
        out = b""
        for batch in apart(data):
            moved = bytearray(batch)
            struct.pack_into(">q", moved, 0, max(struct.unpack_from(">q", moved)[0] + self.shift, 0))
            out += moved
        return out, high, stable, start


def _tell(hand: Hand, lie: Callable[[int], Lie], topics: tuple[str, ...] = ENVELOPES) -> None:
    views = [view for name, view in hand.cloud.members.items() if name.startswith("r")]
    view = hand.dice.choice(views)
    topic = hand.dice.choice(topics)
    partition = hand.dice.randrange(len(view.topics[topic][1]))
    view.lies[topic, partition].append(lie(hand.dice.choice((-FAR, -3, -1, 1, 3, FAR))))
    view.poke((topic, partition))


@fault
def lie_out_of_range(hand: Hand) -> None:
    """The offset that a mirror asks for is said not to be there, and the log to begin elsewhere."""
    _tell(hand, lambda shift: Lie("lie_out_of_range", "fetch", shift, out_of_range=True))


@fault
def lie_about_offsets(hand: Hand) -> None:
    """What is served is said to stand elsewhere."""
    _tell(hand, lambda shift: Lie("lie_about_offsets", "fetch", shift))


@fault
def lie_about_ends(hand: Hand) -> None:
    """An answer names another end, last stable offset and beginning."""
    _tell(hand, lambda shift: Lie("lie_about_ends", "fetch", shift, ends=True))


@fault
def lie_about_the_start(hand: Hand) -> None:
    """A mirror that asks where a log begins is told another offset."""
    _tell(hand, lambda shift: Lie("lie_about_the_start", "start", shift))


@fault
def lie_about_statements(hand: Hand) -> None:
    """The same lies about the project's own topics."""
    about = hand.dice.choice(("start", "end", "fetch"))
    _tell(hand, lambda shift: Lie("lie_about_statements", about, shift), STATEMENTS)  # type: ignore[arg-type]
