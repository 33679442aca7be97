r"""`symmetric`: order-parameter equations on the manifold where units of a kind are alike, for any number of them.

The units of every index family fall into groups; a permutation of a group, in all its families at once, leaves equations of
index level as they are. So states whose entries depend only on the groups of their labels, and on whether two labels are the
same unit, stay so, and there

    sum_i f(i)  =  sum over groups g of  [ sum over units u of g that are named already: f(u) ]  +  (size_g - named) f(new).

The reduced system has a few numbers and the sizes of the groups as parameters: one system for all sizes. The student that is
not specialised yet has one group of hidden units (the symmetric plateau); a student that knows its teacher has one group of
pairs and one of spare units. Imported by users and by `numerics.analysis`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.indices.indexed import ONE, ZERO, Index, Node, add, arr, arrays, const, evaluate, mul, rebuild
from derive.system import Assumption, Block, Flow, Reduction, Step, flow_of

Unit = tuple[str, int]  # group, number of the unit among those that are named
Sizes = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Units that are alike.

    Attributes
    ----------
    size : int or str
        How many there are, or the name of that number.
    families : tuple of str
        Index families that they belong to, e.g. ``("K", "M")`` for hidden units of a student, each with its partner in the
        teacher.
    """

    size: Sizes
    families: tuple[str, ...]

    @property
    def count(self) -> Node:
        """The size as a node."""
        return const(self.size) if isinstance(self.size, int) else arr(self.size)


def symmetric(flow: Flow, groups: Mapping[str, Group]) -> Reduction:
    r"""Restrict an index-level system to states that are symmetric under permutations of groups of units.

    Parameters
    ----------
    flow : Flow
        At index level, e.g. of `online_limit`.
    groups : mapping name -> Group
        In the order in which their units stand in a family. Every index family must be covered.

    Returns
    -------
    Reduction
        Its system has scalars only. ``Q_a`` is an entry Q[k,k] with k in group a (of R: with k and its partner), ``Q_a_a`` one
        with two different units of it, ``Q_a_b`` one with units of two groups; likewise for parameters.

    Raises
    ------
    InvalidSpec
        If a family is not covered.
    UnsupportedNode
        If the system is at matrix level.

    Examples
    --------
    >>> from derive.library.teacher import teacher_student
    >>> from derive.online.limit import online_limit
    >>> flow = online_limit(teacher_student("linear", train="first", noise=False))
    >>> one = symmetric(flow, {"u": Group(size="K", families=("K",)), "t": Group(size="M", families=("M",))})
    >>> one.system.rhs["R_u_t"]
    -K*R_u_t*eta*v_u^2 + eta*v_u*(A_t*T_t + A_t*T_t_t*(-1 + M))
    """
    flow = flow_of("symmetric", flow)
    if flow.level != "index":
        raise UnsupportedNode(f"{flow.name} is at matrix level; symmetric groups of units are found in index-level equations")
    families = _families(flow)
    for family in families:
        if not any(family in g.families for g in groups.values()):
            raise InvalidSpec(
                f"symmetric: the units of {family} are in no group; add a Group(size=..., families=({family!r},))"
            )
    kinds = _Kinds(groups=dict(groups), families=families, flow=flow)
    state, rhs = [], {}
    for b in flow.state:
        for at in kinds.orbits(b):
            name = kinds.name(b.name, at)
            state.append(Block(name=name, meaning=f"{b.name}: {_words(at)}" if at else b.meaning))
            rhs[name] = kinds.reduce(_node(flow.rhs[b.name]), dict(zip(b.indices, at, strict=True)))
    observables = {n: kinds.reduce(_node(e), {}) for n, e in flow.observables.items() if isinstance(e, Node) and not e.free}
    moving = [b.name for b in state]
    used = sorted({n for e in (*rhs.values(), *observables.values()) for n in arrays(e)})
    meanings = {b.name: b.meaning for b in flow.parameters}
    system = Flow(
        name=f"{flow.name}_symmetric",
        state=tuple(state),
        rhs=rhs,
        parameters=tuple(Block(name=n, meaning=meanings.get(n, "")) for n in used if n not in moving),
        observables=observables,
        time=flow.time,
        assumptions=(*flow.assumptions, Assumption(text=_sentence(groups), remedy="start from such a state")),
        rungs=flow.rungs,
        source=flow,
    )
    return Reduction(
        full=flow,
        system=system,
        lift={},
        proof="proved: index-level equations are equivariant under permutations of units",
        assumptions=system.assumptions,
        steps=(Step(title="symmetry of units", detail=_sentence(groups), check=_check(flow, system, kinds)),),
        parameters_from=lambda values: kinds.project(values, flow.parameters, system.parameters),
        lift_state=lambda values, reduced: kinds.lift({**values, **reduced}, flow.state, sizes=None),
        project_state=lambda values, full: kinds.project({**values, **full}, flow.state, system.state),
    )


