"""deploy/custody: the scripts are well-formed, systemd takes the drop-ins, and each way is gone from end to end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from sealwire.app.cli import main
from sealwire.app.config import Node, load
from sealwire.app.custody import Cost, read_key_file
from sealwire.app.faults import Failure
from sealwire.app.vault import open_vault, vault_file

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
CUSTODY = DEPLOY / "custody"
README = (CUSTODY / "README.md").read_text()
DROP_INS = sorted(CUSTODY.glob("*.conf"))
LINES = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
TPM_TOOLS = ("createprimary", "createpolicy", "create", "load", "evictcontrol", "unseal")

# Stands in for each of tpm2-tools: files in $TPM for what is in the TPM, one of them the state that PCRs are in.
TPM = """#!/usr/bin/env python3
import os, sys
from pathlib import Path
tool, tpm = Path(sys.argv[0]).name, Path(os.environ["TPM"])
words = [word for word in sys.argv[1:] if word != "--quiet"]
told = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
state = (tpm / "pcrs").read_bytes()
def slot(handle): return tpm / handle
match tool:
    case "tpm2_createprimary": Path(told["key-context"]).write_text("primary")
    case "tpm2_createpolicy":
        assert "--policy-pcr" in words
        Path(told["policy"]).write_bytes(told["pcr-list"].encode() + b"=" + state)
    case "tpm2_create":
        assert told["sealing-input"] == "-" and Path(told["parent-context"]).read_text() == "primary"
        policy = Path(told["policy"]).read_bytes() if "policy" in told else b""
        assert ("userwithauth" in told["attributes"]) != bool(policy)
        Path(told["public"]).write_bytes(policy)
        Path(told["private"]).write_bytes(sys.stdin.buffer.read())
    case "tpm2_load":
        public, private = Path(told["public"]).read_bytes(), Path(told["private"]).read_bytes()
        Path(told["key-context"]).write_bytes(public + b"\\0" + private)
    case "tpm2_evictcontrol":
        handle = words[-1]
        if slot(handle).exists(): sys.exit("ERROR: persistent object already defined")
        slot(handle).write_bytes(Path(told["object-context"]).read_bytes())
    case "tpm2_unseal":
        if not slot(told["object-context"]).exists(): sys.exit("ERROR: the handle is not correct for the use")
        policy, secret = slot(told["object-context"]).read_bytes().split(b"\\0", 1)
        given = told["auth"].removeprefix("pcr:").encode() + b"=" + state if "auth" in told else b""
        if given != policy: sys.exit("ERROR: a policy check failed")
        sys.stdout.buffer.write(secret)
