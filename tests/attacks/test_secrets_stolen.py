"""What each stolen secret opens, with the whole cloud log from its first day on: a row each of SECURITY.md's table.

The thief derives by itself and believes everything; what keeps it out are secrets that are no more.
"""

from __future__ import annotations

import pytest
from days import MADE
from heist import SESSION, Heist, heist
from loot import Loot


@pytest.fixture(scope="module")
def stolen() -> Heist:
    """Everything, after a day of traffic."""
    found = heist(before=26, after=8)
    assert sum(each.sealed_at > found.at for each in found.everything) > 10
    return found


def test_the_whole_cloud_log_opens_nothing(stolen: Heist) -> None:
    assert stolen.open(Loot()) == []
    assert stolen.open(Loot(words=frozenset(stolen.thief.public))) == []


def test_a_sealers_vault_opens_nothing(stolen: Heist) -> None:
    assert stolen.open(stolen.vaults["s1"]) == []


def test_a_live_sealers_memory_opens_the_sessions_of_its_last_hour_and_the_rest_of_their_lives(stolen: Heist) -> None:
    seen = stolen.open(stolen.memories["s1"])
    assert seen
    assert [each for each in seen if not -SESSION <= each.sealed_at - stolen.at <= SESSION] == []


def test_a_receiving_key_opens_the_sessions_begun_in_its_window_and_no_other(stolen: Heist) -> None:
    windows = 0
    for held in stolen.secrets["r1"].held:
        seen = stolen.open(Loot(receiving=frozenset({held.receiving})))
        begun = [stolen.thief.sessions[each.session_id][0].fields.made_at for each in seen]
        assert [made_at for made_at in begun if not held.start <= made_at < held.end] == []
        windows += bool(seen)
    assert windows >= 5


def test_a_session_secret_opens_its_session_and_no_other(stolen: Heist) -> None:
    used = {each.session_id for each in stolen.everything}
    for session_id in list(used)[:20]:
        seen = stolen.open(Loot(sessions={session_id: MADE[session_id]}, words=frozenset({MADE[session_id]})))
        assert {each.session_id for each in seen} == {session_id}


def test_signing_keys_and_identity_keys_open_nothing(stolen: Heist) -> None:
    signing = stolen.memories["s1"].signing | stolen.memories["r1"].signing
    assert len(signing) >= 4
    seeds = frozenset(each.seed for each in signing.values())
    assert stolen.open(Loot(signing=signing, words=seeds)) == []
