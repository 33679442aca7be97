r"""Hamiltonians of systems and their derivatives, at matrix level and at index level.

    H = sum_y p_y . f_y + l,        p_W . f_W = tr(p_W' f_W)    or    Sum_{ij} p_ij f_ij

Derivatives by a matrix are taken word by word (`derive.matrices.calculus`), those by the entries of an indexed array by
Kronecker deltas, which contract the sums. A symmetric array stands for the symmetric matrices with their trace product, so its
derivative is symmetric. Every derivative is compared with central differences of fourth order along a random direction E,

    <G, E>  against  (8 [H(y + hE) - H(y - hE)] - [H(y + 2hE) - H(y - 2hE)]) / 12 h,      h = 1e-3.

Imported by `derive.protocols.pontryagin`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as changed
from fractions import Fraction
from typing import Any

import numpy as np

from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.fields.calculus import differentiate
from derive.flows.check import check_gradient
from derive.indices.indexed import ONE, ZERO, Index, Node, add, arr, arrays, const, evaluate, kron, mul, replace, sum_over, text
from derive.matrices import calculus
from derive.matrices.composite import atoms, parameters
from derive.matrices.convert import to_poly
from derive.matrices.poly import Poly, atom, constant, param, zero
from derive.matrices.words import Atom, is_ones
from derive.protocols.schedules import monomials, random_state, stationary
from derive.spec.lower import Collector
from derive.spec.symbols import closest
from derive.system import Block, Flow

SEED, POINTS, STEP = 6_007, 6, 1e-3
TOLERANCE = 1e-6  # differences of fourth order in STEP, 1e-12 of derivatives of fifth order, at states where those may be large

Gradients = Mapping[str, tuple[Block, Any]]


class Names:
    """Names of a system, and new parameters that an objective brings."""

    def __init__(self, flow: Flow):
        self.flow = flow
        self.more: list[Block] = []
        self.blocks = {b.name: b for b in (*flow.state, *flow.parameters)}
        self.sizes = {s for b in self.blocks.values() for s in b.shape if isinstance(s, str)}

    def observable(self, name: str, where: str) -> Any:
        """The expression of an observable."""
        if name not in self.flow.observables:
            close = closest(name, [*self.flow.observables])
            hint = f"did you mean {close}?" if close else f"it has {', '.join(self.flow.observables) or 'none'}"
            raise InvalidSpec(f"optimal: {where}={name!r} is no observable of {self.flow.name}; {hint}")
        return self.flow.observables[name]

    def known(self, name: str, shape: tuple[Any, ...], where: str) -> None:
        """Take note of a symbol: of the system, or a new parameter."""
        if name in self.blocks or name in self.sizes:
            return
        lowered = getattr(self.flow.source, "lowered", None)
        role = None if lowered is None else lowered.roles.get(name)
        if role in ("draw", "let", "state"):
            raise InvalidSpec(
                f"optimal: {where}= holds {name}, a {role} of the model that {self.flow.name} does not have; put what is "
                "wanted into observe= of the model, averaged by mean(...) if it holds draws, and name that observable"
            )
        if name == "t":
            raise InvalidSpec(f"optimal: {where}= holds time; give the system a clock, a state with rate 1, and write that")
        self.blocks[name] = Block(name=name, shape=shape)
        self.more.append(self.blocks[name])


class MatrixLevel:
    """Systems of `Poly`."""

    nothing = constant(0)

    def __init__(self, flow: Flow):
        self.flow, self.names = flow, Names(flow)

    def read(self, e: Any, where: str) -> Poly:
        """A number, as an expression of the system's symbols."""
        if isinstance(e, str):
            out = self.names.observable(e, where)
        elif isinstance(e, Poly):
            out = e
        else:
            out = self._lowered(e, where)
        if not isinstance(out, Poly):
            raise UnsupportedNode(
                f"optimal: {where}= is at index level, {self.flow.name} at matrix level; write it as expression"
            )
        out = out.trace() if out.shape == (1, 1) else out
        if out.shape is not None:
            raise InvalidSpec(f"optimal: {where}= has shape {out.shape}; one number is made large, write a trace or norm2(...)")
        return out

    def _lowered(self, e: Any, where: str) -> Poly:
        reader = Collector()
        for name in sorted(self.flow.symbols):
            reader.symbol(self.flow.symbols[name])
        tree = reader.lower(e, f"optimal: {where}")
        lowered = getattr(self.flow.source, "lowered", None)
        shapes = {**reader.shapes, **(lowered.shapes if lowered is not None else {})}
        tags = {n: b.tags for n, b in self.names.blocks.items()}
        positive = [n for n, s in reader.symbols.items() if getattr(s, "is_positive", False)]
        p = to_poly(lowered.inline(tree) if lowered is not None else tree, shapes, tags=tags, positive=positive)
        seen = {n: self.flow.observables[n] for n in parameters(p) if n in self.flow.observables and n not in self.names.blocks}
        p = calculus.substitute(p, {n: v for n, v in seen.items() if isinstance(v, Poly)})
        for n in parameters(p):
            self.names.known(n, (), where)
        for a in atoms(p):
            if not is_ones(a):
                self.names.known(a.name, (a.rows, a.cols), where)
        return p

    def used(self, p: Poly) -> tuple[str, ...]:
        """Names in an expression."""
        return (*parameters(p), *(a.name for a in atoms(p)))

    def labelled(self, b: Block) -> Block:
        """A control as it stands in a system."""
        return b

    def hamiltonian(self, costates: Mapping[str, str], cost: Poly) -> Poly:
        """H."""
        out = cost
        for b in self.flow.state:
            f: Any = self.flow.rhs[b.name]
            name = costates[b.name]
            out = out + ((atom(Atom(name, b.shape[0], b.shape[1])).T * f).trace() if b.shape else param(name) * f)
        return out

    def gradient(self, h: Poly, b: Block) -> Poly:
        """Derivative of a number by an array."""
        return calculus.grad(h, self._variable(b))

    def _variable(self, b: Block) -> Atom | str:
        return Atom(b.name, b.shape[0], b.shape[1], b.tags) if b.shape else b.name

    def negative(self, p: Poly) -> Poly:
        """-p."""
        return -p

    def depends(self, slope: Poly) -> bool:
        """Whether a derivative is not zero."""
        return bool(slope)

    def check(self, h: Poly, gradients: Gradients, costates: Mapping[str, str]) -> str:
        """Every derivative against differences."""
        functions = self.flow.functions
        worst = max(check_gradient(h, self._variable(b), g, functions=functions) for b, g in gradients.values())
        return f"derivatives agree with differences to {worst:.0e}"

    def values(self, h: Poly, blocks: Sequence[Block]) -> dict[str, Node]:
        """Controls in closed form: none is looked for."""
        return {}


