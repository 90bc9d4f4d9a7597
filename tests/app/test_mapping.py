"""What mappings may say alone, and what no set of them may do together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sealwire.app.config import Node, load
from sealwire.app.names import topic_problem

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """\
project: acme
site: berlin
identity: {seal: producer1, open: consumer1}
state: state
local: {bootstrap: "localhost:9092"}
cloud: {bootstrap: "cloud.example:9092"}
mappings:
"""  # entries begin in line 8


def read(directory: Path, *entries: str, head: str = HEAD) -> Node | list[str]:
    path = directory / "node.yaml"
    path.write_text(head + "".join(f"  - {{{entry}}}\n" for entry in entries))
    found = load(path)
    return found if isinstance(found, Node) else [str(fault).removeprefix(f"{path}:") for fault in found]


def faults(directory: Path, *entries: str, head: str = HEAD) -> list[str]:
    found = read(directory, *entries, head=head)
    assert not isinstance(found, Node), "it was taken as right"
    return found


def test_two_mappings_for_one_local_topic_are_refused_naming_both_lines(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "channel: a, seal: x, to: c.x", "channel: a, seal: x, to: c.y")
    assert fault.startswith("9:")
    assert "local topic 'x' is sealed already in line 8" in fault


def test_two_mappings_for_one_cloud_topic_to_open_are_refused(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "channel: a, open: c.x, to: x", "channel: a, open: c.x, to: y")
    assert "cloud topic 'c.x' is opened already in line 8" in fault


def test_two_cloud_topics_into_one_local_topic_are_refused(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "channel: a, open: c.x, to: x", "channel: a, open: c.y, to: x")
    assert "local topic 'x' is filled already in line 8" in fault


def test_many_local_topics_may_be_sealed_into_one_cloud_topic_of_one_channel(tmp_path: Path) -> None:
    assert isinstance(read(tmp_path, "channel: a, seal: x, to: c.x", "channel: a, seal: y, to: c.x"), Node)


def test_a_cloud_topic_of_two_channels_is_refused(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "channel: a, seal: x, to: c.x", "channel: b, seal: y, to: c.x")
    assert "a cloud topic is of one channel" in fault


def test_a_topic_opened_and_sealed_again_here_is_a_loop(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "channel: a, open: c.x, to: x", "channel: a, seal: x, to: c.y")
    assert fault.startswith("9:")
    assert "a loop: 'x' is opened here in line 8" in fault


def test_a_cloud_topic_sealed_again_where_both_clusters_are_one_is_a_loop(tmp_path: Path) -> None:
    head = HEAD.replace("cloud.example:9092", "other:1,LOCALHOST:9092")
    (fault,) = faults(tmp_path, "channel: a, seal: x, to: c.x", "channel: a, seal: c.x, to: c.y", head=head)
    assert "a loop: local and cloud are one cluster" in fault


def test_a_site_may_open_what_it_seals_itself_into_another_topic(tmp_path: Path) -> None:
    assert isinstance(read(tmp_path, "channel: a, seal: x, to: c.x", "channel: a, open: c.x, to: all.x"), Node)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a b", "a/b", "ä", "x" * 250, "__consumer_offsets", "_sealwire.acme.berlin.cursors", "a\x07b"],
)
def test_a_topic_name_that_kafka_or_we_refuse_is_refused(name: str) -> None:
    assert topic_problem(name)


@pytest.mark.parametrize("name", ["a", "x" * 249, "A-b_c.9", "...", "_hidden"])
def test_a_topic_name_that_kafka_takes_is_taken(name: str) -> None:
    assert not topic_problem(name)


def test_names_that_kafka_takes_for_one_are_refused_side_by_side(tmp_path: Path) -> None:
    found = faults(tmp_path, "channel: a, seal: x.y, to: c.x", "channel: a, seal: x_y, to: c_x")
    assert any("does not take 'c_x' beside 'c.x' (line 8)" in fault for fault in found)
    assert any("does not take 'x_y' beside 'x.y' (line 8)" in fault for fault in found)


@pytest.mark.parametrize("topic", ["acme.control", "acme.sessions", "acme_requests"])
def test_the_projects_own_topics_are_refused_as_targets(tmp_path: Path, topic: str) -> None:
    (fault,) = faults(tmp_path, f"channel: a, seal: x, to: {topic}")
    assert "is taken: the project's own" in fault


def test_regular_expressions_are_refused_by_name_in_this_release(tmp_path: Path) -> None:
    found = faults(tmp_path, 'channel: erp, seal: "^erp[.](.*)$", to: "acme.erp.\\\\1"')
    assert len(found) == 2
    assert all("by name only in this release" in fault for fault in found)


def test_exactly_once_is_refused_at_its_place_and_never_lowered(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "channel: a, open: c.x, to: x, delivery: exactly-once")
    assert fault.startswith("8:")
    assert "mappings[0].delivery: exactly-once: not before the release" in fault
    embedded = HEAD.replace('"localhost:9092"', '"localhost:9092", broker: embedded')
    (fault,) = faults(tmp_path, "channel: a, open: c.x, to: x, delivery: exactly-once", head=embedded)
    assert "the embedded broker has no transactions" in fault


def test_at_least_once_may_be_said(tmp_path: Path) -> None:
    assert isinstance(read(tmp_path, "channel: a, open: c.x, to: x, delivery: at-least-once"), Node)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("channel: a, seal: x", "mappings[0].to: is missing"),
        ("seal: x, to: c.x", "mappings[0].channel: is missing"),
        ("channel: a, to: c.x", "neither 'seal' nor 'open' is there"),
        ("channel: a, seal: x, open: c.y, to: c.x", "seals or opens, never both"),
        ("channel: a, seal: x, to: c.x, delivery: at-least-once", "is for opening"),
        ("channel: a, open: c.x, to: x, compress: none", "is for sealing"),
        ("channel: a, seal: x, to: c.x, compress: gzip", "must be zstd or none"),
        ("channel: a, seal: x, to: c.x, readers: [b]", "is not in this release"),
        ("channel: a, seal: x, to: c.x, clour: red", "is not a setting"),
        ("channel: 'a b', seal: x, to: c.x", "mappings[0].channel: 'a b' cannot be a name"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_in_its_line(tmp_path: Path, entry: str, words: str) -> None:
    found = faults(tmp_path, entry)
    assert all(fault.startswith("8:") for fault in found)
    assert any(words in fault for fault in found), found


def test_entries_that_are_no_entries_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    for text, words in (
        ("  - orders\n", "must be a group of settings, not text"),
        ("  orders: {}\n", "must be a list"),
        ("  []\n", "is an empty list"),
    ):
        path.write_text(HEAD + text)
        found = load(path)
        assert not isinstance(found, Node)
        assert any(words in str(fault) for fault in found)


def test_compression_and_padding_reach_the_agents(tmp_path: Path) -> None:
    node = read(tmp_path, "channel: a, seal: x, to: c.x, compress: none, padding: padme")
    assert isinstance(node, Node)
    (route,) = node.settings("seal").seal
    assert (route.compress, route.padding) == (False, True)


def test_a_mapping_that_begins_anywhere_says_so_and_sealing_never_does(tmp_path: Path) -> None:
    node = read(tmp_path, "channel: a, open: c.x, to: x, begin: anywhere", "channel: a, open: c.y, to: y")
    assert isinstance(node, Node)
    assert [mapping.route().begin_anywhere for mapping in node.opening] == [True, False]
    (fault,) = faults(tmp_path, "channel: a, seal: x, to: c.x, begin: anywhere")
    assert "mappings[0].begin: is for opening" in fault
