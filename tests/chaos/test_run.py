"""What a run of the chaos says of itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import run
from checker import Totals
from faults import Faults
from kafka_cluster import KafkaCluster
from plan import Kind

if TYPE_CHECKING:
    from pathlib import Path


def test_the_last_line_has_its_figures_in_a_fixed_order() -> None:
    line = run.last_line(Totals(5, 1, 2, 3, 4, 6), kills=7, faults=8)
    assert line == "chaos: records=5 kills=7 faults=8 lost=1 duplicated=2 reordered=3 altered=4 unnoticed=6"


def test_the_plan_of_a_seed_can_be_read_before_it_is_carried_out(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--plan", "--seed", "3", "--minutes", "2", "--kills", "8"]
    assert run.main(words) == run.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert sum("kill " in line for line in lines) == 16


def test_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(SystemExit):
        run.main(["--only", "hurricane"])


def test_every_kind_that_is_planned_can_be_done(tmp_path: Path) -> None:
    cloud = KafkaCluster("cloud", directory=tmp_path)  # never started
    faults = Faults(SimpleNamespace(sealers=(), mirrors=()), {"cloud": cloud}, {})
    assert faults.ways.keys() == set(Kind)