class IndexLevel:
    """Systems of `Node`."""

    nothing = ZERO

    def __init__(self, flow: Flow):
        self.flow, self.names = flow, Names(flow)

    def read(self, e: Any, where: str) -> Node:
        """A number, as an expression of the system's symbols."""
        from derive.indices.text import from_sympy

        out = self.names.observable(e, where) if isinstance(e, str) else e if isinstance(e, Node) else from_sympy(e)
        if not isinstance(out, Node):
            raise UnsupportedNode(
                f"optimal: {where}= is at matrix level, {self.flow.name} at index level; write it as expression"
            )
        out = replace(out, self._opened)
        if out.free:
            raise InvalidSpec(f"optimal: {where}= has the free labels {out.free}; one number is made large, sum over them")
        replace(out, lambda a: self._noted(a, where))
        return out

    def _opened(self, a: Node) -> Node:
        name, labels = a.args
        seen = self.flow.observables.get(name) if name not in self.names.blocks else None
        return seen if isinstance(seen, Node) and not labels else a

    def _noted(self, a: Node, where: str) -> Node:
        name, labels = a.args
        if name in self.names.blocks and len(labels) != len(self.names.blocks[name].shape):
            shape = self.names.blocks[name].shape
            raise InvalidSpec(f"optimal: {where}= holds {text(a)}; {name} has {len(shape)} labels, write its entries or a sum")
        if labels and name not in self.names.blocks:
            raise InvalidSpec(f"optimal: {where}= holds {text(a)}, and {name} is no array of {self.flow.name}")
        self.names.known(name, (), where)
        return a

    def used(self, e: Node) -> tuple[str, ...]:
        """Names in an expression."""
        return arrays(e)

    def labelled(self, b: Block) -> Block:
        """A control with labels for its axes."""
        if len(b.indices) == len(b.shape):
            return b
        return changed(b, indices=tuple(Index(f"c{n}", str(d)) for n, d in enumerate(b.shape)))

    def hamiltonian(self, costates: Mapping[str, str], cost: Node) -> Node:
        """H."""
        terms = [cost]
        for b in self.flow.state:
            f: Any = self.flow.rhs[b.name]
            term = mul(arr(costates[b.name], *b.indices, symmetric=b.symmetric), f)
            for i in reversed(b.indices):
                term = sum_over(i, term)
            terms.append(term)
        return add(*terms)

    def gradient(self, h: Node, b: Block) -> Node:
        """Derivative of a number by the entry of an array at the labels of its block."""

        def leaf(a: Node) -> Node:
            name, labels = a.args
            if name != b.name:
                return ZERO
            straight = mul(ONE, *(kron(x, i) for x, i in zip(labels, b.indices, strict=True)))
            if not b.symmetric:
                return straight
            turned = mul(*(kron(x, i) for x, i in zip(reversed(labels), b.indices, strict=True)))
            return mul(const(Fraction(1, 2)), add(straight, turned))

        return differentiate(h, leaf)

    def negative(self, e: Node) -> Node:
        """-e."""
        return -e

    def depends(self, slope: Node) -> bool:
        """Whether a derivative is not zero."""
        return slope != ZERO

    def check(self, h: Node, gradients: Gradients, costates: Mapping[str, str]) -> str:
        """Every derivative against differences, at random states."""
        worst, seen = np.inf, False
        for attempt in range(POINTS):
            rng = np.random.default_rng([SEED, attempt])
            values = random_state(self.flow, rng, self.names.more)
            for y, p in costates.items():
                values[p] = _like(values[y], self.flow.block(y), rng)
            with np.errstate(all="ignore"):
                off = max(_deviation(h, b, g, values, rng) for b, g in gradients.values())
            if np.isfinite(off):
                worst, seen = min(worst, off), True
            if worst <= TOLERANCE:
                return f"derivatives agree with differences to {worst:.0e}"
        why = f"deviate by {worst:.1e} from differences" if seen else "could not be evaluated at random states"
        raise CheckFailed(f"{self.flow.name}: derivatives of the Hamiltonian {why} (bound {TOLERANCE:g}); please report")

    def values(self, h: Node, blocks: Sequence[Block]) -> dict[str, Node]:
        """Numbers among the controls at which H is stationary, where that is one expression."""
        out = {}
        for b in blocks:
            terms = None if b.shape else monomials(h, b.name)
            if terms is None or not _bent(terms):
                continue
            found = stationary(terms, b.name)
            if found is not None and not any(x.name in arrays(found) for x in blocks):
                out[b.name] = found
        return out


