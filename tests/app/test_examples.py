"""Every example of deploy/examples is right as it stands, once the files that it names are there."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sealwire.app.config import Node, load

DIRECTORY = Path(__file__).parents[2] / "deploy/examples"
EXAMPLES = sorted(DIRECTORY.glob("*.yaml"))


def name(path: Path) -> str:
    return path.name


def certificate() -> bytes:
    """A key and a certificate for it, in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an example")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(who, who, key.public_key(), 1, now, now + timedelta(days=1)).sign(
        key, hashes.SHA256()
    )
    shape = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*shape) + made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples as somebody uses them: client files without `.example`, and the certificates that they name."""
    made = tmp_path_factory.mktemp("etc")
    for file in DIRECTORY.iterdir():
        text = file.read_text().replace("/var/lib/sealwire", str(made / "state"))
        text = text.replace("YOUR_API_KEY", "ABCDEFGH").replace("YOUR_API_SECRET", "xyz")
        (made / file.name.removesuffix(".example")).write_text(text)
        for location in re.findall(r"(?m)^ssl\.\w+\.location=(.*)$", text):
            (made / location).write_bytes(certificate())
    return made


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_an_example_has_no_fault(example: Path, directory: Path) -> None:
    node = load(directory / example.name)
    assert isinstance(node, Node), [str(fault) for fault in node]
    assert node.project == "acme"


def test_every_client_file_is_of_an_example(directory: Path) -> None:
    named = {config for example in EXAMPLES for config in re.findall(r"kafka_config: ([\w.-]+)", example.read_text())}
    assert {f"{each}.example" for each in named} == {path.name for path in DIRECTORY.glob("*.example")}


def test_an_example_is_not_taken_without_the_files_it_names(tmp_path: Path) -> None:
    shutil.copy(DIRECTORY / "mutual-tls.yaml", tmp_path)
    faults = load(tmp_path / "mutual-tls.yaml")
    assert not isinstance(faults, Node)
    assert {fault.setting for fault in faults} >= {"local.kafka_config", "cloud.kafka_config"}
