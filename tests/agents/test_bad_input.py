"""A broker that serves what cannot be: each lie is named, costs no memory, and ends nothing."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from batch_made import NOW, Made, build, some
from fake_broker import FETCH, FakeBroker
from in_loop import in_loop, until
from test_batches import RECORDED
from test_reader import Taker, started

from sealwire.agents.batches import MAX_HOLE, OldFormat
from sealwire.agents.seat import ReadRefused
from sealwire.agents.settings import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1024 * 1024

LIES: dict[str, tuple[Callable[[FakeBroker], bytes], str]] = {
    "a wrong checksum": (
        lambda fake: fake.fetched("t", 0, build(some(3), 10)[:-1] + b"x"),
        "damaged bytes at offset 10: checksum of the batch at offset 10",
    ),
    "more records than offsets": (
        lambda fake: fake.fetched("t", 0, build(some(3), 10, last_delta=1)),
        "says: 3 records, last offset delta 1",
    ),
    "an impossible offset delta": (
        lambda fake: fake.fetched("t", 0, build(some(3), 10, last_delta=MAX_HOLE + 9)),
        f"says: 3 records, last offset delta {MAX_HOLE + 9}",
    ),
    "a negative offset delta": (
        lambda fake: fake.fetched("t", 0, build(some(3), 10, last_delta=-5)),
        "offsets of the batch at offset 10",
    ),
    "offsets that fall": (
        lambda fake: fake.fetched("t", 0, build(some(3), 10) + build(some(3), 11)),
        "the batch at offset 11, 2 behind the one before",
    ),
    "what was read before": (
        lambda fake: fake.fetched("t", 0, build(some(3), 4)),
        "only batches before it, up to 6",
    ),
    "an unknown codec": (
        lambda fake: fake.fetched("t", 0, build(some(3), 10, attributes=7)),
        "attributes 0x7",
    ),
    "another topic": (
        lambda fake: fake.fetched("other", 0, build(some(3), 10)),
        "answers for other[0], which it was not asked for",
    ),
    "another partition": (
        lambda fake: fake.fetched("t", 9, build(some(3), 10)),
        "answers for t[9], which it was not asked for",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_each_lie_is_named_and_what_is_true_comes_after_it(lie: str, caplog: pytest.LogCaptureFixture) -> None:
    told, words = LIES[lie]

    @in_loop
    async def scenario() -> None:
        async with FakeBroker() as fake:
            lies, good = 2, [build(some(3, 10), 10)]

            def fetch(_body: bytes) -> bytes | None:
                nonlocal lies
                if lies:
                    lies -= 1
                    return told(fake)
                return fake.fetched("t", 0, good.pop(), high_watermark=13) if good else None

            fake.on[FETCH] = fetch
            reader, taker = await started(Cluster(fake.bootstrap)), Taker()
            taker.seat(reader, "t", 0, 10)
            await until(lambda: taker.count >= 3)
            assert taker.made["t", 0] == some(3, 10)
            assert not taker.errors
            await reader.stop()
            assert reader.budget.used == 0

    scenario()
    assert sum(words in each.getMessage() for each in caplog.records) == 1


@in_loop
async def test_a_lie_that_stays_ends_the_seat_in_its_own_words() -> None:
    async with FakeBroker() as fake:
        fake.on[FETCH] = lambda _body: fake.fetched("t", 0, build(some(3), 10, last_delta=1))
        reader, taker = await started(Cluster(fake.bootstrap)), Taker()
        taker.seat(reader, "t", 0, 10)
        await until(lambda: taker.errors)
        assert isinstance(taker.errors[0], ReadRefused)
        assert "3 records, last offset delta 1" in str(taker.errors[0])
        await reader.stop()


@in_loop
async def test_an_old_message_format_ends_the_seat_by_its_name_when_what_is_before_it_was_given() -> None:
    async with FakeBroker() as fake:
        old = bytes.fromhex(RECORDED["v1", "plain"])
        answers = [build(some(3), 10) + old, old]
        fake.on[FETCH] = lambda _body: fake.fetched("t", 0, answers.pop(0), high_watermark=15)
        reader, taker = await started(Cluster(fake.bootstrap)), Taker()
        taker.seat(reader, "t", 0, 10)
        await until(lambda: taker.errors)
        assert isinstance(taker.errors[0], OldFormat)
        assert taker.made["t", 0] == some(3)
        await reader.stop()


@in_loop
async def test_two_gigabytes_announced_in_four_bytes_take_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeBroker() as fake:
        lies, stock = 1, fake.frame

        def frame(body: bytes) -> bytes:
            nonlocal lies
            if lies and fake.seen[-1] == FETCH:
                lies -= 1
                return struct.pack(">i", 2**31 - 1) + body
            return stock(body)

        fake.on[FETCH] = lambda _body: None if taker.count else fake.fetched("t", 0, build(some(3)), high_watermark=3)
        fake.frame = frame
        reader, taker = await started(Cluster(fake.bootstrap)), Taker()
        tracemalloc.start()
        try:
            taker.seat(reader, "t")
            await until(lambda: taker.count == 3)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < 8 * MIB
        await reader.stop()
        assert "an answer of 2147483647 bytes" in caplog.text


@in_loop
async def test_a_batch_of_sixteen_megabytes_is_read_whole() -> None:
    async with FakeBroker() as fake:
        made = [Made(NOW, None, bytes([at]) * (8 * MIB), []) for at in range(2)]
        fake.on[FETCH] = lambda _body: None if taker.count else fake.fetched("t", 0, build(made), high_watermark=2)
        reader, taker = await started(Cluster(fake.bootstrap)), Taker()
        taker.seat(reader, "t")
        await until(lambda: taker.count == 2)
        assert taker.made["t", 0] == made
        await reader.stop()
