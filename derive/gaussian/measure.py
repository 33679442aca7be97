r"""Laws of jointly Gaussian fields, and their conditioning.

A *slot* is a linear form in Gaussian fields, written as a `Node` (an entry ``lam[k]``, or a sum such as ``Sum_i v[i] lam[i]``).
Equal forms are equal nodes, so a field that occurs twice is one slot. A `Measure` is two total functions, the covariance of two
slots and the mean of one. Conditioning on ``t + sqrt(s) xi = 0`` gives a child law and substitutes nothing:

    V = C_tt + s,   C'_ab = C_ab - C_at C_bt / V,   m'_a = m_a - C_at m_t / V.

For s = 0 the slot t itself becomes a constant, exactly, and a variance that is zero but for rounding (fields may coincide) is
zero: ``residual(V, C_aa)``.

A *framed* law (`framed_measure`) allows several exact conditions on fields that may coincide: below a condition, covariances
and means are read off a frame of vectors (`derive.gaussian.frames`), an array that each condition projects. Single terms of a
Stein expansion depend on the directions of the vectors that are left; their sum does not, since all use the same frame.
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
    frame : Node or None
        The array of vectors of a framed law.
    rows : tuple of slots
        Its rows, in order.
    fixed : tuple of slots
        Those that an exact condition made zero, in a framed law.
    """

    covariance: Callable[[Slot, Slot], Node]
    average: Callable[[Slot], Node]
    hard: bool = False
    frame: Node | None = None
    rows: tuple[Slot, ...] = ()
    fixed: tuple[Slot, ...] = ()
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

    @property
    def guarded(self) -> bool:
        """Whether several exact conditions are allowed."""
        return self.frame is not None

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
        child = self._projected(t, softness) if self.frame is not None else self._conditioned(t, softness, power(v, -1))
        self.memo[key] = child
        return child

    def _conditioned(self, t: Slot, softness: Fraction, inverse: Node) -> Measure:
        def covariance(a: Slot, b: Slot) -> Node:
            if not softness and t in (a, b):
                return ZERO
            rest = add(self.cov(a, b), mul(const(-1), self.cov(a, t), self.cov(b, t), inverse))
            if not softness and a == b and self.cov(a, t) != ZERO:
                return fun("residual", rest, self.cov(a, a))
            return rest

        def average(a: Slot) -> Node:
            if not softness and a == t:
                return ZERO
            return add(self.mean(a), mul(const(-1), self.cov(a, t), self.mean(t), inverse))

        return Measure(covariance=covariance, average=average, hard=self.hard or not softness)

    def _projected(self, t: Slot, softness: Fraction) -> Measure:
        assert self.frame is not None
        rows, fixed = self.rows, self.fixed if softness else (*self.fixed, t)
        frame = fun("frame_given", self.frame, const(rows.index(t)), const(softness))
        centred = all(self.mean(a) == ZERO for a in rows if a not in fixed)

        def covariance(a: Slot, b: Slot) -> Node:
            if a in fixed or b in fixed:
                return ZERO
            i, j = sorted((rows.index(a), rows.index(b)))
            return fun("frame_cov", frame, const(i), const(j))

        def average(a: Slot) -> Node:
            return ZERO if centred or a in fixed else fun("frame_mean", frame, const(rows.index(a)))

        return Measure(
            covariance=covariance, average=average, hard=self.hard or not softness, frame=frame, rows=rows, fixed=fixed
        )

    def shift(self, t: Slot) -> Measure:
        """The law tilted by ``exp(t)``: means grow by the covariance with t."""
        key = ("shift", t)
        if key not in self.memo:
            self.memo[key] = Measure(
                covariance=self.cov, average=lambda a: add(self.mean(a), self.cov(a, t)), hard=self.hard,
            )  # fmt: skip
        shifted: Measure = self.memo[key]
        return shifted


def framed_measure(
    rows: tuple[Slot, ...], covariance: Callable[[Slot, Slot], Node], average: Callable[[Slot], Node]
) -> Measure:
    """A law of a few basic slots that may coincide, with a frame of their vectors.

    >>> from derive.indices.indexed import arr
    >>> a, b = arr("a"), arr("b")
    >>> law = framed_measure((a, b), lambda p, q: arr("v") if p == q else arr("c"), lambda p: ZERO)
    >>> law.condition(a, Fraction(0)).cov(b, b)
    frame_cov(frame_given(frame2(0, 0, v, v, c), 0, 0), 1, 1)
    """
    n = range(len(rows))
    cross = [covariance(rows[i], rows[j]) for i in n for j in n if i < j]
    means = [average(a) for a in rows]
    frame = fun(f"frame{len(rows)}", *means, *(covariance(a, a) for a in rows), *cross)
    return Measure(covariance=covariance, average=average, frame=frame, rows=rows)


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
                counted = "; a sum over any number of units is not split: write a few units as vectors of their own"
                raise UnsupportedNode(
                    f"{text(form)} is not linear in the Gaussian fields, so it is not Gaussian; expand or split it"
                    + (counted if term.bound else "")
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
