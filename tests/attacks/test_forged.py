"""What a thief can forge with each stolen key, when that ends, and what is never delivered."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from days import HOUR, MINUTE, Days
from impostor import Impostor
from thief import TALLY

from sealwire.app.chartering import EXCLUDE_BEFORE
from sealwire.keys.primitives import SigningKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulation import Worker

    from sealwire.keys.session import OutboundSession

SEEDS = range(2)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Days]:
    """Some hours of traffic from Berlin to Paris; how many is drawn anew with each SEED."""
    dice = random.Random(f"{os.environ['SEED']} {request.node.name}")
    made = Days(dice.randrange(1 << 32))
    made.begin("s1")
    made.begin("r1")
    for part in range(3):
        made.send(part, 1, 0)
    made.hours(dice.uniform(1, 6))
    made.let(dice.uniform(0, 2 * HOUR / 1000))
    yield made
    made.close()


def thief_of(run: Days, name: str) -> Impostor:
    """Somebody with all that the vault of a member holds."""
    identity = run.vaults[name].secrets.identity
    return Impostor(run, identity, run.known[identity.member_id])


def dates(run: Days) -> list[int]:
    """Every date that a forged session might say, from hours ago to the skew that is borne."""
    return [run.now() - minutes * MINUTE for minutes in (*range(-4, 150, 6), *range(150, 1500, 90))]


def sealer(run: Days) -> Worker:
    """The one that runs."""
    (found,) = run.alive("s")
    return found


def present(run: Days) -> OutboundSession:
    """The session that it seals in now, its secrets included."""
    side: Any = sealer(run).station.side
    return side.senders.current("orders").outbound  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_senders_identity_key_forges_for_as_long_as_the_member_is_not_refused(run: Days, seed: int) -> None:
    sealer(run).kill(lose=False)
    thief_of(run, "s1").forge([run.now()])
    run.let(10)
    assert run.forged == 3


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_delivered_that_an_excluded_member_forges(run: Days, seed: int) -> None:
    """The node is off from the theft on, so nobody lifts a session floor: the worst that an exclusion can meet."""
    thief = thief_of(run, "s1")
    stolen_at = run.now()
    early = [thief.begin(channel, run.now()) for channel in ("orders", "bills")]  # announced before it is refused
    sealer(run).kill(lose=False)
    run.let(run.dice.uniform(0, 24 * HOUR / 1000))
    run.refuse(thief.identity.member_id, stolen_at - EXCLUDE_BEFORE)
    run.let(5)
    for outbound in early:
        thief.seal(outbound, outbound.made_at)
    thief.forge(dates(run))
    run.let(60)
    run.begin("s2")
    run.hours(2)
    thief.forge(dates(run))
    run.hours(1)
    assert run.loop.run_until(run.model.whole, 120.0)
    TALLY["envelopes forged after refusal"] += thief.forged
    assert thief.forged > 100
    assert run.forged == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_delivered_that_a_revoked_member_made_whatever_its_date(run: Days, seed: int) -> None:
    thief = thief_of(run, "s1")
    sealer(run).kill(lose=False)
    run.refuse(thief.identity.member_id, 0)
    run.let(5)
    thief.forge(dates(run))
    run.begin("s2")
    run.hours(1)
    assert run.loop.run_until(run.model.whole, 120.0)
    TALLY["envelopes forged after refusal"] += thief.forged
    assert run.forged == 0


@pytest.mark.parametrize(
    ("lacks", "reason"), [("secret", "bad-ciphertext"), ("signing", "bad-signature")], ids=["its key", "its secret"]
)
def test_a_session_is_forged_neither_with_its_signing_key_alone_nor_with_its_secret_alone(
    run: Days, lacks: str, reason: str
) -> None:
    """Every reader has the secret; the key is the sealer's, and what it signs does not open under another secret."""
    thief, outbound = thief_of(run, "s1"), present(run)
    sealer(run).kill(lose=False)
    other = os.urandom(32) if lacks == "secret" else SigningKey.from_seed(os.urandom(32))
    thief.seal(replace(outbound, **{lacks: other}), run.now())
    run.let(10)
    assert thief.forged > 0
    assert run.forged == 0
    assert run.alive("r")[0].station.refused[reason] == thief.forged


def test_a_session_signing_key_and_its_secret_forge_until_newer_sessions_are_an_hour_and_five_minutes_ahead(
    run: Days,
) -> None:
    """When an envelope was sealed is the thief's own word; what ends it is the floor that honest sessions lift."""
    thief, outbound = thief_of(run, "s1"), present(run)
    run.hours(2.5)
    thief.seal(outbound, outbound.not_after)
    run.let(60)
    assert run.forged == 0
    assert thief.forged == 2
    assert run.loop.run_until(run.model.whole, 60.0)


def test_a_session_signing_key_and_its_secret_forge_while_no_honest_sealer_speaks(run: Days) -> None:
    thief, outbound = thief_of(run, "s1"), present(run)
    sealer(run).kill(lose=False)
    run.let(3 * HOUR / 1000)
    thief.seal(outbound, outbound.not_after)
    run.let(10)
    assert run.forged == 2
