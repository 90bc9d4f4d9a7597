"""`held` says what a person has to decide, and the line that decides it; `accept-gap` and `rewind` write that down."""

from __future__ import annotations

import asyncio
import itertools
import json
import shlex
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

sys.path.insert(0, str(Path(__file__).parent))

from test_status import Answering

from sealwire.agents.admin import Admin, TopicPlan
from sealwire.agents.settings import Cluster
from sealwire.app import cli, cures, ordering
from sealwire.app.cloudlog import CloudLog
from sealwire.app.embedded import EmbeddedBroker
from sealwire.keys import order as orders
from sealwire.keys.cursor import TABLE
from sealwire.keys.delivery import Delivery, Position, record_key
from sealwire.keys.order import Kind, Order
from sealwire.keys.quarantined import Quarantined
from sealwire.keys.reason import Reason
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import CloudPlace, Cursor, State

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = SourcePartition("orders", "berlin", "orders", bytes([7] * 16), 3)
FLOWS = Cursor(SOURCE, next=100, session_floor=5)
WAITS = replace(FLOWS, state=State.WAITING, reason=Reason.GAP, gap=Span(100, 120), place=CloudPlace(bytes(16), 9))
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture
def worker() -> Iterator[Answering]:
    """A worker's port; silent until a test gives it something to say."""
    answering = Answering()
    answering.code = 503
    thread = threading.Thread(target=answering.server.serve_forever, args=(0.01,))
    thread.start()
    yield answering
    answering.server.shutdown()
    answering.server.server_close()
    thread.join()


class Site:
    """A receiving site of its own on the one broker."""

    def __init__(self, broker: EmbeddedBroker, directory: Path, worker: Answering) -> None:
        self.name = f"paris{next(NUMBERS)}"
        self.worker = worker
        self.cluster = Cluster(broker.bootstrap, embedded=True)
        self.file = directory / "paris.yaml"
        self.file.write_text(
            f"project: acme\nsite: {self.name}\nidentity: o\nstate: {directory}/state\nlanes: 2\n"
            f"web_port: {worker.port}\n"
            f'local: {{bootstrap: "{broker.bootstrap}", broker: embedded}}\n'
            'cloud: {bootstrap: "cloud.example:9092", broker: embedded}\n'
            "mappings:\n  - {channel: orders, open: acme.orders, to: orders}\n"
        )
        self.producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0, "log_level": 0})
        plans = [
            TopicPlan(self.topic("cursors"), 2),
            *(TopicPlan(self.topic(each), 1) for each in ("orders", "quarantine")),
        ]
        asyncio.run(Admin(self.cluster).create_topics(plans))

    def topic(self, what: str) -> str:
        return f"_sealwire.acme.{self.name}.{what}"

    def put(self, what: str, value: bytes, key: bytes | None = None, lane: int = 0) -> None:
        self.producer.produce(self.topic(what), value, key, lane)
        assert self.producer.flush(20) == 0

    def write(self, *cursors: Cursor, order: Order | None = None, lane: int = 0) -> None:
        for cursor in cursors:
            value = Delivery(cursor, None, order).encode()
            self.put("cursors", value, record_key("orders", cursor.source), lane)

    def ordered(self) -> list[Order]:
        with CloudLog(self.cluster, lambda _: None) as log:
            return [Order.decode(record.value) for record in log.read_whole(self.topic("orders"))]

    def says(self, *rows: dict[str, Any], **more: Any) -> None:
        about = {"direction": "open", "identity": "o", "project": "acme", "ready": True}
        self.worker.code, self.worker.body = 200, json.dumps({**about, "partitions": rows, **more}).encode()

    def run(self, *words: str) -> int:
        return cli.main([words[0], str(self.file), *words[1:]])

    def carry_out(self, cursor: Cursor) -> threading.Thread:
        """Be a worker that carries out the first order there is."""

        def work() -> None:
            until = time.monotonic() + 30
            while not (given := self.ordered()) and time.monotonic() < until:
                time.sleep(0.1)
            after = orders.apply(cursor, given[0])
            assert after is not None
            self.write(after, order=given[0])

        thread = threading.Thread(target=work)
        thread.start()
        return thread


@pytest.fixture
def site(broker: EmbeddedBroker, tmp_path: Path, worker: Answering) -> Site:
    return Site(broker, tmp_path, worker)


