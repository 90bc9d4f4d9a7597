"""What holds secrets leaves no core file, and lets nobody but root look into it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")

# PR_GET_DUMPABLE, then both limits
SHOW = (
    "import ctypes, resource; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE))"
)
PRIVATE = "0 0 0"


def shown(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\n{SHOW}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1]


def test_a_worker_is_private_before_it_looks_at_its_node(tmp_path: Path) -> None:
    begin = "import sys\ntry: import sealwire.app.{}\nexcept SystemExit: pass"
    for module in ("seal", "mirror"):
        assert shown(begin.format(module), SEALWIRE_NODE=str(tmp_path / "gone.yaml")) == PRIVATE


def test_a_command_is_private() -> None:
    assert shown("from sealwire.app.cli import main; main(['--version'])") == PRIVATE


def test_a_program_that_it_starts_can_be_looked_into_as_ever() -> None:
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {SHOW!r}], check=True)"
    code = f"from sealwire.app import memory; memory.keep_private(); {start}; sys.exit(0)"
    assert shown_raw(code).split()[0] == "1"


def shown_raw(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def dumps(code: str, directory: Path) -> bool:
    """Whether a process that aborts leaves a core."""
    allow = (
        "import contextlib, os, resource\n"
        "with contextlib.suppress(ValueError): resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)"
    )
    words = [sys.executable, "-c", f"{allow}\nos.chdir({str(directory)!r})\n{code}\nos.abort()"]
    pid = os.posix_spawn(sys.executable, words, os.environ)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status)
    return os.WCOREDUMP(status)


def test_a_worker_that_crashes_leaves_no_core(tmp_path: Path) -> None:
    if not dumps("", tmp_path):
        pytest.skip("nothing leaves a core here")
    for file in tmp_path.iterdir():
        file.unlink()
    assert not dumps("from sealwire.app import memory; memory.keep_private()", tmp_path)
    # Where cores go to a program the limit does not bind: the kernel asks whether the process is dumpable.
    unlimited = "import resource; resource.setrlimit = lambda *_: None; "
    assert not dumps(f"{unlimited}from sealwire.app import memory; memory.keep_private()", tmp_path)
    assert list(tmp_path.iterdir()) == []
