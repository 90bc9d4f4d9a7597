"""A Java client file is read as Java reads it; nothing in it is dropped in silence, and nothing secret is shown."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwire.app import clientfile
from sealwire.app.faults import Faults
from sealwire.app.properties import parse

sys.path.append(str(Path(__file__).parents[1] / "integration"))

from certificates import Authority  # noqa: E402

CONFLUENT = """\
# Required connection configs for Kafka producer, consumer, and admin
bootstrap.servers=pkc-1.eu.aws.confluent.cloud:9092
request.timeout.ms=30000
security.protocol=SASL_SSL
sasl.mechanism=PLAIN
sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
        username="KEY" \\
        password="se\\\\"c;r=et";
client.dns.lookup=use_all_dns_ips
acks=all
schema.registry.url=https://x
"""


def read(directory: Path, text: str) -> clientfile.ClientFile:
    path = directory / "kafka.config"
    path.write_bytes(text.encode("latin-1"))
    return clientfile.read(path)


def faults(directory: Path, text: str) -> list[str]:
    with pytest.raises(Faults) as caught:
        read(directory, text)
    return [str(fault).removeprefix(f"{directory / 'kafka.config'}") for fault in caught.value.faults]


def sasl(mechanism: str = "PLAIN", jaas: str | None = None) -> str:
    module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
    login = jaas or f"org.apache.kafka.common.security.{module} required username=\"u\" password='p';"
    return f"security.protocol=SASL_SSL\nsasl.mechanism={mechanism}\nsasl.jaas.config={login}\n"


def test_the_file_that_confluent_cloud_shows_is_read(tmp_path: Path) -> None:
    client = read(tmp_path, CONFLUENT)
    assert client.bootstrap == "pkc-1.eu.aws.confluent.cloud:9092"
    assert client.security == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "KEY",
        "sasl.password": 'se"c;r=et',
    }
    assert set(client.ignored) == {"request.timeout.ms", "client.dns.lookup", "acks", "schema.registry.url"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_each_mechanism_finds_its_login(tmp_path: Path, mechanism: str) -> None:
    assert read(tmp_path, sasl(mechanism)).security["sasl.password"] == "p"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=b", {"a": "b"}),
        ("  a : b ", {"a": "b "}),
        ("a b c", {"a": "b c"}),
        ("a\\=b=c", {"a=b": "c"}),
        ("a=b\\\n   c", {"a": "bc"}),
        ("a=b\\\\\nc=d", {"a": "b\\", "c": "d"}),
        ("# x\n! y\n\n a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=\\u00e4\\t\\:", {"a": "ä\t:"}),
        ("a", {"a": ""}),
        ("a=b\\", {"a": "b"}),
    ],
)
def test_properties_are_read_as_java_reads_them(text: str, found: dict[str, str]) -> None:
    assert {entry.name: entry.value for entry in parse(text)} == found


def test_a_setting_after_a_continuation_still_has_its_own_line(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "acks=\\\n\\\n all\nsecurity.protocl=SSL\n")
    assert fault == ":4: security.protocl: is not a setting that sealwire knows (did you mean 'security.protocol'?)"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("frobnicate=1", "is not a setting"),
        ("acks=all\nacks=1", "stands twice, first in line 1"),
        ("a=\\u12", "four hexadecimal digits"),
        ("security.protocol=TLS", "must be PLAINTEXT or SSL"),
        ("sasl.mechanism=PLAIN", "has no effect with security.protocol PLAINTEXT"),
        ("ssl.truststore.location=x", "has no effect with security.protocol PLAINTEXT"),
        ("security.protocol=SASL_SSL", "sasl.mechanism: is missing"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=PLAIN", "sasl.jaas.config: is missing"),
        ("security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI", "is not in this release"),
        ("security.protocol=SSL\nssl.ca.location=nope.pem", "there is no file"),
        ("security.protocol=SSL\nssl.cipher.suites=x", "is not in this release"),
        ("security.protocol=SSL\nssl.enabled.protocols=TLSv1.1", "only TLSv1.2 and TLSv1.3"),
        ("bootstrap.servers=localhost", "is not host:port"),
        ("sasl.oauthbearer.token.endpoint.url=x", "is not in this release"),
        (sasl(jaas="garbage"), "cannot be understood"),
        (sasl(jaas='a.B required username="u" password="p";'), "names a login module that is not in this release"),
        (sasl("SCRAM-SHA-256", "org.apache.kafka.common.security.plain.PlainLoginModule required;"), "has no username"),
        (sasl().replace('"u"', '"YOUR_API_KEY"'), "still holds a placeholder"),
    ],
)
def test_what_cannot_be_is_named_at_its_line(tmp_path: Path, text: str, words: str) -> None:
    assert any(words in fault for fault in faults(tmp_path, text))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_pem_stores_are_taken(tmp_path: Path, authority: Authority) -> None:
    authority.write(tmp_path / "ca.pem")
    authority.issue("us").write(tmp_path / "us.pem", "x")
    client = read(tmp_path, "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location=ca.pem\n")
    assert client.security["ssl.ca.location"] == str(tmp_path / "ca.pem")
    client = read(tmp_path, "security.protocol=SSL\nssl.keystore.location=us.pem\nssl.key.password=x\n")
    assert client.security["ssl.key.location"] == str(tmp_path / "us.pem")


@pytest.mark.parametrize(("begin", "words"), [(b"\xfe\xed\xfe\xed", "is a JKS store"), (b"0\x82", "is a PKCS12 store")])
@pytest.mark.parametrize("store", ["truststore", "keystore"])
def test_java_stores_are_refused_with_the_commands_that_make_pem_of_them(
    tmp_path: Path, begin: bytes, words: str, store: str
) -> None:
    (tmp_path / "mine").write_bytes(begin)
    text = f"security.protocol=SSL\nssl.{store}.location=mine\nssl.{store}.password=x\nssl.{store}.type=JKS\n"
    (fault,) = faults(tmp_path, text)
    assert f"{words}: only PEM is read" in fault
    assert ("keytool -importkeystore -srckeystore mine" in fault) == (begin[0] == 0xFE)
    assert "openssl pkcs12 -in mine" in fault
    assert ("-nokeys" in fault) == (store == "truststore")


def keystore(file: Path, kind: str, authority: Authority) -> None:
    """A key store with something wrong."""
    paper, other = authority.issue("us"), authority.issue("other")
    expired = authority.issue("us", lasts=-timedelta(hours=1))
    file.write_bytes(
        {
            "expired": expired.key_pem() + expired.chain_pem(),
            "no private key": paper.chain_pem(),
            "under a password": paper.key_pem("secret") + paper.chain_pem(),
            "cannot be read": paper.key_pem("secret") + paper.chain_pem(),
            "under no password": paper.key_pem() + paper.chain_pem(),
            "of another certificate": paper.key_pem() + other.chain_pem(),
            "no certificate": paper.key_pem(),
        }[kind]
    )


@pytest.mark.parametrize(
    ("kind", "password"),
    [
        ("expired", ""),
        ("no private key", ""),
        ("under a password", ""),
        ("cannot be read", "wrong"),
        ("under no password", "needless"),
        ("of another certificate", ""),
        ("no certificate", ""),
    ],
)
def test_a_certificate_that_no_broker_would_take_is_named_before_one_is_asked(
    tmp_path: Path, authority: Authority, kind: str, password: str
) -> None:
    keystore(tmp_path / "us.pem", kind, authority)
    text = "security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.location=us.pem\n"
    (fault,) = faults(tmp_path, text + (f"ssl.key.password={password}\n" if password else ""))
    assert kind in fault
    assert "(" in fault  # and what to do
    assert not password or password not in fault


@pytest.mark.parametrize(("content", "words"), [(b"-----BEGIN CERTIFICATE-----\n", "no certificate that can be read")])
def test_a_file_of_authorities_that_holds_none_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    (fault,) = faults(tmp_path, "security.protocol=SSL\nssl.ca.location=ca.pem\n")
    assert words in fault


def test_a_file_with_the_line_ends_of_windows_is_read_as_any_other(tmp_path: Path) -> None:
    assert read(tmp_path, CONFLUENT.replace("\n", "\r\n")).security == read(tmp_path, CONFLUENT).security


def test_host_names_are_checked_unless_the_file_says_no(tmp_path: Path) -> None:
    name = "ssl.endpoint.identification.algorithm"
    assert read(tmp_path, f"security.protocol=SSL\n{name}=\n").security[name] == "none"
    assert read(tmp_path, f"security.protocol=SSL\n{name}=https\n").security[name] == "https"


def test_no_secret_is_in_a_repr_or_a_fault(tmp_path: Path) -> None:
    client = read(tmp_path, sasl().replace("'p'", "'hunter2'"))
    assert "hunter2" not in repr(client)
    assert all("hunter2" not in repr(entry) for entry in parse("sasl.password=hunter2"))
    for text in (
        "sasl.jaas.config=hunter2",
        sasl(jaas='x.Y required password="hunter2"'),
        "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\nsasl.password=hunter2\n",
    ):
        assert all("hunter2" not in fault for fault in faults(tmp_path, text))


@pytest.mark.parametrize("address", ["a:1", "a:65535,b:1", " a:1 , b:2 ", "[::1]:9092", "10.0.0.1:9092"])
def test_addresses_are_taken(address: str) -> None:
    assert not clientfile.bootstrap_problem(address)


@pytest.mark.parametrize("address", ["", "a", "a:", "a:0", "a:65536", ":1", "a:1,", "http://a:1", "a b:1", "a:x"])
def test_what_is_no_address_is_refused(address: str) -> None:
    assert clientfile.bootstrap_problem(address)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_with_faults(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.config"
    path.write_bytes(content)
    try:
        clientfile.read(path)
    except Faults as found:
        assert found.faults  # noqa: PT017 - either is right; nothing else may be raised


def test_a_command_takes_its_cluster_from_option_or_client_file(tmp_path: Path) -> None:
    path = tmp_path / "kafka.config"
    path.write_text("bootstrap.servers=b:2\nsecurity.protocol=SSL\n")
    assert clientfile.cluster("a:1", None, embedded=True).embedded
    assert clientfile.cluster(None, path).bootstrap == "b:2"
    given = clientfile.cluster("a:1", path)
    assert (given.bootstrap, given.security["security.protocol"]) == ("a:1", "SSL")


@pytest.mark.parametrize(
    ("bootstrap", "words"), [(None, "name the cluster with --bootstrap"), ("a", "is not host:port")]
)
def test_a_command_without_a_cluster_is_refused(bootstrap: str | None, words: str) -> None:
    with pytest.raises(Faults, match=words):
        clientfile.cluster(bootstrap, None)
