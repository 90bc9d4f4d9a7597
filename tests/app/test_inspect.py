"""Looking at one envelope: the cloud sees nothing of it, a reader sees all, and bad bytes are named."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from click.testing import CliRunner
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from sealwire.agents.settings import Cluster
from sealwire.app import inspect as views
from sealwire.app import project as projects
from sealwire.app.cloudlog import CloudLog
from sealwire.app.cloudrecord import CloudRecord
from sealwire.app.commands_inspect import inspect
from sealwire.app.custody import Custody, make_key_file
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.names import project_topics
from sealwire.app.office import member_key, root_key
from sealwire.app.project import Project, now_ms
from sealwire.app.vault import create_vault, vault_file
from sealwire.keys import credential as credentials
from sealwire.keys import grant as grants
from sealwire.keys import identity as identities
from sealwire.keys import keypackage
from sealwire.keys import session as sessions
from sealwire.keys.envelope import Cause, Compression, Inner, Kind, Layout, Place, seal, sealed_size
from sealwire.keys.reason import Reason, Rejected
from sealwire.keys.secrets import Secrets
from sealwire.keys.trust import Trust

if TYPE_CHECKING:
    from pathlib import Path

    from sealwire.keys.keypackage import KeyPackage

TOPIC = "acme.orders"
SECRET_WORDS = b"forty-two crates of oranges"


@dataclass
class World:
    """A sender that sealed two records for one reader: what stands in the cloud, and the reader's secrets."""

    project: Project
    control: list[tuple[bytes, bytes]]
    sessions: list[bytes]
    envelope: bytes
    reader: Secrets
    stranger: Secrets
    now: int

    def record(self, value: bytes | None = None) -> CloudRecord:
        return CloudRecord(7, self.now, None, self.envelope if value is None else value)

    def opened(self, secrets: Secrets, topic: str = TOPIC, partition: int = 1) -> views.PlainView:
        statements = [statement for _, statement in self.control] + self.sessions
        trust, secrets = views.learn(secrets, statements, self.now)
        return views.to_the_entitled(views.opened(self.record(), topic, partition, trust, secrets, self.now), 10)


def member(project: Project, name: str, site: str, now: int) -> Secrets:
    identity = identities.create(os.urandom, now)
    credential = credentials.make(
        project.root,
        project.authority_key(),
        member_id=identity.member_id,
        identity_key=identity.public,
        name=name,
        attributes={"role": "member", "site": site},
        serial=1,
        now=now,
    )
    secrets = Secrets.begin(identity).asked(project.id, project.root.statement, b"")
    return secrets.admitted(credential)


def batches() -> bytes:
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 1_700_000_000_123, b"order-1", SECRET_WORDS, [("colour", b"blue"), ("none", None)])
    builder.append(1, 1_700_000_000_456, None, None, [])
    return bytes(builder.build())


def make_world(directory: Path) -> World:
    now = now_ms()
    project = projects.create("acme", directory / "project")
    sender, reader = member(project, "producer1", "berlin", now), member(project, "consumer1", "paris", now)
    stranger = member(project, "stranger", "oslo", now)
    control = [(root_key(1), project.root.statement)]
    members = (sender, reader, stranger)
    control += [(member_key(each.identity.member_id), each.credential or b"") for each in members]
    credential = credentials.read(reader.credential or b"", project.root, now)
    held, package = keypackage.renew(reader.identity, credential, project.id, (), now, os.urandom)
    control.append((b"keys/" + reader.identity.member_id.hex().encode(), package or b""))
    trust, _ = Trust.begin(sender, now).learn([statement for _, statement in control], now)
    readers: tuple[tuple[bytes, KeyPackage], ...] = trust.readers("orders", TOPIC, now)
    outbound, claim = sessions.start(
        sender.identity, sender.credential or b"", project.id, "orders", 0, 1, now, os.urandom
    )
    content = batches()
    inner = Inner(
        kind=Kind.RECORDS,
        layout=Layout.BATCH,
        compression=Compression.NONE,
        flags=1,
        site="berlin",
        topic="orders",
        topic_id=bytes(range(16)),
        partition=1,
        first=0,
        next=2,
        last_stable=2,
        leader_epoch=0,
        sealed_at=now,
        record_count=2,
        batch_count=1,
        uncompressed_size=len(content),
        padding_size=0,
        cause=Cause.NONE,
    )
    out = bytearray(sealed_size(inner, len(content)))
    seal(outbound, Place(project.id, "orders", TOPIC, 1), inner, [content], os.urandom, memoryview(out))
    given = grants.wrap(outbound, readers, 1, now, os.urandom)
    return World(project, control, [claim, *given], bytes(out), reader.holding(held), stranger, now)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def words(rows: tuple[tuple[str, str], ...]) -> str:
    return "\n".join(f"{name} {value}" for name, value in rows)


def test_the_cloud_sees_sizes_session_and_nothing_of_the_records(world: World) -> None:
    view = views.from_the_cloud(world.record())
    assert view.refused is None
    assert dict(view.rows)["size"] == f"{len(world.envelope)} bytes"
    shown = words(view.rows) + "\n".join(views.hex_dump(world.envelope))
    for hidden in ("oranges", "order-1", "colour", "berlin", "producer1"):
        assert hidden not in shown
        assert hidden.encode() not in world.envelope