"""

# Stands in for HashiCorp Vault's command: files below $STORE for what is in it.
VAULT = """#!/usr/bin/env python3
import os, sys
from pathlib import Path
assert os.environ["VAULT_ADDR"].startswith("unix://"), "connection refused"
assert "VAULT_TOKEN" not in os.environ
store = Path(os.environ["STORE"])
match sys.argv[1:]:
    case ["kv", "put", path, "key=-"]:
        (store / path.replace("/", "_")).write_bytes(sys.stdin.buffer.read())
        print("======= Secret Path =======")
    case ["kv", "get", "-field=key", path]:
        file = store / path.replace("/", "_")
        if not file.exists(): sys.exit(f"No value found at {path}")
        sys.stdout.buffer.write(file.read_bytes())
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a `bin` that is first on the PATH."""
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    return tmp_path


def program(file: Path, content: str) -> None:
    file.write_text(content)
    file.chmod(0o755)


def typed(line: str) -> str:
    done = subprocess.run(
        line.replace("deploy/custody", str(CUSTODY)), shell=True, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


def line(beginning: str) -> str:
    (found,) = [each for each in LINES if each.startswith(beginning)]
    return found


def example(name: str, directory: Path) -> Node:
    """A YAML of deploy/examples as somebody has it, but for its state."""
    text = (DEPLOY / f"examples/{name}.yaml").read_text().replace("/var/lib/sealwire", "state")
    (directory / "node.yaml").write_text(text)
    (directory / "kafka.config").write_text("bootstrap.servers=cloud.example:9092\n")
    (directory / "kafka.config").chmod(0o600)
    node = load(directory / "node.yaml")
    assert isinstance(node, Node), [str(fault) for fault in node]
    return node


def opens_as_the_yaml_says(node: Node, *words: str) -> None:
    """Make an identity under a key file, put it under what the YAML says, and open it as its worker would."""
    assert main(["identity", "create", "producer1", "--state", "state"]) == 0
    assert main(["identity", "custody", "producer1", "--state", "state", *words]) == 0
    open_vault(vault_file(Path("state"), "producer1"), node.custody).close()


@pytest.mark.parametrize("script", sorted(CUSTODY.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_well_formed(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    subprocess.run(["sh", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(script)], check=True)


@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
def test_a_drop_in_takes_the_place_of_the_units_own_credential(drop_in: Path) -> None:
    text = drop_in.read_text()
    assert re.search(r"(?m)^LoadCredential=$", text)  # empty: those of the unit are forgotten
    for name in ("seal", "open"):
        assert "LoadCredential=vault.key:" in (DEPLOY / f"systemd/sealwire-{name}@.service").read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("drop_in", DROP_INS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong_with_a_unit_that_has_it(drop_in: Path, tmp_path: Path) -> None:
    for unit in (DEPLOY / "systemd").glob("*@.service"):
        text = unit.read_text().replace("/opt/sealwire/bin/", f"{Path(sys.executable).parent}/")
        (tmp_path / unit.name).write_text(text)
        (tmp_path / f"{unit.name}.d").mkdir()
        shutil.copy(drop_in, tmp_path / f"{unit.name}.d/vault.conf")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "sealwire-seal@berlin.service", "sealwire-open@berlin.service"],
        cwd=tmp_path,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [said for said in done.stderr.splitlines() if "sealwire" in said or "vault.conf" in said] == []


def test_every_file_is_told_of_and_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    assert [link for link in links if not (CUSTODY / link).exists()] == []
    assert {path.name for path in CUSTODY.iterdir()} - {"README.md"} <= set(links)


def test_the_parts_of_the_hashicorp_example_name_the_same_things() -> None:
    agent, policy = ((CUSTODY / f"hashicorp-vault-{name}.hcl").read_text() for name in ("agent", "policy"))
    for text in (agent, policy):
        assert text.count("{") == text.count("}") > 0
        assert text.count('"') % 2 == 0
    (socket,) = re.findall(r'(?m)^  address +?= "(/.*)"$', agent)
    assert f"VAULT_ADDR=unix://{socket}\n" in (CUSTODY / "hashicorp-vault.conf").read_text()
    *_, path = yaml.safe_load((DEPLOY / "examples/hashicorp-vault.yaml").read_text())["vault"]["command"]
    mount, _, name = path.partition("/")
    assert f'path "{mount}/data/{name}"' in policy
    assert f"vault kv put {path} key=-" in README


@pytest.fixture
def tpm(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Something that answers as a TPM does."""
    for tool in TPM_TOOLS:
        program(here / f"bin/tpm2_{tool}", TPM)
    (here / "tpm").mkdir()
    (here / "tpm/pcrs").write_text("secure boot")
    monkeypatch.setenv("TPM", str(here / "tpm"))
    return here / "tpm"


