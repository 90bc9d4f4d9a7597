"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]
PACKAGES = ("keys", "agents", "app")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).glob("*.py"))
OTHERS_INSIDES = frozenset({"aiokafka", "faust", "mode"})
DRIVER = ROOT / "agents/driver.py"

MOST_LINES = 300
LONGER = {
    "agents/driver.py": 345,  # every reach into insides of others, with the check that it is still right
    "app/security.py": 310,  # one table of what Java's settings become
}
OWN_UNDERSCORES = frozenset({"_replace", "_asdict", "_exit"})  # of named tuples and of os: documented, not insides


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def inside(word: str) -> bool:
    return word.startswith("_") and not word.startswith("__")


def foreign_names(tree: ast.Module) -> dict[str, str]:
    """Every name that a module has from aiokafka, Faust or mode, with where it is from."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                if each.name.split(".")[0] in OTHERS_INSIDES:
                    found[each.asname or each.name.split(".")[0]] = each.name
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OTHERS_INSIDES:
            for each in node.names:
                found[each.asname or each.name] = f"{node.module}.{each.name}"
    return found


def root_name(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def assigned_to(node: ast.AST) -> list[ast.expr]:
    match node:
        case ast.Assign(targets=targets):
            return targets
        case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            return [target]
    return []


def names_of_its_own(tree: ast.Module) -> set[str]:
    """Every underscore name that a module makes: its functions, and what its classes set on themselves."""
    made = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=word, ctx=ast.Store()):
                made.add(word)
            case ast.AnnAssign(target=ast.Name(id=word)):
                made.add(word)
    return made


def reaches(tree: ast.Module) -> Iterator[str]:
    """Every reach into an inside: an underscore name that is not one's own, or a foreign attribute set."""
    foreign = foreign_names(tree)
    own = names_of_its_own(tree) | OWN_UNDERSCORES
    yield from (where for where in foreign.values() if any(inside(part) for part in where.split(".")))
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(value=ast.Name(id="KafkaError")):
                pass  # confluent-kafka's codes of its own, documented with their underscore
            case ast.Attribute(attr=word) if inside(word) and word not in own:
                yield f"line {node.lineno}: .{word}"
            case ast.Call(func=ast.Name(id="getattr" | "setattr" | "hasattr" | "delattr" as call), args=[of, *rest]):
                word = rest[0].value if rest and isinstance(rest[0], ast.Constant) else ""
                if inside(str(word)):
                    yield f"line {node.lineno}: {word!r} by its name"
                if call in {"setattr", "delattr"} and root_name(of) in foreign:
                    yield f"line {node.lineno}: an attribute of {root_name(of)} is set"
        for target in assigned_to(node):
            if isinstance(target, ast.Attribute) and root_name(target) in foreign:
                yield f"line {target.lineno}: {ast.unparse(target)} is set"


@pytest.mark.parametrize("path", [path for path in MODULES if path != DRIVER], ids=name)
def test_only_the_driver_reaches_into_insides(path: Path) -> None:
    assert list(reaches(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import aiokafka\naiokafka.client.log = None",
        "import aiokafka._x",
        "from faust.app.base import _y",
        "def f(consumer): consumer._fetcher.x()",
        "def f(consumer): return getattr(consumer, '_fetcher')",
        "from aiokafka import AIOKafkaConsumer as C\nsetattr(C, 'poll', None)",
    ],
)
def test_every_way_to_reach_inside_is_noticed(code: str) -> None:
    assert list(reaches(ast.parse(code))) != []


def module(path: Path) -> ModuleType:
    return importlib.import_module(f"sealwire.{path.parent.name}.{path.stem}")


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path != DRIVER and foreign_names(ast.parse(path.read_text()))], ids=name
)
def test_no_class_of_ours_uses_an_inside_that_it_inherits(path: Path) -> None:
    found = []
    for cls in vars(module(path)).values():
        if not inspect.isclass(cls) or cls.__module__ != module(path).__name__:
            continue
        bases = [base for base in cls.__mro__[1:] if base.__module__.split(".")[0] in OTHERS_INSIDES]
        theirs = {word for base in bases for word in vars(base)}
        tree = ast.parse(inspect.getsource(cls).lstrip() if cls.__qualname__ == cls.__name__ else "")
        words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        words |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        found += [f"{cls.__name__}.{word}" for word in words & theirs if inside(word)]
    assert found == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGER.get(name(path), MOST_LINES)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_it_is(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert len(said.split()) >= 3


def test_no_two_helpers_of_tests_share_a_name() -> None:
    helpers = Counter(
        path.name
        for path in (ROOT / "tests").glob("*/*.py")
        if not path.name.startswith("test_") and path.name not in ("conftest.py", "__init__.py")
    )
    assert [each for each, count in helpers.items() if count > 1] == []  # the second would be taken for the first


TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".lock", ".xml", ".cfg", ".example", ".service", ".sh", ""}
# The words are put together here so that this file does not hold them.
UNWANTED = {
    "a place on somebody's machine": re.compile("/" + r"(?:work|tmp/ve|root|home/\w+)/"),
    "a host to install from": re.compile(
        r"pypi\.(?:org|python)|files\.python" + r"hosted|repo1?\.maven|registry\.npm", re.IGNORECASE
    ),
    "the number of an issue": re.compile(r"\b(?:issue|PR|pull request)\s*#\s*\d+|\bGH-\d+", re.IGNORECASE),
    "work that was put off": re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
}


def tracked() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git here")
    return [ROOT / each for each in listed.stdout.split("\0") if each and (ROOT / each).is_file()]


@pytest.mark.parametrize("what", UNWANTED)
def test_no_file_names(what: str) -> None:
    found = [
        f"{name(path)}:{number}: {match.group()}"
        for path in tracked()
        if path.suffix in TEXT and path != Path(__file__)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if (match := UNWANTED[what].search(line))
    ]
    assert found == []


def test_the_version_is_said_once() -> None:
    (version,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_dependency_of_the_lock_has_a_hash() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / lock).read_text()
        blocks = re.split(r"\n(?=\S)", text.strip())
        assert len(blocks) > 30
        assert [block for block in blocks if "==" not in block or "--hash=sha256:" not in block] == []
