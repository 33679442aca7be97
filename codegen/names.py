"""Identifiers of emitted code, chosen from the identity of symbols.

A symbol keeps its name unless that is a keyword or builtin of Python, a name that an emitted module uses itself, or no
ASCII identifier; then it is mended and gets underscores until it is free. Two symbols never share an identifier; nothing is
evaluated. Imported by codegen only.
"""

from __future__ import annotations

import builtins
import keyword
import re

#: Names that emitted modules use themselves, in any backend.
OWN = (
    "t", "np", "math", "numba", "mp", "mpf", "mpmath", "jit", "rhs", "observables", "each", "inverse",
    "acos", "asin", "atan", "cos", "cosh", "erf", "exp", "log", "relu", "sgn", "sin", "sinh", "sqrt", "step", "tan", "tanh",
)  # fmt: skip
SIGNS = (
    "residual", "inv0", "isqrt0", "angle", "angle0", "erf0", "sign4", "path4", "nsign", "limit", "snap", "mean_signs",
    "conditioned", "determinant", "PAIR", "SNAP", "TOL", "ROUNDING", "NODES", "WEIGHTS",
    *(f"{stem}_{n}" for stem in ("nsign", "limit", "mean_signs", "conditioned") for n in range(7)),
    "rounded", *(f"{stem}{n}" for stem in ("signs", "limit", "snap") for n in range(1, 9)),
    *(f"{stem}{n}" for stem in ("nodes", "weights") for n in (14, 16, 24, 40, 64, 80)),
    "halfnodes24", "halfslopes24", "halfweights24", "halfgrowths24",
)  # fmt: skip
LINEAR = (
    "doubled", "continuous", "lyapunov", "sylvester", "stein", "stein_any", "of_words", "of_turned", "of_trace", "solve_linear",
    "unit", "resolvent",
)  # fmt: skip
COUNTS = ("power", "binomial", "binomial_tail", "is_zero")
RESERVED = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *OWN, *SIGNS, *LINEAR, *COUNTS))
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def plain(text: str) -> str:
    """An ASCII identifier near to a text.

    >>> plain("W1"), plain("λ"), plain("2x y")
    ('W1', 'u3bb', 'x2x_y')
    """
    out = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" if c.isascii() else f"u{ord(c):x}" for c in text)
    return out if PLAIN.fullmatch(out) else f"x{out}"


class Names:
    """Hands out identifiers, each once; the order of calls decides who keeps its own name.

    >>> names = Names()
    >>> names.of("state", "lambda"), names.of("state", "W"), names.of("size", "W"), names.of("state", "W")
    ('lambda_', 'W', 'W_', 'W')
    """

    __slots__ = ("_given", "_taken")

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set(RESERVED)

    def of(self, kind: str, symbol: str) -> str:
        """The identifier of a symbol of a kind (state, parameter, size, function, ...)."""
        key = (kind, symbol)
        if key not in self._given:
            self._given[key] = self._claim(plain(symbol))
        return self._given[key]

    def numbered(self, stem: str) -> str:
        """A new temporary: the stem with the first free number."""
        n = 1
        while f"{stem}{n}" in self._taken:
            n += 1
        return self._claim(f"{stem}{n}")

    def index(self, wanted: str, used: tuple[str, ...]) -> str:
        """A loop index: the wanted letter, or else the first of i, j, p, ... that no symbol and no enclosing loop has."""
        letters = (wanted, *"ijpqabcdefgh", *(f"i{n}" for n in range(1, 100)))
        return next(str(x) for x in letters if x and x not in self._taken and x not in used)

    def copy(self) -> Names:
        """An independent copy: temporaries of two functions may have the same names."""
        other = Names()
        other._given, other._taken = dict(self._given), set(self._taken)
        return other

    def _claim(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
