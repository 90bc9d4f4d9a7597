"""What a liar says: of every kind, by its seed, and nothing where it is honest."""

from __future__ import annotations

import itertools
import struct
from random import Random
from typing import TYPE_CHECKING

import lying
import pytest
from answers import FETCH, HOST, METADATA, Asked, Part, asked, batch, batches, framed, parts, with_records
from checker import Totals
from crc32c import crc32c
from liar import Liar
from lies import NOBODY, Lie, lies_about, told

if TYPE_CHECKING:
    from collections.abc import Callable

FETCHED = Asked(FETCH, 11, 7)
DESCRIBED = Asked(METADATA, 5, 8)
BATCHES = batch(40, 0, 1, b"a record") + batch(41, 0, 1, b"another")


def fetched(records: bytes = BATCHES) -> bytes:
    rows = [struct.pack(">ihqqqi", number, 0, 42, 42, 0, 0) + struct.pack(">i", -1) for number in range(2)]
    head = struct.pack(">iihii", 7, 0, 0, 0, 1) + struct.pack(">h", 1) + b"t" + struct.pack(">i", 2)
    return head + rows[0] + framed(records) + rows[1] + framed(b"")


def described(port: int = 9000) -> bytes:
    return struct.pack(">iiiih", 8, 0, 1, 1, len(HOST)) + HOST + struct.pack(">ih", port, -1) + bytes(40)


TRUE: tuple[tuple[bytes, Asked], ...] = ((fetched(), FETCHED), (described(), DESCRIBED))


def first(pieces: object) -> bytes:
    """What is sent, but of what does not end only its beginning."""
    return b"".join(itertools.islice(pieces, 300))  # type: ignore[call-overload]


def test_every_kind_of_lie_is_told_of_some_answer_and_is_none_of_the_truth() -> None:
    told_of: set[Lie] = set()
    for answer, to in TRUE:
        for lie in lies_about(to, answer):
            said = [first(told(lie, Random(seed), answer, to, [b"\0\0\0\1other"])) for seed in range(12)]
            assert any(each != framed(answer) for each in said) or lie is Lie.TRICKLE
            told_of.add(lie)
    assert told_of == set(Lie)


def test_the_same_seed_tells_the_same_lies() -> None:
    def say(seed: int) -> list[bytes]:
        liar = Liar(Random(seed))
        liar.share = 0.5
        return [first(liar.say(*true)[1]) for true in TRUE * 20]

    assert say(1) == say(1) != say(2)


def test_an_honest_liar_says_what_it_hears_and_counts_it() -> None:
    liar = Liar(Random(1))
    assert [first(liar.say(*true)[1]) for true in TRUE * 20] == [framed(answer) for answer, _ in TRUE * 20]
    assert (liar.answers, liar.lies.total()) == (40, 0)


def test_the_partitions_of_a_fetch_are_found_and_their_batches_replaced() -> None:
    answer = fetched()
    one, other = parts(answer, 11)
    assert answer[one.records + 4 : one.end] == BATCHES
    assert other.records + 4 == other.end == len(answer)
    assert with_records(answer, one, b"x") == fetched(b"x")
    assert list(batches(BATCHES + BATCHES[:65])) == [batch(40, 0, 1, b"a record"), batch(41, 0, 1, b"another")]


@pytest.mark.parametrize("lie", [Lie.FIELD, Lie.INSIDE])
def test_a_batch_that_lies_has_the_checksum_of_what_it_says(lie: Lie) -> None:
    for seed in range(40):
        said = first(told(lie, Random(seed), fetched(), FETCHED, []))[4:]
        found: Part = next(iter(parts(said, 11)))
        for each in batches(said[found.records + 4 : found.end]):
            assert struct.unpack_from(">I", each, 17)[0] == crc32c(each[21:])


def test_nobody_is_sent_to_a_strangers_door() -> None:
    for seed in range(300):
        said = first(told(Lie.BITS, Random(seed), described(), DESCRIBED, []))
        assert HOST + struct.pack(">i", 9000) in said
    (elsewhere,) = told(Lie.ELSEWHERE, Random(1), described(), DESCRIBED, [])
    assert HOST + struct.pack(">i", NOBODY) in elsewhere


def test_what_was_asked_is_read_from_a_request() -> None:
    assert asked(struct.pack(">hhih", 1, 11, 99, -1)) == (FETCH, 11, 99)


def _outcome(**changes: object) -> lying.Outcome:
    return lying.Outcome(9, 5, 3, Totals(70, 0, 0, 0, 0, 0), 120, [])._replace(**changes)  # type: ignore[arg-type]


WRONG: dict[str, Callable[[], lying.Outcome]] = {
    "nothing was sent": lambda: _outcome(totals=Totals(0, 0, 0, 0, 0, 0)),
    "lost": lambda: _outcome(totals=Totals(70, 1, 0, 0, 0, 0)),
    "duplicated": lambda: _outcome(totals=Totals(70, 0, 1, 0, 0, 0)),
    "reordered": lambda: _outcome(totals=Totals(70, 0, 0, 1, 0, 0)),
    "altered": lambda: _outcome(totals=Totals(70, 0, 0, 0, 1, 0)),
    "memory": lambda: _outcome(peak=400),
    "a traceback": lambda: _outcome(wrong=["Traceback"]),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_whatever_is_wrong_is_no_clean_outcome(wrong: str) -> None:
    assert _outcome().clean
    assert not WRONG[wrong]().clean


def test_the_last_line_has_its_figures_in_a_fixed_order() -> None:
    assert str(_outcome(wrong=["a", "b"])) == (
        "lying: answers=9 lies=5 kinds=3 records=70 lost=0 duplicated=0 reordered=0 altered=0 peak_mb=120 tracebacks=2"
    )
