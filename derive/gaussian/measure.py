r"""Laws of jointly Gaussian fields, and their conditioning.

A *slot* is a linear form in Gaussian fields, written as a `Node` (an entry ``lam[k]``, or a sum such as ``Sum_i v[i] lam[i]``).
Equal forms are equal nodes, so a field that occurs twice is one slot. A `Measure` is two total functions, the covariance of two
slots and the mean of one. Conditioning on ``t + sqrt(s) xi = 0`` gives a child law and substitutes nothing:

    V = C_tt + s,   C'_ab = C_ab - C_at C_bt / V,   m'_a = m_a - C_at m_t / V.

For s = 0 the slot t itself becomes a constant, exactly, and a variance that is zero but for rounding (fields may coincide) is
zero: ``residual(V, C_aa)``.

A *guarded* law allows several exact conditions on fields that may coincide. Its values are limits of C + epsilon N, where
N = diag(C) (a small independent noise on every field) and epsilon -> 0: an inverse of a vanishing residual variance is zero,
and where signs of vanishing variance are left they are averaged over the first order of their covariance in epsilon, which is
carried along:

    N'_ab = N_ab - (N_at C_bt + C_at N_bt) / V + C_at C_bt N_tt / V^2.

Single terms of a Stein expansion depend on the direction of the limit; their sum does not, if all use the same direction.
Imported by the Gaussian averages and by `online_limit`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeAlias

from derive.errors import UnsupportedNode
from derive.gaussian.terms import Fields, close, expand
from derive.indices.indexed import ZERO, Node, add, const, fun, mul, power, text

Slot: TypeAlias = Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A Gaussian law of slots.

    Attributes
    ----------
    covariance : callable(slot, slot) -> Node
        Total and symmetric: an unknown pair raises.
    average : callable(slot) -> Node
        The mean of a slot.
    hard : bool
        Some slot was conditioned exactly (softness 0) on the way here.
    guarded : bool
        Several exact conditions are allowed; inverses are guarded and limits taken.
    root : Measure or None
        The law before all conditions; None if this is it.
    drift : callable(slot, slot) -> Node, or None
        N of a guarded law; None at the root, where it is diag(C).
    """

    covariance: Callable[[Slot, Slot], Node]
    average: Callable[[Slot], Node]
    hard: bool = False
    guarded: bool = False
    root: Measure | None = None
    drift: Callable[[Slot, Slot], Node] | None = None
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def cov(self, a: Slot, b: Slot) -> Node:
        """Covariance of two slots."""
        if b.order < a.order:
            a, b = b, a
        if (a, b) not in self.memo:
            self.memo[a, b] = self.covariance(a, b)
        found: Node = self.memo[a, b]
        return found

    def mean(self, a: Slot) -> Node:
        """Mean of a slot."""
        if a not in self.memo:
            self.memo[a] = self.average(a)
        found: Node = self.memo[a]
        return found

    def variance(self, a: Slot) -> Node:
        """Variance of a slot before all conditions."""
        return (self.root or self).cov(a, a)

    def noise(self, a: Slot, b: Slot) -> Node:
        """First order of the covariance in a small independent noise on every field."""
        if self.drift is None:
            return self.cov(a, a) if a == b else ZERO
        key = ("noise", *((b, a) if b.order < a.order else (a, b)))
        if key not in self.memo:
            self.memo[key] = self.drift(*key[1:])
        found: Node = self.memo[key]
        return found

    def condition(self, t: Slot, softness: Fraction) -> Measure:
        """The law given ``t + sqrt(softness) xi = 0`` with xi standard normal and independent.

        Raises
        ------
        UnsupportedNode
            If t is a constant and softness is 0: a delta function of a constant.
        """
        key = ("condition", t, softness)
        if key in self.memo:
            known: Measure = self.memo[key]
            return known
        v = add(self.cov(t, t), const(softness))
        if v == ZERO:
            raise UnsupportedNode(
                f"delta({text(t)}): the field is constant, so its delta function has no value; soften the step function"
            )
        guard = self.guarded and not softness
        inverse = fun("inv0", v, self.variance(t)) if guard else power(v, -1)

        def covariance(a: Slot, b: Slot) -> Node:
            if not softness and t in (a, b):
                return ZERO
            rest = add(self.cov(a, b), mul(const(-1), self.cov(a, t), self.cov(b, t), inverse))
            if not softness and not guard and a == b and self.cov(a, t) != ZERO:
                return fun("residual", rest, self.cov(a, a))
            return rest

        def average(a: Slot) -> Node:
            if not softness and a == t:
                return ZERO
            return add(self.mean(a), mul(const(-1), self.cov(a, t), self.mean(t), inverse))

        def drift(a: Slot, b: Slot) -> Node:
            if not softness and t in (a, b):
                return ZERO
            mixed = add(mul(self.noise(a, t), self.cov(b, t)), mul(self.noise(b, t), self.cov(a, t)))
            square = mul(self.cov(a, t), self.cov(b, t), self.noise(t, t), power(inverse, 2))
            return add(self.noise(a, b), mul(const(-1), mixed, inverse), square)

        child = Measure(
            covariance=covariance, average=average, hard=self.hard or not softness, guarded=self.guarded,
            root=self.root or self, drift=drift,
        )  # fmt: skip
        self.memo[key] = child
        return child

    def shift(self, t: Slot) -> Measure:
        """The law tilted by ``exp(t)``: means grow by the covariance with t."""
        key = ("shift", t)
        if key not in self.memo:
            self.memo[key] = Measure(
                covariance=self.cov, average=lambda a: add(self.mean(a), self.cov(a, t)), hard=self.hard, guarded=self.guarded,
                root=self.root, drift=self.drift,
            )  # fmt: skip
        shifted: Measure = self.memo[key]
        return shifted


def linear_measure(fields: Fields, covariance: Callable[[Node, Node], Node], average: Callable[[Node], Node]) -> Measure:
    """The law of linear forms, from covariance and mean of the basic fields.

    Raises
    ------
    UnsupportedNode
        If a slot is not linear in the fields.

    >>> from derive.indices.indexed import arr
    >>> law = linear_measure(lambda n: n.args[0] == "x", lambda a, b: arr("s"), lambda a: ZERO)
    >>> law.cov(arr("x"), mul(const(3), arr("x")))
    3*s
    """

    def parts(form: Slot, tag: str) -> list[tuple[Any, Node, Node | None]]:
        out = []
        for term in expand(form, fields, tag=tag):
            if len(term.factors) > 1 or any(f.kind != "x" for f in term.factors):
                raise UnsupportedNode(
                    f"{text(form)} is not linear in the Gaussian fields, so it is not Gaussian; expand or split it"
                )
            out.append((term.bound, term.coefficient, term.factors[0].slot if term.factors else None))
        return out

    def form_covariance(a: Slot, b: Slot) -> Node:
        if a.op == b.op == "arr":
            return covariance(a, b)
        return add(
            *(
                close((*p, *q), mul(c, d, covariance(s, t)))
                for p, c, s in parts(a, "a")
                for q, d, t in parts(b, "b")
                if s is not None and t is not None
            )
        )

    def form_mean(a: Slot) -> Node:
        if a.op == "arr":
            return average(a)
        return add(*(close(p, mul(c, average(s)) if s is not None else c) for p, c, s in parts(a, "a")))

    return Measure(covariance=form_covariance, average=form_mean)
