"""A YAML document read with its places: what stands where, of which type, and everything that is wrong, at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from sealwire.app.faults import Fault, did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

LARGEST = 1 << 20  # bytes
_DOWNCAST = re.compile(r"[-+]?[0-9]+")

_KINDS = {
    "tag:yaml.org,2002:bool": "a truth value",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:null": "nothing",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:str": "text",
}


@dataclass
class Findings:
    """The faults found so far in one file; reading goes on after each."""

    file: str
    faults: list[Fault] = field(default_factory=list)

    def at(self, node: yaml.Node | None, setting: str, problem: str, cure: str = "") -> None:
        """Note what is wrong with a setting where it stands; no node: the file as a whole."""
        mark = node.start_mark if node is not None else None
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        fault = Fault(self.file, line, column, setting, problem, cure)
        if fault not in self.faults:
            self.faults.append(fault)


@dataclass(frozen=True)
class Word:
    """A text value and where it stands."""

    text: str
    node: yaml.Node = field(repr=False, compare=False)


class Section:
    """A mapping of settings. Each setting is asked for once by name and type; `close` names those nobody asked for."""

    def __init__(self, node: yaml.MappingNode, findings: Findings, path: str = "") -> None:
        """Index the entries; one that stands twice, or whose name is no text, is a fault."""
        self.node = node
        self.path = path
        self._findings = findings
        self._entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        self._asked: list[str] = []
        self._missing: list[tuple[str, str]] = []
        for name_node, value in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                findings.at(name_node, path, "a setting's name must be text", "a '{' or '[' too many?")
                continue
            name = name_node.value
            if name in self._entries:
                first = self._entries[name][0].start_mark.line + 1
                findings.at(name_node, self.name(name), f"stands twice, first in line {first}", "keep one of them")
                continue
            self._entries[name] = (name_node, value)

    def name(self, setting: str) -> str:
        """Give the full name of a setting, as `local.bootstrap`."""
        return f"{self.path}.{setting}" if self.path else setting

    def has(self, setting: str) -> bool:
        """Whether the setting is there, whatever it holds."""
        return setting in self._entries

    def fault(self, setting: str, problem: str, cure: str = "") -> None:
        """Note what is wrong with a setting: at its value where it has one, else at the section."""
        entry = self._entries.get(setting)
        self._findings.at(entry[1] if entry else self.node, self.name(setting), problem, cure)

    def value(self, setting: str, *, required: bool = False, cure: str = "") -> yaml.Node | None:
        """Give a setting's value as it stands, None when it is missing; empty counts as missing."""
        self._asked.append(setting)
        entry = self._entries.get(setting)
        if entry is None:
            if required:
                self._missing.append((setting, cure))
            return None
        if entry[1].tag == "tag:yaml.org,2002:null":
            self.fault(setting, "is empty", cure or "give it a value or remove it")
            return None
        return entry[1]

    def word(self, setting: str, *, required: bool = False, cure: str = "") -> Word | None:
        """Give a text; numbers and truth values are refused, since YAML would have changed them."""
        node = self.value(setting, required=required, cure=cure)
        if node is None:
            return None
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:str":
            return Word(node.value, node)
        hint = f"quote it: '{node.value}'" if isinstance(node, yaml.ScalarNode) else cure
        self.fault(setting, f"must be text, not {kind(node)}", hint)
        return None

    def choice(self, setting: str, choices: Sequence[str], default: str) -> Word | None:
        """Give one of a few words, None when missing or refused (``default`` is only named in the cure)."""
        found = self.word(setting)
        if found is None or found.text in choices:
            return found
        listed = " or ".join(choices)
        self.fault(
            setting,
            f"must be {listed}, not '{found.text}'",
            did_you_mean(found.text, choices, f"left out it is {default}"),
        )
        return None

    def number(self, setting: str, default: int, least: int, most: int) -> int:
        """Give a whole number within bounds, the default when missing or refused."""
        node = self.value(setting)
        if node is None:
            return default
        if (
            not isinstance(node, yaml.ScalarNode)
            or node.tag != "tag:yaml.org,2002:int"
            or not _DOWNCAST.fullmatch(node.value)
            or len(node.value) > 15  # noqa: PLR2004 - longer ones are out of any bounds here, and slow to convert
        ):
            self.fault(setting, f"must be a whole number, not {kind(node)}", f"from {least} to {most}")
            return default
        number = int(node.value)
        if not least <= number <= most:
            self.fault(setting, f"must be from {least} to {most}, not {number}")
            return default
        return number

    def flag(self, setting: str, *, default: bool) -> bool:
        """Give true or false, the default when missing or refused."""
        node = self.value(setting)
        if node is None:
            return default
        if isinstance(node, yaml.ScalarNode) and node.value in {"true", "false"} and not node.style:
            return bool(node.value == "true")
        self.fault(setting, f"must be true or false, not {kind(node)}", f"left out it is {str(default).lower()}")
        return default

    def section(self, setting: str, *, required: bool = False, cure: str = "") -> Section | None:
        """Give a section below this one."""
        node = self.value(setting, required=required, cure=cure)
        if node is None:
            return None
        if isinstance(node, yaml.MappingNode):
            return Section(node, self._findings, self.name(setting))
        self.fault(setting, f"must be a group of settings, not {kind(node)}", cure)
        return None

    def words(self, setting: str, *, cure: str) -> list[Word]:
        """Give a list of texts; empty when missing, or when one of them is none."""
        entries = list(self._listed(setting, cure))
        found = [
            Word(entry.value, entry)
            for _, entry in entries
            if isinstance(entry, yaml.ScalarNode) and entry.tag == "tag:yaml.org,2002:str"
        ]
        for path, entry in entries:
            if all(entry is not word.node for word in found):
                hint = f"quote it: '{entry.value}'" if isinstance(entry, yaml.ScalarNode) else cure
                self._findings.at(entry, path, f"must be text, not {kind(entry)}", hint)
        return found if len(found) == len(entries) else []

    def sections(self, setting: str, *, cure: str = "") -> list[Section]:
        """Give the sections of a required list; what is no section is a fault and left out."""
        found = []
        for path, entry in self._listed(setting, cure, required=True):
            if isinstance(entry, yaml.MappingNode):
                found.append(Section(entry, self._findings, path))
            else:
                self._findings.at(entry, path, f"must be a group of settings, not {kind(entry)}", cure)
        return found

    def _listed(self, setting: str, cure: str, *, required: bool = False) -> Iterable[tuple[str, yaml.Node]]:
        node = self.value(setting, required=required, cure=cure)
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode):
            self.fault(setting, f"must be a list, not {kind(node)}", cure or "begin each entry with '- '")
            return
        if not node.value:
            self.fault(setting, "is an empty list", cure)
        for index, entry in enumerate(node.value):
            yield f"{self.name(setting)}[{index}]", entry

    def close(self, later: Iterable[tuple[str, str]] = ()) -> None:
        """Name what is missing, and every setting that nobody asked for: mistyped, unknown, or of a later release."""
        words = dict(later)
        missing = dict(self._missing)
        for name, (name_node, _) in self._entries.items():
            if name in self._asked:
                continue
            if name in words:
                self._findings.at(name_node, self.name(name), "is not in this release", words[name])
                continue
            absent = [asked for asked in self._asked if asked not in self._entries]
            near = nearest(name, missing) or nearest(name, absent) or nearest(name, self._asked)
            missing.pop(near, None)  # mistyped is enough said of it
            problem = "merge keys are not read here" if name == "<<" else "is not a setting"
            cure = f"did you mean '{near}'?" if near else "known here: " + ", ".join(sorted(set(self._asked)))
            self._findings.at(name_node, self.name(name), problem, cure)
        for name, cure in missing.items():
            self.fault(name, "is missing", cure)


