"""Index-level expressions as the nested lists of a chain plan.

What a step cannot take is refused here: delta functions of fields, functions without a name in the format (averages by
quadrature among them), and laws that depend on what moves. Imported by the writers of chains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.rule import FieldRule
from derive.gaussian.opaque import body, is_opaque
from derive.indices.indexed import Index, Node, arrays, replace

#: Functions of the format; each may carry primes.
FUNCTIONS = (
    "erf2", "tanh", "relu", "step", "sgn", "exp", "log", "abs", "sin", "cos", "erf", "asin", "is_zero", "angle",
)  # fmt: skip
#: Functions with a jump, and how often they can be differentiated before a delta function appears.
_JUMPS: Mapping[str, int] = {"sgn": 0, "step": 0, "relu": 1, "abs": 1, "is_zero": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Writes the expressions of one rule."""

    rule: FieldRule

    def label(self, i: Index) -> list[str]:
        """A label as ``[name, dimension]``."""
        return [i.name, i.family]

    def labels(self, indices: tuple[Index, ...]) -> list[list[str]]:
        """Several labels."""
        return [self.label(i) for i in indices]

    def increment(self, node: Node, name: str) -> list[Any]:
        """An increment of ``name``; refused if it contains a delta function."""
        if jump := _delta(node):
            raise UnsupportedNode(
                f"the step of {name} contains {jump}, a delta function of a field: no finite step has it; "
                "use a smooth function (erf2, tanh), or stop(...) around the jump"
            )
        return self.expression(node)

    def still(self, node: Node, what: str) -> list[Any]:
        """An expression of given numbers only."""
        rule = self.rule
        low = rule.branches[0].reader.lowered
        moving = [s for s in low.state if s not in rule.overlaps.families]
        moving += [o for pair, o in rule.overlaps.names.items() if rule.overlaps.kind(*pair) == "learned"]
        if states := [n for n in arrays(node) if n in moving]:
            raise UnsupportedNode(f"{rule.name}: {what} depends on {states[0]}, which moves; scale a standard draw instead")
        return self.expression(node)

    def expression(self, node: Node) -> list[Any]:
        """A node as nested lists."""
        if node.op == "const":
            return ["const", node.args[0].numerator, node.args[0].denominator]
        if node.op == "pi":
            return ["pi"]
        if node.op == "arr":
            return self._array(node)
        if node.op == "kron":
            return ["kron", *(self.label(i) for i in node.args)]
        if node.op == "pow":
            return ["pow", self.expression(node.args[0]), node.args[1].numerator, node.args[1].denominator]
        if node.op == "sum":
            return ["sum", self.label(node.args[0]), self.expression(node.args[1])]
        if node.op == "fun":
            if is_opaque(node.args[0]):
                argument = node.args[1]
                return self.expression(replace(body(node.args[0]), lambda a: argument))
            if node.args[0].rstrip("'") not in FUNCTIONS:
                raise UnsupportedNode(
                    f"{self.rule.name}: {node.args[0]} is not a function of plain data (an average by quadrature is not one); "
                    "write the step without mean(...), or with functions of derive.fn"
                )
            return ["fun", node.args[0], *(self.expression(a) for a in node.args[1:])]
        return [node.op, *(self.expression(a) for a in node.args)]

    def _array(self, node: Node) -> list[Any]:
        name, labels = node.args[0], self.labels(node.args[1])
        if name.startswith("|"):  # |x|^2 / N
            x = name.split("|")[1]
            return ["product", x, x, []]
        if "|" in name:
            x, y = name.split("|")
            product = ["product", x, y, labels]
            return product if x == y else ["mul", ["pow", ["arr", self.rule.big, []], 1, 2], product]
        if "." in name:
            return ["field", *name.split("."), labels]
        return ["arr", name, labels]


def _delta(node: Node) -> str:
    """Name of the first derivative of a jump in a node, or nothing."""
    if node.op == "fun":
        name = node.args[0]
        if is_opaque(name) and (found := _delta(body(name))):
            return found
        base = name.rstrip("'")
        if base in _JUMPS and len(name) - len(base) > _JUMPS[base]:
            return str(name)
    return next((found for a in node.args if isinstance(a, Node) and (found := _delta(a))), "")


__all__ = ["FUNCTIONS", "Writing"]
