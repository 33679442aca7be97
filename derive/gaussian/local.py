r"""Averages of products of functions of a few fields, as functions of the covariances of these fields alone.

A *local average* is a node ``E[f_1|f_2|...](m_1, .., C_11, .., C_12, ..)``: slot n carries the product f_n of named functions
and powers, written with commas (``E[step|step|relu|relu]``); the arguments are the means (for ``Em[...]`` only), the variances
and the covariances in the order 12, 13, .., 23, ... The name says everything; a local average needs no definition beside it:

- hard functions: `hard_body` expands them in signs, powers and deltas and averages in a framed law of formal slots. The result
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
from derive.gaussian.kinks import FIELDS, MOST, kinked
from derive.gaussian.ladder import expectation
from derive.gaussian.measure import Measure, framed_measure
from derive.gaussian.opaque import body, functions_in, is_opaque, label
from derive.indices.indexed import ONE, ZERO, Node, add, arr, const, fun, mul

#: Nodes per field and their distance, by the number of fields.
RULES = {1: (80, 0.2), 2: (40, 0.3), 3: (24, 0.45), 4: (16, 0.65)}


_SAME = {"relu'": "step", "abs'": "sgn"}
_HARD = ("step", "sgn", "relu", "abs")
_PARITY = {"x": -1, "tanh": -1, "erf2": -1, "sin": -1, "sgn": -1, "asin": -1, "cos": 1, "abs": 1, "sq": 1}


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
        If a quadrature would run over more than four fields, or over too many with a jump or a kink.
    """
    groups: dict[Node, list[str]] = {}
    for f in factors:
        groups.setdefault(f.slot, []).append("x" if f.kind == "x" else _SAME.get(f.function, f.function))
    smooth = any(f != "x" and pattern_of(f) is None for names in groups.values() for f in names)
    ordered = sorted(groups.items(), key=lambda g: (smooth and not kinked(g[1]), sorted(g[1]), g[0].order))
    slots = [s for s, _ in ordered]
    means = [law.mean(s) for s in slots]
    made = Local(slots=tuple(tuple(sorted(names)) for _, names in ordered), means=any(m != ZERO for m in means))
    if made.smooth:
        _checked(made, factors)
    cross = [law.cov(slots[i], slots[j]) for i, j in made.pairs]
    second = (*(law.cov(s, s) for s in slots), *cross)
    turned = _turned(made, means) if made.smooth and made.means else None
    return (
        mul(const(turned[0]), fun(made.name, *turned[1], *second))
        if turned
        else fun(made.name, *means[: len(means) * made.means], *second)
    )


def _turned(made: Local, means: list[Node]) -> tuple[int, list[Node]] | None:
    """The sign and the means of an average after all fields have changed sign; None if its own form is the one to keep."""
    parities = [_parity(f) for s in made.slots for f in s]
    turned = [_negative(m) for m in means]
    if 0 in parities or [(_falls(m), m.order) for m in means] <= [(_falls(m), m.order) for m in turned]:
        return None
    return math.prod(parities), turned


def _parity(function: str) -> int:
    """1 for an even function, -1 for an odd one, 0 for others."""
    base = function.rstrip("'")
    return _PARITY.get(base, 0) * (-1) ** (len(function) - len(base))


def _negative(m: Node) -> Node:
    return add(*(mul(const(-1), a) for a in (m.args if m.op == "add" else (m,))))


def _falls(m: Node) -> bool:
    """Whether the first coefficient is negative."""
    first = m.args[0] if m.op == "add" else m
    number = first.args[0] if first.op == "mul" else first
    return bool(number.op == "const" and number.args[0] < 0)


def _checked(made: Local, factors: Sequence[Factor]) -> None:
    shown = " ".join(repr(f) for f in factors)
    if len(made.slots) > max(RULES):
        raise UnsupportedNode(f"{shown}: a quadrature over {len(made.slots)} fields is too large; use fn.erf2 or a polynomial")
    hard = sum(kinked(names) for names in made.slots)
    if hard and (hard > MOST or len(made.slots) > FIELDS):
        raise UnsupportedNode(
            f"{shown}: {hard} fields with a jump or a kink among {len(made.slots)} beside smooth functions; at most {MOST} "
            f"among {FIELDS} are treated, use fn.erf2 for the smooth ones"
        )
    for name in (f for s in made.slots for f in s if f != "x"):
        pattern = pattern_of(name)
        if is_opaque(name) and any(f.rstrip("'") in _HARD for f in functions_in(body(name))):
            raise UnsupportedNode(
                f"{label(name)} has a jump or a kink and is no piecewise polynomial, so it has no accurate quadrature; "
                "smooth it, or write it with fn.relu, fn.step, powers and exponentials"
            )
        if pattern and any(kind == "delta" and not s for _, primitives in pattern for kind, s in primitives):
            raise UnsupportedNode(
                f"{shown}: {name} holds a delta function under another exact condition or at the field of a smooth function, "
                "which has no accurate quadrature; use fn.erf2 for one of them"
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

    law = framed_measure(tuple(arr(u) for u in place), cov, lambda a: arr(f"m{place[a.args[0]]}") if made.means else ZERO)
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
_INTEGRALS = {"sign4": 1, "signs1": 0, "signs2": 1, "signs3": 1, "framed1": 0, "framed2": 1, "framed3": 1}
RUNGS = ("exact", "1-D integral", "2-D integral", "quadrature")
#: Stated absolute errors of the first three rungs, for fields of unit variance (`benchmarks/averages.py` measures them).
ERRORS = (0.0, 1e-10, 1e-9)


def rung(node: Node) -> int:
    """The lowest rung that a node needs: its place in `RUNGS`."""
    return _rung(node, {})


def _rung(node: Node, known: dict[Node, int]) -> int:
    if node not in known:
        worst = max([0, *(_rung(a, known) for a in node.args if isinstance(a, Node))])
        if node.op == "fun":
            name = node.args[0]
            made = read(name)
            own = _INTEGRALS.get(name, 2 if name.startswith(("framed", "signs")) else 0) if made is None else _local_rung(made)
            worst = max(worst, own)
        known[node] = worst
    return known[node]


@cache
def _local_rung(made: Local) -> int:
    return 3 if made.smooth else rung(hard_body(made))


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
