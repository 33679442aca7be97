"""The dual variable of a metric: psi with  psi'(z) = 1 / m(z), for functions of one number.

It is integrated on z > 0, differentiated back in 50 digits, and continued oddly to z < 0 if m is even.
Imported by `derive.invariants.mirror`.
"""

from __future__ import annotations

from collections.abc import Mapping

import sympy as sp

from derive.errors import CheckFailed, UnsupportedNode
from derive.spec.lower import Collector
from derive.system import Assumption, Function

#: One positive entry of the state.
ENTRY = sp.Symbol("z", positive=True)
DIGITS, POINTS = 50, 3
SMALL = sp.Float(10, DIGITS) ** (10 - DIGITS)


def dual_variable(slope: sp.Expr, what: str) -> sp.Expr:
    """An antiderivative of 1/m at z > 0; powers by rule, because the integral of a power with a symbol has two branches.

    Raises
    ------
    UnsupportedNode
        If it is not found.
    CheckFailed
        If its derivative is not 1/m.

    >>> dual_variable(3 * ENTRY**2, "W")
    -1/(3*z)
    """
    inverse = sp.powsimp(sp.expand(1 / slope))
    c, rest = inverse.as_independent(ENTRY)
    base, e = rest.as_base_exp()
    if base == ENTRY and not e.has(ENTRY):
        found = c * sp.log(ENTRY) if e == -1 else c * ENTRY ** (e + 1) / (e + 1)
    else:
        found = sp.integrate(inverse, ENTRY)
    if found.has(sp.Integral):
        raise UnsupportedNode(
            f"{what}: the dual variable is the integral of {inverse}, which was not found; state the metric by simpler "
            "functions, or use the flow itself"
        )
    if not equal(sp.diff(found, ENTRY) * slope, sp.Integer(1)):
        raise CheckFailed(f"{what}: {found} was found as the dual variable, but its slope is not one over {slope}")
    return found


def equal(a: sp.Expr, b: sp.Expr) -> bool:
    """Are two expressions of z equal at a few points, in 50 digits?

    >>> equal(sp.sin(ENTRY) ** 2 + sp.cos(ENTRY) ** 2, sp.Integer(1)), equal(ENTRY, -ENTRY)
    (True, False)
    """
    free = sorted((a.free_symbols | b.free_symbols) - {ENTRY}, key=str)
    for k in range(POINTS):
        at: Mapping[sp.Expr, sp.Expr] = {ENTRY: sp.Rational(3 + 4 * k, 7)} | {
            s: sp.Rational(11 + 3 * i + k, 5) for i, s in enumerate(free)
        }
        rest = sp.N((a - b).xreplace(at), DIGITS)
        if not rest.is_number or abs(rest) > SMALL:
            return False
    return True


def exceptions(potential: sp.Expr) -> list[Assumption]:
    """Exponents with symbols that must not vanish."""
    factors = [p.as_base_exp()[0] for p in sp.Mul.make_args(sp.denom(potential))]
    return [
        Assumption(text=f"{b} is not zero", remedy="there psi is a logarithm; give this exponent as a number")
        for b in factors
        if b.is_Add and b.free_symbols and not b.has(ENTRY)
    ]


def as_function(name: str, potential: sp.Expr, even: bool) -> Function:
    """psi as a function of a tree, continued oddly to z < 0 if the metric is even."""
    z = sp.Symbol("z", real=True)
    body = sp.sign(z) * potential.xreplace({ENTRY: sp.Abs(z)}) if even else potential.xreplace({ENTRY: z})
    reader = Collector()
    reader.symbol(z)
    return Function(name=name, variable="z", body=reader.lower(body, f"dual variable {name}"))
