"""The whole path with logins, certificates and least rights, on brokers where whatever was not granted is refused."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import threading
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count, islice
from pathlib import Path
from socket import create_server, socket
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from certificates import HOSTS, Authority, Paper
from confluent_kafka import Producer
from kafka_cluster import libraries
from kafka_secured import SECRET, STORE_PASSWORD, password
from kafka_world import Node, await_, sealwire
from secure_world import Right, SecureWorld, allow, function_of_kafka, give_scram, rights, rights_of, withdraw
from traffic import await_count, await_whole, differences, read_all

from sealwire.agents.client import diagnose
from sealwire.app import clientfile
from sealwire.app.cloudlog import CloudLog
from sealwire.app.faults import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Clusters
    from kafka_cluster import KafkaCluster

    from sealwire.agents.settings import Cluster

pytestmark = pytest.mark.kafka

PROJECT = "guarded"
TOPIC = "ledger"
CLOUD_TOPIC = f"{PROJECT}.{TOPIC}"
NUMBERS = count()  # no record is like another


class Guarded(NamedTuple):
    world: SecureWorld
    sealer: Node
    mirror: Node


def fill(cluster: KafkaCluster, records: int = 30, topic: str = TOPIC) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for n in islice(NUMBERS, records):
        producer.produce(topic, b"record %d" % n, b"%d" % n, n % 3)
    assert producer.flush(30) == 0


def grant_all(clusters: Clusters) -> None:
    """What docs/RIGHTS.md says, and nothing else."""
    berlin = {"PROJECT": PROJECT, "SITE": "berlin", "TOPIC": TOPIC, "CLOUD_TOPIC": CLOUD_TOPIC}
    lisbon = {**berlin, "SITE": "lisbon"}
    allow(clusters.source, "keeper", rights("administrator sending", **berlin))
    allow(clusters.source, "sealer-at-home", rights("sealer local", **berlin))
    allow(clusters.cloud, "sealer", rights("sealer cloud", **berlin))
    allow(clusters.cloud, "mirror", rights("mirror cloud", **lisbon))
    allow(clusters.sink, "mirror-at-home", rights("mirror local", **lisbon))
    allow(clusters.sink, "keeper", rights("administrator receiving", **lisbon))
    allow(clusters.sink, "operator", rights("operator local", **lisbon))
    allow(clusters.cloud, "authority", rights("authority cloud", **berlin))
    allow(clusters.cloud, "administrator", rights("administrator cloud", **berlin))


@pytest.fixture(scope="module")
def guarded(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp(PROJECT)
    source, cloud, sink = (each.secured for each in clusters)
    give_scram(clusters.source, "sealer-at-home")
    give_scram(clusters.cloud, "mirror")
    grant_all(clusters)
    world = SecureWorld(PROJECT, directory, *clusters)
    world.local = {
        "sealer": source.login_file(directory / "sealer" / "local.config", "sealer-at-home", "SCRAM-SHA-512"),
        "mirror": sink.certificate_file(directory / "mirror" / "local.config", "mirror-at-home"),
    }
    world.logins = {
        "sealer": cloud.login_file(directory / "sealer" / "kafka.config", "sealer"),
        "mirror": cloud.login_file(directory / "mirror" / "kafka.config", "mirror", "SCRAM-SHA-256"),
        "authority": cloud.login_file(directory / "authority.config", "authority"),
        "administrator": cloud.certificate_file(directory / "administrator.config", "administrator"),
    }
    keepers = [
        source.certificate_file(directory / "berlin.config", "keeper"),
        sink.certificate_file(directory / "lisbon.config", "keeper"),
    ]
    try:
        world.found()
        world.make_source_topics([TOPIC])
        world.admit("berlin", "sealer")
        world.admit("lisbon", "mirror")
        sealer, mirror = world.sealing("sealer", [TOPIC]), world.opening("mirror", [TOPIC])
        sealwire("topics", "apply", "--yes", sealer.file, "--kafka-config", world.logins["administrator"])
        for node, keeper in zip((sealer, mirror), keepers, strict=True):
            sealwire("site", "init", node.file, "--kafka-config", keeper)
        sealer.start(ready=False)
        mirror.start()
        sealer.await_ready()
        yield Guarded(world, sealer, mirror)
    finally:
        world.close()


def test_with_the_least_rights_every_record_arrives_over_scram_plain_and_certificates(
    guarded: Guarded, clusters: Clusters
) -> None:
    fill(clusters.source)
    await_count(clusters.sink, TOPIC, 30)
    assert differences(read_all(clusters.source, TOPIC), read_all(clusters.sink, TOPIC)) == []
    for node in (guarded.sealer, guarded.mirror):
        assert "All flows." in sealwire("status", node.file)


def test_an_operator_looks_and_decides_with_rights_that_the_workers_do_not_have(
    guarded: Guarded, clusters: Clusters
) -> None:
    mirror, secured = guarded.mirror, clusters.sink.secured
    login = secured.certificate_file(guarded.world.directory / "operator.config", "operator")
    assert "Nothing waits and nothing is held" in sealwire("held", mirror.file, "--kafka-config", login)
    assert "The quarantine is empty." in sealwire("quarantine", "list", mirror.file, "--kafka-config", login)
    orders = f"_sealwire.{PROJECT}.lisbon.orders"
    with CloudLog(clientfile.cluster(None, login), print) as log:
        assert log.publish(orders, b"", b"no order", seconds=20) == 0
    await_(lambda: mirror.said("is no order that this release knows"), "the mirror to read it")
    own = clientfile.cluster(None, guarded.world.local["mirror"])
    with CloudLog(own, print) as log, pytest.raises(Failure, match="does not let this login use topic"):
        log.publish(orders, b"", b"no order", seconds=20)


def test_an_auditor_exports_and_compares_with_no_more_than_its_rights(guarded: Guarded, clusters: Clusters) -> None:
    directory, names = guarded.world.directory, {"PROJECT": PROJECT, "SITE": "lisbon", "TOPIC": TOPIC}
    allow(clusters.source, "auditor", rights("auditor sending", **names))
    allow(clusters.sink, "auditor", rights("auditor receiving", **names))
    file, logins = (
        directory / "audit.digests",
        [directory / "auditor-berlin.config", directory / "auditor-lisbon.config"],
    )
    at_source, at_sink = (
        each.secured.certificate_file(login, "auditor")
        for each, login in zip((clusters.source, clusters.sink), logins, strict=True)
    )
    sealwire("verify", "--export", file, guarded.sealer.file, "--kafka-config", at_source)
    told = sealwire("verify", "--against", file, guarded.mirror.file, "--kafka-config", at_sink)
    assert "are at the sink as they are at the source" in told


@pytest.mark.parametrize(
    ("cluster", "user", "right", "node"),
    [
        ("source", "sealer-at-home", Right("Read", "topic", TOPIC), "sealer"),
        ("cloud", "sealer", Right("Write", "topic", CLOUD_TOPIC), "sealer"),
        ("cloud", "mirror", Right("Read", "topic", CLOUD_TOPIC), "mirror"),
        ("sink", "mirror-at-home", Right("Write", "topic", TOPIC), "mirror"),
    ],
    ids=lambda each: each if isinstance(each, str) else each.operation,
)
def test_a_right_that_is_taken_away_is_named_and_waited_for_until_it_is_granted_again(
    guarded: Guarded, clusters: Clusters, cluster: str, user: str, right: Right, node: str
) -> None:
    worker, where = getattr(guarded, node), getattr(clusters, cluster)
    words = f"may not {right.operation.lower()} topic {right.name}: grant {right.operation} on it"
    said = worker.said(words)

    def named() -> bool:
        fill(clusters.source, 3)  # it is found out by trying
        return words in str(worker.status.get("degraded"))

    withdraw(where, user, right)
    try:
        await_(named, f"{words!r} in the status of the {node}", every=0.5)
        assert words in " ".join(sealwire("status", worker.file, code=1).split())
        assert worker.said(words) == said + 1
    finally:
        allow(where, user, [right])
    assert await_whole(clusters.source, clusters.sink, TOPIC).missing == 0
    await_(lambda: not worker.status["degraded"], "nothing degraded any more")
    assert worker.said("worker started") == 1


def test_a_worker_that_is_refused_at_its_start_says_by_what_and_starts_when_that_is_mended(
    guarded: Guarded, clusters: Clusters
) -> None:
    world, home = guarded.world, clusters.source
    names = {"PROJECT": PROJECT, "SITE": "bern", "TOPIC": TOPIC, "CLOUD_TOPIC": CLOUD_TOPIC}
    granted = rights("sealer local", **names)
    changelog, group = granted[3], granted[4]
    give_scram(home, "newcomer", "not its password")
    allow(home, "newcomer", [right for right in granted if right not in {changelog, group}])
    allow(home, "keeper", rights("administrator sending", **names))
    world.local["late"] = home.secured.login_file(
        world.directory / "late" / "local.config", "newcomer", "SCRAM-SHA-256"
    )
    world.logins["late"] = world.logins["sealer"]
    world.admit("bern", "late")
    late = world.sealing("late", [TOPIC], site="bern")

    late.start(ready=False)
    await_(lambda: "it refused the login" in late.status.get("why", ""), "the wrong password in the status")
    assert late.said("it refused the login") == 1
    give_scram(home, "newcomer")
    await_(lambda: "seal.lanes" in late.status.get("why", ""), "the missing lanes in the status")
    assert "is missing: sealwire site init makes it" in late.status["why"]
    sealwire("site", "init", late.file, "--kafka-config", world.directory / "berlin.config")
    await_(lambda: f"may not write topic {changelog.name}" in late.status.get("why", ""), "the lacking right named")
    assert f"may not read group {group.name}: grant Read on it" in late.status["why"]
    allow(home, "newcomer", [changelog, group])
    late.await_ready()
    assert late.said("worker started") == 1
    late.up.stop()


class Shop:
    """Whoever answers at a port of its own with a certificate of our choice, and closes the connection then."""

    def __init__(self, paper: Paper, file: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(paper.write(file))
        self._socket = create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                self._meet(self._socket.accept()[0])

    def _meet(self, visitor: socket) -> None:
        with closing(visitor), suppress(OSError), self._context.wrap_socket(visitor, server_side=True) as met:
            met.recv(100)

    def close(self) -> None:
        self._socket.close()


def wrong_clusters(clusters: Clusters, directory: Path) -> Iterator[tuple[Cluster, str]]:
    """What people get wrong, and the sentence for each."""
    cloud = clusters.cloud.secured
    number = 0

    def login(user: str = "sealer", mechanism: str = "PLAIN", **more: Any) -> Cluster:  # noqa: ANN401
        nonlocal number
        number += 1
        return clientfile.cluster(None, cloud.login_file(directory / f"{number}.config", user, mechanism, **more))

    def certificate(paper: Paper | None = None) -> Cluster:
        file = cloud.certificate_file(directory / "certificate.config", "mirror")
        found = clientfile.cluster(None, file)
        if paper is not None:
            paper.write(file.with_suffix(".pem"), STORE_PASSWORD)
        return found

    good, plain = login(), {"security.protocol": "PLAINTEXT"}
    yield good, ""
    yield login(word="wrong"), "it refused the login"
    yield login("mirror", "SCRAM-SHA-512", word="wrong"), "it refused the login"
    yield replace(good, bootstrap=clusters.cloud.bootstrap), "it closed the connection when TLS began"
    yield replace(good, bootstrap=cloud.sasl, security=plain), "it speaks TLS at this port, and we did not"
    nobody = {name: value for name, value in good.security.items() if not name.startswith("sasl.")}
    yield replace(good, bootstrap=cloud.mutual, security={**nobody, "security.protocol": "SSL"}), "or we sent none"
    yield certificate(), ""
    yield certificate(Authority("others").issue("mirror")), "it does not accept our certificate"
    yield certificate(cloud.authority.issue("mirror", lasts=-timedelta(hours=1))), "it does not accept our certificate"
    yield replace(certificate(), bootstrap=cloud.sasl), "does it want a login"
    others = str(Authority("others").write(directory / "others.pem"))
    yield replace(good, security={**good.security, "ssl.ca.location": others}), "an authority that is not known here"
    for paper, words in (
        (cloud.authority.issue("cloud", HOSTS, lasts=-timedelta(hours=1)), "its certificate has expired"),
        (cloud.authority.issue("cloud", ("kafka.example",)), "its certificate is for another host"),
    ):
        shop = Shop(paper, directory / "shop.pem")
        yield replace(good, bootstrap=shop.address), words
        shop.close()
    yield replace(good, bootstrap="nowhere.invalid:9092"), "its name is not known to this machine"


def refused(*words: str | Path) -> str:
    """Run a command that fails; what it said."""
    with pytest.raises(AssertionError) as caught:
        sealwire(*words)
    return str(caught.value).partition(": 1\n")[2]


def test_each_thing_that_people_get_wrong_has_its_own_sentence(guarded: Guarded, clusters: Clusters) -> None:
    assert guarded.mirror.status
    for cluster, words in wrong_clusters(clusters, guarded.world.directory / "wrong"):
        said = asyncio.run(diagnose(cluster))
        assert words in said if words else not said, (cluster, words, said)
        assert SECRET not in said


def test_a_certificate_for_another_host_and_a_wrong_password_end_a_command_with_their_sentence(
    guarded: Guarded, clusters: Clusters
) -> None:
    world, cloud = guarded.world, clusters.cloud.secured
    wrong = cloud.login_file(world.directory / "wrong.config", "administrator", word=f"{SECRET} wrong")
    shop = Shop(cloud.authority.issue("cloud", ("kafka.example",)), world.directory / "elsewhere.pem")
    elsewhere = wrong.read_text().replace(cloud.sasl, shop.address)
    (world.directory / "elsewhere.config").write_text(elsewhere)
    for file, words in ((wrong, "refused the login"), (world.directory / "elsewhere.config", "is for another host")):
        for command in (
            ("topics", "apply", "--yes", guarded.sealer.file, "--kafka-config", file),
            ("inspect", "--topic", CLOUD_TOPIC, "--kafka-config", file),
        ):
            told = refused(*command)
            assert words in told, told
            assert SECRET not in told
    shop.close()


def test_no_password_is_in_a_log_a_status_a_command_line_or_an_environment(guarded: Guarded) -> None:
    world = guarded.world
    fill(world.source, 3)
    pids = [each.process.pid for each in world.running if each.process is not None and each.process.poll() is None]
    pids += [guarded.sealer.pid, guarded.mirror.pid]
    seen = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    for pid in pids:
        with suppress(PermissionError):  # only root may look into a worker
            seen.append(Path(f"/proc/{pid}/environ").read_bytes())
    seen += [file.read_bytes() for file in world.directory.glob("*.log")]
    seen += [file.read_bytes() for file in world.directory.glob("state-*/**/*") if file.is_file()]
    for node in (guarded.sealer, guarded.mirror):
        seen.append(sealwire("status", "--json", node.file).encode())
    assert len(pids) >= 5
    assert len(seen) > 20
    for content in seen:
        assert SECRET.encode() not in content
        assert password("sealer").encode() not in content


def test_the_lines_of_the_list_are_taken_by_kafkas_own_tool(clusters: Clusters, tmp_path: Path) -> None:
    (tmp_path / "admin.config").touch()
    tool = f'kafka-acls.sh() {{ java -cp "{libraries()}/*" org.apache.kafka.tools.AclCommand "$@"; }}'
    script = f"{tool}\n{function_of_kafka()}\nright Write topic pasted.topic && right Read group pasted.group"
    where = {"CLUSTER": clusters.cloud.bootstrap, "LOGIN": "paster", "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wanted = {Right("WRITE", "TOPIC", "pasted.topic"), Right("READ", "GROUP", "pasted.group")}
    await_(lambda: rights_of(clusters.cloud, "paster") == wanted, "what was pasted", within=10)
