"""Systems of numbers, built from SymPy right-hand sides, and an integrator that shares nothing with the engine."""

import numpy as np
import sympy as sp
from scipy.integrate import solve_ivp

from derive.indices.text import from_sympy
from derive.system import Block, Flow


def numbers(rhs, name="numbers"):
    """Flow of scalars from {symbol: SymPy expression}."""
    free = sorted({s.name for f in rhs.values() for s in f.free_symbols} - {x.name for x in rhs})
    return Flow(
        name=name,
        state=tuple(Block(name=x.name) for x in rhs),
        rhs={x.name: from_sympy(f) for x, f in rhs.items()},
        parameters=tuple(Block(name=p) for p in free),
    )


def orbit(rhs, params, start, times):
    """States along an orbit, by DOP853 on lambdified equations: (T, states)."""
    f = sp.lambdify([list(rhs)], [sp.sympify(e).subs(params) for e in rhs.values()])
    return solve_ivp(lambda t, y: f(y), (0, times[-1]), start, t_eval=times, method="DOP853", rtol=1e-12, atol=1e-14).y.T


def along(expr, rhs, params, path):
    """Values of an expression along an orbit."""
    f = sp.lambdify([list(rhs)], sp.sympify(expr).subs(params))
    return np.array([f(y) for y in path])
