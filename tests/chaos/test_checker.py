"""The checker tells of each thing that can go wrong between two logs."""

from __future__ import annotations

import pytest
from checker import Found, Log, Reading, check, total

COUNT = 1000
ABORTED = 5000  # a number that only an aborted transaction at the source has


def log(numbers: list[int], altered: int | None = None) -> Log:
    """Records whose digests follow from their numbers, but for one."""
    return Log((number, abs(number) * 7 + (number == altered), 3 * at) for at, number in enumerate(numbers))


def read(numbers: list[int], hidden: tuple[int, ...] = (), altered: int | None = None) -> Reading:
    everything = log(numbers, altered)
    for number in hidden:
        everything.add(number, abs(number) * 7, 100_000 + number)
    return Reading(log(numbers, altered), everything)


SOURCE = read(list(range(COUNT)), (ABORTED,))


def found(sink: Reading) -> Found:
    return check(SOURCE, sink)


def counts(one: Found) -> dict[str, int]:
    return {name: value for name, value in vars(one).items() if name != "words" and value}


def test_two_equal_logs_are_clean() -> None:
    one = found(read(list(range(COUNT))))
    assert one.clean
    assert counts(one) == {}


def test_aborted_transactions_at_the_sink_are_no_fault_where_they_hold_records_of_the_source() -> None:
    assert found(read(list(range(COUNT)), (17, 18))).clean


def test_a_lost_record_is_told_with_its_source_offset() -> None:
    one = found(read([number for number in range(COUNT) if number != 400]))
    assert counts(one) == {"lost": 1, "holes": 1}
    assert "source offsets 1200 to 1200, though later ones are there" in one.words[0]


def test_lost_ones_at_the_end_are_lost_but_nothing_was_passed_over() -> None:
    one = found(read(list(range(COUNT - 30))))
    assert counts(one) == {"lost": 30}
    assert one.words == ["lost: 30 records, source offsets 2910 to 2997, and nothing later is there"]


def test_an_empty_sink_has_lost_everything() -> None:
    assert counts(found(read([]))) == {"lost": COUNT}


def test_a_duplicated_record_is_told_with_its_sink_offset() -> None:
    one = found(read([*range(500), 499, *range(500, COUNT)]))
    assert counts(one) == {"duplicated": 1}
    assert "number 499 again at sink offset 1500" in one.words[0]


def test_two_records_that_changed_places_are_one_reordered() -> None:
    one = found(read([*range(400), 401, 400, *range(402, COUNT)]))
    assert counts(one) == {"reordered": 1}
    assert "number 400 at sink offset 1203, source offset 1200, after number 401" in one.words[0]


def test_an_altered_record_is_told() -> None:
    one = found(read(list(range(COUNT)), altered=77))
    assert counts(one) == {"altered": 1}
    assert "number 77" in one.words[0]


def test_a_record_of_an_aborted_transaction_is_told() -> None:
    assert counts(found(read([*range(COUNT), ABORTED]))) == {"aborted": 1}


def test_a_record_of_an_aborted_transaction_is_told_also_where_the_sink_aborted_it_too() -> None:
    assert counts(found(read(list(range(COUNT)), (ABORTED,)))) == {"aborted": 1}


@pytest.mark.parametrize("hidden", [False, True])
def test_a_record_that_nobody_sent_is_told(hidden: bool) -> None:  # noqa: FBT001
    sink = read(list(range(COUNT)), (-1,)) if hidden else read([*range(COUNT), -1])
    assert counts(found(sink)) == {"foreign": 1}


def test_a_source_that_repeats_itself_proves_nothing() -> None:
    with pytest.raises(ValueError, match="repeats itself"):
        check(read([1, 1]), read([1]))


def test_of_many_only_a_few_are_told_and_all_are_counted() -> None:
    one = found(read([*range(COUNT), *range(COUNT)]))
    assert counts(one) == {"duplicated": COUNT}
    assert len(one.words) < 10


def test_the_last_line_counts_all_that_is_no_record_of_the_source_as_altered() -> None:
    one, other = found(read([*range(COUNT), ABORTED, -1])), found(read(list(range(COUNT)), altered=1))
    assert total(2 * COUNT, {("a", 0): one, ("a", 1): other}, {}) == (2 * COUNT, 0, 0, 0, 3, 0)


@pytest.mark.parametrize(
    ("numbers", "said", "unnoticed"),
    [
        (range(COUNT), "", 0),
        (range(COUNT - 1), "", 1),
        (range(COUNT - 1), "waiting: a gap", 0),
        (range(1, COUNT), "waiting: a gap", 1),
    ],
)
def test_what_is_missing_goes_unnoticed_where_nobody_says_so_or_where_it_was_passed_over(
    numbers: range, said: str, unnoticed: int
) -> None:
    where = ("a", 0)
    totals = total(COUNT, {where: found(read(list(numbers)))}, {where: said})
    assert totals.unnoticed == unnoticed
    assert totals.clean == (len(numbers) == COUNT)
