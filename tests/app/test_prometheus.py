"""Alerts and dashboard name only what a worker exposes, with labels that it has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, ProcessCollector

from sealwire.agents.metrics import METRICS

DIRECTORY = Path(__file__).parents[2] / "deploy/prometheus"
ALERTS: dict[str, Any] = yaml.safe_load((DIRECTORY / "sealwire-alerts.yaml").read_text())
DASHBOARD: dict[str, Any] = json.loads((DIRECTORY / "sealwire-dashboard.json").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
TARGET = {"job", "instance"}
LABELS = {f"sealwire_{row.name}": {"direction", *row.labels} | TARGET for row in METRICS}
DURATION = r"\d+(?:ms|s|m|h|d)"


def of_the_process() -> set[str]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return {sample.name for family in registry.collect() for sample in family.samples}


def expressions() -> list[str]:
    return [rule["expr"] for rule in RULES] + [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_every_name_is_exposed_with_the_labels_that_are_asked_for(expression: str) -> None:
    names = set(re.findall(r"\b(?:sealwire|process)_\w+", expression))
    assert names <= LABELS.keys() | of_the_process()
    assert names or expression.startswith("up{")
    for name, inside in re.findall(r"\b(sealwire_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)\s*[=!]", inside)) <= LABELS[name], name
    for by in re.findall(r"(?:by|on) \(([^)]*)\)", expression):
        asked = {word.strip() for word in by.split(",")}
        assert all(asked <= LABELS[name] for name in names & LABELS.keys()), asked
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")
    for span in re.findall(r"\[([^\]]+)\]", expression):
        assert re.fullmatch(DURATION, span) or span == "$__rate_interval"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_happened(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(DURATION, rule.get("for", "1m"))
    words = " ".join(rule["annotations"].values())
    names = set(re.findall(r"\bsealwire_\w+", rule["expr"]))
    kept = re.search(r"by \(([^)]*)\)", rule["expr"])
    has = (
        {each.strip() for each in kept[1].split(",")} if kept else set.union(*(LABELS[each] for each in names), TARGET)
    )
    assert set(re.findall(r"\$labels\.(\w+)", words)) <= has


def test_a_label_is_of_a_metric_where_a_legend_shows_it() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = re.search(r"by \(([^)]*)\)", target["expr"])
            names = set(re.findall(r"\bsealwire_\w+", target["expr"]))
            has = (
                {each.strip() for each in kept[1].split(",")}
                if kept
                else set.union(TARGET, *(LABELS[n] for n in names))
            )
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= has, target


def test_panels_do_not_lie_upon_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_scrape_names_the_rules_that_are_there() -> None:
    scrape = yaml.safe_load((DIRECTORY / "scrape.yaml").read_text())
    assert all((DIRECTORY / each).is_file() for each in scrape["rule_files"])
    assert [job["job_name"] for job in scrape["scrape_configs"]] == ["sealwire"]
