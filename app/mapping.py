"""The entries that put topics into channels at a site, and what no set of them may do together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import yaml

from sealwire.agents import patterns
from sealwire.agents.settings import How, OpenPattern, OpenRoute, SealPattern, SealRoute
from sealwire.app import duration
from sealwire.app.document import kind
from sealwire.app.names import channel_problem, identity_problem, topic_problem

if TYPE_CHECKING:
    from sealwire.app.document import Section, Word
    from sealwire.app.names import Rule

ENTRY: Final = (
    "an entry is {channel: NAME, seal: LOCAL TOPIC, to: CLOUD TOPIC} "
    "or {channel: NAME, open: CLOUD TOPIC, to: LOCAL TOPIC}"
)
BY_PATTERN: Final = 'a mapping of many topics is {channel: NAME, seal: "^erp[.](.*)$", to: "acme.erp.\\\\1"}'
STALE_AFTER: Final = (
    60  # seconds, and the least: of it senders need one half, a word every 30 s, and delivery the other
)
LONGEST_STALE_AFTER: Final = 24 * 3600
LATER: Final = tuple((name, "remove it") for name in ("backfill", "layout", "max_hole"))
EXACTLY_ONCE_EMBEDDED: Final = "the embedded broker has no transactions, so it can never deliver exactly once"
DELIVERIES: Final[tuple[How, ...]] = ("exactly-once", "at-least-once")


@dataclass(frozen=True)
class SealMapping:
    """A local topic, or those that a pattern matches, sealed into a cloud topic each under a channel."""

    channel: str
    topic: str
    cloud_topic: str
    compress: bool = True
    padding: bool = False
    readers: tuple[str, ...] | None = None  # who alone is granted it, of those that the charter allows

    def route(self) -> SealRoute:
        """Give the mapping as the agents know it."""
        return SealRoute(self.channel, self.topic, self.cloud_topic, self.compress, self.padding, self.readers)

    @property
    def by_pattern(self) -> bool:
        """Whether it is for many topics."""
        return patterns.is_pattern(self.topic)

    def pattern(self) -> SealPattern:
        """Give a mapping by regular expression as the agents know it."""
        return SealPattern(self.channel, self.topic, self.cloud_topic, self.compress, self.padding, self.readers)


@dataclass(frozen=True)
class OpenMapping:
    """A cloud topic, or those that a pattern matches, opened into a local topic each, under a channel."""

    channel: str
    cloud_topic: str
    topic: str
    begin_anywhere: bool = False
    stale_after: int = STALE_AFTER  # seconds
    delivery: How = "exactly-once"

    def route(self) -> OpenRoute:
        """Give the mapping as the agents know it."""
        return OpenRoute(self.channel, self.cloud_topic, self.topic, self.begin_anywhere, self.stale_after * 1000)

    @property
    def by_pattern(self) -> bool:
        """Whether it is for many topics."""
        return patterns.is_pattern(self.cloud_topic)

    def pattern(self) -> OpenPattern:
        """Give a mapping by regular expression as the agents know it."""
        return OpenPattern(self.channel, self.cloud_topic, self.topic, self.begin_anywhere, self.stale_after * 1000)


@dataclass(frozen=True)
class Entry:
    """A mapping as it was read, and where its names stand."""

    mapping: SealMapping | OpenMapping
    section: Section = field(repr=False)
    from_node: yaml.Node = field(repr=False)

    @property
    def line(self) -> int:
        """The line where the entry begins."""
        return int(self.section.node.start_mark.line) + 1

    def fault(self, setting: str, problem: str, cure: str = "") -> None:
        """Note what is wrong with it among the others."""
        self.section.fault(setting, problem, cure)


def read_mappings(sections: list[Section], *, embedded: bool) -> list[Entry]:
    """Read all entries; what is wrong with one is noted where it stands. ``embedded``: the local broker is that one."""
    read = (_read_entry(section, embedded=embedded) for section in sections)
    return [entry for entry in read if entry is not None]


def _read_entry(section: Section, *, embedded: bool) -> Entry | None:
    channel = _name(section, "channel", channel_problem)
    sealing, opening = section.has("seal"), section.has("open")
    taken = "seal" if sealing else "open"
    if sealing and opening:
        section.fault("open", "an entry seals or opens, never both", "make two entries of it")
        section.value("open")
    elif not sealing and not opening:
        section.value("seal")
        section.value("open")
        section.fault("seal", "neither 'seal' nor 'open' is there", ENTRY)
    source, target = _topics(section, taken if sealing or opening else "")
    compress = section.choice("compress", ("zstd", "none"), "zstd")
    padding = section.choice("padding", ("none", "padme"), "none")
    how = delivery_of(embedded=embedded)
    delivery = section.choice("delivery", DELIVERIES, how)
    begin = section.choice("begin", ("log-start", "anywhere"), "log-start")
    stale_after = duration.seconds(section, "stale_after", STALE_AFTER, STALE_AFTER, LONGEST_STALE_AFTER)
    readers = _readers(section)
    if delivery and delivery.text == "exactly-once" and embedded:
        section.fault("delivery", f"exactly-once: {EXACTLY_ONCE_EMBEDDED}")
    if opening and not sealing:
        _wrong_side(
            section, "is for sealing: an opened topic comes as it was sealed", compress=compress, padding=padding
        )
    elif sealing and not opening:
        _wrong_side(
            section, "is for opening: sealing may always repeat, and mirrors drop what they have", delivery=delivery
        )
        _wrong_side(section, "is for opening: sealing begins at the topic's log start", begin=begin)
        if section.has("stale_after"):
            section.fault(
                "stale_after", "is for opening: whoever seals says every half minute how far it is", "remove it"
            )
    section.close(LATER)
    if channel is None or source is None or target is None:
        return None
    if opening:
        anywhere = begin is not None and begin.text == "anywhere"
        if delivery is not None and not embedded:
            how = next(each for each in DELIVERIES if each == delivery.text)
        mapping = OpenMapping(channel.text, source.text, target.text, anywhere, stale_after, how)
        return Entry(mapping, section, source.node)
    plain = compress is not None and compress.text == "none"
    padded = padding is not None and padding.text == "padme"
    sealed = SealMapping(channel.text, source.text, target.text, not plain, padded, readers)
    return Entry(sealed, section, source.node)


def delivery_of(*, embedded: bool) -> How:
    """Say how a site delivers whose mappings do not: exactly once wherever its broker can."""
    return "at-least-once" if embedded else "exactly-once"


def _readers(section: Section) -> tuple[str, ...] | None:
    """Read who alone is granted what is sealed here; None where the mapping does not say."""
    cure = "readers: [NAME, NAME], names of members as they were enrolled"
    node = section.value("readers", cure=cure)
    if node is not None and not section.has("seal"):
        section.fault("readers", "is for sealing: whoever seals says who may read", "remove it")
    if node is None or not section.has("seal"):
        return None
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        empty = isinstance(node, yaml.SequenceNode)
        section.fault(
            "readers", "is an empty list: nobody could read" if empty else f"must be a list, not {kind(node)}", cure
        )
        return None
    names: list[str] = []
    for each in node.value:
        if not isinstance(each, yaml.ScalarNode) or each.tag != "tag:yaml.org,2002:str":
            section.fault("readers", f"a name must be text, not {kind(each)}", cure)
        elif problem := identity_problem(each.value):
            section.fault("readers", problem, cure)
        elif each.value in names:
            section.fault("readers", f"'{each.value}' stands twice", "keep one of them")
        else:
            names.append(each.value)
    return tuple(sorted(names))


def _wrong_side(section: Section, why: str, **settings: Word | None) -> None:
    for setting, found in settings.items():
        if found:
            section.fault(setting, why, "remove it")


def _topics(section: Section, taken: str) -> tuple[Word | None, Word | None]:
    """Read what is taken and where it goes: two names, or a pattern and what is made of its matches."""
    source = section.word(taken, required=True, cure=ENTRY) if taken else None
    target = section.word("to", required=True, cure=ENTRY)
    if source is not None and patterns.is_pattern(source.text):
        try:
            patterns.check(source.text, target.text if target is not None else "\\1")
        except patterns.BadPattern as error:
            section.fault(taken, f"the regular expression '{source.text[:100]}' cannot be used: {error}", BY_PATTERN)
            return None, None
        return source, target
    if source is not None and (problem := topic_problem(source.text)):
        hint = "a regular expression begins with ^" if set(source.text) & set("*+?()[]|$\\") else ""
        section.fault(taken, problem, hint)
        source = None
    if target is not None and "\\" in target.text:
        section.fault("to", f"'{target.text}' refers to a match, and '{taken or 'seal'}' is a name", BY_PATTERN)
        target = None
    elif target is not None and (problem := topic_problem(target.text)):
        section.fault("to", problem)
        target = None
    return source, target


def _name(section: Section, setting: str, problem_of: Rule) -> Word | None:
    word = section.word(setting, required=True, cure=ENTRY)
    if word is None:
        return None
    problem = problem_of(word.text)
    if problem:
        section.fault(setting, problem)
        return None
    return word
