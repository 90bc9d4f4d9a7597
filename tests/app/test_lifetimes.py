"""How long secrets live is said by a node's YAML, within bounds, and reaches both workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sealwire.agents.settings import Lifetimes
from sealwire.app.config import Node, load
from sealwire.keys.session import Rules

if TYPE_CHECKING:
    from pathlib import Path

MINUTE, HOUR, DAY = 60_000, 3_600_000, 24 * 3_600_000
GOOD = """\
project: acme
site: berlin
identity: {seal: producer1, open: consumer1}
state: state
local: {bootstrap: "localhost:9092", broker: kafka}
cloud: {bootstrap: "cloud.example:9092"}
mappings:
  - {channel: orders, seal: orders, to: acme.orders}
  - {channel: invoices, open: acme.invoices, to: invoices}
"""
ALL = """\
keep: 2h
receive_grace: 36h
hold_secrets: 3d
rotate: {session: 30s, bytes: 512MiB, identity: 7d}
"""


def read(directory: Path, text: str) -> Node | list[str]:
    path = directory / "node.yaml"
    path.write_text(text)
    found = load(path)
    return found if isinstance(found, Node) else [str(fault).removeprefix(f"{path}:").strip() for fault in found]


def node_of(directory: Path, text: str) -> Node:
    node = read(directory, text)
    assert isinstance(node, Node), node
    return node


def faults_of(directory: Path, text: str) -> list[str]:
    faults = read(directory, text)
    assert isinstance(faults, list), "it was taken as right"
    return faults


def test_left_out_they_are_those_of_the_protocol(tmp_path: Path) -> None:
    expected = Lifetimes(0, 24 * HOUR, 7 * DAY, Rules(10 * MINUTE, 55 * MINUTE, 64 << 30), 30 * DAY)
    assert node_of(tmp_path, GOOD).settings("seal").lifetimes == expected


@pytest.mark.parametrize("way", ["seal", "open"])
def test_each_of_them_reaches_the_workers(tmp_path: Path, way: str) -> None:
    expected = Lifetimes(2 * HOUR, 36 * HOUR, 3 * DAY, Rules(30_000, 55 * MINUTE, 512 << 20), 7 * DAY)
    assert node_of(tmp_path, GOOD + ALL).settings(way).lifetimes == expected  # type: ignore[arg-type]


def test_one_of_a_group_leaves_the_others_as_they_were(tmp_path: Path) -> None:
    told = node_of(tmp_path, GOOD + "rotate: {session: 1m}\n").lifetimes
    assert told == Lifetimes(session=Rules(MINUTE))


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("keep: 31d", "10:7: keep", "must be from 0d to 30d"),
        ("keep: forever", "10:7: keep", "is no length of time"),
        ("receive_grace: 59m", "10:16: receive_grace", "must be from 1h to 30d"),
        ("hold_secrets: 91d", "10:15: hold_secrets", "must be from 1h to 90d"),
        ("keep: 8d", "10:7: keep", "is longer than hold_secrets (7d)"),
        ("rotate: 10m", "10:9: rotate", "must be a group of settings"),
        ("rotate: {session: 9s}", "10:19: rotate.session", "must be from 10s to 55m"),
        ("rotate: {bytes: 64GB}", "10:17: rotate.bytes", "is no amount of bytes"),
        ("rotate: {bytes: 1KiB}", "10:17: rotate.bytes", "must be from 1MiB to 1TiB"),
        ("rotate: {bytes: {}}", "10:17: rotate.bytes", "must be an amount of bytes"),
        ("rotate: {identity: 1h}", "10:20: rotate.identity", "must be from 1d to 365d"),
        ("rotate: {sesion: 1m}", "10:10: rotate.sesion", "did you mean 'session'?"),
    ],
)
def test_what_cannot_be_is_a_fault_in_its_place(tmp_path: Path, text: str, where: str, words: str) -> None:
    (fault,) = faults_of(tmp_path, GOOD + text + "\n")
    assert fault.startswith(where), fault
    assert words in fault


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = GOOD + "keep: x\nreceive_grace: 1s\nrotate: {session: 1d, bytes: y}\n"
    assert [fault.split(":")[0] for fault in faults_of(tmp_path, text)] == ["10", "11", "12", "12"]
