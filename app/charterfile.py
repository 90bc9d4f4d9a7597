"""A charter as a YAML file: policies, and the bounds that hold everywhere. Read with all faults at once; written back.

policies:
  - channel: orders                  # a name, or the beginning of names followed by *
    cloud_topic: acme.orders         # the same; left out: all
    produce: {role: [member], site: [berlin, paris]}
    consume: {role: [member]}
    backfill: 7d                     # how far before its admission a member may read; left out: not at all
min_suite: 1
min_format: 1
max_age: 7d                          # left out: a charter is never too old
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
import yaml

from sealwire.app import duration
from sealwire.app.document import Findings, Section, kind, read_document
from sealwire.app.faults import Faults
from sealwire.keys import envelope, policy, primitives
from sealwire.keys.charter import CharterFields, PolicyRow
from sealwire.keys.wire import good_name

if TYPE_CHECKING:
    from pathlib import Path

_PATTERN: Final = re.compile(r"[a-zA-Z0-9._-]{0,249}\*?")
_DAY: Final = 86_400  # s
_MOST: Final = 3650 * _DAY
_LEAST_AGE: Final = 3600  # s: six times what the authority takes to renew it
_MOST_VALUES, _MOST_ATTRIBUTES, _MOST_VALUE = 256, 32, 200
_HEADER: Final = """\
# The charter of project {project}: who may send and who may read. The first policy that covers channel and cloud topic
# decides; where none does, nobody may. A table asks for each attribute that it names, with one of its values.
# Patterns are names, or the beginning of names followed by *. Check it with: sealwire charter diff FILE
"""


def read(path: Path, former: CharterFields) -> tuple[CharterFields, int | None]:
    """Read a charter's YAML, and which version it says that it follows. Raises `Faults`: all that is wrong.

    Version, times and refusals are the former one's.
    """
    findings = Findings(str(path))
    top = read_document(path, findings, "charter's", "sealwire charter edit begins with the charter that holds")
    fields, follows = former, None
    if top is not None:
        fields = _fields(top, former)
        follows = top.number("follows", former.version, 0, 1 << 53) if top.has("follows") else None
        top.close()
    if findings.faults:
        raise Faults(findings.faults)
    return fields, follows


def _fields(top: Section, former: CharterFields) -> CharterFields:
    if top.has("refusals"):
        top.value("refusals")
        top.fault(
            "refusals", "are not written by hand", "sealwire revoke, retire or exclude; they are never taken back"
        )
    policies = [_policy(each) for each in top.sections("policies", cure="begin each policy with '- channel: NAME'")]
    for index, row in enumerate(policies):
        if row is not None and row in policies[:index]:
            top.fault("policies", f"has the same policy twice: {row.channel}", "keep one of them")
    return msgspec.structs.replace(
        former,
        policies=tuple(row for row in policies if row is not None),
        min_suite=top.number("min_suite", primitives.SUITE, 1, primitives.SUITE),
        min_format=top.number("min_format", envelope.FORMAT, 1, envelope.FORMAT),
        max_age=1000 * duration.seconds(top, "max_age", 0, _LEAST_AGE, _MOST),
    )


def _policy(section: Section) -> PolicyRow | None:
    channel = _pattern(section, "channel", "")
    cloud_topic = _pattern(section, "cloud_topic", "*")
    tables = [_table(section, right) for right in ("produce", "consume")]
    backfill = 1000 * duration.seconds(section, "backfill", 0, 0, _MOST)
    section.close()
    if not channel or not cloud_topic or None in tables:
        return None
    return PolicyRow(channel, cloud_topic, policy.ATTRIBUTES, tables[0] or (), tables[1] or (), backfill)


def _pattern(section: Section, setting: str, default: str) -> str:
    found = section.word(setting, required=not default, cure="a name, or the beginning of names followed by *")
    if found is None:
        return default
    if not found.text or not _PATTERN.fullmatch(found.text):
        section.fault(
            setting,
            f"'{found.text[:60]}' is no pattern",
            "a name of letters, digits, '.', '_' and '-', or the beginning of names followed by one *",
        )
        return ""
    return found.text


def _table(section: Section, right: str) -> policy.Table | None:
    found = section.section(right, required=True, cure="like: {role: [member], site: [berlin]}")
    if found is None:
        return None
    table: dict[str, list[str]] = {}
    for name_node, _ in found.node.value:
        name = name_node.value if isinstance(name_node, yaml.ScalarNode) else ""
        if not good_name(name):
            found.fault(name, f"'{name[:60]}' cannot be an attribute's name", "like role or site")
            found.value(name)
            continue
        table[name] = _values(found, name)
    if len(table) > _MOST_ATTRIBUTES:
        section.fault(right, f"names {len(table)} attributes; at most {_MOST_ATTRIBUTES}")
    found.close()
    return policy.table(table)


def _values(section: Section, name: str) -> list[str]:
    node = section.value(name, cure="like: [berlin, paris]")
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [] if node is None else [node]
    found: list[str] = []
    for each in nodes:
        if not isinstance(each, yaml.ScalarNode) or each.tag != "tag:yaml.org,2002:str":
            hint = f"quote it: '{each.value}'" if isinstance(each, yaml.ScalarNode) else "like: [berlin, paris]"
            section.fault(name, f"has a value that must be text, not {kind(each)}", hint)
        elif not 0 < len(each.value) <= _MOST_VALUE:
            section.fault(name, f"has a value of {len(each.value)} characters; from 1 to {_MOST_VALUE}")
        elif each.value in found:
            section.fault(name, f"has '{each.value}' twice", "keep one of them")
        elif "*" in each.value:
            section.fault(name, f"has '{each.value}': a value is no pattern", "name the values, each")
        else:
            found.append(each.value)
    if len(found) > _MOST_VALUES:
        section.fault(name, f"has {len(found)} values; at most {_MOST_VALUES}")
    return found


def write(fields: CharterFields, project: str, comments: tuple[str, ...] = ()) -> str:
    """Write a charter as the YAML that reads as it; ``comments`` are lines for a person, above it."""
    lines = [_HEADER.format(project=project).rstrip(), *(f"# {each}" for each in comments), "policies:"]
    for row in fields.policies:
        lines.append(f"  - channel: {_scalar(row.channel)}")
        if row.cloud_topic != "*":
            lines.append(f"    cloud_topic: {_scalar(row.cloud_topic)}")
        lines += [f"    produce: {_flow(row.produce)}", f"    consume: {_flow(row.consume)}"]
        if row.backfill:
            lines.append(f"    backfill: {duration.shown(row.backfill // 1000)}")
    lines += [f"min_suite: {fields.min_suite}", f"min_format: {fields.min_format}"]
    age = f"max_age: {duration.shown(fields.max_age // 1000)}" if fields.max_age else "# max_age: 7d"
    return "\n".join([*lines, age, f"follows: {fields.version}", ""])


def _scalar(text: str) -> str:
    return yaml.safe_dump([text], default_flow_style=True, width=1 << 20).strip()[1:-1]


def _flow(table: policy.Table) -> str:
    return yaml.safe_dump(
        {name: list(values) for name, values in table}, default_flow_style=True, width=1 << 20
    ).strip()
