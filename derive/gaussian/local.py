r"""Averages of products of functions of a few fields, as functions of the covariances of these fields alone.

A *local average* is a node ``E[f_1|f_2|...](m_1, .., C_11, .., C_12, ..)``: slot n carries the product f_n of named functions
and powers, written with commas (``E[step|step|relu|relu]``); the arguments are the means (for ``Em[...]`` only), the variances
and the covariances in the order 12, 13, .., 23, ... The name says everything; a local average needs no definition beside it:

- hard functions: `hard_body` expands them in signs, powers and deltas and averages in a guarded law of formal slots. The result
  is a formula in the local covariances, exact up to the integrals for four and more signs; it holds for coinciding fields;
- smooth functions: nodes at equal distances (`RULES`) in each independent direction of at most four fields. For functions with
  poles near the real axis (tanh) this converges faster than Gauss-Hermite nodes, by a factor of ten to thirty at these sizes.

Emission prints one function for each name. Imported by the Gaussian averages and by emission.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from derive.errors import UnsupportedNode
from derive.gaussian.factors import Factor, factor, opened, pattern_of
from derive.gaussian.ladder import expectation
from derive.gaussian.measure import Measure
from derive.indices.indexed import ONE, ZERO, Node, add, arr, fun, mul

#: Nodes per field and their distance, by the number of fields.
RULES = {1: (64, 0.2), 2: (40, 0.3), 3: (24, 0.45), 4: (14, 0.6)}


_SAME = {"relu'": "step", "abs'": "sgn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Local:
    """A local average, read from its name: functions by slot, and whether means are among the arguments."""

    slots: tuple[tuple[str, ...], ...]
    means: bool

    @property
    def name(self) -> str:
        """``E[...]`` or ``Em[...]``."""
        return f"E{'m' * self.means}[{'|'.join(','.join(s) for s in self.slots)}]"

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of slots in the order of their covariances."""
        return tuple(combinations(range(len(self.slots)), 2))

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments: means, variances, covariances."""
        n = range(len(self.slots))
        means = [f"m{i + 1}" for i in n] if self.means else []
        return (*means, *(f"v{i + 1}" for i in n), *(f"c{i + 1}{j + 1}" for i, j in self.pairs))

    @property
    def smooth(self) -> bool:
        """Whether it is a quadrature."""
        return any(f != "x" and pattern_of(f) is None for s in self.slots for f in s)


def read(name: str) -> Local | None:
    """The local average of a function name; None if it is not one.

    >>> read("E[step|x,relu]").arguments
    ('v1', 'v2', 'c12')
    """
    head, bracket, rest = name.partition("[")
    if not bracket or head not in ("E", "Em"):
        return None
    return Local(slots=tuple(tuple(s.split(",")) for s in rest[:-1].split("|")), means=head == "Em")


def local_average(law: Measure, factors: Sequence[Factor]) -> Node:
    """The local average of a product of functions and powers (no deltas) under a law.

    Raises
    ------
    UnsupportedNode
        If a quadrature would run over more than four fields, or over functions with jumps in their slope.
    """
    groups: dict[Node, list[str]] = {}
    for f in factors:
        groups.setdefault(f.slot, []).append("x" if f.kind == "x" else _SAME.get(f.function, f.function))
    ordered = sorted(groups.items(), key=lambda g: (sorted(g[1]), g[0].order))
    slots = [s for s, _ in ordered]
    means = [law.mean(s) for s in slots]
    made = Local(slots=tuple(tuple(sorted(names)) for _, names in ordered), means=any(m != ZERO for m in means))
    if made.smooth:
        _checked(made, factors)
    cross = [law.cov(slots[i], slots[j]) for i, j in made.pairs]
    return fun(made.name, *(means if made.means else ()), *(law.cov(s, s) for s in slots), *cross)


def _checked(made: Local, factors: Sequence[Factor]) -> None:
    shown = " ".join(repr(f) for f in factors)
    if len(made.slots) > max(RULES):
        raise UnsupportedNode(f"{shown}: a quadrature over {len(made.slots)} fields is too large; use fn.erf2 or a polynomial")
    for name in (f for s in made.slots for f in s if f != "x"):
        pattern = pattern_of(name)
        if pattern and any(kind in ("sgn", "delta") and not s for _, primitives in pattern for kind, s in primitives):
            raise UnsupportedNode(
                f"{shown}: {name} jumps or has a kink, so its product with a smooth function has no accurate quadrature; use "
                "fn.erf2 for one of them"
            )


@cache
def hard_body(made: Local) -> Node:
    """A local average of functions made of signs and powers, as a formula in its arguments.

    >>> hard_body(Local(slots=(("step",),), means=False))
    1/2
    """
    place = {f"u{i + 1}": i + 1 for i in range(len(made.slots))}

    def cov(a: Node, b: Node) -> Node:
        i, j = sorted((place[a.args[0]], place[b.args[0]]))
        return arr(f"v{i}" if i == j else f"c{i}{j}")

    law = Measure(covariance=cov, average=lambda a: arr(f"m{place[a.args[0]]}") if made.means else ZERO, guarded=True)
    product = [
        factor("x", arr(u)) if name == "x" else factor("fun", arr(u), function=name)
        for u, names in zip(place, made.slots, strict=True)
        for name in names
    ]
    return add(*(mul(c, expectation(law, primitives)) for c, primitives in open_all(product)))


def open_all(factors: Sequence[Factor]) -> list[tuple[Node, tuple[Factor, ...]]]:
    """A product of functions as a sum of products of primitives.

    Raises
    ------
    UnsupportedNode
        If a function is not made of primitives.
    """
    out: list[tuple[Node, tuple[Factor, ...]]] = [(ONE, ())]
    for f in factors:
        parts = opened(f)
        if parts is None:
            raise UnsupportedNode(f"{f!r} has no closed form in erf, exp and powers")
        out = [(mul(c, d), (*fs, *gs)) for c, fs in out for d, gs in parts]
    return out


#: Leaves that are integrals in one or two dimensions.
_INTEGRALS = {
    "sign4": 1,
    "signs2": 1,
    "signs3": 1,
    "limit2": 1,
    "limit3": 1,
    "limit4": 2,
    "signs4": 2,
    "signs5": 2,
    "signs6": 2,
}
RUNGS = ("exact", "1-D integral", "2-D integral", "quadrature")
#: Stated absolute errors of the first three rungs, for fields of unit variance (`benchmarks/averages.py` measures them).
ERRORS = (0.0, 1e-10, 1e-9)


def rung(node: Node) -> int:
    """The lowest rung that a node needs: its place in `RUNGS`."""
    worst = 0
    if node.op == "fun":
        made = read(node.args[0])
        if made is not None:
            worst = 3 if made.smooth else rung(hard_body(made))
        else:
            name = node.args[0]
            worst = _INTEGRALS.get(name, 2 if name.startswith(("limit", "signs")) else 0)
    return max([worst, *(rung(a) for a in node.args if isinstance(a, Node))])


def rung_text(node: Node) -> str:
    """The rung with its stated error, for people; a quadrature's is measured at unit variances and correlations of one half.

    >>> rung_text(ONE), rung_text(fun("E[tanh|tanh]", ONE, ONE, ZERO))[:29]
    ('exact', 'quadrature, error below 1e-08')
    """
    from derive.gaussian.evaluation import reference_error

    n = rung(node)
    if n < 3:
        return RUNGS[n] if not n else f"{RUNGS[n]}, error below {ERRORS[n]:.0e}"
    worst = max(reference_error(name) for name in quadratures(node))
    digits = 10.0 ** math.ceil(math.log10(max(worst, 1e-14)))
    return f"quadrature, error below {digits:.0e} for each average at unit variances, more at larger ones"


def quadratures(node: Node) -> tuple[str, ...]:
    """Names of the smooth local averages in a node, sorted."""
    found = {n for a in node.args if isinstance(a, Node) for n in quadratures(a)}
    if node.op == "fun" and (made := read(node.args[0])) is not None and made.smooth:
        found.add(node.args[0])
    return tuple(sorted(found))
