"""`site init` lets cursors begin, once; `site restore` makes those that are lost again from the ledger."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "agents"))  # for the cluster in memory

from fake_kafka import FakeCluster, FakeReader, FakeWriter

from sealwire.agents.cursors import CursorLog
from sealwire.agents.recorded import Recorded, position_key, read_cursors
from sealwire.agents.settings import Cluster, How, Settings
from sealwire.app import site
from sealwire.app.faults import Failure
from sealwire.keys.cursor import Cursor
from sealwire.keys.delivery import Delivery, Position, record_key
from sealwire.keys.landmark import BEGUN_KEY, LedgerMark
from sealwire.keys.source import SourcePartition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOME = Cluster("home:1")
SOURCE = SourcePartition("orders", "berlin", "orders", bytes(16), 0)
KEY = record_key("orders", SOURCE)


class Admin:
    """Knows of members, and of topic ids."""

    def __init__(self, kafka: FakeCluster) -> None:
        self.kafka, self.count = kafka, 0

    async def members(self, _group: str) -> int:
        return self.count

    async def topic_ids(self, names: list[str]) -> dict[str, bytes]:
        return {name: self.kafka.topics[name][0] for name in names}


class Home:
    """A site's own cluster."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, delivery: How) -> None:
        self.settings = Settings(
            "acme", "paris", "w", "open", Path("nowhere"), HOME, Cluster("cloud:1"), lanes=2, delivery=delivery
        )
        self.kafka = FakeCluster()
        for topic in (self.settings.cursor_topic, self.settings.ledger_topic):
            self.kafka.make(topic, 2)
        self.admin: Any = Admin(self.kafka)

        @asynccontextmanager
        async def clients(_cluster: Cluster) -> AsyncIterator[tuple[FakeReader, FakeWriter]]:
            reader = FakeReader(self.kafka)
            yield reader, FakeWriter(self.kafka)
            await reader.stop()

        monkeypatch.setattr(site, "_clients", clients)

    def begin(self) -> int:
        return asyncio.run(site.begin(self.settings, HOME))

    def restore(self) -> list[site.Restored]:
        return asyncio.run(site.restore(self.settings, HOME, self.admin))

    def deliver(self, *offsets: int, lane: int = 1) -> None:
        """Write cursors as a mirror does."""

        async def write() -> None:
            settings = self.settings
            log = CursorLog(settings.cursor_topic, settings.ledger_topic, lane, lambda: None)
            log.begin(LedgerMark(self.kafka.topics[settings.ledger_topic][0], 0))
            for offset in offsets:
                log.put(KEY, Delivery(Cursor(SOURCE, next=offset)).encode)
                log.enter(KEY, Delivery(Cursor(SOURCE, next=offset)).encode)
            log.put(position_key("acme.orders", 0), Position(bytes(16), 7).encode)
            await log.write(FakeWriter(self.kafka).produce)

        asyncio.run(write())

    def read(self, lane: int = 1) -> Recorded:
        async def work() -> Recorded:
            return await read_cursors(FakeReader(self.kafka), self.settings.cursor_topic, lane)

        return asyncio.run(work())


@pytest.fixture(params=["exactly-once", "at-least-once"])
def home(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Home:
    return Home(monkeypatch, request.param)


def test_cursors_begin_once(home: Home) -> None:
    assert home.read().lost
    assert home.begin() == 2
    assert not home.read().lost
    home.deliver(5)
    assert home.begin() == 0
    assert home.read().deliveries[KEY].cursor.next == 5


def test_a_site_of_a_release_that_had_no_ledger_begins_with_the_cursors_that_it_has(home: Home) -> None:
    home.deliver(5)
    home.kafka.make(home.settings.ledger_topic, 2)
    assert home.begin() == 2
    assert home.read().deliveries[KEY].cursor.next == 5


def test_cursors_that_are_lost_are_not_begun_again(home: Home) -> None:
    home.begin()
    home.deliver(5)
    log = home.kafka.at(home.settings.cursor_topic, 1)
    log.truncate(1)  # only what was written first is gone
    with pytest.raises(Failure, match="are lost") as failure:
        home.begin()
    assert "sealwire site restore" in failure.value.cure
    assert home.read(1).lost
    home.kafka.make(home.settings.cursor_topic, 2)
    with pytest.raises(Failure, match="are lost"):
        home.begin()
    assert home.read(0).lost


def test_lost_cursors_are_made_again_from_the_ledger(home: Home) -> None:
    home.begin()
    home.deliver(5, 9)
    home.kafka.make(home.settings.cursor_topic, 2)
    assert home.restore() == [site.Restored(0, 0, 0), site.Restored(1, 1, 2)]
    found = home.read()
    assert not found.lost
    assert found.deliveries[KEY].cursor.next == 9
    ledger, (_, logs) = home.settings.ledger_topic, home.kafka.topics[home.settings.ledger_topic]
    assert found.mark == LedgerMark(home.kafka.topics[ledger][0], logs[1].end)
    assert home.begin() == 0


def test_what_is_not_ours_among_the_cursors_is_written_over_and_the_cloud_read_again(home: Home) -> None:
    home.begin()
    home.deliver(5)
    log = home.kafka.at(home.settings.cursor_topic, 1)
    log.inject(b"hello", KEY)
    log.inject(b"hello", b"who knows")
    log.inject(b"hello", BEGUN_KEY)
    assert home.read().lost
    home.restore()
    found = home.read()
    assert not found.lost
    assert found.deliveries[KEY].cursor.next == 5
    assert found.positions == {}


def test_nothing_is_restored_while_mirrors_run(home: Home) -> None:
    home.begin()
    home.admin.count = 2
    with pytest.raises(Failure, match="2 of them are members"):
        home.restore()


def test_a_mirror_that_runs_all_the_same_is_fenced(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(monkeypatch, "exactly-once")
    home.begin()
    home.restore()
    assert {name: each.epoch for name, each in home.kafka.coordinator.known.items()} == {
        home.settings.transactional_id(lane): 0 for lane in range(2)
    }


@pytest.mark.parametrize("deed", ["include", "produce", "commit"])
def test_a_restore_that_the_cluster_did_not_take_says_so_and_is_done_again(
    monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    home = Home(monkeypatch, "exactly-once")
    home.begin()
    home.kafka.coordinator.lose = lambda done, _id: done == deed
    with pytest.raises(Failure, match=f"lane 0 could not be written .*no answer to {deed}"):
        home.restore()
    home.kafka.coordinator.lose = lambda _done, _id: False
    assert len(home.restore()) == 2
