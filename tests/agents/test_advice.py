"""Why a connection does not come about, and what a worker waits for before its Faust app begins, in sentences."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka import errors
from fake_broker import FakeBroker
from fake_kafka import FakeAdmin, FakeCluster
from in_loop import in_loop, until

from sealwire.agents import client, home
from sealwire.agents.advice import advice
from sealwire.agents.blocking import ClusterAway
from sealwire.agents.driver import FrameRefused
from sealwire.agents.rights import Rights
from sealwire.agents.settings import Cluster, Settings


def refused_certificate(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, "in OpenSSL's words"
    return error


def alert(reason: str) -> Exception:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    closed = errors.KafkaConnectionError("Connection at h:1 closed")
    closed.__cause__ = error
    return closed


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (refused_certificate(10), "has expired"),
        (refused_certificate(9), "is not valid yet"),
        (refused_certificate(19), "an authority that is not known here"),
        (refused_certificate(62), "is for another host"),
        (refused_certificate(64), "is for another host"),
        (refused_certificate(23), "is not trusted: in OpenSSL's words"),
        (alert("SSLV3_ALERT_BAD_CERTIFICATE"), "or we sent none"),
        (alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "it wants a certificate of us"),
        (alert("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "it has expired; renew"),
        (alert("SSLV3_ALERT_CERTIFICATE_UNKNOWN"), "does the cluster know the authority"),
        (alert("TLSV1_ALERT_UNKNOWN_CA"), "it does not know the authority"),
        (alert("WRONG_VERSION_NUMBER"), "it does not speak TLS at this port"),
        (alert("SOMETHING_NEW"), "TLS failed: SOMETHING_NEW"),
        (errors.SaslAuthenticationFailed("Authentication failed: Invalid username or password"), "refused the login"),
        (errors.UnsupportedSaslMechanismError("x"), "does not take our sasl.mechanism"),
        (errors.IllegalSaslStateError("x"), "takes no logins at this port"),
        (socket.gaierror(-2, "Name or service not known"), "its name is not known"),
        (ConnectionResetError(), "closed the connection when TLS began"),
    ],
)
def test_each_cause_has_its_own_sentence(error: Exception, words: str) -> None:
    assert words in advice(error, tls=True)


def test_what_tls_answers_to_somebody_who_does_not_speak_it_is_known_by_its_first_bytes() -> None:
    closed = errors.KafkaConnectionError("closed")
    closed.__cause__ = FrameRefused("an answer of 352518912 bytes, 1 allowed")
    assert "it speaks TLS at this port" in advice(closed, tls=False)


@pytest.mark.parametrize("error", [ConnectionRefusedError(), TimeoutError(), None])
def test_where_nobody_is_there_no_advice_is_given(error: Exception | None) -> None:
    assert not advice(error, tls=False)


@in_loop
async def test_whoever_takes_a_connection_and_closes_it_is_said_to_want_a_login() -> None:
    async with FakeBroker() as fake:
        assert not await client.diagnose(Cluster(fake.bootstrap))

        def gone(_body: bytes) -> bytes:
            raise ConnectionResetError

        fake.on[3] = gone  # metadata
        with pytest.raises(ClusterAway, match="does it want a login"):
            await client.connect(Cluster(fake.bootstrap), "test", deadline=0)


@in_loop
async def test_a_right_that_lacks_is_said_once_and_when_it_is_there(caplog: pytest.LogCaptureFixture) -> None:
    rights = Rights("here:1")
    rights.granted("t")
    for _ in range(3):
        assert rights.refused("Read", "t").startswith("our login at here:1 may not read topic t: grant Read on it")
    rights.granted("t")
    assert not rights.lacking
    assert [record.message.partition(":1 ")[2][:7] for record in caplog.records] == ["may not", "may use"]


class Gate(FakeAdmin):
    """An administrator that tells what our login may do; `away` while it does not answer."""

    away = False
    may: dict[str, set[str]] = {}  # noqa: RUF012

    async def describe(self, names: object) -> Any:  # noqa: ANN401
        if Gate.away:
            raise ClusterAway("away")
        return await super().describe(names)

    async def allowed(self, _topics: object, _group: str) -> dict[str, set[str]]:
        return Gate.may


@pytest.mark.parametrize("direction", ["seal", "open"])
@in_loop
async def test_a_worker_waits_for_topics_and_rights_of_its_own_before_faust_begins(direction: Any) -> None:  # noqa: ANN401
    settings = Settings("acme", "b", "s", direction, Path(), Cluster("local:1"), Cluster("cloud:1"))
    local = FakeCluster()
    FakeAdmin.clusters = {"local:1": local}
    patch = pytest.MonkeyPatch()

    async def connect(*_: object, **__: object) -> None:
        return None

    async def nothing(*_: object) -> str:
        return ""

    for name, fake in (("Admin", Gate), ("_LOOK_EVERY", 0.01)):
        patch.setattr(home, name, fake)
    for name in ("close", "diagnose"):
        patch.setattr(home.client, name, nothing)
    patch.setattr(home.client, "connect", connect)
    at_home = home.Home(settings)
    assert "waiting for the local cluster" in at_home.why
    Gate.away = True
    waiting = asyncio.create_task(at_home.wait())
    await until(lambda: "does not answer: away" in at_home.why)
    Gate.away = False
    await until(lambda: f"{settings.lane_topic} is missing: sealwire site init makes it" in at_home.why)
    local.make(settings.lane_topic, 16)
    local.make(settings.changelog_topic, 16)
    if direction == "open":
        for topic in (settings.cursor_topic, settings.ledger_topic):
            await until(lambda topic=topic: f"{topic} is missing" in at_home.why or f"{topic}, " in at_home.why)  # type: ignore[misc]
            local.make(topic, 16)
    Gate.may = {settings.lane_topic: {"READ"}, settings.changelog_topic: {"READ"}, settings.app_id: set()}
    await until(lambda: f"may not write topic {settings.changelog_topic}" in at_home.why)
    assert f"may not read group {settings.app_id}" in at_home.why
    Gate.may = {}  # a broker that does not tell
    await waiting
    assert not at_home.why
    patch.undo()
