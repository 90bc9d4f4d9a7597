"""Where the thefts find the simulation and the helpers of the other tests; and what the thieves tried, in figures."""

from __future__ import annotations

import gc
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

HERE = Path(__file__).parent
for folder in (HERE.parent / "keys", HERE.parent / "agents", HERE.parent / "simulation", HERE):
    sys.path.insert(0, str(folder))

from days import in_long_days
from simulation import in_virtual_time
from thief import TALLY
from world import with_fake_admins

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="module")
def long_days() -> Iterator[None]:
    """Virtual time in long steps, no log, no coverage, and no garbage collection but between modules."""
    traced = sys.gettrace()
    sys.settrace(None)  # else it would last twice as long
    with pytest.MonkeyPatch.context() as patch:
        with_fake_admins(patch)
        in_virtual_time(patch)
        in_long_days(patch)
        logging.disable(logging.CRITICAL)
        gc.collect()
        gc.disable()
        yield
        gc.enable()
        logging.disable(logging.NOTSET)
    sys.settrace(traced)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Add what the thieves of a worker of pytest tried."""
    TALLY.update(getattr(node, "workeroutput", {}).get("thefts", {}))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what the thieves of this process tried."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["thefts"] = dict(TALLY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was tried."""
    if TALLY:
        terminalreporter.section(f"what thieves tried, SEED={os.environ['SEED']}")
        for name, count in sorted(TALLY.items()):
            terminalreporter.write_line(f"{name:34}{count:12,}")
