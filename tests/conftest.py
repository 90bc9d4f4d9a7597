"""What holds for all tests: how Hypothesis looks for examples, and which tests need Apache Kafka."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import hypothesis
import pytest

# Without a deadline, since two cores may be busy; in CI the same examples each time.
hypothesis.settings.register_profile("here", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True, database=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "here")

# The simulation's own, new at each run and told: SEED=... runs the same again. Workers of pytest inherit it.
os.environ.setdefault("SEED", str(secrets.randbits(32)))

INTEGRATION = Path(__file__).parent / "integration"
SIMULATION = Path(__file__).parent / "simulation"


def pytest_report_header() -> str:
    """Say how the simulation can be repeated."""
    return f"simulation: SEED={os.environ['SEED']}"


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of tests/integration: a test there cannot be run by `make test` because somebody forgot the mark.

    Files that take longest come first: the last one would keep one process busy while the other has nothing left.
    """
    for item in items:
        if INTEGRATION in item.path.parents:
            item.add_marker(pytest.mark.kafka)
    items.sort(key=lambda item: SIMULATION not in item.path.parents)
