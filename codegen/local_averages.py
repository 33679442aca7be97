r"""Local averages -> functions of numbers: a formula in the covariances of a few fields, or nodes at equal distances.

    E[f_1(u_1) .. f_n(u_n)] = sum over nodes of w_1 .. w_n f_1(m_1 + L_11 z_1) .. f_n(m_n + L_n1 z_1 + .. + L_nn z_n),

with L L^T = C; fields with a jump or a kink come first and have nodes on both sides of it (`derive.gaussian.kinks`).

One function is emitted for each local average of `derive.gaussian.local`, however often it is called. Imported by codegen only.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from codegen.names import Names
from codegen.program import (
    Argument,
    Assign,
    Expr,
    Increase,
    Loop,
    Procedure,
    Return,
    Statement,
    add,
    call,
    item,
    mul,
    num,
    power,
    var,
)
from derive.gaussian.kinks import RANGE, SIDE, kinked
from derive.gaussian.local import RULES, Local, hard_body
from derive.gaussian.opaque import label


def identifier(made: Local) -> str:
    """A readable name; two underscores between fields, for ``E[step|relu]`` is not ``E[step,relu]``.

    >>> identifier(Local(slots=(("step",), ("relu", "x")), means=False))
    'mean__step__relu_x'
    """
    return "__".join((f"mean{'s' * made.means}", *("_".join(label(f) for f in s) for s in made.slots))).replace("'", "1")


def local_average(made: Local, name: str, names: Names, helpers: Any) -> Procedure:
    """The function of a local average; ``helpers`` is the `HelperSet` of the module."""
    own = names.copy()
    rename = {x: own.of("argument", x) for x in made.arguments}
    body = _rule(made, own, rename, helpers) if made.smooth else _formula(made, own, rename, helpers)
    shown = ["*".join(f if f == "x" else label(f) + "(x)" for f in s) for s in made.slots]
    fields = ", ".join(f"{f} of field {n}" for n, f in enumerate(shown, 1))
    return Procedure(
        name=name,
        arguments=tuple(Argument(name=rename[x], ndim=0) for x in made.arguments),
        doc=f"Average of {fields}, from {'means, ' * made.means}variances and covariances.",
        body=body,
    )


def _formula(made: Local, names: Names, rename: dict[str, str], helpers: Any) -> tuple[Statement, ...]:
    from codegen.from_indexed import Emitter, Output

    result = names.of("result", "value")
    output = Output(name=result, labels=(), symmetric=False, node=hard_body(made), comment="the formula")
    emitter = Emitter([output], names, lambda x, at: var(rename[x]), lambda family: family, helpers, {})
    body, values = emitter.statements()
    return (*body, Return(values=values, alone=True))


def _rule(made: Local, names: Names, rename: dict[str, str], helpers: Any) -> tuple[Statement, ...]:
    n = len(made.slots)
    hard = [kinked(functions) for functions in made.slots]
    size = RULES[max(1, n - sum(hard))][0]
    factor, body = _cholesky(made, names, rename)
    total = names.of("result", "total")
    letters: list[str] = []
    for _ in range(n):
        letters.append(names.index("", tuple(letters)))
    points: list[Expr] = [item(f"nodes{size}", letter) for letter in letters]
    weights: list[Expr] = [item(f"weights{size}", letter) for letter in letters]
    before: list[list[Statement]] = [[] for _ in letters]
    setup: list[list[Statement]] = [[] for _ in letters]
    for i in (i for i in range(n) if hard[i]):
        mean = [var(rename[f"m{i + 1}"])] if made.means else []
        mean += [mul(factor[i, j], points[j]) for j in range(i)]
        k, z = names.of("kink", f"k{i + 1}"), names.of("node", f"z{i + 1}")
        before[i].append(_kink(k, mean, factor[i, i], var(rename[f"v{i + 1}"])))
        node, weight = (_on_a_half(parts, letters[i], k) for parts in (("nodes", "slopes"), ("weights", "growths")))
        setup[i].append(Assign(target=z, value=node))
        points[i], weights[i] = var(z), mul(weight, call("exp", mul(num(Fraction(-1, 2)), power(var(z), 2))))
    inner: list[Statement] = []
    for i in reversed(range(n)):
        u, w = names.of("field", f"u{i + 1}"), names.of("weight", f"w{i + 1}")
        terms = [var(rename[f"m{i + 1}"])] if made.means else []
        terms += [mul(factor[i, j], points[j]) for j in range(i + 1)]
        step: list[Statement] = [*setup[i], Assign(target=u, value=add(*terms))]
        product = [weights[i], *(_applied(f, var(u), helpers) for f in made.slots[i])]
        if i:
            product.insert(0, var(names.of("weight", f"w{i}")))
        if i == n - 1:
            step.append(Increase(target=total, value=mul(*product)))
        else:
            step += [Assign(target=w, value=mul(*product)), *inner]
        inner = [*before[i], Loop(index=letters[i], stop=str(2 * SIDE if hard[i] else size), body=tuple(step))]
    return (*body, Assign(target=total, value=num(0)), *inner, Return(values=(var(total),), alone=True))


def _kink(name: str, mean: list[Expr], root: Expr, variance: Expr) -> Statement:
    """The place of a kink in units of its own direction, within the range of the nodes."""
    place = mul(num(-1), add(*mean), root, call("inv0", power(root, 2), variance)) if mean else num(0)
    low, high = (call("relu", add(place, num(sign * Fraction(RANGE)))) for sign in (1, -1))
    return Assign(target=name, value=add(low, mul(num(-1), high), num(-Fraction(RANGE))) if mean else place)


def _on_a_half(parts: tuple[str, str], letter: str, kink: str) -> Expr:
    """A node or weight, which is linear in the place of the kink."""
    constant, slope = (item(f"half{part}{SIDE}", letter) for part in parts)
    return add(constant, mul(slope, var(kink)))


def _applied(f: str, u: Expr, helpers: Any) -> Expr:
    base = f.rstrip("'")
    return u if f == "x" else helpers.apply(base, len(f) - len(base), [u], {})


def _cholesky(made: Local, names: Names, rename: dict[str, str]) -> tuple[dict[tuple[int, int], Expr], list[Statement]]:
    """Entries of L, and the statements that compute them; columns of fields without variance of their own are zero."""
    body: list[Statement] = []
    entry: dict[tuple[int, int], Expr] = {}
    half = Fraction(1, 2)
    for i in range(len(made.slots)):
        for j in range(i + 1):
            raw = var(rename[f"v{i + 1}" if i == j else f"c{j + 1}{i + 1}"])
            terms = [raw, *(mul(num(-1), entry[i, k], entry[j, k]) for k in range(j))]
            value = add(*terms)
            if i == j:
                value = power(call("relu", value), half)
            else:
                root = entry[j, j]
                value = mul(value, root, call("inv0", power(root, 2), var(rename[f"v{j + 1}"])))
            name = names.of("factor", f"L{i + 1}{j + 1}")
            body.append(Assign(target=name, value=value))
            entry[i, j] = var(name)
    return entry, body
