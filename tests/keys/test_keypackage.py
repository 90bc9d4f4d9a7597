from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import ANNA, BERT, HOUR, MINUTE, NOW, PROJECT, Draws, flips

from sealwire.keys import keypackage, wire
from sealwire.keys.keypackage import DAY, SHORT, KeyPackageFields, Window
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.wire import Type

PACKAGE = keypackage.read(BERT.package, PROJECT, BERT.credential, NOW)


def refusal(statement: bytes, now: int = NOW) -> Reason:
    with pytest.raises(Rejected) as caught:
        keypackage.read(statement, PROJECT, BERT.credential, now)
    return caught.value.reason


def forged(*windows: Window) -> bytes:
    fields = KeyPackageFields(BERT.id, 1, NOW, windows)
    return wire.write(Type.KEY_PACKAGE, PROJECT, fields, [BERT.identity.signing])


@given(st.integers(NOW, NOW + 30 * DAY))
def test_short_windows_cover_72_hours_ahead_and_days_eleven_more_without_a_hole(now: int) -> None:
    windows = keypackage.wanted(now)
    short = [window for window in windows if window[1] - window[0] == SHORT]
    long = [window for window in windows if window[1] - window[0] == DAY]
    assert (len(short), len(long)) == (18, 11)
    assert short[0][0] <= now < short[0][1]
    assert short[-1][1] - now > 68 * HOUR
    assert [before[1] for before in short[:-1]] == [after[0] for after in short[1:]]
    assert [before[1] for before in long[:-1]] == [after[0] for after in long[1:]]
    assert long[0][0] <= short[-1][1]
    assert long[-1][1] - short[-1][1] > 10 * DAY


def test_a_package_announces_what_is_held() -> None:
    assert (PACKAGE.member_id, PACKAGE.serial, PACKAGE.made_at) == (BERT.id, 1, NOW)
    assert [(each.start, each.end, each.public) for each in PACKAGE.windows] == [
        (each.start, each.end, each.receiving.public) for each in BERT.held
    ]


def test_nothing_is_renewed_until_a_window_moves_and_held_keys_stay() -> None:
    args = (BERT.identity, BERT.credential, PROJECT, BERT.held)
    assert keypackage.renew(*args, NOW, Draws("n")) == (BERT.held, None)
    later = NOW + SHORT
    held, statement = keypackage.renew(*args, later, Draws("n"))
    assert statement is not None
    assert set(BERT.held) < set(held)
    announced = keypackage.read(statement, PROJECT, BERT.credential, later)
    assert {(each.start, each.end) for each in announced.windows} == set(keypackage.wanted(later))
    again = keypackage.announce(BERT.identity, BERT.credential, PROJECT, held, later)
    assert keypackage.read(again, PROJECT, BERT.credential, later) == announced


def test_keys_made_anew_are_announced_alone_and_the_former_ones_stay_held_for_what_was_wrapped() -> None:
    later = NOW + HOUR
    held, statement = keypackage.renew(
        BERT.identity, BERT.credential, PROJECT, BERT.held, later, Draws("anew"), anew=True
    )
    assert statement is not None
    package = keypackage.read(statement, PROJECT, BERT.credential, later)
    assert set(BERT.held) <= set(held)
    assert len(held) == 2 * len(BERT.held)
    announced = {window.public for window in package.windows}
    assert announced == {each.receiving.public for each in held} - {each.receiving.public for each in BERT.held}
    assert keypackage.differs(PACKAGE, package)
    assert keypackage.announce(BERT.identity, BERT.credential, PROJECT, held, later) == statement
    assert keypackage.renew(BERT.identity, BERT.credential, PROJECT, held, later, Draws()) == (held, None)
    ended = held[0].end + 24 * HOUR
    assert not {each for each in keypackage.expire(held, ended) if each.start == held[0].start and each.end <= ended}


def test_a_receiving_key_is_erased_a_day_after_its_window() -> None:
    first = BERT.held[0]
    assert first in keypackage.expire(BERT.held, first.end + 24 * HOUR - 1)
    assert first not in keypackage.expire(BERT.held, first.end + 24 * HOUR)


def test_announcing_without_any_key_is_misuse() -> None:
    with pytest.raises(Misuse):
        keypackage.announce(BERT.identity, BERT.credential, PROJECT, BERT.held, NOW + 90 * DAY)


