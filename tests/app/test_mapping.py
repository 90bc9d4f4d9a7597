"""What mappings may say alone, and what no set of them may do together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from sealwire.agents.routes import route
from sealwire.agents.settings import OpenPattern, SealPattern
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


def test_a_mapping_of_many_topics_is_a_pattern_and_what_is_made_of_its_matches(tmp_path: Path) -> None:
    node = read(
        tmp_path,
        r'channel: erp, seal: "^erp[.](.*)$", to: "acme.erp.\\1", compress: none',
        r'channel: crm, open: "^acme[.]crm[.](.*)$", to: "crm.\\1", begin: anywhere',
        "channel: orders, seal: orders, to: acme.orders",
    )
    assert isinstance(node, Node), node
    sealing, opening = node.settings("seal"), node.settings("open")
    assert sealing.seal_patterns == (SealPattern("erp", "^erp[.](.*)$", r"acme.erp.\1", compress=False),)
    assert [each.source_topic for each in sealing.seal] == ["orders"]
    assert opening.open_patterns == (OpenPattern("crm", "^acme[.]crm[.](.*)$", r"crm.\1", begin_anywhere=True),)


@pytest.mark.parametrize(
    ("pattern", "to", "words"),
    [
        ("^(erp", "x.\\\\1", "missing )"),
        (r"^(a)\\1$", "x.\\\\1", "invalid escape sequence"),
        ("^(?=erp)(.*)$", "x.\\\\1", "invalid perl operator"),
        ("^((a{99}){99}){99}$", "x.\\\\1", "invalid repetition size"),
        (f"^({'a' * 1000})$", "x.\\\\1", "1004 characters"),
        ("^erp[.](.*)$", "acme.\\\\2", "asks for group 2, and the pattern has 1"),
        ("^erp[.](.*)$", "acme.all", "is one name for all that match"),
        ("^erp[.](.*)$", "acme.\\\\x", "a backslash that is not one of"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused_at_its_place(
    tmp_path: Path, pattern: str, to: str, words: str
) -> None:
    (fault,) = faults(tmp_path, f'channel: erp, seal: "{pattern}", to: "{to}"')
    assert fault.startswith("8:")
    assert words in fault


def test_a_pattern_that_would_take_other_engines_seconds_takes_none(tmp_path: Path) -> None:
    node = read(tmp_path, r'channel: a, seal: "^((a+)+)+$", to: "x.\\1"')
    assert isinstance(node, Node), node
    began = time.process_time()
    assert route(node.settings("seal"), ["a" * 200 + "-", "a" * 200]).routes
    assert time.process_time() - began < 0.5


def test_a_name_with_a_patterns_letters_is_told_how_patterns_begin(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, r'channel: a, seal: "erp.*", to: c.x')
    assert "a regular expression begins with ^" in fault
    (fault,) = faults(tmp_path, r'channel: a, seal: erp, to: "c.\\1"')
    assert "refers to a match" in fault


def test_what_is_delivered_here_is_never_sealed_again_by_a_pattern(tmp_path: Path) -> None:
    node = read(
        tmp_path,
        r'channel: all, seal: "^(.*)$", to: "acme.\\1"',
        r'channel: erp, open: "^paris[.]erp[.](.*)$", to: "erp.\\1"',
        "channel: crm, open: paris.crm, to: crm",
    )
    assert isinstance(node, Node), node
    local = ["orders", "erp.stock", "crm", "__consumer_offsets", "_sealwire.acme.berlin.cursors", "control"]
    found = route(node.settings("seal"), local)
    assert [each.reads for each in found.routes] == ["orders"]
    assert "'acme.control' is a topic of the project" in found.troubles["control"]


def test_on_one_cluster_a_pattern_does_not_seal_what_it_sealed(tmp_path: Path) -> None:
    head = HEAD.replace("cloud.example:9092", "localhost:9092")
    node = read(tmp_path, r'channel: all, seal: "^(.*)$", to: "acme.\\1"', head=head)
    assert isinstance(node, Node), node
    local = ["orders", "acme.orders", "acme.control", "acme.sessions"]
    assert [each.reads for each in route(node.settings("seal"), local).routes] == ["orders"]


def test_a_pattern_opens_nothing_into_a_topic_that_is_sealed_here(tmp_path: Path) -> None:
    node = read(
        tmp_path,
        r'channel: erp, open: "^acme[.](.*)$", to: "\\1"',
        "channel: orders, seal: orders, to: paris.orders",
    )
    assert isinstance(node, Node), node
    found = route(
        node.settings("open"), ["acme.control", "acme.sessions", "acme.requests", "acme.stock", "acme.orders"]
    )
    assert [(each.reads, each.writes) for each in found.routes] == [("acme.stock", "stock")]
    assert list(found.troubles) == ["acme.orders"]


EMBEDDED = HEAD.replace('"localhost:9092"', '"localhost:9092", broker: embedded')


def test_exactly_once_is_refused_where_the_broker_has_no_transactions_and_never_lowered(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "channel: a, open: c.x, to: x, delivery: exactly-once", head=EMBEDDED)
    assert fault.startswith("8:")
    assert "mappings[0].delivery: exactly-once: the embedded broker has no transactions" in fault


@pytest.mark.parametrize(
    ("head", "said", "delivery"),
    [
        (HEAD, "", "exactly-once"),
        (HEAD, ", delivery: exactly-once", "exactly-once"),
        (HEAD, ", delivery: at-least-once", "at-least-once"),
        (EMBEDDED, "", "at-least-once"),
        (EMBEDDED, ", delivery: at-least-once", "at-least-once"),
    ],
)
def test_a_site_delivers_exactly_once_wherever_its_broker_can(
    tmp_path: Path, head: str, said: str, delivery: str
) -> None:
    node = read(tmp_path, f"channel: a, open: c.x, to: x{said}", head=head)
    assert isinstance(node, Node)
    assert node.settings("open").delivery == delivery


def test_a_site_delivers_in_one_way(tmp_path: Path) -> None:
    (fault,) = faults(
        tmp_path,
        "channel: a, open: c.x, to: x",
        "channel: a, seal: s, to: c.s",
        "channel: a, open: c.y, to: y, delivery: at-least-once",
    )
    assert fault.startswith("10:")
    assert "delivery: at-least-once, and the mapping in line 8 has exactly-once: a site delivers in one way" in fault
    both = ("channel: a, open: c.x, to: x, delivery: at-least-once", "channel: a, open: c.y, to: y")
    (fault,) = faults(tmp_path, *both)
    assert "delivery: exactly-once, and the mapping in line 8 has at-least-once" in fault


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
        ("channel: a, seal: x, to: c.x, max_hole: 5", "is not in this release"),
        ("channel: a, open: c.x, to: x, readers: [b]", "is for sealing"),
        ("channel: a, seal: x, to: c.x, readers: []", "is an empty list: nobody could read"),
        ("channel: a, seal: x, to: c.x, readers: b", "must be a list, not text"),
        ("channel: a, seal: x, to: c.x, readers: [7]", "a name must be text, not a number"),
        ("channel: a, seal: x, to: c.x, readers: ['b c']", "cannot be a name"),
        ("channel: a, seal: x, to: c.x, readers: [b, b]", "'b' stands twice"),
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


def test_the_only_readers_of_a_mapping_reach_the_agents_of_a_pattern_too(tmp_path: Path) -> None:
    named = "channel: a, seal: x, to: c.x, readers: [paris2, paris1]"
    by_pattern = "channel: b, seal: '^y[.](.*)$', to: 'c.y.\\1', readers: [rome]"
    node = read(tmp_path, named, by_pattern, "channel: c, seal: z, to: c.z")
    assert isinstance(node, Node)
    settings = node.settings("seal")
    assert [route.readers for route in settings.seal] == [("paris1", "paris2"), None]
    assert settings.seal_patterns[0].route("y.1", "c.y.1").readers == ("rome",)


def test_compression_and_padding_reach_the_agents(tmp_path: Path) -> None:
    node = read(tmp_path, "channel: a, seal: x, to: c.x, compress: none, padding: padme")
    assert isinstance(node, Node)
    (route,) = node.settings("seal").seal
    assert (route.compress, route.padding) == (False, True)


def test_how_soon_a_source_partition_is_stale_is_a_length_of_time_and_for_opening(tmp_path: Path) -> None:
    node = read(
        tmp_path,
        "channel: a, open: c.x, to: x, stale_after: 5m",
        "channel: a, open: c.y, to: y",
        r'channel: a, open: "^c[.](.*)$", to: "d.\\1", stale_after: 90s',
    )
    assert isinstance(node, Node)
    assert [mapping.route().stale_after_ms for mapping in node.opening[:2]] == [300_000, 60_000]
    assert node.opening[2].pattern().route("c.z", "d.z").stale_after_ms == 90_000
    for written, problem in (
        ("59s", "must be from 1m to 1d, not 59s"),
        ("2d", "must be from 1m to 1d, not 2d"),
        ("60", "'60' is no length of time"),
        ("soon", "'soon' is no length of time"),
        ("[60s]", "must be a length of time"),
        ("1h30m", "'1h30m' is no length of time"),
    ):
        (fault,) = faults(tmp_path, f"channel: a, open: c.x, to: x, stale_after: {written}")
        assert f"mappings[0].stale_after: {problem}" in fault, written
    (fault,) = faults(tmp_path, "channel: a, seal: x, to: c.x, stale_after: 60s")
    assert "mappings[0].stale_after: is for opening" in fault


def test_a_mapping_that_begins_anywhere_says_so_and_sealing_never_does(tmp_path: Path) -> None:
    node = read(tmp_path, "channel: a, open: c.x, to: x, begin: anywhere", "channel: a, open: c.y, to: y")
    assert isinstance(node, Node)
    assert [mapping.route().begin_anywhere for mapping in node.opening] == [True, False]
    (fault,) = faults(tmp_path, "channel: a, seal: x, to: c.x, begin: anywhere")
    assert "mappings[0].begin: is for opening" in fault
