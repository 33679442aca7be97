"""Support functions of averages of signs, printed into emitted modules on demand.

NumPy: the functions of `derive.gaussian.signs`, `frames` and `orthants` themselves, without annotations. Numba and mpmath: the
same mathematics on single numbers in loops (`codegen.signs_scalar`), with nodes in double precision in both. ``signsN``,
``framedN`` and ``frameN`` take numbers and pack them into arrays; they are written for the N that occurs. Imported by codegen.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping
from itertools import combinations
from types import ModuleType

from codegen import signs_scalar
from derive.gaussian.kinks import RANGE, SIDE
from derive.gaussian.local import RULES

_PLAIN = (
    "residual",
    "inv0",
    "angle",
    "sign4",
    "frame_given",
    "frame_cov",
    "frame_mean",
    "rsqrt",
    "normal_weight",
    "frame_angle",
)
_PACKED = re.compile(r"(signs|framed|frame)(\d+)")


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
    found = [name for name in found if name not in base]
    packed = {name: decorator + _pack(name, backend == "numpy", dtype, by_level=backend == "numba") for name in found}
    rules = {f"nodes{n}, weights{n}": _rule(n, step, backend == "mpmath") for n, step in sorted(RULES.values())}
    return {**base, **packed, **rules, ", ".join(_HALVES): _half_rule(backend == "mpmath")}


def _rule(n: int, step: float, exact: bool) -> str:
    """Equidistant nodes, and weights that follow the normal density and sum to one."""
    lines = [f"nodes{n} = {step} * (np.arange({n}) - {(n - 1) / 2})", f"weights{n} = np.exp(-nodes{n}**2 / 2.0)"]
    lines.append(f"weights{n} /= weights{n}.sum()")
    if exact:
        lines.append(
            f"nodes{n}, weights{n} = (np.array([mpf(float(x)) for x in r], dtype=object) for r in (nodes{n}, weights{n}))"
        )
    return "\n".join(lines)


_HALVES = tuple(f"half{part}{SIDE}" for part in ("nodes", "slopes", "weights", "growths"))


def _half_rule(exact: bool) -> str:
    """Nodes and weights on both sides of a kink, linear in its place, see `derive.gaussian.kinks`."""
    nodes, slopes, weights, growths = _HALVES
    lines = [
        f"{slopes}, {growths} = np.polynomial.legendre.leggauss({SIDE})",
        f"{slopes}, {growths} = ({slopes} + 1.0) / 2.0, {growths} / np.sqrt(8.0 * np.pi)",
        f"{nodes} = {RANGE} * np.concatenate(({slopes} - 1.0, {slopes}))",
        f"{weights} = {RANGE} * np.concatenate(({growths}, {growths}))",
        f"{slopes} = np.concatenate(({slopes}, 1.0 - {slopes}))",
        f"{growths} = np.concatenate(({growths}, -{growths}))",
    ]
    if exact:
        all_four = ", ".join(_HALVES)
        lines.append(f"{all_four} = (np.array([mpf(float(x)) for x in r], dtype=object) for r in ({all_four}))")
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
        "framed": f"Average of {n} signs of fields of a frame, with noises of given variances.",
        "frame": f"Frame of {n} fields from means, variances, covariances.",
    }[stem]
    if stem == "framed":
        places, noises = vector("i"), vector("s")
        head = [f"def {name}(P, {', '.join([*places, *noises])}):", f'    """{doc}"""']
        if arrays:
            return "\n".join([*head, f"    return signs_of(P, [{', '.join(places)}], [{', '.join(noises)}])"])
        body = [*filled("i", places, False), *filled("s", noises, False)]
        return "\n".join([*head, *body, f"    return signs_of{level}(P, i, s)"])
    m, c = vector("m"), matrix("c")
    lines = [f"def {name}({', '.join([*m, *c])}):", f'    """{doc}"""', *filled("C", c, True)]
    if arrays:
        lines += [f"    m = np.stack(np.broadcast_arrays(C[..., 0, 0], {', '.join(m)})[1:], -1)"]
    else:
        lines += filled("m", m, False)
    return "\n".join([*lines, f"    return nsign{level}(m, C)" if stem == "signs" else "    return frame(m, C)"])


class _Bare(ast.NodeTransformer):
    """Removes annotations."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        for a in node.args.args:
            a.annotation = None
        return node


def _numpy() -> dict[str, str]:
    """The functions and constants of `derive.gaussian.signs` and its neighbours by name."""
    from derive.gaussian import frames, orthants, signs

    return {**_definitions(signs), **_definitions(frames), **_definitions(orthants)}


def _definitions(module: ModuleType) -> dict[str, str]:
    out = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.FunctionDef):
            out[node.name] = re.sub(r"'''|\"\"\"", '"""', ast.unparse(_Bare().visit(node)))
        elif isinstance(node, ast.Assign):
            target = ast.unparse(node.targets[0]).strip("()")
            out[target] = f"{target} = {ast.unparse(node.value)}"
    return out
