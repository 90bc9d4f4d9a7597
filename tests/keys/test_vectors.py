"""Every file of tests/vectors does what it says, and the folder is what its generator makes."""

from __future__ import annotations

import make_vectors
import pytest
import vector_file
import vector_run
from vector_file import Vector

from sealwire.keys.primitives import sha256
from sealwire.keys.reason import Reason
from sealwire.keys.wire import Type

VECTORS = vector_file.load()
OWN_SIDE = {
    # These are said of our own site, by code that looks at clusters: no bytes from outside make them.
    Reason.SINK_CHANGED,
    Reason.SINK_REFUSED,
    Reason.OLD_FORMAT,
    Reason.CURSORS_LOST,
}


def below(*folders: str) -> list[str]:
    return [path for path in VECTORS if path.split("/")[0] in folders]


@pytest.mark.parametrize("path", below("envelope", "policy"))
def test_an_envelope_does_what_its_vector_says(path: str) -> None:
    vector = VECTORS[path]
    word, opened = vector_run.policy(vector) if vector.has("root") else vector_run.envelope(vector)
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


@pytest.mark.parametrize("path", below(*(kind.name.lower().replace("_", "-") for kind in Type)))
def test_a_statement_does_what_its_vector_says(path: str) -> None:
    assert vector_run.statement(VECTORS[path]) == VECTORS[path].expect


@pytest.mark.parametrize("path", below("trust"))
def test_what_is_believed_depends_on_what_was_known_as_its_vector_says(path: str) -> None:
    assert vector_run.learn(VECTORS[path]) == VECTORS[path].expect


@pytest.mark.parametrize("path", below("holds"))
def test_a_reader_holds_or_goes_on_as_its_vector_says(path: str) -> None:
    assert vector_run.holds(VECTORS[path]) == VECTORS[path].expect


@pytest.mark.parametrize("path", below("cursor"))
def test_a_cursor_decides_as_its_vector_says(path: str) -> None:
    assert vector_run.cursor(VECTORS[path]) == VECTORS[path].expect


def test_the_folder_is_what_its_generator_makes() -> None:
    stored, made = make_vectors.stored(), make_vectors.made()
    assert sorted(stored) == sorted(made)
    assert [path for path in made if stored[path] != made[path]] == []


def test_a_vector_is_named_for_its_file_and_stays_small() -> None:
    for path, vector in VECTORS.items():
        assert path.endswith(f"/{vector.name}.txt")
        assert (vector_file.FOLDER / path).stat().st_size < 10 * 1024, path


def test_every_type_has_a_good_vector() -> None:
    for kind in Type:
        folder = kind.name.lower().replace("_", "-")
        assert VECTORS[f"{folder}/good.txt"].expect == "accept"
    assert VECTORS["envelope/one-batch.txt"].expect == "open"


def test_every_reason_has_a_vector_or_is_said_of_our_own_side() -> None:
    words = {word for vector in VECTORS.values() for word in vector.expect.split()}
    assert {reason for reason in Reason if reason.value not in words} == OWN_SIDE


def test_what_is_written_is_read_back() -> None:
    for vector in VECTORS.values():
        assert Vector.parse(vector.render()) == vector
