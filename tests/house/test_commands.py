"""Every command that the texts show is there, with the options that they give it; and what they say of it is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from sealwire.app.chartering import EXCLUDE_BEFORE
from sealwire.app.cli import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TEXTS = [
    *(ROOT / name for name in ("README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted(
        path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".md", ".yaml", ".yml", ".service", ".sh"}
    ),
    ROOT / "agents/PROTOCOL.md",
    ROOT / "keys/FORMAT.md",
]
INLINE = re.compile(r"`(sealwire (?!v1)[^`\n]*(?:\n[^`\n]*)?)`")
LINE = re.compile(r"(?:^|(?<= )|(?<=bin/))sealwire ([a-z][^\n`]*)", re.MULTILINE)
FENCED = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def shown(text: str) -> Iterator[str]:
    """The command lines of a text: of its blocks of shell, and in its lines."""
    for block in FENCED.findall(text):
        joined = block.replace("\\\n", " ")
        yield from (f"sealwire {match}" for match in LINE.findall(joined))
    yield from re.findall(r"^    (sealwire [^\n]*)", text, re.MULTILINE)
    yield from (" ".join(each.split()) for each in INLINE.findall(FENCED.sub("", text)))


def wrong(line: str) -> str:
    """Say what of a command line is not there; empty where all of it is."""
    for end in (" #", " |", " >", " <", " &", ";"):
        line = line.partition(end)[0]
    try:
        words = shlex.split(line)[1:]
    except ValueError:
        return ""
    command: click.Command = cli
    while words and isinstance(command, click.Group):
        if words[0].startswith("-") or "|" in words[0]:
            break
        name = words.pop(0).rstrip(",.:")
        below = command.get_command(click.Context(command), name)
        if below is None:
            return f"no command {name!r} in {line!r}"
        command = below
    known = {option for each in command.params for option in each.opts} | {"--help", "-h", "--version"}
    given = [word.partition("=")[0].rstrip(",.]") for word in words if re.match(r"\[?--?[a-z][^.]*$", word)]
    return ", ".join(f"no {each} in {line!r}" for each in given if each.lstrip("[") not in known)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_the_texts_is_there_with_its_options(path: Path) -> None:
    assert [said for said in map(wrong, shown(path.read_text())) if said] == []


def test_the_commands_of_the_runbook_are_found_at_all() -> None:
    assert len(list(shown((ROOT / "docs/OPERATIONS.md").read_text()))) > 40
    assert wrong("sealwire rotate NODE.yaml --with 3") != ""
    assert wrong("sealwire rotated NODE.yaml") != ""


def test_every_command_is_in_the_readme_or_the_runbook() -> None:
    texts = " ".join((ROOT / name).read_text() for name in ("README.md", "docs/OPERATIONS.md"))
    context = click.Context(cli)
    assert [name for name in cli.list_commands(context) if f"sealwire {name}" not in texts] == []


def test_the_texts_know_how_long_before_a_theft_exclude_begins() -> None:
    row = next(
        line for line in (ROOT / "docs/OPERATIONS.md").read_text().splitlines() if "sealwire exclude NAME" in line
    )
    assert f"{EXCLUDE_BEFORE // 60_000} minutes before" in row


def test_every_claim_of_the_article_names_its_test() -> None:
    table = (ROOT / "README.md").read_text().split("<!-- article -->")[1].split("<!-- /article -->")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 15
    assert [row for row in rows if not re.search(r"`tests/\w+/test_\w+\.py::test_\w+`", row)] == []


def test_the_changes_have_lines_that_one_can_read() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    assert [line for line in lines if len(line) > 125] == []
