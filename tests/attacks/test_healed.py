"""After a theft that was noticed: the member excluded and admitted anew, or its receiving keys replaced.

The thief acts: with the identity key it announces receiving keys of its own, again and again; the cloud helps it with
everything old that it ever had.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import loot
import pytest
from days import CONTROL, ENVELOPES, HOUR, MADE, MINUTE, Days
from impostor import Impostor
from sim_kafka import readable
from statement_world import BERT, DAY, NOW, ROOT, admit
from thief import TALLY, Thief

from sealwire.keys.trust import Trust
from sealwire.keys.wire import Type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loot import Loot
    from thief import Seen

SEEDS = range(2)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Days]:
    """Some hours of traffic from Berlin to Paris; how many is drawn anew with each SEED."""
    dice = random.Random(f"{os.environ['SEED']} {request.node.name}")
    made = Days(dice.randrange(1 << 32))
    made.begin("s1")
    made.begin("r1")
    made.hours(dice.uniform(1, 8))
    yield made
    made.close()


def stolen_from(run: Days, name: str) -> tuple[Impostor, Loot]:
    """All that a member's memory and vault hold, and a thief who speaks with its identity key."""
    (worker,) = (each for each in run.alive() if each.name == name)
    secrets = run.vaults[name].secrets
    thief = Impostor(run, secrets.identity, run.known[secrets.identity.member_id])
    return thief, loot.of_memory(worker) | loot.of_secrets(secrets)


def go_on(run: Days, thief: Impostor, hours: float) -> None:
    """Let hours pass in which the thief announces its keys, and the cloud tells everything old once more."""
    end = run.loop.time() + hours * 3600
    while run.loop.time() < end:
        thief.announce()
        serve_again(run, 8)
        run.hours(0.5)


def serve_again(run: Days, count: int) -> None:
    """Have the cloud show old statements of the project as if they were news."""
    old = [batch for topic, _partition, batch in run.world.cloud.given if topic == CONTROL]
    for batch in run.dice.sample(old, min(count, len(old))):
        for value in readable(batch):
            run.world.cloud.at(CONTROL).inject(value, run.dice.randbytes(8))


def is_charter(statement: bytes) -> bool:
    """Tell whether it is one."""
    return statement[2] == Type.CHARTER


def count_healed(run: Days, healed_at: int) -> None:
    """Count what there was to open after a theft was healed, and see that there was something."""
    after = sum(each.sealed_at >= healed_at for each in opened(run, loot.Loot(sessions=dict(MADE))))
    TALLY["envelopes sealed after healing"] += after
    assert after > 5


def opened(run: Days, *stolen: Loot) -> list[Seen]:
    """All that a thief opens in the end, out of everything that ever stood in the cloud."""
    whole = loot.Loot()
    for each in stolen:
        whole |= each
    return Thief(run.realm.project.root.project_id, run.world.cloud.given).open(whole)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_reader_that_was_excluded_and_admitted_anew_shares_nothing_with_its_thief(run: Days, seed: int) -> None:
    thief, stolen = stolen_from(run, "r1")
    stolen_at = run.now()
    go_on(run, thief, 2)
    run.refuse(thief.identity.member_id, stolen_at - HOUR)
    for worker in run.alive("r"):
        worker.kill(lose=False)
    run.newcomer("r3", "paris")
    run.let(60)
    healed_at = run.now()
    go_on(run, thief, 3)
    for worker in run.alive("s"):  # what a sealer believed before does not count: a restart, and one that is new
        worker.kill(lose=False)
    run.begin("s1")
    go_on(run, thief, 1)
    run.newcomer("s3", "berlin")
    go_on(run, thief, 2)
    seen = opened(run, stolen, thief.loot)
    assert [each for each in seen if stolen_at < each.sealed_at < healed_at]
    assert [each for each in seen if each.sealed_at >= healed_at] == []
    count_healed(run, healed_at)


@pytest.mark.parametrize("seed", SEEDS)
def test_receiving_keys_that_were_stolen_and_replaced_open_nothing_new(run: Days, seed: int) -> None:
    """The cloud serves the old key packages again, to a sealer that goes on and to one that starts anew."""
    (reader,) = run.alive("r")
    held = [each.receiving for each in run.vaults["r1"].secrets.held]
    stolen, stolen_at = loot.Loot(receiving=frozenset(held)), run.now()
    run.hours(2)
    control: Any = reader.station.control
    replacing = reader.spawn(control.renewal.receiving_anew())
    assert run.loop.run_until(replacing.done, 30.0)
    run.let(60)
    healed_at = run.now()
    serve_again(run, 50)
    run.hours(3)
    for worker in run.alive("s"):
        worker.kill(lose=False)
    serve_again(run, 50)
    run.begin("s1")
    run.hours(3)
    seen = opened(run, stolen)
    assert [each for each in seen if stolen_at < each.sealed_at < healed_at]
    assert [each for each in seen if each.sealed_at >= healed_at] == []
    count_healed(run, healed_at)


