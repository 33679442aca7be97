"""From trees to nodes: the interpreter of the plan's expressions, one small function per operation.

A `Scope` says what names mean at one moment: state, given values and draws are nodes; definitions are evaluated when they are
first used, *in this scope*, so that they see the current state and the current draws. ``grad(L, w)`` is carried out on the
tape, ``mean(e)`` opens an inner scope with fresh draws on a batch axis of its own. Imported by draws and engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from . import tape_ops as ops
from .errors import NotSimulable
from .implicit import solve_root
from .plan import Function, Plan
from .tape import Array, Node, constant, gradient
from .trees import Tree, dimension, walk

#: Opens the inner scope of an average: (outer scope, averaged tree) -> (scope with fresh draws, weights).
Fresh: TypeAlias = "Callable[[Scope, Tree], tuple[Scope, Array]]"


@dataclass(slots=True, kw_only=True)
class Scope:
    """What names mean at one moment of a run; ``nodes`` fills up with the definitions as they are used."""

    plan: Plan
    sizes: Mapping[str, int]
    nodes: dict[str, Node]
    let: Mapping[str, Tree] = field(default_factory=dict)
    outer: Scope | None = None
    lifts: int = 0
    depth: int = 0
    fresh: Fresh | None = None

    def lookup(self, name: str) -> Node:
        """The node of a name: own node, definition, outer node with new batch axes, or size."""
        if name in self.nodes:
            return self.nodes[name]
        if name in self.let:
            node = _defined(name, self.let[name], self)
        elif self.outer is not None:
            node = self.outer.lookup(name)
            for _ in range(self.lifts):
                node = ops.lift(node)
        elif name in self.sizes:
            node = constant(float(self.sizes[name]), 0)
        else:
            raise NotSimulable(f"{name} has no value here. {_why_absent(self.plan, name)}")
        self.nodes[name] = node
        return node

    def inner(self, nodes: dict[str, Node]) -> Scope:
        """A scope one batch axis deeper, whose definitions are evaluated anew."""
        return Scope(
            plan=self.plan,
            sizes=self.sizes,
            nodes=nodes,
            let=self.plan.let,
            outer=self,
            lifts=1,
            depth=self.depth + 1,
            fresh=self.fresh,
        )


def evaluate(tree: Tree, scope: Scope) -> Node:
    """Value of a tree in a scope, with its history.

    Raises
    ------
    NotSimulable
        Shapes do not fit, a name has no value at this moment, or the operation is not simulated (``root``, ``oo``).

    Examples
    --------
    >>> from numerics.simulate.plan import read_plan
    >>> scope = Scope(plan=read_plan({"version": 1, "state": {"w": []}}), sizes={}, nodes={"w": constant(3.0, 0)})
    >>> float(evaluate(("grad", ("pow", "w", 2), "w"), scope).value)
    6.0
    """
    if isinstance(tree, str):
        return scope.lookup(tree)
    if isinstance(tree, int):
        return constant(float(tree), 0)
    return _OPERATIONS[tree[0]](tree, scope)


def _all(tree: Tree, scope: Scope) -> list[Node]:
    return [evaluate(part, scope) for part in tree[1:]]


def _add(tree: Tree, scope: Scope) -> Node:
    return ops.add(*_all(tree, scope))


def _mul(tree: Tree, scope: Scope) -> Node:
    *factors, last = _all(tree, scope)
    for factor in reversed(factors):
        last = ops.scale(factor, last)
    return last


def _pow(tree: Tree, scope: Scope) -> Node:
    return ops.power(evaluate(tree[1], scope), evaluate(tree[2], scope))


def _matmul(tree: Tree, scope: Scope) -> Node:
    """Products are taken from the thinner end, so that a chain that ends in a vector never builds a big matrix."""
    nodes = _all(tree, scope)
    if nodes[-1].rank == 2 and nodes[0].rank == 2 and nodes[-1].shape[1] <= nodes[0].shape[0]:
        product = nodes[-1]
        for node in reversed(nodes[:-1]):
            product = ops.matmul(node, product)
        return product
    product = nodes[0]
    for node in nodes[1:]:
        product = ops.matmul(product, node)
    return product


def _had(tree: Tree, scope: Scope) -> Node:
    product, *rest = _all(tree, scope)
    for node in rest:
        product = ops.had(product, node)
    return product


def _map(tree: Tree, scope: Scope) -> Node:
    argument = evaluate(tree[2], scope)
    function = scope.plan.functions.get(tree[1])
    return ops.apply(tree[1], argument) if function is None else _user(function, argument, scope)


def _user(function: Function, argument: Node, scope: Scope) -> Node:
    """Body of a user's function for every entry: the matrix axes become batch axes of the variable."""
    numbers = ops.as_scalars(argument)
    body = Scope(
        plan=scope.plan,
        sizes=scope.sizes,
        nodes={function.variable: numbers},
        outer=scope,
        lifts=argument.rank,
        depth=scope.depth,
    )
    result = evaluate(function.body, body)
    return ops.as_matrix(result, argument.shape) if argument.rank else result


