"""Charters are signed in versions that only grow, and refusals are never taken back."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import registry as registries
from registry import BERLIN, DAY, HOUR, Desk

from sealwire.app.chartering import with_refusals
from sealwire.app.faults import Failure
from sealwire.keys import charter as charters
from sealwire.keys import request as requests
from sealwire.keys.charter import BUILT_IN, Refusal
from sealwire.keys.credential import Credential

ANNA, BERT = b"a" * 32, b"b" * 32


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return registries.make(tmp_path / "acme")


def test_each_charter_is_the_next_version_and_members_can_read_it(desk: Desk) -> None:
    signing = desk.authority.charters
    assert (signing.present, signing.version) == (BUILT_IN, 0)
    for version in (1, 2, 3):
        row = signing.sign(msgspec.structs.replace(BUILT_IN, max_age=version * HOUR), f"version {version}", desk.now)
        read = charters.read(row.statement, desk.authority.project.root, desk.now)
        assert (read.version, read.max_age) == (version, version * HOUR)
        assert charters.peek(row.statement, desk.authority.project.id) == signing.present
        assert f"max_age: {version}h" in row.source


def test_a_version_at_least_may_be_asked_for(desk: Desk) -> None:
    assert desk.authority.charters.sign(BUILT_IN, "restored", desk.now, least=7).version == 7
    assert desk.authority.charters.sign(BUILT_IN, "again", desk.now, least=3).version == 8


def test_a_refusal_is_never_taken_back_and_its_since_only_sinks(desk: Desk) -> None:
    signing = desk.authority.charters
    assert signing.refuse(Refusal(ANNA, 5 * DAY, "left"), "retire", desk.now) is not None
    assert signing.refuse(Refusal(ANNA, 6 * DAY, "again"), "retire", desk.now) is None
    assert signing.refuse(Refusal(ANNA, 5 * DAY, "again"), "retire", desk.now) is None
    assert signing.version == 1
    signing.refuse(Refusal(ANNA, 0, "stolen"), "revoke", desk.now)
    assert signing.present.refusals == (Refusal(ANNA, 0, "stolen"),)
    signing.sign(BUILT_IN, "a file knows no refusals", desk.now)
    signing.sign(msgspec.structs.replace(BUILT_IN, refusals=(Refusal(ANNA, DAY, "x"),)), "later", desk.now)
    assert signing.present.refusals == (Refusal(ANNA, 0, "stolen"),)
    signing.refuse(Refusal(BERT, 0, "x"), "revoke", desk.now)
    assert [row.member_id for row in signing.present.refusals] == [ANNA, BERT]


def test_refusals_stand_in_the_order_of_the_wire() -> None:
    rows = [Refusal(BERT, 1, ""), Refusal(ANNA, 1, "")]
    assert with_refusals(BUILT_IN, rows).refusals == (Refusal(ANNA, 1, ""), Refusal(BERT, 1, ""))


def test_a_charter_that_is_too_large_is_refused_in_words(desk: Desk) -> None:
    rows = tuple(Refusal(number.to_bytes(32, "big"), 0, "w" * 200) for number in range(8000))
    with pytest.raises(Failure, match="No charter can say this"):
        desk.authority.charters.sign(msgspec.structs.replace(BUILT_IN, refusals=rows), "too many", desk.now)
    assert desk.authority.charters.version == 0


def test_a_site_of_its_own_is_free_again_when_its_member_is_refused(desk: Desk) -> None:
    _, tokyo = desk.admit("tokyo", {"role": "member"})
    asked = requests.ask(desk.ticket({**BERLIN, "site": "tokyo"}), desk.identity(), "tokyo-2", desk.now)
    assert isinstance(desk.read(asked, desk.decide(asked)), requests.Rejected)
    desk.authority.charters.refuse(Refusal(tokyo.member_id, 0, "stolen"), "revoke", desk.now)
    assert isinstance(desk.read(asked, desk.decide(asked)), Credential)
