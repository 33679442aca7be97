r"""Vectors that may vanish in finite time: where the equations of overlaps are singular at  Q_kk = |V_k|^2 / N = 0.

A unit with a hard non-linearity is pulled along its own direction with a strength that does not fade as it shrinks,
d|V_k|/dt = -S, so that |V_k| reaches zero at a finite time; there V_k / |V_k| has no limit and the equations stop. `vanishing`
finds the Gram matrices whose diagonal stands under a negative power or a root, and every overlap that belongs to the same
vectors, so that numerics can stop at the event and go on with V_k = 0 where all directions push back. Imported by codegen.
"""

from __future__ import annotations

from dataclasses import dataclass

from derive.indices.indexed import Node
from derive.spec.lowered import Lowered, LoweredRate
from derive.system import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanishing:
    """A family of vectors whose length may reach zero.

    Attributes
    ----------
    family : str
    gram : str
        Name of its Gram matrix, a state.
    overlaps : tuple of (str, str, str)
        Every overlap of the system: its name and the families of its two axes.
    families : tuple of (str, bool)
        Every family, and whether it is a single vector, without an axis.
    """

    family: str
    gram: str
    overlaps: tuple[tuple[str, str, str], ...]
    families: tuple[tuple[str, bool], ...]


def vanishing(flow: Flow) -> tuple[Vanishing, ...]:
    """The families of a population flow at whose zeros the right-hand side is singular.

    >>> from derive import Model, Normal, Rate, dims, dot, fn, grad, population_flow, scalars, vector
    >>> N = dims("N")
    >>> w, u, x, L = vector("w", N), vector("u", N), vector("x", N), scalars("L")
    >>> m = Model(name="unit", state=w, given=u, data=Normal(x),
    ...           let={L: (fn.relu(dot(w, x)) - fn.relu(dot(u, x)))**2/2}, learn=Rate({w: -grad(L, w)}))
    >>> [v.gram for v in vanishing(population_flow(m))]
    ['Q']
    """
    low = getattr(flow.source, "lowered", None)
    if flow.level != "index" or not isinstance(low, Lowered) or not isinstance(low.rule, LoweredRate):
        return ()
    from derive.online.population import population_overlaps

    found = population_overlaps(low)
    names = [b.name for b in (*flow.state, *flow.parameters)]
    overlaps = tuple((name, a, b) for (a, b), name in found.names.items() if name in names)
    families = tuple((f, size == 1) for f, size in found.families.items())
    singular = {n for e in flow.rhs.values() if isinstance(e, Node) for n in _singular(e)}
    return tuple(
        Vanishing(family=a, gram=name, overlaps=overlaps, families=families)
        for name, a, b in overlaps
        if a == b and a in found.learned and name in singular
    )


def _singular(node: Node) -> tuple[str, ...]:
    """Names of arrays whose diagonal (or whose value, if they are numbers) stands under a negative power or a root."""
    out: tuple[str, ...] = ()
    if (
        node.op == "pow"
        and (node.args[1] < 0 or node.args[1].denominator > 1)
        and node.args[0].op == "arr"
        and len(set(node.args[0].args[1])) < 2
    ):
        out = (node.args[0].args[0],)
    return out + tuple(n for a in node.args if isinstance(a, Node) for n in _singular(a))


__all__ = ["Vanishing", "vanishing"]
