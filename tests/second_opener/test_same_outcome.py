"""Whatever the bytes are, sealwire and the opener that was written from FORMAT.md alone make the same of them."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "keys")]

import altered  # noqa: E402
import opener  # noqa: E402
import suite  # noqa: E402
import vector_file  # noqa: E402
import vector_people as people  # noqa: E402
import vector_run  # noqa: E402

from sealwire.keys import wire  # noqa: E402
from sealwire.keys.primitives import sha256, verify  # noqa: E402

if TYPE_CHECKING:
    from random import Random

    from vector_file import Vector

EXAMPLES = int(os.environ.get("OPENER_EXAMPLES", "300"))
VECTORS = {
    path: vector
    for path, vector in vector_file.load().items()
    if not vector.has("zeros")
    and not path.startswith(("trust/", "holds/", "cursor/", "envelope/bomb", "envelope/states-65"))
}
GOOD = [path for path, vector in VECTORS.items() if vector.expect.split()[0] in {"open", "accept", "same", "refused"}]
OFFSETS = st.sampled_from([0, 1, 2, 10, 89, 90, 99, 100, 101, 110, 2**20, 2**20 + 100, 2**20 + 101, 2**40, 2**63 - 1])
MOMENTS = st.sampled_from([0, 1, 65, 310, 311, 3900, 3901, 10_000]).map(lambda seconds: seconds * 1000)


def sealwires(vector: Vector) -> tuple[str, dict[str, Any]]:
    """What sealwire makes of it."""
    if not vector.has("envelope"):
        return vector_run.statement(vector), {}
    word, opened = vector_run.policy(vector) if vector.has("root") else vector_run.envelope(vector)
    if opened is None:
        return word, {}
    return word, {
        "source": str(opened.source),
        "span": f"{opened.span.first} {opened.span.next}",
        "kind": opened.inner.kind.name.lower(),
        "cause": opened.inner.cause.name.lower(),
        "flags": str(opened.inner.flags),
        "batches size": str(len(opened.batches)),
        "batches sha256": "hex " + sha256(opened.batches).hex(),
        "body digest": "hex " + opened.body_digest.hex(),
    }


def outcomes(vector: Vector) -> tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]:
    return opener.outcome(opener.parse(vector.render())), sealwires(vector)


@settings(max_examples=EXAMPLES)
@given(st.sampled_from([*VECTORS, *GOOD * 5]), st.randoms(use_true_random=False))
def test_a_vector_with_bytes_or_fields_altered_has_one_outcome(path: str, random: Random) -> None:
    first, second = outcomes(altered.altered(VECTORS[path], random))
    assert first == second


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(GOOD), st.sampled_from(GOOD), st.binary(max_size=200), st.sampled_from([0, 3, 5, 37, 41, 52]))
def test_any_bytes_and_any_vectors_head_before_any_bytes_have_one_outcome(
    path: str, other: str, data: bytes, head: int
) -> None:
    begins = altered.subject(VECTORS[other])[:head]
    first, second = outcomes(altered.with_subject(VECTORS[path], begins + data))
    assert first == second


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(GOOD), st.sampled_from(sorted(VECTORS)), st.randoms(use_true_random=False))
def test_two_vectors_spliced_have_one_outcome(path: str, other: str, random: Random) -> None:
    one, two = altered.subject(VECTORS[path]), altered.subject(VECTORS[other])
    spliced = (
        two if random.randrange(4) == 0 else one[: random.randrange(len(one))] + two[random.randrange(len(two) + 1) :]
    )
    first, second = outcomes(altered.with_subject(VECTORS[path], spliced))
    assert first == second


PATTERNS = st.sampled_from(
    ["orders", "orders*", "order*", "*", "acme.orders", "acme.*", "acme.orders.*", "o", "returns*"]
)
VALUES = st.lists(st.sampled_from(["berlin", "member", "paris"]), max_size=3, unique=True).map(sorted)
TABLES = st.dictionaries(st.sampled_from(["color", "role", "site"]), VALUES, max_size=2).map(
    lambda table: [list(row) for row in sorted(table.items())]
)


@settings(max_examples=EXAMPLES)
@given(
    policies=st.lists(st.tuples(PATTERNS, PATTERNS, st.integers(0, 1), TABLES, TABLES, st.just(0)), max_size=4),
    since=st.none() | st.sampled_from([0, people.MADE_AT - 1, people.MADE_AT, people.MADE_AT + 1]),
    least=st.sampled_from([(1, 1), (0, 0), (2, 1), (1, 2)]),
    ends=st.none() | st.sampled_from([people.MADE_AT - 1, people.MADE_AT]),
    now=st.sampled_from([people.NOW, people.MADE_AT - 300_000, people.MADE_AT - 300_001]),
)
def test_whatever_a_charter_says_a_sender_may_or_may_not_produce_alike(
    policies: list[Any], since: int | None, least: tuple[int, int], ends: int | None, now: int
) -> None:
    refusals = [] if since is None else [[people.ANNA.member_id, since, ""]]
    body = msgspec.msgpack.encode([1, people.BEGAN, 1, policies, refusals, *least, 0])
    said = wire.finish(wire.Type.CHARTER, wire.head(wire.Type.CHARTER, people.PROJECT, body), [people.AUTHORITY])
    vector = VECTORS["policy/policy-allows.txt"]
    changed = {"charter": said, "now": now}
    inputs = [(name, changed.get(name, value)) for name, value in vector.inputs]
    if ends is not None:
        inputs.append(("credential not after", ends))
    first, second = outcomes(dataclasses.replace(vector, inputs=tuple(inputs)))
    assert first == second


@settings(max_examples=EXAMPLES)
@given(
    after=st.none() | OFFSETS,
    state=st.sampled_from(["flowing", "waiting", "held regressed", "held lost-span"]),
    floor=MOMENTS,
    before=MOMENTS,
    made_at=MOMENTS,
    sealed_at=MOMENTS,
    span=st.tuples(OFFSETS, OFFSETS).filter(lambda pair: pair[0] < pair[1]),
    last_stable=OFFSETS,
    kind=st.sampled_from(["records", "lost"]),
    flags=st.integers(0, 3),
    records=st.sampled_from([0, 1, 2, 10]),
)
def test_whatever_an_envelope_says_a_cursor_decides_the_same(
    after: int | None, state: str, floor: int, before: int, made_at: int, sealed_at: int, **said: Any
) -> None:
    first, following = said["span"]
    rows = {
        "cursor next": "none" if after is None else after,
        "cursor state": state,
        "session floor": floor,
        "cursor sealed at": before,
        "made at": made_at,
        "kind": said["kind"],
        "flags": said["flags"],
        "first": first,
        "next": following,
        "last stable": said["last_stable"],
        "sealed at": sealed_at,
        "records": said["records"],
    }
    vector = vector_file.Vector("one", "Drawn.", "deliver", tuple(rows.items()))
    assert opener.cursor(opener.parse(vector.render())) == vector_run.cursor(vector)


POINTS = [
    *(bytes(31) + b"\x80", *(number.to_bytes(32, "little") for number in (0, 1, suite.ORDER, 2**255 - 1))),
    *(y.to_bytes(32, "little") for y in sorted(suite.SMALL_ORDER)),
    *((y | 1 << 255).to_bytes(32, "little") for y in sorted(suite.SMALL_ORDER)),
    *((suite.FIELD + more).to_bytes(32, "little") for more in range(19)),
    *((suite.FIELD + more | 1 << 255).to_bytes(32, "little") for more in range(19)),
]


@pytest.mark.parametrize("public", POINTS, ids=bytes.hex)
def test_signatures_of_points_that_are_no_keys_are_good_for_nobody(public: bytes) -> None:
    for r in POINTS[:15]:
        for s in (bytes(32), (1).to_bytes(32, "little"), suite.ORDER.to_bytes(32, "little")):
            for message in (b"", b"a", b"b", b"c"):
                with pytest.raises(opener.Refused, match="bad-signature"):
                    suite.verify(public, r + s, message)
                assert not verify(public, message, r + s)