def kind(node: yaml.Node) -> str:
    """Name the kind of a value, as a person would."""
    if isinstance(node, yaml.MappingNode):
        return "a group of settings"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return f"{_KINDS.get(node.tag, 'a value with a tag of its own')}"


def read_document(  # noqa: PLR0911 - each names its own fault
    path: Path, findings: Findings, what: str = "node's", begin: str = "deploy/examples has one to start from"
) -> Section | None:
    """Read the one document of a YAML file; None, with the fault noted, where there is none to be had.

    ``what`` file it is, and how one begins with such a one, are for the cures.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        problem = "there is no such file" if gone else f"cannot be read: {error.strerror}"
        findings.at(None, "", problem, f"name the {what} YAML file")
        return None
    if len(content) > LARGEST:
        findings.at(None, "", f"is larger than {LARGEST} bytes", "is it another file?")
        return None
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        findings.faults.append(_unreadable(findings.file, content, error))
        return None
    except yaml.MarkedYAMLError as error:
        findings.faults.append(_malformed(findings.file, error))
        return None
    except (yaml.YAMLError, RecursionError):
        findings.at(None, "", "is not YAML: nested too deeply", "is it another file?")
        return None
    if node is None:
        findings.at(None, "", "is empty", begin)
        return None
    if not isinstance(node, yaml.MappingNode):
        findings.at(node, "", f"must be settings, 'name: value', not {kind(node)}", "is it another file?")
        return None
    return Section(node, findings)


def _malformed(file: str, error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    problem = " ".join(str(error.problem or error.context or "cannot be understood").split())
    cure = "is something not closed, or indented differently, in the lines just above?"
    if "'\\t'" in problem:
        problem, cure = "a tab is not allowed here", "indent with spaces"
    elif "mapping values are not allowed" in problem:
        cure = "a ':' inside a value? put the value in quotes; or the indentation is off"
    elif "undefined alias" in problem or "%" in problem or "cannot start any token" in problem:
        cure = "put the value in quotes"
    elif "another document" in problem:
        problem, cure = "there is more than one document", "keep one, without '---' in between"
    elif error.context:
        begun = error.context_mark
        cure = " ".join(error.context.split()) + (f" begun in line {begun.line + 1}" if begun else "")
    return Fault(file, line, column, "", f"is not YAML: {problem}", cure)


def _unreadable(file: str, content: bytes, error: yaml.reader.ReaderError) -> Fault:
    before = content[: error.position] if error.encoding != "unicode" else content.decode()[: error.position].encode()
    line = before.count(b"\n") + 1
    return Fault(
        file,
        line,
        0,
        "",
        "has a character that cannot be in a YAML file",
        "save it as UTF-8 text",
    )