def resting(flow: Flow, b: Block) -> Any:
    """A rate of zero for an array of a system."""
    if flow.level != "matrix":
        return ZERO
    return zero(b.shape if b.shape else None)


def _bent(terms: Mapping[Any, Any]) -> bool:
    """Two powers of a control, one of them not the first: H is no line in it."""
    powers = [key[0] for key in terms if key != (Fraction(0), ())]
    return len(powers) == 2 and not any(key[1] for key in terms)


def _like(a: Any, b: Block, rng: np.random.Generator) -> Any:
    out = rng.standard_normal(np.shape(a))
    return (out + out.T) / 2 if b.symmetric else out


def _deviation(h: Node, b: Block, gradient: Node, values: Mapping[str, Any], rng: np.random.Generator) -> float:
    """Relative deviation of a derivative from differences along a random direction."""
    from derive.gaussian.quadrature import NUMPY

    point = np.asarray(values[b.name], dtype=float)
    entries = np.zeros(point.shape)
    for at in np.ndindex(*point.shape):
        entries[at] = evaluate(gradient, values, dict(zip(b.indices, at, strict=True)), NUMPY)
    direction = _like(point, b, rng)

    def at_distance(s: float) -> float:
        return float(evaluate(h, {**values, b.name: point + s * STEP * direction}, {}, NUMPY))

    seen = (8 * (at_distance(1) - at_distance(-1)) - (at_distance(2) - at_distance(-2))) / (12 * STEP)
    scale = float(np.abs(entries * direction).sum()) + abs(seen) + 1e-9 * abs(at_distance(0))
    return abs(float((entries * direction).sum()) - seen) / scale if scale else 0.0


__all__ = ["IndexLevel", "MatrixLevel", "resting"]
