"""The changes that are made to a module, one at a time: a mutant each. Cosmic Ray's operators, and some of our own.

Left out is what decides nothing: annotations, the words of messages, decorators and what a class is declared with.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider
from parso.python.tree import Name

if TYPE_CHECKING:
    from collections.abc import Iterator


Node: TypeAlias = Any  # parso's types say little of its nodes

# Of Cosmic Ray's those that no other one here implies: a comparison is off by one, an `and` loses a side (below).
THEIRS: Final = [
    *(
        f"ReplaceComparisonOperator_{change}"
        for change in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")
    ),
    *(
        f"ReplaceBinaryOperator_{change}"
        for change in ("Add_Sub", "Sub_Add", "Mul_FloorDiv", "FloorDiv_Mul", "LShift_RShift", "BitOr_BitAnd")
    ),
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_USub",
    "AddNot",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "ZeroIterationForLoop",
]


class DropStatement(Operator):
    """Leaves out a call that stands alone, or a raise: a check that is not made."""

    def mutation_positions(self, node: Node) -> Iterator[tuple[object, object]]:
        if node.type == "simple_stmt" and node.children[0].type in {"raise_stmt", "atom_expr"}:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Node, index: int) -> Node:
        node.children[0] = get_ast(node.get_first_leaf().prefix + "pass")
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class DropKeyword(Operator):
    """Leaves one field out of a ``replace``: it stays as it was."""

    def mutation_positions(self, node: Node) -> Iterator[tuple[object, object]]:
        if node.type == "arglist" and node.parent.get_previous_sibling().get_code().strip() == "replace":
            for each in self._named(node):
                yield each.start_pos, each.end_pos

    @staticmethod
    def _named(node: Node) -> list[Node]:
        return [each for each in node.children if each.type == "argument" and each.children[1] == "="]

    def mutate(self, node: Node, index: int) -> Node:
        at = node.children.index(self._named(node)[index])
        del node.children[at - 1 : at + 1]  # its comma stands before it: what is replaced comes first
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class DropOperand(Operator):
    """Leaves out one side of an `and` or `or`."""

    def mutation_positions(self, node: Node) -> Iterator[tuple[object, object]]:
        if node.type in {"and_test", "or_test"}:
            for each in node.children[::2]:
                yield each.start_pos, each.end_pos

    def mutate(self, node: Node, index: int) -> Node:
        del node.children[max(2 * index - 1, 0) : max(2 * index + 1, 2)]
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


class SwapWord(Operator):
    """Puts another word there: min for max, any for all, `not in` for `in`, another member of an enumeration."""

    WORDS: Final = {"min": "max", "max": "min", "any": "all", "all": "any", "in": "not in", "not in": "in"}
    MEMBERS: Final = {
        "Compression": {"ZSTD": "NONE"},
        "Kind": {"RECORDS": "LOST", "LOST": "RECORDS", "REWIND": "ACCEPT_GAP"},
        "Reason": {"IMPLAUSIBLE": "MALFORMED"},
        "Sign": {"BEHIND": "SILENT", "SILENT": "BEHIND"},
        "Sight": {"BEHIND": "REGRESSED", "START": "NO_START", "OVER": "NEXT"},
        "State": {"FLOWING": "HELD", "WAITING": "FLOWING", "HELD": "WAITING", "GONE": "HELD"},
        "Step": {"DELIVER": "TRIM", "TRIM": "DELIVER", "WAIT": "HOLD", "HOLD": "WAIT", "DROP": "STAY", "STAY": "DROP"},
        "Type": {},
    }
    OTHERWISE: Final = {"Reason": "IMPLAUSIBLE", "Sight": "BEHIND", "Type": "ROOT"}

    def _other(self, node: Node) -> str | None:
        if node.type == "comp_op":
            return self.WORDS.get(" ".join(node.get_code().split()))
        if node.type not in {"name", "keyword"} or node.parent.type == "comp_op":
            return None
        before = node.get_previous_leaf()
        if before is not None and before == ".":
            enum = before.get_previous_leaf().value
            return self.MEMBERS.get(enum, {}).get(node.value, self.OTHERWISE.get(enum))
        if node.value == "in" and node.parent.type != "comparison":
            return None  # a `for`
        return self.WORDS.get(node.value)

    def mutation_positions(self, node: Node) -> Iterator[tuple[object, object]]:
        if self._other(node) is not None:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Node, index: int) -> Node:
        return Name(self._other(node) or "", node.start_pos, prefix=node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[()]:
        return ()


OPERATORS: Final[dict[str, type[Operator]]] = {
    **{name: OperatorProvider()[name] for name in THEIRS},
    **{own.__name__: own for own in (DropStatement, DropKeyword, DropOperand, SwapWord)},
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: of which module (its path), in which function, which line it makes of which; no line's number.

    Lines are without their indent; several are joined by " / ". ``source`` is the whole module with the change.
    """

    module: str
    function: str
    line: str
    became: str
    source: str

    def __str__(self) -> str:
        return f"{self.module} {self.function}\n    - {self.line}\n    + {self.became}"


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Make all mutants of a module that compile, each once."""
    seen = {source}
    nodes = list(ast_nodes(get_ast(source)))
    for operator in (made() for made in OPERATORS.values()):
        places = [node for node in nodes for _ in operator.mutation_positions(node)]
        for occurrence, node in enumerate(places):
            if _decides_nothing(node):
                continue
            changed = mutate_code(source, operator, occurrence)
            if changed in seen or not _compiles(changed):
                continue
            seen.add(changed)
            yield Mutant(module, _function(node), *_lines(source, changed), changed)


def _ancestors(node: Node) -> Iterator[Node]:
    while node is not None:
        yield node
        node = node.parent


def _decides_nothing(node: Node) -> bool:
    way = list(_ancestors(node))
    return any(_declares(above, below) for above, below in zip(way, [None, *way], strict=False))


def _declares(above: Node, below: Node) -> bool:  # noqa: PLR0911 -- one return a kind
    """Tell whether ``below`` is that part of ``above`` which decides nothing."""
    match above.type:
        case "decorator" | "fstring" | "tfpdef" | "import_from":
            return True
        case "param" | "funcdef":
            return below is not None and above.annotation is below
        case "annassign":
            return above.children[1] is below
        case "classdef":
            return below is not None and below.type in {"arglist", "argument"}
        case "if_stmt":
            return "TYPE_CHECKING" in above.children[1].get_code()
        case "expr_stmt":
            return _is_alias(above)
    return False


def _is_alias(statement: Node) -> bool:
    """Tell whether it names a type of several: ``Decision = Deliver | Trim``, or ``Id = Annotated[...]``."""
    value = statement.children[-1]
    if value.type == "expr":
        return all(each.type in {"name", "operator"} for each in value.children)
    return str(value.get_code()).strip().startswith("Annotated[")


def _function(node: Node) -> str:
    names = [each.name.value for each in _ancestors(node) if each.type in {"funcdef", "classdef"}]
    return ".".join(reversed(names))


def _compiles(source: str) -> bool:
    try:
        compile(source, "a mutant", "exec")
    except SyntaxError:
        return False
    return True


def _lines(source: str, changed: str) -> tuple[str, str]:
    diff = list(difflib.ndiff(source.splitlines(), changed.splitlines()))
    line, became = (" / ".join(each[2:].strip() for each in diff if each.startswith(sign)) for sign in ("- ", "+ "))
    return line, became
