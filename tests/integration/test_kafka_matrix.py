"""Whatever a topic holds arrives as it was: every kind of topic, by three clients, compared record by record."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from kafka_world import World, await_
from matrix_kinds import Way
from matrix_run import Case, Matrix, cases
from matrix_writers import Peer
from traffic import count_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Clusters

pytestmark = pytest.mark.kafka

CASES = [case for case in cases() if re.search(os.environ.get("MATRIX_ONLY", ""), case.topic)]
MADE_ANEW = (Way.MERGED, Way.SLOW)  # batches of our own making: Java's consumer, the strictest, reads all of them


def the_cases(*ways: Way, and_every: int = 0) -> pytest.MarkDecorator:
    chosen = [
        case
        for number, case in enumerate(CASES)
        if not ways or case.kind.way in ways or (and_every and number % and_every == 0)
    ]
    return pytest.mark.parametrize("case", chosen, ids=[case.topic.removeprefix("kind-") for case in chosen])


@pytest.fixture(scope="module")
def matrix(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    world = World("matrix", tmp_path_factory.mktemp("matrix"), *clusters)
    with Peer() as peer:
        made = Matrix(world.found(), peer, CASES)
        try:
            made.begin()
            yield made
            made.report()
        finally:
            made.end()
            world.close()


@the_cases()
def test_every_record_arrives_as_it_was(matrix: Matrix, case: Case) -> None:
    finish = matrix.written(case).scene.finish
    if finish is not None:
        before = matrix.written(case).scene.committed
        matrix.compare(case)
        await_(lambda: shown_waiting(matrix, case), f"{case.topic} shown as waiting for a transaction", within=30)
        assert count_of(matrix.world.sink, case.topic) == before
        finish()
    matrix.compare(case)


def shown_waiting(matrix: Matrix, case: Case) -> bool:
    row = matrix.sealer.rows(case.topic)[0]
    return row["state"] == "waiting" and "transaction" in row["why"] and row["lag"] > 0


@the_cases(Way.WHOLE, Way.WAITS)
def test_what_passes_whole_is_at_the_sink_byte_for_byte(matrix: Matrix, case: Case) -> None:
    matrix.compared(case)
    assert matrix.passed_whole(case) == []


@the_cases(Way.MERGED)
def test_small_batches_are_merged(matrix: Matrix, case: Case) -> None:
    matrix.compared(case)
    source, sink = (matrix.batches(cluster, case) for cluster in (matrix.world.source, matrix.world.sink))
    assert len(sink) < len(source)


@the_cases()
def test_batches_at_the_sink_are_what_any_producer_could_have_sent(matrix: Matrix, case: Case) -> None:
    matrix.compared(case)
    source, sink = (matrix.batches(cluster, case) for cluster in (matrix.world.source, matrix.world.sink))
    assert not any(each.holes or each.log_append or each.horizon for each in sink)
    assert all(each.transactional for each in sink)
    if case.kind.way is not Way.NOTHING:
        assert {each.codec for each in sink} == {each.codec for each in source}


@the_cases(*MADE_ANEW, and_every=4)
def test_javas_consumer_reads_the_same_at_both_ends(matrix: Matrix, case: Case) -> None:
    matrix.compared(case)
    source = matrix.peer.digests(matrix.world.source.bootstrap, case.topic)
    sink = matrix.peer.digests(matrix.world.sink.bootstrap, case.topic)
    assert source == sink
    assert {partition: digest for partition, (_, digest) in source.items()} == matrix.figures[case.topic]["sha256"]


def test_nothing_came_twice_and_nothing_is_in_the_way(matrix: Matrix) -> None:
    expected = {topic: figures["records"] for topic, figures in matrix.figures.items()}
    assert {topic: count_of(matrix.world.sink, topic) for topic in expected} == expected
    refused = matrix.mirror.status["refused"]
    refused.pop("parked", 0)  # an envelope may overtake its session's statement; it is read again
    assert not refused
