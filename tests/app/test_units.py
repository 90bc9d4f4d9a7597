"""The systemd units: what they start is there, they are confined, and systemd itself finds nothing wrong with them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sealwire.agents.driver import WORKER_ENVIRONMENT
from sealwire.app import cli

DIRECTORY = Path(__file__).parents[2] / "deploy/systemd"
UNITS = sorted(DIRECTORY.glob("*.service"))
WORKERS = [unit for unit in UNITS if "@" in unit.name]
CONFINED = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "CapabilityBoundingSet": "",
    "MemoryDenyWriteExecute": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "LimitCORE": "0",
    "MemorySwapMax": "0",
    "UMask": "0077",
    "User": "sealwire",
}
MOST_EXPOSED = 2.0  # of 10, as systemd-analyze security counts


def settings(unit: Path) -> dict[str, str]:
    text = re.sub(r"(?m)^#.*\n", "", unit.read_text())
    return dict(re.findall(r"(?m)^(\w+)=(.*)$", text))


def name(unit: Path) -> str:
    return unit.name


def test_there_is_one_for_each_role() -> None:
    assert [unit.name for unit in UNITS] == [
        "sealwire-authority.service",
        "sealwire-open@.service",
        "sealwire-seal@.service",
    ]


@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_a_unit_is_confined_and_given_the_time_to_end(unit: Path) -> None:
    found = settings(unit)
    assert found.items() >= CONFINED.items()
    assert int(found["TimeoutStopSec"]) >= 35
    assert found["Restart"] == "on-failure"
    assert found["RestartPreventExitStatus"] == "2"
    assert found["StateDirectoryMode"] == "0700"
    assert re.fullmatch(r"\d+M", found["MemoryMax"])
    assert "LoadCredential" in found


@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_what_a_unit_starts_is_ours(unit: Path) -> None:
    program, *words = settings(unit)["ExecStart"].split()
    if program.endswith("/sealwire"):
        assert cli.main([*words, "--help"]) == 0
        return
    assert words[:4] == ["-m", "faust", "--quiet", "-A"]
    assert importlib.util.find_spec(words[4]) is not None
    shown = subprocess.run(
        [sys.executable, "-m", "faust", "worker", "--help"], capture_output=True, text=True, check=True
    )
    assert all(word in shown.stdout for word in words[5:] if word.startswith("--"))


@pytest.mark.parametrize("unit", WORKERS, ids=name)
def test_a_worker_is_watched_and_has_the_environment_of_one(unit: Path) -> None:
    text = unit.read_text()
    assert "Type=notify" in text
    assert int(settings(unit)["WatchdogSec"]) <= 60
    assert "Environment=SEALWIRE_NODE=/etc/sealwire/%i.yaml" in text
    for variable, value in WORKER_ENVIRONMENT.items():
        assert f"{variable}={value}" in text


def ran_from(tmp_path: Path) -> Path:
    """The units with an interpreter that is there, so that systemd can look."""
    for unit in UNITS:
        text = unit.read_text().replace("/opt/sealwire/bin/", f"{Path(sys.executable).parent}/")
        (tmp_path / unit.name).write_text(text)
    return tmp_path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    ran_from(tmp_path)
    units = [unit.name.replace("@.", "@berlin.") for unit in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if "sealwire" in line]
    assert ours == []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("unit", UNITS, ids=name)
def test_systemd_counts_a_unit_as_little_exposed(unit: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"./{unit.name}"],
        cwd=ran_from(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    if level is None:
        pytest.skip(f"this systemd does not look at files: {done.stderr.strip()[:200]}")
    assert float(level[1]) <= MOST_EXPOSED
