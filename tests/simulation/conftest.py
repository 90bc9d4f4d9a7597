"""Where the simulation finds the helpers of its neighbours; and the table of the faults that mirrors met."""

from __future__ import annotations

import gc
import logging
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
for folder in (HERE.parent / "keys", HERE.parent / "agents", HERE):
    sys.path.insert(0, str(folder))

from machine import REACHED
from simulation import in_virtual_time
from world import with_fake_admins

if TYPE_CHECKING:
    from collections.abc import Iterator

MET = REACHED  # of this process; of all in the one that the workers of pytest report to


@pytest.fixture(autouse=True)
def hostile_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Virtual time, no log, and no garbage collection but between runs."""
    with_fake_admins(monkeypatch)
    in_virtual_time(monkeypatch)
    logging.disable(logging.CRITICAL)
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()
    logging.disable(logging.NOTSET)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Coverage would make it last twice as long, and count as covered what no claim is made of."""
    traced = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(traced)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Add what a worker's runs met."""
    MET.update(Counter(getattr(node, "workeroutput", {}).get("met", {})))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what the runs of this process met."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["met"] = dict(REACHED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how often mirrors met each fault."""
    if MET:
        terminalreporter.section("faults, and how often mirrors met them")
        for name, count in sorted(MET.items()):
            terminalreporter.write_line(f"{name:26}{count:9,}")
