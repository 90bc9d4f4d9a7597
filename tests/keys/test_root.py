from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statement_world import AUTHORITY, DAY, NOW, OFFLINE, PROJECT, ROOT, ROOT_BYTES, YEAR, flips, signing

from sealwire.keys import root, wire
from sealwire.keys.primitives import ED25519, SigningKey
from sealwire.keys.reason import Misuse, Reason, Rejected
from sealwire.keys.root import Root, RootFields
from sealwire.keys.wire import Type

NEW = [signing(f"new root {number}") for number in range(2)]


def fields(former: Root = ROOT, **changes: object) -> RootFields:
    same = {name: getattr(former, name) for name in RootFields.__struct_fields__}
    return RootFields(**{**same, "made_at": NOW + DAY, **changes})


def refusal(statement: bytes, former: Root = ROOT) -> Reason:
    with pytest.raises(Rejected) as caught:
        root.read_next(statement, former)
    return caught.value.reason


def test_the_project_id_is_the_sha_256_of_what_the_first_root_signs() -> None:
    before_the_count = ROOT_BYTES[: -1 - 3 * 96]
    assert hashlib.sha256(b"sealwire v1 root".ljust(32, b"\0") + before_the_count).digest() == PROJECT
    assert root.project_id(ROOT_BYTES) == PROJECT
    assert (ROOT.project_name, ROOT.version, ROOT.former) == ("acme", 1, None)


def test_an_altered_bit_anywhere_in_a_root_is_rejected() -> None:
    for altered in flips(ROOT_BYTES):
        with pytest.raises(Rejected):
            root.read_first(altered, PROJECT)


def test_the_first_root_of_another_project_is_foreign_to_a_pinned_id() -> None:
    other = root.make_first("acme", OFFLINE, 2, [(AUTHORITY.public, NOW + YEAR)], [], NOW + 1)
    with pytest.raises(Rejected) as caught:
        root.read_first(other, PROJECT)
    assert caught.value.reason is Reason.OTHER_PROJECT


def test_a_first_root_needs_its_threshold() -> None:
    same = {name: getattr(ROOT, name) for name in RootFields.__struct_fields__}
    lonely = wire.write(Type.ROOT, wire.NO_PROJECT, RootFields(**same), OFFLINE[:1])
    with pytest.raises(Rejected) as caught:
        root.read_first(lonely)
    assert caught.value.reason is Reason.UNKNOWN_SIGNER


def test_the_next_root_is_signed_by_the_thresholds_of_both() -> None:
    changed = fields(root_keys=tuple((ED25519, signer.public) for signer in NEW), threshold=2)
    second = root.read_next(root.make_next(ROOT, changed, [*OFFLINE[:2], *NEW]), ROOT)
    assert (second.version, second.former, second.project_id) == (2, ROOT.digest, PROJECT)
    assert refusal(root.make_next(ROOT, changed, [OFFLINE[0], *NEW])) is Reason.UNKNOWN_SIGNER
    assert refusal(root.make_next(ROOT, changed, [*OFFLINE, NEW[0]])) is Reason.UNKNOWN_SIGNER
    assert refusal(root.make_next(ROOT, changed, [*OFFLINE, *NEW, AUTHORITY])) is Reason.UNKNOWN_SIGNER


def test_a_root_follows_only_the_one_that_it_names() -> None:
    second_bytes = root.make_next(ROOT, fields(), OFFLINE)
    second = root.read_next(second_bytes, ROOT)
    assert refusal(second_bytes, second) is Reason.OUTDATED
    third = root.make_next(second, fields(), OFFLINE)
    assert refusal(third) is Reason.OUTDATED
    cousin = root.read_next(root.make_next(ROOT, fields(made_at=NOW + 2 * DAY), OFFLINE), ROOT)
    assert refusal(third, cousin) is Reason.FORK


def test_a_pinned_root_is_believed_by_its_digest() -> None:
    second_bytes = root.make_next(ROOT, fields(), OFFLINE)
    second = root.read_next(second_bytes, ROOT)
    assert root.read_pinned(second_bytes, PROJECT, second.digest) == second
    assert root.trusted(second_bytes) == second
    assert root.trusted(ROOT_BYTES) == ROOT
    with pytest.raises(Rejected) as caught:
        root.read_pinned(second_bytes, PROJECT, ROOT.digest)
    assert caught.value.reason is Reason.FORK