def test_a_vault_opens_by_the_tpm_and_by_the_copy_when_the_machine_was_changed(
    here: Path, tpm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(line("(umask 077"))
    printed = typed(line("deploy/custody/tpm-seal.sh"))
    node = example("tpm", here)
    assert yaml.safe_load(printed)["vault"]["command"] == list(node.custody.command)
    opens_as_the_yaml_says(node, "--to-key-command", " ".join(node.custody.command))
    (tpm / "pcrs").write_text("another boot loader")
    with pytest.raises(Failure, match="failed with exit code 1; it said: ERROR: a policy check failed"):
        open_vault(vault_file(Path("state"), "producer1"), node.custody)
    capsys.readouterr()
    assert (
        main(
            ["identity", "custody", "producer1", "--state", "state", "--key-file", "vault.key", "--to-key-file", "new"]
        )
        == 0
    )


def test_what_is_sealed_without_a_state_opens_in_any(here: Path, tpm: Path) -> None:
    typed(line("(umask 077"))
    printed = typed("deploy/custody/tpm-seal.sh vault.key 0x81018002 ''")
    command = yaml.safe_load(printed)["vault"]["command"]
    (tpm / "pcrs").write_text("another boot loader")
    assert subprocess.run(command, capture_output=True, check=True).stdout == (here / "vault.key").read_bytes()


def test_a_slot_that_is_taken_stops_the_script(here: Path, tpm: Path) -> None:
    typed(line("(umask 077"))
    (tpm / "0x81018001").write_bytes(b"\0of somebody else")
    done = subprocess.run([CUSTODY / "tpm-seal.sh", "vault.key"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "already defined" in done.stderr
    assert done.stdout == ""
    del here


def test_a_tpm_that_gives_back_something_else_is_told(here: Path, tpm: Path) -> None:
    typed(line("(umask 077"))
    program(here / "bin/tpm2_unseal", "#!/bin/sh\necho of somebody else\n")
    done = subprocess.run([CUSTODY / "tpm-seal.sh", "vault.key"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not what it was given" in done.stderr
    assert done.stdout == ""
    del tpm


@pytest.fixture
def real_tpm(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A TPM in software, with the tools that are installed; what they leave in it is cleared, as a kernel does."""
    real = {tool: shutil.which(f"tpm2_{tool}") for tool in (*TPM_TOOLS, "flushcontext", "pcrextend")}
    if shutil.which("swtpm") is None or None in real.values():
        pytest.skip("no swtpm or tpm2-tools here")
    (here / "tpm").mkdir()
    process = subprocess.Popen(
        f"exec swtpm socket --tpm2 --tpmstate dir=tpm --flags not-need-init,startup-clear "
        f"--server type=unixio,path={here}/sock --ctrl type=unixio,path={here}/sock.ctrl",
        shell=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    monkeypatch.setenv("TPM2TOOLS_TCTI", f"swtpm:path={here / 'sock'}")
    for tool in TPM_TOOLS:
        clear = f"{real['flushcontext']} -t; {real['flushcontext']} -l"
        program(here / f"bin/tpm2_{tool}", f'#!/bin/sh\n{real[tool]} "$@"; code=$?\n{clear}\nexit $code\n')
    until = time.monotonic() + 20
    while subprocess.run([f"{real['flushcontext']}", "-t"], capture_output=True, check=False).returncode:
        assert time.monotonic() < until
    yield
    process.send_signal(signal.SIGTERM)
    process.wait(10)


@pytest.mark.usefixtures("real_tpm")
def test_the_same_with_the_tools_themselves_and_a_tpm_in_software(here: Path) -> None:
    typed(line("(umask 077"))
    typed(line("deploy/custody/tpm-seal.sh"))
    node = example("tpm", here)
    opens_as_the_yaml_says(node, "--to-key-command", " ".join(node.custody.command))
    subprocess.run(["tpm2_pcrextend", f"7:sha256={'ab' * 32}"], check=True)
    with pytest.raises(Failure, match="a policy check failed"):
        open_vault(vault_file(Path("state"), "producer1"), node.custody)


def test_a_vault_opens_by_hashicorp_vault_through_its_agent(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(here / "bin/vault", VAULT)
    (here / "store").mkdir()
    monkeypatch.setenv("STORE", str(here / "store"))
    (address,) = re.findall(r"VAULT_ADDR=(\S+)", (CUSTODY / "hashicorp-vault.conf").read_text())
    monkeypatch.setenv("VAULT_ADDR", address)
    node = example("hashicorp-vault", here)
    with pytest.raises(Failure, match="No value found at secret/sealwire/producer1"):
        node.custody.sealing_secret(bytes(16), Cost(1, 1 << 20), asking_for="x")
    typed(line("(umask 077"))
    typed(line("vault kv put"))
    opens_as_the_yaml_says(node, "--to-key-command", " ".join(node.custody.command))
    monkeypatch.delenv("VAULT_ADDR")
    with pytest.raises(Failure, match="failed with exit code 1"):
        open_vault(vault_file(Path("state"), "producer1"), node.custody)


def test_a_vault_opens_by_a_credential_that_systemd_encrypted(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed(line("(umask 077"))
    encrypt = ["systemd-creds", "encrypt", "--name=vault.key", "--with-key=tpm2-absent", "vault.key", "encrypted"]
    if shutil.which("systemd-creds") is None or subprocess.run(encrypt, capture_output=True, check=False).returncode:
        pytest.skip("no systemd-creds that encrypts without a host's key")
    (by_hand,) = re.findall(r"`vault: \{command: (\[systemd-creds.*?\])\}`", README)
    command = [word.replace("FILE", "encrypted") for word in yaml.safe_load(by_hand)]
    assert main(["identity", "create", "producer1", "--state", "state", "--key-command", " ".join(command)]) == 0
    # What a unit with the drop-in is given: the same bytes, as a file of its own.
    (here / "given").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(here / "given"))
    (here / "given/vault.key").write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    (here / "given/vault.key").chmod(0o440)
    node = example("supervised", here)
    assert node.custody.credential == "vault.key"
    open_vault(vault_file(Path("state"), "producer1"), node.custody).close()
    assert read_key_file(here / "given/vault.key") == read_key_file(here / "vault.key")
