"""docs/OPERATIONS.md is true: its table of metrics is the code's, and what it names is there."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click

from sealwire.agents.metrics import METRICS, MOST_PARTITIONS, MOST_TOPICS
from sealwire.app import cli, config, cures
from sealwire.keys.cursor import TABLE as TABLE_OF_CURSORS
from sealwire.keys.order import NEVER_PASSED, Kind

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs/OPERATIONS.md"
CURES = re.compile(r"(<!-- cures: [^>]*-->\n)(.*?)(<!-- /cures -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- metrics: [^>]*-->\n)(.*?)(<!-- /metrics -->)", re.DOTALL)


def table() -> str:
    lines = ["| metric | kind | labels | means |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `sealwire_{row.name}` | {row.kind} | {', '.join(f'`{label}`' for label in row.labels)} | {row.help} |"
        for row in METRICS
    ]
    return "\n".join(lines) + "\n"


def cures_table() -> str:
    """Each Reason that stops a source partition, what happened, and what a person does."""
    lines = ["| Reason | what happened | what to do | the order |", "| --- | --- | --- | --- |"]
    for reason, cure in cures.CURES.items():
        order = "`accept-gap`" if cure.order is Kind.ACCEPT_GAP else "`rewind`" if cure.order else "-"
        lines.append(f"| `{reason}` | {cure.happened} | {cure.do} | {order} |")
    return "\n".join(lines) + "\n"


def test_every_reason_that_stops_a_source_partition_has_its_line_in_the_runbook() -> None:
    found = CURES.search(FILE.read_text())
    assert found is not None
    assert found[2] == cures_table(), "write it anew: python tests/house/test_operations.py"
    stops = {reason for _step, reason in TABLE_OF_CURSORS.values() if reason is not None}
    assert [reason for reason in stops | NEVER_PASSED if f"| `{reason}` |" not in found[2]] == []


def test_the_table_of_metrics_is_the_codes() -> None:
    found = TABLE.search(FILE.read_text())
    assert found is not None
    assert found[2] == table(), "write it anew: python tests/house/test_operations.py"


def test_what_it_says_of_bounds_is_so() -> None:
    text = " ".join(FILE.read_text().split())
    assert f"own up to {MOST_PARTITIONS} a worker, topics up to {MOST_TOPICS} a worker" in text
    for level in config.LOG_LEVELS:
        assert f"`{level}`" in text or f"log_level: {level}" in text


def test_every_link_and_every_test_that_it_names_is_there() -> None:
    text = FILE.read_text()
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert [link for link in links if not (FILE.parent / link).exists()] == []
    assert [test for test in re.findall(r"`(tests/[\w/]+\.py)`", text) if not (ROOT / test).is_file()] == []


def test_every_command_in_it_is_one() -> None:
    text = FILE.read_text()
    for words in re.findall(r"`sealwire ((?:[a-z-]+ ?)+)", text):
        assert words.split()[0] in cli.COMMANDS, words


def test_every_command_line_in_it_is_one_with_options_that_there_are() -> None:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", FILE.read_text(), re.DOTALL))
    lines = re.findall(r"^sealwire [^#\n]*", blocks, re.MULTILINE)
    assert len(lines) > 5
    for line in lines:
        command: click.Command | None = cli.cli
        words = shlex.split(line)[1:]
        while isinstance(command, click.Group):
            command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None, line
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line


def test_every_unit_it_names_is_there() -> None:
    for unit in re.findall(r"`(sealwire-(?:seal|open)@)NAME`", FILE.read_text()):
        assert (ROOT / "deploy/systemd" / f"{unit}.service").is_file()


if __name__ == "__main__":
    text = TABLE.sub(lambda found: found[1] + table() + found[3], FILE.read_text())
    FILE.write_text(CURES.sub(lambda found: found[1] + cures_table() + found[3], text))
    sys.exit(0)