def test_the_window_that_holds_the_clock_is_picked_a_short_one_first() -> None:
    start, public = keypackage.pick(PACKAGE, NOW)
    assert start == NOW - NOW % SHORT
    assert public == BERT.held[0].receiving.public
    weekend = NOW + 5 * DAY
    assert keypackage.pick(PACKAGE, weekend)[0] == weekend - weekend % DAY
    overlap = NOW - NOW % SHORT + 18 * SHORT - 1
    assert keypackage.pick(PACKAGE, overlap)[0] == overlap - overlap % SHORT


def test_no_window_is_picked_by_a_clock_that_is_before_the_latest_start_used() -> None:
    start, _ = keypackage.pick(PACKAGE, NOW)
    assert keypackage.pick(PACKAGE, NOW, start)[0] == start
    with pytest.raises(Rejected) as caught:
        keypackage.pick(PACKAGE, start - 1 + SHORT, start + SHORT)
    assert caught.value.reason is Reason.EXPIRED


def test_a_reader_that_stays_away_is_wrapped_for_in_every_hour_of_thirteen_days() -> None:
    """The first window of a day starts before the last ones of four hours, and follows on them."""
    used = 0
    for hour in range(13 * 24):
        used = max(used, keypackage.pick(PACKAGE, NOW + hour * HOUR, used)[0])
    assert used > NOW + 12 * DAY - HOUR


def test_a_package_whose_windows_are_over_serves_no_more() -> None:
    end = keypackage.live_until(PACKAGE)
    keypackage.pick(PACKAGE, end - 1)
    with pytest.raises(Rejected):
        keypackage.pick(PACKAGE, end)
    with pytest.raises(Rejected):
        keypackage.pick(PACKAGE, PACKAGE.windows[0].start - 1)


def test_windows_of_a_suite_we_do_not_know_are_carried_and_passed_over() -> None:
    public = BERT.held[0].receiving.public
    package = keypackage.read(
        forged(Window(NOW, NOW + HOUR, 2, b"other"), Window(NOW, NOW + DAY, 1, public)), PROJECT, BERT.credential, NOW
    )
    assert keypackage.pick(package, NOW) == (NOW, public)
    assert keypackage.live_until(package) == NOW + DAY


def test_an_altered_bit_in_a_key_package_is_rejected() -> None:
    for altered in flips(BERT.package, step=29):
        refusal(altered)
    for altered in flips(forged(Window(NOW, NOW + HOUR, 2, b"x"))):
        refusal(altered)


def test_a_key_package_of_another_member_or_signer_is_rejected() -> None:
    assert refusal(ANNA.package) is Reason.SPLICED
    fields = keypackage.peek(BERT.package, PROJECT)
    stranger = wire.write(Type.KEY_PACKAGE, PROJECT, fields, [ANNA.identity.signing])
    assert refusal(stranger) is Reason.UNKNOWN_SIGNER
    assert refusal(BERT.package, NOW - 5 * MINUTE - 1) is Reason.AHEAD


def test_windows_that_cannot_be_are_rejected() -> None:
    good = Window(NOW, NOW + HOUR, 2, b"x")
    assert refusal(forged()) is Reason.MALFORMED
    assert refusal(forged(good, good)) is Reason.MALFORMED
    assert refusal(forged(Window(NOW + 1, NOW + 2, 2, b"x"), good)) is Reason.MALFORMED
    assert refusal(forged(Window(NOW, NOW, 2, b"x"))) is Reason.MALFORMED
    assert refusal(forged(Window(NOW, NOW + HOUR, 1, bytes(1215)))) is Reason.BAD_KEY
    assert refusal(forged(*(Window(NOW + step, NOW + HOUR, 2, b"x") for step in range(65)))) is Reason.MALFORMED


@given(st.binary(max_size=400))
def test_any_bytes_are_a_key_package_or_rejected(noise: bytes) -> None:
    framed = wire.finish(Type.KEY_PACKAGE, wire.head(Type.KEY_PACKAGE, PROJECT, noise), [BERT.identity.signing])
    for statement in (noise, BERT.package[:41] + noise, framed):
        refusal(statement)


def test_held_keys_show_no_secret() -> None:
    assert BERT.held[0].receiving.seed.hex() not in repr(BERT.held)
    assert repr(BERT.held[0].receiving.seed) not in repr(BERT.held)
