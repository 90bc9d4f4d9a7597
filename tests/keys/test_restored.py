from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import BERT, DAY, HOUR, NOW, PROJECT, ROOT, Draws, admit

from sealwire.keys import credential, keypackage
from sealwire.keys.keypackage import SHORT
from sealwire.keys.restored import Restored, restored

if TYPE_CHECKING:
    from sealwire.keys.secrets import Secrets

PACKAGE = keypackage.read(BERT.package, PROJECT, BERT.credential, NOW)
SECOND = admit(BERT.identity, "bert", serial=2, now=NOW + DAY, site="paris")
RENEWED = credential.read(SECOND, ROOT, NOW + DAY)


def later(ahead: int, *, anew: bool = False) -> keypackage.KeyPackage:
    """What the newer vault announced a while after the backup was made."""
    held = () if anew else BERT.held
    _, statement = keypackage.renew(BERT.identity, BERT.credential, PROJECT, held, NOW + ahead, Draws("later"))
    assert statement is not None
    return keypackage.read(statement, PROJECT, BERT.credential, NOW + ahead)


def test_a_vault_that_holds_what_it_said_is_no_backup() -> None:
    assert restored(BERT.secrets, NOW, PACKAGE) is None
    assert restored(BERT.secrets, NOW, None) is None


def test_a_vault_saved_and_not_announced_yet_is_no_backup() -> None:
    held, _ = keypackage.renew(BERT.identity, BERT.credential, PROJECT, BERT.held, NOW + DAY, Draws("x"))
    assert restored(BERT.secrets.holding(held), NOW + DAY, PACKAGE) is None


@pytest.mark.parametrize("ahead", [SHORT, DAY, 4 * DAY, 13 * DAY])
def test_receiving_keys_that_were_announced_and_are_not_held_are_lost(ahead: int) -> None:
    said = later(ahead)
    found = restored(BERT.secrets, NOW + ahead, said)
    assert found is not None
    known = {(each.start, each.end) for each in BERT.held}
    assert found.windows == tuple(
        (each.start, each.end) for each in said.windows if (each.start, each.end) not in known
    )
    assert f"lacks {len(found.windows)} receiving keys that were announced: it was restored" in str(found)


def test_keys_made_anew_for_windows_that_are_held_are_lost_too() -> None:
    found = restored(BERT.secrets, NOW + 1, later(1, anew=True))
    assert found is not None
    assert len(found.windows) == len(BERT.held)


def test_keys_whose_windows_are_over_are_nobodys_loss() -> None:
    left = BERT.secrets.forget(NOW + 40 * DAY)
    assert left.held == ()
    assert restored(left, NOW + 40 * DAY, PACKAGE) is None
    last = max(each.end for each in PACKAGE.windows)
    assert restored(left, last - 1, PACKAGE) is not None
    assert restored(left, last, PACKAGE) is None


def test_a_credential_that_came_while_the_worker_was_off_is_no_sign() -> None:
    assert restored(BERT.secrets, NOW + DAY, PACKAGE) is None
    assert restored(BERT.secrets.admitted(SECOND), NOW + DAY, PACKAGE) is None


def test_a_credential_that_was_spoken_under_and_is_not_in_the_vault_is_one() -> None:
    announced = keypackage.announce(BERT.identity, RENEWED, PROJECT, BERT.held, NOW + DAY)
    package = keypackage.read(announced, PROJECT, RENEWED, NOW + DAY)
    assert restored(BERT.secrets, NOW + DAY, package) == Restored(used=2)
    assert restored(BERT.secrets.admitted(SECOND), NOW + DAY, package) is None
    assert restored(replace(BERT.secrets, credential=None), NOW, PACKAGE) == Restored(used=1)
    assert "lacks credential 2, which was used:" in str(Restored(used=2))


def test_what_the_vault_knows_of_itself_is_enough() -> None:
    assert restored(BERT.secrets, NOW, PACKAGE, 3) == restored(BERT.secrets, NOW, None, 3) == Restored(saves=3)
    assert "lacks its last 3 saves: it was restored" in str(Restored(saves=3))
    assert "keys that were announced and its last 3 saves:" in str(Restored(((1, 2),), saves=3))


def saved_every_four_hours(steps: int) -> tuple[list[Secrets], keypackage.KeyPackage]:
    """Each vault that a worker ever saved, and what it announced last."""
    vaults, said = [BERT.secrets], PACKAGE
    for step in range(1, steps + 1):
        now = NOW + step * SHORT
        held, made = keypackage.renew(
            BERT.identity, BERT.credential, PROJECT, vaults[-1].held, now, Draws(f"step {step}")
        )
        assert made is not None
        vaults.append(BERT.secrets.holding(held).forget(now))
        said = keypackage.read(made, PROJECT, BERT.credential, now)
    return vaults, said


VAULTS, LAST = saved_every_four_hours(20)


@given(st.integers(0, 20), st.integers(0, 67 * HOUR))
def test_every_vault_but_the_newest_is_known_as_a_backup_for_days(backup: int, away: int) -> None:
    now = NOW + 20 * SHORT + away
    found = restored(VAULTS[backup].forget(now), now, LAST)
    assert (found is None) == (backup == 20)
