"""Support functions of averages of signs, printed into emitted modules on demand.

NumPy: the functions of `derive.gaussian.signs` themselves, without annotations. Numba and mpmath: the same mathematics on
single numbers in loops (`codegen.signs_scalar`), with nodes in double precision in both. ``signsN``, ``limitN`` and
``snapN`` take numbers and pack them into arrays; they are written for the N that occurs. Imported by codegen only.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from itertools import combinations
from types import ModuleType

from codegen import signs_scalar
from derive.gaussian.local import RULES

_PLAIN = ("residual", "inv0", "isqrt0", "angle", "angle0", "erf0", "sign4")
_PACKED = re.compile(r"(signs|limit|snap)(\d+)")


def is_sign_function(name: str) -> bool:
    """Whether a function name is printed from here.

    >>> is_sign_function("sign4"), is_sign_function("signs3"), is_sign_function("tanh")
    (True, True, False)
    """
    return name in _PLAIN or _PACKED.fullmatch(name) is not None


def support(backend: str, code: str) -> Mapping[str, str]:
    """Definitions by name, in the order in which they must stand; packed functions for the numbers of fields in ``code``."""
    base = _numpy() if backend == "numpy" else signs_scalar.functions(backend)
    found = sorted({m[0] for m in _PACKED.finditer(code) if f"{m[0]}(" in code})
    decorator = "@jit\n" if backend == "numba" else ""
    dtype = ", dtype=object" if backend == "mpmath" else ""
    packed = {name: decorator + _pack(name, backend == "numpy", dtype, by_level=backend == "numba") for name in found}
    rules = {f"nodes{n}, weights{n}": _rule(n, step, backend == "mpmath") for n, step in sorted(RULES.values())}
    return {**base, **packed, **rules}


def _rule(n: int, step: float, exact: bool) -> str:
    """Equidistant nodes, and weights that follow the normal density and sum to one."""
    lines = [f"nodes{n} = {step} * (np.arange({n}) - {(n - 1) / 2})", f"weights{n} = np.exp(-nodes{n}**2 / 2.0)"]
    lines.append(f"weights{n} /= weights{n}.sum()")
    if exact:
        lines.append(
            f"nodes{n}, weights{n} = (np.array([mpf(float(x)) for x in r], dtype=object) for r in (nodes{n}, weights{n}))"
        )
    return "\n".join(lines)


def _pack(name: str, arrays: bool, dtype: str, *, by_level: bool) -> str:
    stem, digits = re.fullmatch(_PACKED, name).groups()  # type: ignore[union-attr]
    n = int(digits)
    level = f"_{n}" if by_level else ""
    pairs = list(combinations(range(n), 2))

    def matrix(letter: str) -> list[str]:
        return [*(f"{letter}{i + 1}{i + 1}" for i in range(n)), *(f"{letter}{i + 1}{j + 1}" for i, j in pairs)]

    def vector(letter: str) -> list[str]:
        return [f"{letter}{i + 1}" for i in range(n)]

    def filled(target: str, values: list[str], square: bool) -> list[str]:
        size = f"({n}, {n})" if square else f"({n},)"
        if arrays:
            lines = [f"    {target} = np.zeros((*np.broadcast({', '.join(values)}).shape, {size[1:-1].rstrip(',')}))"]
        else:
            lines = [f"    {target} = np.empty({size}{dtype})"]
        dots = "..., " if arrays else ""
        if not square:
            return [*lines, *(f"    {target}[{dots}{i}] = {x}" for i, x in enumerate(values))]
        lines += [f"    {target}[{dots}{i}, {i}] = {values[i]}" for i in range(n)]
        lines += [
            f"    {target}[{dots}{i}, {j}] = {target}[{dots}{j}, {i}] = {x}"
            for (i, j), x in zip(pairs, values[n:], strict=True)
        ]
        return lines

    doc = {
        "signs": f"Average of {n} signs from means, variances, covariances.",
        "limit": f"Average of {n} signs under exact conditions.",
        "snap": f"Variances and covariances of {n} fields, near dependences made exact.",
    }[stem]
    m, c, r, e = vector("m"), matrix("c"), vector("r"), matrix("e")
    arguments = {"signs": [*m, *c], "limit": [*m, *c, *r, *e], "snap": c}[stem]
    lines = [f"def {name}({', '.join(arguments)}):", f'    """{doc}"""', *filled("C", c, True)]
    if stem == "snap":
        lines.append("    C = snap(C)")
        dots = "..., " if arrays else ""
        entries = [f"C[{dots}{i}, {i}]" for i in range(n)] + [f"C[{dots}{i}, {j}]" for i, j in pairs]
        return "\n".join([*lines, f"    return {', '.join(entries)}" + ("," if len(entries) == 1 else "")])
    lines += filled("m", m, False)
    if stem == "signs":
        return "\n".join([*lines, f"    return nsign{level}(m, C)"])
    return "\n".join([*lines, *filled("r", r, False), *filled("E", e, True), f"    return limit{level}(m, C, r, E)"])


class _Bare(ast.NodeTransformer):
    """Removes annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        for a in node.args.args:
            a.annotation = None
        return node


def _numpy() -> dict[str, str]:
    """The functions and constants of `derive.gaussian.signs` by name."""
    from derive.gaussian import signs

    return _definitions(signs)


def _definitions(module: ModuleType) -> dict[str, str]:
    out = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef):
            out[node.name] = re.sub(r"'''|\"\"\"", '"""', ast.unparse(_Bare().visit(node)))
        elif isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0]).strip("()")
            out[target] = f"{target} = {ast.unparse(node.value)}"
    return out