def _families(flow: Flow) -> tuple[str, ...]:
    found = [i.family for b in flow.state for i in b.indices]
    found += [str(d) for b in flow.parameters for d in b.shape]
    return tuple(dict.fromkeys(found))


def _node(e: Any) -> Node:
    if not isinstance(e, Node):
        raise UnsupportedNode("symmetric: a right-hand side is at matrix level; use the equations of online_limit")
    return e


def _words(at: Sequence[Unit]) -> str:
    if len(at) < 2:
        return f"a unit of {at[0][0]}"
    if at[0][0] != at[1][0]:
        return f"a unit of {at[0][0]} with one of {at[1][0]}"
    return f"a unit of {at[0][0]} with {'itself or its partner' if at[0] == at[1] else 'another one'}"


def _sentence(groups: Mapping[str, Group]) -> str:
    return "; ".join(f"{g.size} alike units {name} in {', '.join(g.families)}" for name, g in groups.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """The groups, and what they make of an expression."""

    groups: dict[str, Group]
    families: tuple[str, ...]
    flow: Flow
    memo: dict[Any, Node] = field(default_factory=dict)

    def of(self, family: str) -> list[tuple[str, Group]]:
        return [(n, g) for n, g in self.groups.items() if family in g.families and g.size != 0]

    def name(self, array: str, at: Sequence[Unit]) -> str:
        parts = list(dict.fromkeys(at)) if len(at) == 2 else at
        return "_".join((array, *(g for g, _ in parts)))

    def orbits(self, b: Block) -> list[tuple[Unit, ...]]:
        """One choice of units for each kind of entry of an array."""
        axes = [str(d) for d in b.shape]
        if len(axes) > 2:
            raise UnsupportedNode(f"symmetric: {b.name} has {len(axes)} labels; arrays of at most two are treated")
        out: list[tuple[Unit, ...]] = []
        for picked in product(*([n for n, _ in self.of(a)] for a in axes)):
            if len(picked) == 2 and picked[0] == picked[1]:
                out += [((picked[0], 0), (picked[1], 0))]
                out += [] if self.groups[picked[0]].size == 1 else [((picked[0], 0), (picked[1], 1))]
            elif not (len(picked) == 2 and b.symmetric and tuple(reversed(picked)) in [tuple(g for g, _ in o) for o in out]):
                out.append(tuple((g, n) for n, g in enumerate(picked)))
        return out

    def entry(self, array: str, at: Sequence[Unit], symmetric: bool) -> Node:
        if symmetric and len(at) == 2:
            order = list(self.groups)
            at = sorted(at, key=lambda unit: order.index(unit[0]))
        return arr(self.name(array, at))

    def reduce(self, node: Node, at: Mapping[Index, Unit]) -> Node:
        """The expression with units in place of its free labels."""
        key = (node, tuple(at[i] for i in node.free))
        if key not in self.memo:
            self.memo[key] = self._reduce(node, at)
        return self.memo[key]

    def _reduce(self, node: Node, at: Mapping[Index, Unit]) -> Node:
        if node.op == "arr":
            name, labels = node.args
            if labels:
                return self.entry(name, [at[i] for i in labels], node.symmetric)
            return add(*(g.count for _, g in self.of(name))) if name in self.families else node
        if node.op == "kron":
            return ONE if at[node.args[0]] == at[node.args[1]] else ZERO
        if node.op == "sum":
            return self._sum(node, at)
        return rebuild(node, [self.reduce(a, at) if isinstance(a, Node) else a for a in node.args])

    def _sum(self, node: Node, at: Mapping[Index, Unit]) -> Node:
        label, body = node.args
        here = {i: u for i, u in at.items() if i in body.free}
        out = []
        for name, group in self.of(label.family):
            named = sorted({u for u in here.values() if u[0] == name})
            out += [self.reduce(body, {**here, label: u}) for u in named]
            left = add(group.count, const(-len(named)))
            if left != ZERO:
                fresh = (name, max((n for _, n in named), default=-1) + 1)
                out.append(mul(left, self.reduce(body, {**here, label: fresh})))
        return add(*out)

    # ------------------------------------------------------------------------------------------------ numbers
    def units(self, family: str, sizes: Mapping[str, Any]) -> list[Unit]:
        """Group and number of every unit of a family."""
        return [
            (n, k) for n, g in self.of(family) for k in range(int(g.size if isinstance(g.size, int) else sizes[str(g.size)]))
        ]

    def lift(self, values: Mapping[str, Any], blocks: Sequence[Block], sizes: Mapping[str, Any] | None) -> dict[str, Any]:
        """Full arrays from the numbers of a symmetric state."""
        known, out = {**values, **(sizes or {})}, {}
        for b in blocks:
            axes = [self.units(str(d), known) for d in b.shape]
            full = np.zeros([len(a) for a in axes])
            for place in np.ndindex(*full.shape):
                node = self.entry(b.name, [a[n] for a, n in zip(axes, place, strict=True)], b.symmetric)
                full[place] = known[node.args[0]]
            out[b.name] = full if b.shape else np.asarray(known[b.name], dtype=float)
        return out

    def project(self, values: Mapping[str, Any], full: Sequence[Block], reduced: Sequence[Block]) -> dict[str, Any]:
        """The numbers of the nearest symmetric state: means over each kind of entry."""
        wanted = [b.name for b in reduced]
        found: dict[str, list[float]] = {n: [] for n in wanted}
        for b in full:
            if not b.shape and b.name in found and b.name in values:
                found[b.name].append(float(values[b.name]))
            if b.shape and b.name in values:
                array = np.asarray(values[b.name], dtype=float)
                axes = [self.units(str(d), values) for d in b.shape]
                if array.shape != tuple(len(a) for a in axes):
                    raise InvalidSpec(
                        f"{b.name} has shape {array.shape}, the groups make it {tuple(len(a) for a in axes)}; change the sizes"
                    )
                for place in np.ndindex(*array.shape):
                    node = self.entry(b.name, [a[n] for a, n in zip(axes, place, strict=True)], b.symmetric)
                    found.setdefault(node.args[0], []).append(float(array[place]))
        return {n: float(np.mean(found[n])) if found[n] else float(values[n]) for n in wanted if found[n] or n in values}


def _check(flow: Flow, system: Flow, kinds: _Kinds) -> str:
    """The reduced right-hand side against the full one at a random symmetric state: the same number."""
    from derive.gaussian.quadrature import NUMPY

    rng = np.random.default_rng(7)
    sizes = {str(g.size): 2 + (n % 2) for n, g in enumerate(kinds.groups.values()) if isinstance(g.size, str)}
    small = {b.name: float(rng.uniform(0.02, 0.1)) for b in (*system.state, *system.parameters)}
    values = {**small, **{n: float(s) for n, s in sizes.items()}}
    for b in (*flow.state, *flow.parameters):  # overlaps need a positive diagonal
        for at in kinds.orbits(b):
            if len(at) == 2 and b.symmetric and at[0] == at[1]:
                values[kinds.name(b.name, at)] = float(rng.uniform(0.8, 1.2))
            values.setdefault(kinds.name(b.name, at), float(rng.uniform(0.02, 0.1)))
    full = {**values, **kinds.lift(values, (*flow.state, *flow.parameters), sizes)}
    full |= {f: len(kinds.units(f, sizes)) for f in kinds.families}
    worst = 0.0
    for b in flow.state:
        for at in kinds.orbits(b):
            got = float(evaluate(_node(system.rhs[kinds.name(b.name, at)]), values, {}, NUMPY))
            place = [kinds.units(str(d), sizes).index(u if u in kinds.units(str(d), sizes) else (u[0], 0))
                     for d, u in zip(b.shape, _separate(at), strict=True)]  # fmt: skip
            want = float(evaluate(_node(flow.rhs[b.name]), full, dict(zip(b.indices, place, strict=True)), NUMPY))
            worst = max(worst, abs(got - want) / (abs(want) + 1e-3))
    if not worst < 1e-9:  # the same numbers up to rounding
        raise CheckFailed(f"{flow.name}: the symmetric system differs from the full one by {worst:.2g}; please report it")
    return f"relative difference {worst:.1e} to the full equations at a random symmetric state, bound 1e-9"


def _separate(at: Sequence[Unit]) -> Sequence[Unit]:
    """Units of different groups are numbered from 0 in each."""
    if len(at) == 2 and at[0][0] != at[1][0]:
        return [(at[0][0], 0), (at[1][0], 0)]
    return at


__all__ = ["Group", "symmetric"]