def row(cursor: Cursor, **changes: Any) -> dict[str, Any]:
    """A source partition as a worker's snapshot has it."""
    source, gap = cursor.source, cursor.gap
    told = {
        "channel": source.channel,
        "site": source.site,
        "topic": source.topic,
        "topic_id": source.topic_id.hex(),
        "partition": source.partition,
        "state": str(cursor.state),
        "why": f"{cursor.reason}: {gap} is missing",
        "cursor": cursor.next,
        "next": cursor.next,
        "reason": str(cursor.reason or ""),
        "gap": [gap.first, gap.next] if gap else None,
        "order": cursor.order.hex() if cursor.order else None,
        "since_ms": 1_700_000_000_000,
    }
    return {**told, **changes}


def test_what_waits_is_listed_with_its_span_and_the_line_that_helps_though_no_worker_runs(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.write(replace(FLOWS, source=replace(SOURCE, partition=1)), lane=1)
    site.write(WAITS)
    site.put("cursors", Position(bytes(16), 4).encode(), b"\0\0\0\0\0\1acme.orders")
    assert site.run("held") == 1
    told = capsys.readouterr()
    assert "orders/berlin/orders/3: waiting, for" in told.out
    assert "gap, [100, 120): 20 offsets" in told.out
    assert "delivered up to 100" in told.out
    (line,) = (line.strip() for line in told.out.splitlines() if line.startswith("  sealwire"))
    assert line == (
        f"sealwire accept-gap {site.file} --channel orders --site berlin --topic orders --partition 3 --why ..."
    )
    assert "orders/1" not in told.out
    assert "open o does not answer" in told.err


def test_nothing_held_is_said_and_ends_well(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.write(WAITS, FLOWS)
    assert site.run("held") == 0
    assert "Nothing waits and nothing is held; 1 source partition." in capsys.readouterr().out


def test_what_a_worker_says_counts_before_what_is_written(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.write(FLOWS)
    parked = {"topic": "acme.orders", "partition": 3, "sessions": 2, "since_ms": 1_700_000_000_000}
    lacks = row(replace(FLOWS, source=replace(SOURCE, partition=9)), state="waiting", why="sink topic orders is small")
    site.says(row(WAITS), lacks, parked=[parked])
    assert site.run("held", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    (held,) = told["held"]
    assert (held["reason"], held["span"], held["cursor"], held["since_ms"]) == (
        "gap",
        [100, 120],
        100,
        1_700_000_000_000,
    )
    assert held["command"].startswith("sealwire accept-gap ")
    assert told["parked"] == [{"topic": "acme.orders", "partition": 3, "sessions": 2, "since": 1_700_000_000_000}]
    assert [each["why"] for each in told["others"]] == ["sink topic orders is small"]
    assert told["silent"] == []
    site.says(row(FLOWS), parked=[parked])
    assert site.run("held") == 0
    shown = capsys.readouterr().out
    assert "acme.orders[3]: envelopes of 2 sessions that are not known here are parked" in shown
    assert "Nothing waits" not in shown


def test_since_when_is_read_from_the_cursors_where_the_worker_began_later(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.write(WAITS)
    site.says(row(WAITS, since_ms=None))
    assert site.run("held", "--json") == 1
    (held,) = json.loads(capsys.readouterr().out)["held"]
    assert time.time() - 60 < held["since_ms"] / 1000 <= time.time() + 1
    assert held["why"] == "gap: [100, 120) is missing"


def test_what_waits_without_ever_having_begun_is_known_from_its_worker_alone(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.says(row(HELD[Reason.NO_START]))
    assert site.run("held", "--json") == 1
    (held,) = json.loads(capsys.readouterr().out)["held"]
    assert (held["cursor"], held["span"]) == (None, [0, 50])


def test_what_a_site_that_only_seals_waits_for_is_listed_too(
    tmp_path: Path, worker: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "berlin.yaml"
    path.write_text(
        f"project: acme\nsite: berlin\nidentity: s\nstate: state\nweb_port: {worker.port}\n"
        'local: {bootstrap: "localhost:1"}\ncloud: {bootstrap: "cloud:1"}\nmappings:\n'
        "  - {channel: orders, seal: orders, to: acme.orders}\n"
    )
    told = {
        "channel": "orders",
        "site": "berlin",
        "topic": "orders",
        "partition": 0,
        "state": "held",
        "why": "too-large",
    }
    about = {"direction": "seal", "identity": "s", "project": "acme", "ready": True, "partitions": [told]}
    worker.code, worker.body = 200, json.dumps(about).encode()
    assert cli.main(["held", str(path)]) == 1
    assert "seal orders/berlin/orders/0: held: too-large" in capsys.readouterr().out
    assert cli.main(["accept-gap", str(path), "--channel", "orders", "--why", "x"]) == 2
    assert "Give the YAML of the receiving site" in capsys.readouterr().err


def test_the_line_that_helps_does_it(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.write(WAITS)
    site.run("held")
    (line,) = (line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  sealwire"))
    words = [each if each != "..." else "deleted by mistake" for each in shlex.split(line)[1:]]
    worker = site.carry_out(WAITS)
    assert cli.main([*words, "--who", "ann", "--yes"]) == 0
    worker.join()
    told = capsys.readouterr().out
    assert "[100, 120)" in told
    assert "20" in told
    (given,) = site.ordered()
    assert f"orders/berlin/orders/3: done, order {given.id.hex()}, by ann" in told
    assert (given.kind, given.to, given.who, given.why, given.again) == (
        Kind.ACCEPT_GAP, 120, "ann", "deleted by mistake", True,
    )  # fmt: skip
    assert site.run("held") == 0


def test_what_no_worker_carries_out_is_written_and_said(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering.await_all, "__defaults__", (0.5,))
    site.write(WAITS)
    assert site.run("accept-gap", "--channel", "orders", "--why", "gone", "--yes") == 1
    told = capsys.readouterr().err
    assert "open o: no answer. It is written; a worker that runs carries it out." in told
    assert "is written, and not carried out yet" in told
    (given,) = site.ordered()
    assert "@" in given.who


def test_nothing_is_written_before_somebody_agrees(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write(WAITS)
    asked: list[str] = []
    monkeypatch.setattr("click.confirm", lambda words, **_: asked.append(words))
    assert site.run("accept-gap", "--channel", "orders", "--why", "gone") == 1
    assert len(asked) == 1
    assert site.ordered() == []


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("accept-gap", "--channel", "orders", "--why", "x", "--partition", "1"), "all of it flows", 1),
        (("accept-gap", "--channel", "orders", "--why", "x", "--partition", "8"), "No source partition of", 2),
        (("accept-gap", "--channel", "order", "--why", "x"), "did you mean 'orders'?", 2),
        (("accept-gap", "--channel", "orders", "--why", "x"), "2 source partitions fit channel orders", 2),
        (("accept-gap", "--channel", "orders", "--why", "x", "--all-no-start"), "waits for its start", 1),
        (("accept-gap", "--channel", "orders", "--why", " ", "--partition", "3"), "--why says nothing", 2),
        (("accept-gap", "--channel", "orders", "--why", "...", "--partition", "3"), "--why says nothing", 2),
        (("accept-gap", "--channel", "orders", "--why", "x", "--partition", "3", "--up-to", "121"), "up to 121", 2),
        (("accept-gap", "--channel", "orders", "--why", "x", "--partition", "5"), "orders/5 is held (regressed)", 1),
        (("rewind", "--channel", "orders", "--why", "x", "--partition", "3", "--to", "101"), "it stands at 100", 2),
        (("rewind", "--channel", "orders", "--why", "x", "--partition", "1"), "nothing to go back over", 1),
        (("rewind", "--channel", "orders", "--why", "x", "--topic-id", "ff"), "No source partition of", 2),
    ],
)
def test_what_cannot_be_decided_is_refused_before_it_is_written(
    site: Site, words: tuple[str, ...], said: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    regressed = replace(FLOWS, state=State.HELD, reason=Reason.REGRESSED, gap=Span(40, 60))
    for number, cursor in ((1, FLOWS), (3, WAITS), (4, WAITS), (5, regressed)):
        site.write(replace(cursor, source=replace(SOURCE, partition=number)))
    assert site.run(*words, "--yes") == code
    assert said in capsys.readouterr().err
    assert site.ordered() == []


def test_all_of_a_channel_that_lack_their_start_begin_where_they_can(site: Site) -> None:
    lacks = replace(WAITS, next=None, reason=Reason.NO_START, gap=Span(0, 50))
    cursors = [replace(lacks, source=replace(SOURCE, partition=number)) for number in range(3)]
    other = replace(WAITS, source=replace(SOURCE, partition=7))
    site.write(*cursors, other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering.await_all, "__defaults__", (0.0,))
        assert site.run("accept-gap", "--channel", "orders", "--all-no-start", "--why", "we came late", "--yes") == 1
    assert [(each.source.partition, each.to) for each in site.ordered()] == [(0, 50), (1, 50), (2, 50)]


def test_what_is_named_like_another_is_told_by_its_topic_id(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    anew = replace(WAITS, source=replace(SOURCE, topic_id=bytes([8] * 16)), gap=Span(100, 130))
    site.write(WAITS, anew)
    assert site.run("held", "--json") == 1
    commands = [shlex.split(each["command"]) for each in json.loads(capsys.readouterr().out)["held"]]
    assert [each[each.index("--topic-id") + 1] for each in commands] == ["07" * 16, "08" * 16]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering.await_all, "__defaults__", (0.0,))
        words = ("--channel", "orders", "--topic-id", "0808", "--why", "x", "--yes")
        assert site.run("accept-gap", *words) == 1
    assert [each.to for each in site.ordered()] == [130]


HELD = {
    Reason.LOST_SPAN: replace(WAITS, state=State.HELD, reason=Reason.LOST_SPAN),
    Reason.IMPLAUSIBLE: replace(WAITS, state=State.HELD, reason=Reason.IMPLAUSIBLE, gap=Span(500, 2**50)),
    Reason.REGRESSED: replace(WAITS, state=State.HELD, reason=Reason.REGRESSED, gap=Span(40, 60)),
    Reason.SINK_REFUSED: replace(WAITS, state=State.HELD, reason=Reason.SINK_REFUSED),
    Reason.SINK_CHANGED: replace(WAITS, state=State.HELD, reason=Reason.SINK_CHANGED, gap=None),
    Reason.GAP: WAITS,
    Reason.BELOW_FLOOR: replace(WAITS, reason=Reason.BELOW_FLOOR),
    Reason.NO_START: replace(WAITS, next=None, reason=Reason.NO_START, gap=Span(0, 50)),
}


@pytest.mark.parametrize("reason", HELD, ids=str)
def test_for_each_reason_the_line_that_helps_makes_an_order_that_counts(
    site: Site, reason: Reason, capsys: pytest.CaptureFixture[str]
) -> None:
    cursor = HELD[reason]
    site.write(cursor)
    assert site.run("held", "--json") == 1
    (told,) = json.loads(capsys.readouterr().out)["held"]
    assert told["happened"]
    assert told["do"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordering.await_all, "__defaults__", (0.0,))
        words = [each if each != "..." else "because" for each in shlex.split(told["command"])[1:]]
        assert cli.main([*words, "--yes"]) == 1
    (given,) = site.ordered()
    after = orders.apply(cursor, given)
    assert after is not None
    assert after.state is State.FLOWING
    assert given.again is (reason is not Reason.IMPLAUSIBLE)


def test_every_reason_that_stops_a_source_partition_has_its_words() -> None:
    stops = {reason for _step, reason in TABLE.values() if reason is not None}
    own = {Reason.SINK_REFUSED, Reason.SINK_CHANGED, Reason.CURSORS_LOST, Reason.CHARTER_OLD}
    assert stops | own == set(cures.CURES)
    for each in cures.CURES.values():
        assert each.happened
        assert each.do


def test_a_site_without_its_topics_is_told_what_makes_them(
    tmp_path: Path, broker: EmbeddedBroker, worker: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Site(broker, tmp_path, worker)
    made.file.write_text(made.file.read_text().replace(made.name, "nowhere"))
    assert made.run("held") == 2
    assert "sealwire site init" in capsys.readouterr().err


def test_the_quarantine_is_listed_with_reason_place_and_sender(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["quarantine", "list", str(site.file)]) == 0
    assert "The quarantine is empty." in capsys.readouterr().out
    kept = Quarantined(
        Reason.MISPLACED, "sealed for acme.orders/2", "acme.orders", bytes(16), 1, 17, bytes(32), bytes([9] * 32),
        "anna", 1_700_000_000_000, b"e" * 5000,
    )  # fmt: skip
    for number in range(5):
        site.put("quarantine", replace(kept, offset=number, name="anna" if number else "").encode())
    site.put("quarantine", b"not ours")
    assert cli.main(["quarantine", "list", str(site.file), "--last", "3"]) == 0
    told = capsys.readouterr().out
    assert "acme.orders[1] offset 4" in told
    assert "acme.orders[1] offset 1 " not in told
    assert "anna" in told
    assert "misplaced" in told
    assert "5,000" in told
    assert cli.main(["quarantine", "list", str(site.file), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["cloud_offset"] for each in listed] == [0, 1, 2, 3, 4]
    assert (listed[0]["sender"], listed[0]["sender_name"], listed[1]["sender_name"]) == ("09" * 32, "", "anna")
    assert listed[0]["bytes"] == 5000
