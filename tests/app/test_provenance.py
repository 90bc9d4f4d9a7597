"""`provenance` lists what was delivered from a member, and says what the ledger cannot tell; no cloud is there."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer

from sealwire.agents.admin import Admin, TopicPlan
from sealwire.agents.settings import Cluster
from sealwire.app import cli
from sealwire.app.config import Node, load
from sealwire.app.custody import make_key_file
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.project import now_ms
from sealwire.app.provenance import Ledger
from sealwire.app.vault import create_vault, open_vault
from sealwire.keys import identity as identities
from sealwire.keys.delivery import Delivered, Delivery, record_key
from sealwire.keys.provenance import Provenance, Told
from sealwire.keys.secrets import Secrets
from sealwire.keys.session import InboundSession
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import Cursor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

A, B = bytes.fromhex("a1" * 32), bytes.fromhex("b2" * 32)
SESSION = bytes([5] * 32)
HOUR = 3_600_000
NUMBERS = itertools.count()


def inbound(member_id: bytes, name: str) -> InboundSession:
    return InboundSession(
        id=os.urandom(32), secret=os.urandom(32), suite=1, project_id=bytes(32), channel="orders", member_id=member_id,
        name=name, site="berlin", attributes=(("role", "member"), ("site", "berlin")), verifying_key=bytes(32),
        made_at=1, not_after=2, credential_not_before=1, credential_not_after=2, credential_serial=1, number=1,
    )  # fmt: skip


@dataclass
class Site:
    """A receiving site whose ledger is written by hand; its cloud is not there."""

    file: Path
    node: Node
    producer: Producer
    topic_ids: dict[str, bytes] = field(default_factory=dict)

    @property
    def ledger(self) -> str:
        return self.node.settings("open").ledger_topic

    def deliver(
        self,
        first: int,
        following: int,
        sender: bytes = A,
        *,
        at: int | None = None,
        topic: str = "orders",
        lane: int = 0,
    ) -> None:
        source = SourcePartition("orders", "berlin", "orders", bytes(16), 1)
        topic_id = self.topic_ids.get(topic, bytes([9] * 16))
        done = Delivered(
            Span(first, following), sender, SESSION, bytes(32), "c", topic_id, 1, first + 100, following + 100, 0
        )
        record = Delivery(Cursor(source, following), done).encode()
        self.put(record_key(topic, source), record, 0, at)

    def put(self, key: bytes, value: bytes, lane: int = 0, at: int | None = None) -> None:
        self.producer.produce(self.ledger, value, key, lane, timestamp=at or now_ms())
        assert self.producer.flush(20) == 0

    def told(self, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
        assert cli.main(["provenance", str(self.file), *words, "--json"]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as running:
        asyncio.run(Admin(Cluster(running.bootstrap, embedded=True)).create_topics([TopicPlan("orders", 3)]))
        yield running


@pytest.fixture
def site(broker: EmbeddedBroker, tmp_path: Path) -> Site:
    file = tmp_path / "paris.yaml"
    file.write_text(
        f"project: acme\nsite: paris{next(NUMBERS)}\nidentity: o\nstate: {tmp_path}/state\nlanes: 2\n"
        f'local: {{bootstrap: "{broker.bootstrap}", broker: embedded}}\n'
        'cloud: {bootstrap: "localhost:1", broker: embedded}\n'
        "mappings:\n  - {channel: orders, open: acme.orders, to: orders}\n"
    )
    node = load(file)
    assert isinstance(node, Node), node
    make_key_file(tmp_path / "state/vault.key")
    secrets = replace(
        Secrets.begin(identities.create(os.urandom, 1)),
        inbound={each.id: each for each in (inbound(A, "berlin-1"), inbound(B, "berlin-2"))},
    )
    create_vault(node.directory("open") / "vault", node.custody, secrets).close()

    async def prepare() -> dict[str, bytes]:
        admin = Admin(node.local)
        await admin.create_topics([TopicPlan(node.settings("open").ledger_topic, 2)])
        return {name: facts.topic_id for name, facts in (await admin.describe(["orders"])).items()}

    ids = asyncio.run(prepare())
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0, "log_level": 0})
    return Site(file, node, producer, ids)


def test_what_was_delivered_from_a_member_is_listed_with_its_offsets_at_both_sides(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.deliver(0, 10)
    site.deliver(10, 20)
    site.deliver(20, 30, B)
    site.put(b"?", b"?", 1)
    with open_vault(site.node.directory("open") / "vault", site.node.custody):  # as a running mirror does
        told = site.told(capsys, "berlin-1")
    (row,) = told["delivered"]
    assert (row["source_offsets"], row["sink_offsets"], row["deliveries"]) == ([0, 20], [100, 120], 2)
    assert (row["topic"], row["partition"], row["sink_topic"], row["sink_topic_is"]) == ("orders", 1, "orders", "there")
    (sender,) = told["senders"]
    assert (sender["name"], sender["member_id"], sender["source_offsets"]) == ("berlin-1", A.hex(), 20)
    assert [each["session"] for each in sender["sessions"]] == [SESSION.hex()]
    said = " ".join(told["cannot_tell"])
    assert "what was delivered before is on no record" in said
    assert "2 deliveries were" not in said
    assert "3 deliveries were at least once" in said
    assert "1 records there are none of ours" in said
    assert "Sink offsets are bounds" in said
    assert "lost its beginning" not in said
    assert cli.main(["provenance", str(site.file), "berlin-1"]) == 0
    shown = capsys.readouterr().out
    assert "orders/berlin/orders/1" in shown
    assert "[0, 20)" in shown
    assert "[100, 120)" in shown


@pytest.mark.parametrize("word", [A.hex(), "a1a1a1a1", "a1a1-a1a1-a1a1-a1a1", "A1A1-A1A1-A1A1-A1A1"])
def test_a_member_is_found_by_its_id_and_by_how_that_begins(
    word: str, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.deliver(0, 10)
    site.deliver(10, 20, B)
    assert [each["member_id"] for each in site.told(capsys, word)["senders"]] == [A.hex()]


def test_without_a_member_all_senders_are_listed_and_no_offsets(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.deliver(0, 10)
    site.deliver(10, 20, B)
    told = site.told(capsys)
    assert {each["name"] for each in told["senders"]} == {"berlin-1", "berlin-2"}
    assert told["delivered"] == []
    assert cli.main(["provenance", str(site.file)]) == 0
    shown = capsys.readouterr().out
    assert "a1a1-a1a1-a1a1-a1a1" in shown
    assert "From where to where" not in shown


def test_only_the_time_and_the_channel_that_are_asked_for_are_listed(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.deliver(0, 10, at=now_ms() - 5 * HOUR)
    site.deliver(10, 20)
    told = site.told(capsys, "berlin-1", "--since", "2h")
    assert [each["source_offsets"] for each in told["delivered"]] == [[10, 20]]
    assert "The ledger begins" not in " ".join(told["cannot_tell"])
    assert site.told(capsys, "berlin-1", "--channel", "erp")["delivered"] == []
    assert len(site.told(capsys, "berlin-1", "--channel", "orders")["delivered"][0]) > 0


def test_five_minutes_more_are_read_since_clocks_differ(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.deliver(0, 10, at=now_ms() - HOUR - 4 * 60_000)
    site.deliver(10, 20, at=now_ms() - HOUR - 6 * 60_000)
    assert [each["source_offsets"] for each in site.told(capsys, "berlin-1", "--since", "1h")["delivered"]] == [[0, 10]]


def test_sink_topics_that_are_gone_or_made_anew_are_said(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.deliver(0, 10, topic="dropped")
    site.topic_ids["orders"] = bytes([3] * 16)
    site.deliver(0, 10)
    told = site.told(capsys, "berlin-1")
    assert {each["sink_topic"]: each["sink_topic_is"] for each in told["delivered"]} == {
        "dropped": "gone", "orders": "made anew",
    }  # fmt: skip
    assert "A sink topic that is gone or made anew has nothing of it any more." in told["cannot_tell"]


def test_a_name_that_nobody_here_knows_is_answered_with_what_helps(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["provenance", str(site.file), "rome-1"]) in {1, 2}
    said = capsys.readouterr().err
    assert "This site's vault holds no session of 'rome-1' that would prove its id, and the cloud does not help" in said
    assert "lists all that something was delivered from" in said


def test_without_a_vault_ids_do(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.deliver(0, 10)
    (site.node.directory("open") / "vault").unlink()
    assert cli.main(["provenance", str(site.file), A.hex(), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["senders"][0]["name"] == ""
    assert "no names from the vault" in shown.err


def test_a_site_without_a_ledger_is_told_so(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.file.write_text(site.file.read_text().replace("site: paris", "site: rome"))
    assert cli.main(["provenance", str(site.file), A.hex()]) == 2
    assert "There is no topic _sealwire.acme.rome" in capsys.readouterr().err


def test_nothing_delivered_is_nothing_listed(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["provenance", str(site.file), "berlin-1"]) == 0
    shown = capsys.readouterr().out
    assert "Nothing was delivered from it, as far as the ledger tells." in shown
    assert f"{site.ledger} tells of no delivery." in shown


def test_a_ledger_that_lost_its_beginning_is_said_with_how_far_it_reaches() -> None:
    told = Ledger("ledger", Provenance(), first_at=5 * HOUR, cut={0: 5 * HOUR, 3: None})
    lines = told.cannot_tell([], None)
    assert any("Of 2 lanes the ledger lost its beginning" in line and "1970-01-01 05:00" in line for line in lines)


def test_a_shared_round_is_said() -> None:
    found = Provenance()
    source = SourcePartition("orders", "berlin", "orders", bytes(16), 1)
    for span, sender in ((Span(0, 5), A), (Span(5, 9), B)):
        done = Delivered(span, sender, SESSION, bytes(32), "c", bytes(16), 1, 0, 9, 9)
        found.tell(Told("orders", Delivery(Cursor(source, span.next), done), 1, fenced=True))
    assert any(
        "one round carried deliveries of several senders" in line
        for line in Ledger("l", found).cannot_tell(found.senders.values(), 5)
    )
