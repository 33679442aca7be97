r"""Local averages -> functions of numbers: a formula in the covariances of a few fields, or nodes at equal distances.

    E[f_1(u_1) .. f_n(u_n)] = sum over nodes of w_1 .. w_n f_1(m_1 + L_11 z_1) .. f_n(m_n + L_n1 z_1 + .. + L_nn z_n),

with L L^T = C.

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
from derive.gaussian.local import RULES, Local, hard_body


def identifier(made: Local) -> str:
    """A readable name.

    >>> identifier(Local(slots=(("step",), ("relu", "x")), means=False))
    'mean_step_relu_x'
    """
    return "_".join((f"mean{'s' * made.means}", *("_".join(s) for s in made.slots))).replace("'", "1")


def local_average(made: Local, name: str, names: Names, helpers: Any) -> Procedure:
    """The function of a local average; ``helpers`` is the `HelperSet` of the module."""
    own = names.copy()
    rename = {x: own.of("argument", x) for x in made.arguments}
    body = _rule(made, own, rename, helpers) if made.smooth else _formula(made, own, rename, helpers)
    fields = ", ".join(f"{'*'.join(f if f == 'x' else f + '(x)' for f in s)} of field {n}" for n, s in enumerate(made.slots, 1))
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
    n = len(made.slots)
    second = [rename[x] for x in made.arguments[n * made.means :]]
    first: tuple[Statement, ...] = ()
    if n > 1:
        first = (Assign(target=", ".join(second), value=call(f"snap{n}", *(var(x) for x in second))),)
    return (*first, *body, Return(values=values, alone=True))


def _rule(made: Local, names: Names, rename: dict[str, str], helpers: Any) -> tuple[Statement, ...]:
    n = len(made.slots)
    size = RULES[n][0]
    nodes, weights = f"nodes{size}", f"weights{size}"
    factor, body = _cholesky(made, names, rename)
    total = names.of("result", "total")
    letters: list[str] = []
    for _ in range(n):
        letters.append(names.index("", tuple(letters)))
    inner: list[Statement] = []
    for i in reversed(range(n)):
        step: list[Statement] = []
        u, w = names.of("field", f"u{i + 1}"), names.of("weight", f"w{i + 1}")
        before = names.of("weight", f"w{i}")
        terms = [var(rename[f"m{i + 1}"])] if made.means else []
        terms += [mul(factor[i, j], item(nodes, letters[j])) for j in range(i + 1)]
        step.append(Assign(target=u, value=add(*terms)))
        product = [item(weights, letters[i]), *(_applied(f, var(u), helpers) for f in made.slots[i])]
        if i:
            product.insert(0, var(before))
        if i == n - 1:
            step.append(Increase(target=total, value=mul(*product)))
        else:
            step += [Assign(target=w, value=mul(*product)), *inner]
        inner = [Loop(index=letters[i], stop=str(size), body=tuple(step))]
    return (*body, Assign(target=total, value=num(0)), *inner, Return(values=(var(total),), alone=True))


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
