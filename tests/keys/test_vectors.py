"""Every file of tests/vectors does what it says, and the folder is what its generator makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import make_vectors
import pytest
import vector_file
from sealwire.keys.envelope import Place
from sealwire.keys.opening import Opened, UnknownSession, open_envelope
from sealwire.keys.primitives import sha256
from sealwire.keys.reason import Rejected
from sealwire.keys.session import InboundSession
from vector_file import Vector

if TYPE_CHECKING:
    from sealwire.keys.trust import Trust

VECTORS = vector_file.load()


class Permissive:
    """Stands for a Trust whose policy lets everybody produce: what an envelope vector is not about."""

    def may_produce(self, *_: object) -> None:
        """Say nothing against it."""


def session_of(vector: Vector) -> InboundSession:
    return InboundSession(
        id=vector.octets("session id"),
        secret=vector.octets("session secret"),
        suite=vector.number("session suite"),
        project_id=vector.octets("session project id"),
        channel=vector.text("session channel"),
        member_id=vector.octets("session sender"),
        name="anna",
        site=vector.text("session site"),
        attributes=(("role", "member"), ("site", vector.text("session site"))),
        verifying_key=vector.octets("session verifying key"),
        made_at=vector.number("session made at"),
        not_after=vector.number("session not after"),
        credential_not_before=0,
        credential_not_after=2**53,
        credential_serial=1,
        number=1,
    )


def outcome(vector: Vector) -> tuple[str, Opened | None]:
    """Open a vector's envelope; give the word of its `expect` line, and what was opened."""
    place = Place(
        vector.octets("project id"),
        vector.text("channel"),
        vector.text("cloud topic"),
        vector.number("cloud partition"),
    )
    null = any(name == "cloud record key" and value == "null" for name, value in vector.inputs)
    elsewhere = [str(value).split() for name, value in vector.inputs if name == "elsewhere"]
    envelope = vector.octets("envelope") + bytes(vector.number("zeros") if vector.has("zeros") else 0)
    session = session_of(vector)
    try:
        opened = open_envelope(
            envelope,
            place,
            None if null else vector.octets("cloud record key"),
            {session.id: session},
            cast("Trust", Permissive()),
            vector.number("now"),
            memoryview(bytearray(len(envelope))),
            elsewhere=[Place(place.project_id, place.channel, topic, int(number)) for topic, number in elsewhere],
        )
    except Rejected as refused:
        return f"reject {refused.reason}", None
    return ("unknown-session", None) if isinstance(opened, UnknownSession) else ("open", opened)


@pytest.mark.parametrize("path", [path for path in VECTORS if path.startswith("envelope/")])
def test_an_envelope_does_what_its_vector_says(path: str) -> None:
    vector = VECTORS[path]
    word, opened = outcome(vector)
    assert word == vector.expect
    if opened is not None:
        assert str(opened.source) == vector.text("source")
        assert f"{opened.span.first} {opened.span.next}" == vector.text("span")
        assert opened.inner.kind.name.lower() == vector.text("kind")
        assert opened.inner.cause.name.lower() == vector.text("cause")
        assert opened.inner.flags == vector.number("flags")
        assert len(opened.batches) == vector.number("batches size")
        assert sha256(opened.batches) == vector.octets("batches sha256")
        assert opened.body_digest == vector.octets("body digest")


def test_the_folder_is_what_its_generator_makes() -> None:
    stored = {str(p.relative_to(vector_file.FOLDER)): p.read_text() for p in vector_file.FOLDER.glob("*/*.txt")}
    made = make_vectors.made()
    assert sorted(stored) == sorted(made)
    assert [path for path in made if stored[path] != made[path]] == []


@pytest.mark.parametrize("path", VECTORS)
def test_a_vector_is_named_for_its_file_and_stays_small(path: str) -> None:
    assert path.endswith(f"/{VECTORS[path].name}.txt")
    assert (vector_file.FOLDER / path).stat().st_size < 8 * 1024