def _stack(tree: Tree, scope: Scope) -> Node:
    return ops.stack(*_all(tree, scope))


def _filled(tree: Tree, scope: Scope) -> Node:
    rows, cols = (dimension(part, scope.sizes) for part in tree[1:])
    return constant(np.full((rows, cols), 1.0 if tree[0] == "ones" else 0.0), 2)


def _delta(tree: Tree, scope: Scope) -> Node:
    left, right = _all(tree, scope)
    if left.rank or right.rank:
        raise NotSimulable("delta compares numbers; a matrix has no Kronecker delta.")
    return constant(np.equal(left.value, right.value).astype(np.float64), 0)


def _grad(tree: Tree, scope: Scope) -> Node:
    if not isinstance(tree[2], str):
        raise NotSimulable(f"grad by {tree[2]!r}: a gradient is taken by a state symbol.")
    target = scope.lookup(tree[2])
    return gradient(evaluate(tree[1], scope), target, ops.add)


def _mean(tree: Tree, scope: Scope) -> Node:
    if scope.fresh is None:
        raise NotSimulable("mean(...) inside the body of a function or the parameter of a law cannot be simulated; use a let.")
    inner, weights = scope.fresh(scope, tree[1])
    return ops.weighted_mean(evaluate(tree[1], inner), weights)


def _defined(name: str, tree: Tree, scope: Scope) -> Node:
    """Value of a definition; one by ``root`` is the solution of its equation."""
    if not (isinstance(tree, tuple) and tree[0] == "root"):
        return evaluate(tree, scope)

    def residual(x: Node, batch: bool) -> Node:
        inner = Scope(
            plan=scope.plan,
            sizes=scope.sizes,
            nodes={name: x},
            outer=scope,
            lifts=int(batch),
            depth=scope.depth + int(batch),
            fresh=scope.fresh,
        )
        return evaluate(tree[1], inner)

    return solve_root(name, residual, _shape_of_unknown(name, tree[1], scope))


def _shape_of_unknown(name: str, residual: Tree, scope: Scope) -> tuple[int, ...]:
    """Shape of a term of the equation without the unknown."""
    if isinstance(residual, tuple) and residual[0] == "mul":
        return _shape_of_unknown(name, residual[-1], scope)
    for term in residual[1:] if isinstance(residual, tuple) and residual[0] == "add" else ():
        if name not in walk(term):
            return evaluate(term, scope).shape
    raise NotSimulable(f"root for {name}: the equation needs a term without {name} that stands in its sum by itself.")


def _root(tree: Tree, scope: Scope) -> Node:
    raise NotSimulable("root(...) is simulated as a definition of its own: give it a name in `let`.")


def _infinity(tree: Tree, scope: Scope) -> Node:
    raise NotSimulable("oo is no number that a run can use. Give the dimension or parameter a finite value.")


_Operation = Callable[[Tree, Scope], Node]
_OPERATIONS: dict[str, _Operation] = {
    "add": _add,
    "mul": _mul,
    "pow": _pow,
    "matmul": _matmul,
    "T": lambda tree, scope: ops.transpose(evaluate(tree[1], scope)),
    "trace": lambda tree, scope: ops.trace(evaluate(tree[1], scope)),
    "inv": lambda tree, scope: ops.inverse(evaluate(tree[1], scope)),
    "det": lambda tree, scope: ops.determinant(evaluate(tree[1], scope)),
    "had": _had,
    "map": _map,
    "eye": lambda tree, scope: constant(np.eye(dimension(tree[1], scope.sizes)), 2),
    "ones": _filled,
    "zeros": _filled,
    "diag": lambda tree, scope: ops.diag(evaluate(tree[1], scope)),
    "stack": _stack,
    "delta": _delta,
    "grad": _grad,
    "mean": _mean,
    "stop": lambda tree, scope: ops.stop(evaluate(tree[1], scope)),
    "root": _root,
    "frac": lambda tree, scope: constant(tree[1] / tree[2], 0),
    "pi": lambda tree, scope: constant(math.pi, 0),
    "oo": _infinity,
}


def _why_absent(plan: Plan, name: str) -> str:
    law = plan.law_of(name)
    if law is not None:
        return f"It is drawn by {law.label}: average over it, mean(...), or use it only in the rule."
    if name in plan.moments:
        return f"It is a named moment of an open law: pass its array in values, {{{name!r}: ...}}."
    return f"Pass it in values, {{{name!r}: ...}}."