def test_a_sender_that_is_shown_the_old_key_package_alone_wraps_for_it_until_the_credential_ends() -> None:
    known = Trust.begin(ROOT.statement, NOW).learn([BERT.credential_bytes, BERT.package], NOW)[0]
    end = BERT.credential.not_after
    assert end - NOW == 7 * DAY
    assert [member_id for member_id, _package in known.readers("orders", "acme.orders", end)] == [BERT.id]
    assert known.readers("orders", "acme.orders", end + 1) == ()


def test_a_sender_that_is_shown_renewed_credentials_and_no_newer_package_wraps_for_the_old_one_for_no_longer() -> None:
    """Its windows go on for two weeks, and so would a thief's use of them where the renewals alone come through."""
    known, end = Trust.begin(ROOT.statement, NOW).learn([BERT.credential_bytes, BERT.package], NOW)[0], NOW + 7 * DAY
    for serial, at in enumerate((NOW + 2 * DAY, NOW + 4 * DAY, NOW + 6 * DAY), 2):
        known, _events = known.learn([admit(BERT.identity, "bert", serial=serial, site="paris", now=at)], at)
    assert [member_id for member_id, _package in known.readers("orders", "acme.orders", end)] == [BERT.id]
    assert known.readers("orders", "acme.orders", end + 1) == ()


def test_an_escrow_key_opens_everything_until_a_root_leaves_it_out_and_nothing_after(run: Days) -> None:
    stolen = loot.Loot(receiving=frozenset({run.realm.escrow}))
    assert len(opened(run, stolen)) == len(opened(run, loot.Loot(sessions=dict(MADE)))) > 0
    run.tell(CONTROL, run.realm.root_without_escrow(run.now()), b"root/2")
    run.let(HOUR / 1000)
    healed_at = run.now()
    run.hours(3)
    assert [each for each in opened(run, stolen) if each.sealed_at >= healed_at] == []
    count_healed(run, healed_at)


def test_a_newcomer_from_whom_the_cloud_keeps_the_charter_seals_nothing(run: Days) -> None:
    """Its credential says how new a charter it must know: it cannot be shown a project in which nobody is refused."""
    thief, _stolen = stolen_from(run, "r1")
    run.refuse(thief.identity.member_id, 0)
    for worker in run.alive():
        worker.kill(lose=False)
    run.world.cloud.fork("s3")
    shown = run.world.cloud.view("s3").at(CONTROL)
    shown.batches = [batch for batch in shown.batches if not any(map(is_charter, readable(batch)))]
    before = len(run.world.cloud.given)
    run.newcomer("s3", "berlin")
    for part in range(3):
        run.send(part, 1, 0)
    run.let(600)
    assert not [topic for topic, _partition, _batch in run.world.cloud.given[before:] if topic in ENVELOPES]
    (worker,) = run.alive("s")
    assert "charter" in worker.station.control.holding


def test_a_charter_that_the_cloud_keeps_back_stops_sealing_when_it_is_older_than_its_max_age(run: Days) -> None:
    run.sign_charter(max_age=HOUR)
    run.let(60)
    run.world.cloud.fork("s1").frozen = "withheld"
    thief, stolen = stolen_from(run, "r1")
    run.refuse(thief.identity.member_id, 0)
    refused_at = run.now()
    thief.announce()
    run.hours(4)
    seen = opened(run, stolen, thief.loot)
    assert [each for each in seen if each.sealed_at > refused_at + HOUR + MINUTE] == []
    assert not [each for each in opened(run, loot.Loot(sessions=dict(MADE))) if each.sealed_at > refused_at + 2 * HOUR]


def test_a_reader_whose_thief_announces_keys_ends_and_says_that_its_identity_is_in_use_twice(run: Days) -> None:
    thief, _stolen = stolen_from(run, "r1")
    (reader,) = run.alive("r")
    run.let(600)
    thief.announce()
    run.let(60)
    assert "identity in use twice" in reader.station.control.over
