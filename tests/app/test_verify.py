"""`sealwire verify` from end to end on an embedded broker: exported at one site, compared at the other."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from sealwire.agents.admin import Admin
from sealwire.agents.settings import Cluster
from sealwire.app import cli
from sealwire.app import project as projects
from sealwire.app.custody import Custody, make_key_file
from sealwire.app.embedded import EmbeddedBroker
from sealwire.app.project import now_ms
from sealwire.app.vault import create_vault
from sealwire.keys import credential as credentials
from sealwire.keys import digestfile
from sealwire.keys import identity as identities
from sealwire.keys.delivery import Delivered, Delivery, record_key
from sealwire.keys.secrets import Secrets
from sealwire.keys.source import SourcePartition, Span
from sealwire.keys.standing import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealwire.app.project import Project

    Change = Callable[[list[Any]], None]

COUNT, AT_ONCE, CHANGED = 2400, 200, 1234
LEDGER = "_sealwire.acme.lisbon.ledger"
YAML = """project: acme
site: {site}
identity: {identity}
state: {state}
lanes: 2
local: {{bootstrap: "{local}", broker: embedded}}
cloud: {{bootstrap: "localhost:1", broker: embedded}}
mappings:
  - {{channel: orders, {mapping}}}
"""


def admit(project: Project, state: Path, name: str, site: str, *, validity: int = credentials.VALIDITY) -> None:
    now = now_ms()
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
        validity=validity,
    )
    secrets = Secrets.begin(identity).asked(project.id, project.root.statement, b"").admitted(credential)
    state.mkdir(mode=0o700, exist_ok=True)
    if not (state / "vault.key").exists():
        make_key_file(state / "vault.key")
    create_vault(state / name / "vault", Custody(state / "vault.key"), secrets).close()


@dataclass
class Bridge:
    """Two sites with a broker each, whose sink was filled by hand as a mirror fills it."""

    directory: Path
    source: str
    sink: str

    @property
    def berlin(self) -> str:
        return str(self.directory / "berlin.yaml")

    @property
    def lisbon(self) -> str:
        return str(self.directory / "lisbon.yaml")

    @property
    def file(self) -> str:
        return str(self.directory / "orders.digests")

    def export(self, *more: str) -> int:
        return cli.main(["verify", "--export", self.file, self.berlin, *more])

    def against(self, *more: str) -> int:
        return cli.main(["verify", "--against", self.file, self.lisbon, *more])

    def fill(self, change: Change = lambda _records: None) -> None:
        """Produce the source and the sink, the latter with a change, and the ledger that tells of it."""
        records = [(f"value {n}".encode() * (n % 9), b"%d" % n, 1_700_000_000_000 + n) for n in range(COUNT)]
        topic_id = _made(self.source, {"orders": 2})["orders"]
        sink_id = _made(self.sink, {"delivered": 2, LEDGER: 2})["delivered"]
        _produce(self.source, "orders", records)
        there = list(records)
        change(there)
        _produce(self.sink, "delivered", there)
        source = SourcePartition("orders", "berlin", "orders", topic_id, 0)
        told = Producer({"bootstrap.servers": self.sink, "log_level": 0})
        sink_at = 0
        for first in range(0, COUNT, AT_ONCE):
            following = first + AT_ONCE
            sink_next = following + (len(there) - COUNT if following > CHANGED else 0)
            done = Delivered(
                span=Span(first, following),
                sender=bytes(32),
                session_id=bytes(32),
                body_digest=bytes(32),
                sink_cluster="c",
                sink_topic_id=sink_id,
                sink_partition=0,
                sink_first=sink_at,
                sink_next=sink_next,
                sink_end=sink_next,
            )
            value = Delivery(Cursor(source, following), done).encode()
            told.produce(LEDGER, value, record_key("delivered", source), partition=1)
            sink_at = sink_next
        assert told.flush(20) == 0


def _made(bootstrap: str, topics: dict[str, int]) -> dict[str, bytes]:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for answer in admin.create_topics([NewTopic(name, count, 1) for name, count in topics.items()]).values():
        answer.result(20)
    facts = asyncio.run(Admin(Cluster(bootstrap, embedded=True)).describe(topics))
    return {name: each.topic_id for name, each in facts.items()}


def _produce(bootstrap: str, topic: str, records: list[tuple[bytes, bytes, int]]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    for value, key, time in records:
        producer.produce(topic, value, key, partition=0, timestamp=time)
    assert producer.flush(30) == 0


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    project = projects.create("acme", tmp_path / "project")
    with EmbeddedBroker() as source, EmbeddedBroker() as sink:
        made = Bridge(tmp_path, source.bootstrap, sink.bootstrap)
        for site, name, local, mapping in (
            ("berlin", "producer1", source.bootstrap, "seal: orders, to: acme.orders"),
            ("lisbon", "consumer1", sink.bootstrap, "open: acme.orders, to: delivered"),
        ):
            state = tmp_path / f"state-{site}"
            admit(project, state, name, site)
            text = YAML.format(site=site, identity=name, state=state, local=local, mapping=mapping)
            (tmp_path / f"{site}.yaml").write_text(text)
        yield made


def test_what_arrived_as_it_was_is_proved_with_exit_code_0(bridge: Bridge, capsys: pytest.CaptureFixture[str]) -> None:
    bridge.fill()
    assert bridge.export() == 0
    assert "2,400 records of 2 source partitions" in capsys.readouterr().out
    assert Path(bridge.file).stat().st_mode & 0o777 == 0o600
    assert bridge.against() == 0
    shown = capsys.readouterr().out
    assert "Signed by producer1 of berlin" in shown
    assert "2,400 records are at the sink as they are at the source." in shown
    assert bridge.against("--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["records"], report["findings"]) == (True, COUNT, 0)
    assert report["partitions"][0]["not_compared"] == []


def altered(records: list[Any]) -> None:
    value, key, time = records[CHANGED]
    records[CHANGED] = (value + b"!", key, time)


def missing(records: list[Any]) -> None:
    del records[CHANGED]


def duplicated(records: list[Any]) -> None:
    records.insert(1300, records[CHANGED])


def reordered(records: list[Any]) -> None:
    records[CHANGED], records[CHANGED + 1] = records[CHANGED + 1], records[CHANGED]


@pytest.mark.parametrize("change", [altered, missing, duplicated, reordered])
def test_one_record_of_thousands_is_found(bridge: Bridge, change: Change, capsys: pytest.CaptureFixture[str]) -> None:
    bridge.fill(change)
    assert bridge.export("--json") == 0
    assert json.loads(capsys.readouterr().out)["records"] == COUNT
    assert bridge.against("--json") == 1
    report = json.loads(capsys.readouterr().out)
    (finding,) = report["partitions"][0]["findings"]
    assert finding["kind"] == change.__name__
    assert finding["source_offsets"] == [1000, 2000]
    assert bridge.against() == 1
    shown = capsys.readouterr().out
    assert change.__name__ in shown
    assert "orders/berlin/orders/0 [1000, 2000)" in shown
    assert "as they are at the source" not in shown


def test_an_export_between_two_offsets_is_compared_there_and_no_further(
    bridge: Bridge, capsys: pytest.CaptureFixture[str]
) -> None:
    bridge.fill(altered)
    assert bridge.export("--topic", "orders", "--from", "1500", "--to", "2200") == 0
    assert bridge.against("--json", "--topic", "orders") == 0
    report = json.loads(capsys.readouterr().out.split("NODE.yaml\n", 1)[1])
    assert report["records"] == 700
    assert bridge.export("--from", "100", "--to", "1235") == 0
    assert bridge.against() == 1


def test_what_is_asked_wrongly_is_said_with_exit_code_2(bridge: Bridge, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in {
        (): "One of --export",
        ("--export", "x", "--against", "y"): "One of --export",
        ("--against", bridge.file, "--from", "5"): "--from and --to are for --export",
        ("--export", "x", "--from", "yesterday"): "neither an offset nor a time",
    }.items():
        assert cli.main(["verify", bridge.berlin, *words]) == 2
        assert said in capsys.readouterr().err
    key = bridge.directory / "state-berlin/vault.key"
    secret = key.read_bytes()
    assert cli.main(["verify", "--export", str(key), bridge.berlin]) == 2
    assert "it is no export of digests" in capsys.readouterr().err
    assert key.read_bytes() == secret
    assert cli.main(["verify", "--export", "x", bridge.lisbon]) == 2
    assert "no mapping to seal" in capsys.readouterr().err
    assert cli.main(["verify", "--against", "x", bridge.berlin]) == 2
    assert "no mapping to open" in capsys.readouterr().err
    assert bridge.against() == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_file_that_was_altered_cut_or_is_none_is_not_believed(
    bridge: Bridge, capsys: pytest.CaptureFixture[str]
) -> None:
    _made(bridge.source, {"orders": 1})
    assert bridge.export() == 0
    content = Path(bridge.file).read_bytes()
    for changed, said in (
        (content[:-1], "Copy it again, whole"),
        (content[:-90] + bytes((content[-90] ^ 1,)) + content[-89:], "bad-signature"),
        (b"orders,5\n", "It is the file that"),
    ):
        Path(bridge.file).write_bytes(changed)
        capsys.readouterr()
        assert bridge.against() == 2
        assert said in capsys.readouterr().err


def test_a_site_without_a_ledger_or_without_that_topic_says_so(
    bridge: Bridge, capsys: pytest.CaptureFixture[str]
) -> None:
    _made(bridge.source, {"orders": 1})
    assert bridge.export() == 0
    assert bridge.against() == 2
    assert "what was delivered there is not on record" in capsys.readouterr().err
    _made(bridge.sink, {LEDGER: 2})
    assert bridge.against("--topic", "order") == 2
    assert "did you mean 'orders'" in capsys.readouterr().err
    assert bridge.export("--topic", "order") == 2
    assert "did you mean 'orders'" in capsys.readouterr().err
    assert bridge.against() == 0  # nothing was produced, and nothing delivered
    _produce(bridge.source, "orders", [(b"v", b"k", 5)])
    assert bridge.export() == 0
    capsys.readouterr()
    assert bridge.against() == 1
    shown = capsys.readouterr().out
    assert "nothing of it was delivered here" in shown
    assert "Nothing could be compared." in shown


def test_a_ledger_that_holds_something_else_is_refused(bridge: Bridge, capsys: pytest.CaptureFixture[str]) -> None:
    _made(bridge.source, {"orders": 1})
    _made(bridge.sink, {LEDGER: 1})
    assert bridge.export() == 0
    _produce(bridge.sink, LEDGER, [(b"v", b"k", 5)])
    assert bridge.against() == 1
    assert "is no delivery record" in capsys.readouterr().err


def test_who_is_no_member_or_whose_credential_has_ended_signs_nothing(
    bridge: Bridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = projects.create("acme", tmp_path / "another")
    admit(project, tmp_path / "state-berlin", "late", "berlin", validity=0)
    yaml = tmp_path / "berlin.yaml"
    yaml.write_text(yaml.read_text().replace("identity: producer1", "identity: late"))
    assert bridge.export() == 1
    assert "has ended" in capsys.readouterr().err


def test_the_file_of_another_project_is_refused(
    bridge: Bridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = projects.create("acme", tmp_path / "another")
    now = now_ms()
    identity = identities.create(os.urandom, now)
    credential = credentials.make(
        project.root,
        project.authority_key(),
        member_id=identity.member_id,
        identity_key=identity.public,
        name="eve",
        attributes={"role": "member", "site": "berlin"},
        serial=1,
        now=now,
    )
    content = digestfile.write(identity, credential, project.id, [], cluster="c", now=now)
    Path(bridge.file).write_bytes(content)
    assert bridge.against() == 2
    assert "other-project" in capsys.readouterr().err
