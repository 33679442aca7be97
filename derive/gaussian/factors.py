r"""Primitives of Gaussian averages: powers of fields, softened signs, softened deltas.

    sgn_s(x) = E_xi sgn(x + sqrt(s) xi),   delta_s(x) = sgn_s'(x) / 2 = exp(-x^2 / (2 s)) / sqrt(2 pi s),   s >= 0, xi ~ N(0,
    1),

with an independent xi for each factor; sgn_0(0) = 0, so that the step of a field that is zero for certain counts one half.
Everything that has a closed form is a sum of products of these:

    erf(x/sqrt 2) = sgn_1,  step = (1 + sgn_0)/2,  relu = (x + x sgn_0)/2,  |x| = x sgn_0,  exp(-c x^2) = sqrt(2 pi s)
    delta_s, s = 1/(2c).

A derivative is written with primes, ``erf2'``, and is found by the product rule: x' = 1, sgn_s' = 2 delta_s,
delta_s' = -x delta_s / s. Functions of one field stand in products under their names (kind ``fun``) until they are opened;
those without a pattern (tanh, ...) stay as they are, for the quadrature.
Imported by the Gaussian averages only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from derive.errors import UnsupportedNode
from derive.indices.indexed import ONE, Node, const, mul, text

Pattern = tuple[tuple[Fraction, tuple[tuple[str, Fraction], ...]], ...]

_X = ("x", Fraction(0))
_HARD, _SOFT = ("sgn", Fraction(0)), ("sgn", Fraction(1))
_HALF, _ONE = Fraction(1, 2), Fraction(1)

#: Functions of one field as sums of (coefficient, primitives of that field).
PATTERNS: dict[str, Pattern] = {
    "erf2": ((_ONE, (_SOFT,)),),
    "sgn": ((_ONE, (_HARD,)),),
    "step": ((_HALF, ()), (_HALF, (_HARD,))),
    "relu": ((_HALF, (_X,)), (_HALF, (_X, _HARD))),
    "abs": ((_ONE, (_X, _HARD)),),
    "sq": ((_ONE, (_X, _X)),),
}


#: Functions averaged by shifting the mean into the complex plane.
WAVES = ("sin", "cos")


@dataclass(frozen=True, slots=True, order=True)
class Factor:
    """One factor of an integrand: ``kind`` (delta, fun, sgn, x), softness, function name if fun, slot."""

    kind: str
    softness: Fraction
    function: str
    order: str
    slot: Node = field(compare=False)

    def __hash__(self) -> int:
        return hash((self.kind, self.softness, self.function, self.order))

    def __repr__(self) -> str:
        name = self.function or f"{self.kind}_{self.softness}"
        return text(self.slot) if self.kind == "x" else f"{name}({text(self.slot)})"


def factor(kind: str, slot: Node, softness: Fraction = Fraction(0), function: str = "") -> Factor:
    """A factor; factors sort by kind, then by the structure of their slot.

    >>> from derive.indices.indexed import arr
    >>> factor("sgn", arr("x"), Fraction(1))
    sgn_1(x)
    """
    return Factor(kind, Fraction(softness), function, slot.order, slot)


def derived(pattern: Pattern, name: str) -> Pattern:
    """Derivative of a sum of products of primitives of one field.

    Raises
    ------
    UnsupportedNode
        If a hard delta would have to be differentiated.
    """
    out = []
    for c, primitives in pattern:
        for n, (kind, s) in enumerate(primitives):
            rest = (*primitives[:n], *primitives[n + 1 :])
            if kind == "x":
                out.append((c, rest))
            elif kind == "sgn" and not s and _X in rest:
                continue  # x delta(x) = 0
            elif kind == "sgn":
                out.append((2 * c, (*rest, ("delta", s))))
            elif s:
                out.append((-c / s, (*rest, _X, ("delta", s))))
            else:
                raise UnsupportedNode(
                    f"{name}: the derivative of a delta function is not treated; smooth the function, e.g. fn.erf2"
                )
    return tuple(out)


def pattern_of(name: str) -> Pattern | None:
    """Primitives of a function, or of a derivative written with primes; None if it is not made of them.

    >>> pattern_of("erf2'")
    ((Fraction(2, 1), (('delta', Fraction(1, 1)),)),)
    """
    base = name.rstrip("'")
    if base not in PATTERNS:
        return None
    pattern = PATTERNS[base]
    for _ in range(len(name) - len(base)):
        pattern = derived(pattern, name)
    return pattern


def opened(f: Factor) -> list[tuple[Node, tuple[Factor, ...]]] | None:
    """A factor as a list of (coefficient, primitives of its slot); None if it is not made of them."""
    if f.kind != "fun":
        return [(ONE, (f,))]
    pattern = pattern_of(f.function)
    if pattern is None:
        return None
    return [(const(c), tuple(factor(kind, f.slot, s) for kind, s in primitives)) for c, primitives in pattern]


def gaussian_bump(slot: Node, c: Fraction) -> tuple[Node, tuple[Factor, ...]]:
    """``exp(-c slot^2)`` with c > 0, as a multiple of a soft delta."""
    from derive.indices.indexed import PI, sqrt

    s = 1 / (2 * c)
    return sqrt(mul(const(2 * s), PI)), (factor("delta", slot, s),)


def wave(name: str) -> tuple[Node, str]:
    """Derivatives of sines and cosines as plus or minus one of the two; other names as they are.

    >>> wave("cos''")
    (-1, 'cos')
    """
    base = name.rstrip("'")
    if base not in WAVES:
        return ONE, name
    turns = (len(name) - len(base) + (base == "cos")) % 4
    return const(-1 if turns > 1 else 1), WAVES[turns % 2]