def test_a_reader_sees_sender_source_and_the_records_as_they_were(world: World) -> None:
    view = world.opened(world.reader)
    shown = words(view.rows)
    assert "producer1" in shown
    assert "orders/1 at berlin" in shown
    assert "[0, 2)" in shown
    assert "log start" in shown
    first, second = view.records
    assert (first.record_key, first.value, first.timestamp) == (b"order-1", SECRET_WORDS, 1_700_000_000_123)
    assert first.headers == (("colour", b"blue"), ("none", None))
    assert (second.record_key, second.value, second.headers) == (None, None, ())


def test_records_are_not_shown_by_their_repr(world: World) -> None:
    assert "oranges" not in repr(world.opened(world.reader))


def test_a_member_without_a_grant_opens_nothing(world: World) -> None:
    with pytest.raises(Rejected) as refusal:
        world.opened(world.stranger)
    assert refusal.value.reason is Reason.UNKNOWN_SESSION


@pytest.mark.parametrize(("topic", "partition"), [("acme.other", 1), (TOPIC, 0)])
def test_an_envelope_from_another_place_does_not_open_there(world: World, topic: str, partition: int) -> None:
    with pytest.raises(Rejected) as refusal:
        world.opened(world.reader, topic, partition)
    assert refusal.value.reason in (Reason.BAD_SIGNATURE, Reason.MISPLACED)


@pytest.mark.parametrize("content", [b"", b"plain text", b"SW", bytes(100), os.urandom(200), b"SW\x01\x01short"])
def test_bytes_that_are_no_envelope_are_shown_as_what_they_are(world: World, content: bytes) -> None:
    view = views.from_the_cloud(world.record(content))
    assert view.refused is not None
    assert "no: " in dict(view.rows)["envelope"]


def test_a_statement_in_a_sealed_topic_is_named(world: World) -> None:
    view = views.from_the_cloud(world.record(world.project.root.statement))
    assert dict(view.rows)["statement"] == "root"


def test_what_could_steer_a_terminal_is_shown_as_text() -> None:
    assert views.text(b"\x1b[2Jhello\n") == "\\x1b[2Jhello\\x0a"
    assert views.text(b"\xff\xfe") == "fffe"
    assert views.text(None) == "null"
    assert views.text(b"x" * 2000, 10) == "xxxxxxxxxx ... (2000 bytes)"


def test_times_of_any_size_are_shown(world: World) -> None:
    assert views.stamp(1_700_000_000_123) == "2023-11-14 22:13:20.123 UTC"
    assert views.stamp(1 << 60).endswith(" ms")
    assert world.now


def test_the_command_shows_an_envelope_from_a_broker_with_and_without_an_identity(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        world = make_world(tmp_path)
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        control, sessions_topic, requests = project_topics("acme")
        news = [NewTopic(topic, 1, 1) for topic in (control, sessions_topic, requests)]
        for made in admin.create_topics([*news, NewTopic(TOPIC, 3, 1)]).values():
            made.result()
        producer_log = CloudLog(Cluster(broker.bootstrap), print)
        for record_key, statement in world.control:
            producer_log.publish(control, record_key, statement)
        for statement in world.sessions:
            producer_log.publish(sessions_topic, b"", statement)
        _publish_to_partition(broker, world.envelope, 1)
        make_key_file(tmp_path / "vault.key")
        create_vault(vault_file(tmp_path, "consumer1"), Custody(tmp_path / "vault.key"), world.reader).close()
        place = ["--topic", TOPIC, "--partition", "1", "--bootstrap", broker.bootstrap]
        outside = CliRunner().invoke(inspect, place, catch_exceptions=False, standalone_mode=False)
        assert "What the cloud sees" in outside.output
        assert "oranges" not in outside.output
        mine = [*place, "--offset", "0", "--identity", "consumer1", "--state", str(tmp_path)]
        inside = CliRunner().invoke(inspect, mine, catch_exceptions=False, standalone_mode=False)
        assert SECRET_WORDS.decode() in inside.output
        file = tmp_path / "envelope"
        file.write_bytes(world.envelope)
        by_file = [*mine, "--file", str(file)]
        assert SECRET_WORDS.decode() in CliRunner().invoke(inspect, by_file, standalone_mode=False).output
        told = json.loads(CliRunner().invoke(inspect, [*mine, "--json"], standalone_mode=False).output)
        assert told["cloud"]["session"] in outside.output  # whole, though the terminal may be narrower
        assert (told["offset"], told["opened"]["sender"], told["opened"]["next"]) == (0, "producer1", 2)
        assert bytes.fromhex(told["opened"]["records"][0]["value"]) == SECRET_WORDS
        told = json.loads(CliRunner().invoke(inspect, [*place, "--json"], standalone_mode=False).output)
        assert (told["opened"], told["cloud"]["size"]) == (None, len(world.envelope))
        producer_log.close()


def _publish_to_partition(broker: EmbeddedBroker, value: bytes, partition: int) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "log_level": 0})
    producer.produce(TOPIC, value, partition=partition)
    assert producer.flush(10) == 0
