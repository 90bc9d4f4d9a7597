from __future__ import annotations

import hashlib

from statement_world import DAY, NOW, Draws

from sealwire.keys import identity


def test_a_member_id_is_the_sha_256_of_the_first_key_and_stays_when_the_key_is_replaced() -> None:
    first = identity.create(Draws("a"), NOW)
    assert first.member_id == hashlib.sha256(first.public).digest()
    second = identity.replace(first, Draws("b"), NOW + DAY)
    assert second.member_id == first.member_id
    assert second.public != first.public


def test_a_fingerprint_is_short_enough_to_compare_and_shows_no_secret() -> None:
    who = identity.create(Draws("a"), NOW)
    assert who.fingerprint.replace("-", "") == who.member_id.hex()[:16]
    assert who.signing.seed.hex() not in repr(who)
    assert repr(who.signing.seed) not in repr(who)