def test_a_first_root_hidden_under_a_project_id_is_malformed() -> None:
    same = {name: getattr(ROOT, name) for name in RootFields.__struct_fields__}
    for forged in (RootFields(**same), RootFields(**{**same, "version": 2})):
        with pytest.raises(Rejected) as caught:
            root.read_pinned(wire.write(Type.ROOT, PROJECT, forged, OFFLINE), PROJECT)
        assert caught.value.reason in {Reason.MALFORMED, Reason.OTHER_PROJECT}
    with pytest.raises(Rejected):
        root.read_first(wire.write(Type.ROOT, wire.NO_PROJECT, RootFields(**{**same, "version": 2}), OFFLINE))


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 0},
        {"threshold": 4},
        {"root_keys": ((ED25519, OFFLINE[0].public),) * 2, "threshold": 1},
        {"authority_keys": ((ED25519, AUTHORITY.public, NOW),) * 2},
        {"escrow": (("a", 1, b"key"),) * 2},
        {"distrusted": ((AUTHORITY.public, NOW),) * 2},
        {"root_keys": ()},
        {"project_name": "no/name"},
    ],
)
def test_a_root_that_contradicts_itself_is_neither_made_nor_read(changes: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        root.make_next(ROOT, fields(**changes), OFFLINE)
    forged = msgspec.structs.replace(fields(**changes), version=2, former=ROOT.digest)
    assert refusal(wire.write(Type.ROOT, PROJECT, forged, OFFLINE)) is Reason.MALFORMED


def authority(of: Root, made_at: int, now: int) -> bytes | Reason:
    signer = hashlib.sha256(AUTHORITY.public).digest()
    try:
        return of.authority(signer, made_at, now)
    except Rejected as caught:
        return caught.reason


def test_an_authority_key_counts_until_its_end_by_both_clocks() -> None:
    assert authority(ROOT, NOW, NOW + YEAR) == AUTHORITY.public
    assert authority(ROOT, NOW, NOW + YEAR + 1) is Reason.EXPIRED
    assert authority(ROOT, NOW + YEAR + 1, NOW) is Reason.EXPIRED


def test_a_distrusted_authority_key_counts_for_what_it_signed_before() -> None:
    changed = fields(distrusted=((AUTHORITY.public, NOW + DAY),))
    second = root.read_next(root.make_next(ROOT, changed, OFFLINE), ROOT)
    assert authority(second, NOW, NOW) == AUTHORITY.public
    assert authority(second, NOW + DAY, NOW + DAY) is Reason.DISTRUSTED


def test_an_authority_key_of_an_algorithm_we_do_not_know_signs_nothing() -> None:
    changed = fields(authority_keys=((2, AUTHORITY.public, NOW + YEAR),))
    second = root.read_next(root.make_next(ROOT, changed, OFFLINE), ROOT)
    assert authority(second, NOW, NOW) is Reason.UNKNOWN_SIGNER


@given(st.binary(max_size=400))
def test_any_bytes_are_a_root_or_rejected(noise: bytes) -> None:
    framed = wire.finish(Type.ROOT, wire.head(Type.ROOT, bytes(32), noise), [])
    for statement in (noise, ROOT_BYTES[:41] + noise, framed):
        for reader in (root.read_first, root.trusted, root.version):
            with pytest.raises(Rejected):
                reader(statement)
    with pytest.raises(Rejected):
        root.project_id(noise)


def test_a_pinned_root_may_be_signed_by_keys_of_a_former_root_that_is_not_known_here() -> None:
    changed = fields(root_keys=tuple((ED25519, signer.public) for signer in NEW), threshold=2)
    statement = root.make_next(ROOT, changed, [*OFFLINE[:2], *NEW])
    assert root.read_pinned(statement, PROJECT, root.read_next(statement, ROOT).digest).version == 2


def drafted(*signers: SigningKey, **changes: object) -> root.Draft:
    draft = root.read_draft(root.make_next(ROOT, fields(**changes), []), ROOT)
    for signer in signers:
        draft = root.sign(draft, signer)
    return draft


def test_a_draft_signed_by_one_after_the_other_is_the_root_that_all_sign_at_once() -> None:
    keys = tuple((ED25519, signer.public) for signer in NEW)
    draft = drafted(NEW[1], OFFLINE[2], NEW[0], OFFLINE[0], root_keys=keys, threshold=2)
    at_once = root.make_next(ROOT, fields(root_keys=keys, threshold=2), [OFFLINE[0], OFFLINE[2], *NEW])
    assert draft.statement == at_once
    assert root.read_next(draft.statement, ROOT).version == 2


@pytest.mark.parametrize(
    ("signers", "lacking"), [([], (2, 2)), (OFFLINE[:1], (1, 2)), (NEW, (2, 0)), ([*OFFLINE, *NEW], (0, 0))]
)
def test_a_draft_counts_what_it_lacks_of_both_roots(signers: list[SigningKey], lacking: tuple[int, int]) -> None:
    draft = drafted(*signers, root_keys=tuple((ED25519, signer.public) for signer in NEW), threshold=2)
    assert draft.lacking == lacking
    assert [draft.signed_by(each.public) for each in (*OFFLINE, *NEW)] == [each in signers for each in (*OFFLINE, *NEW)]
    if lacking != (0, 0):
        assert refusal(draft.statement) is Reason.UNKNOWN_SIGNER


def test_copies_of_a_draft_are_joined_and_another_draft_is_a_fork() -> None:
    first, second = drafted(OFFLINE[0]), drafted(OFFLINE[1])
    assert root.read_draft(first.statement, ROOT, second.statement).statement == drafted(*OFFLINE[:2]).statement
    with pytest.raises(Rejected) as caught:
        root.read_draft(first.statement, ROOT, drafted(OFFLINE[1], threshold=1).statement)
    assert caught.value.reason is Reason.FORK


@pytest.mark.parametrize("where", [0, 1])
def test_a_stranger_s_and_a_bad_signature_are_refused_in_a_draft_and_in_its_copies(where: int) -> None:
    good = drafted().statement
    for bad, reason in (
        (root.make_next(ROOT, fields(), [signing("stranger")]), Reason.UNKNOWN_SIGNER),
        (drafted(OFFLINE[0]).statement[:-1] + b"\0", Reason.BAD_SIGNATURE),
    ):
        with pytest.raises(Rejected) as caught:
            root.read_draft(*((bad, ROOT) if where == 0 else (good, ROOT, bad)))
        assert caught.value.reason is reason
    with pytest.raises(Rejected) as caught:
        root.sign(drafted(), signing("stranger"))
    assert caught.value.reason is Reason.UNKNOWN_SIGNER
