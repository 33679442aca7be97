"""Program -> Program: innermost loops as array statements, for backends whose loops are interpreted.

for i: s += f(x[i])  becomes  s += sum(f(x));  for i: y[i] = f(x[i])  becomes  y[:] = f(x). In a half sum, where off-
diagonal terms count twice, the whole range with weight one gives the same total. Imported by codegen only.
"""

from __future__ import annotations

import re
from dataclasses import replace

from codegen.program import (
    Allocate,
    Assign,
    Comment,
    Expr,
    Increase,
    Loop,
    Procedure,
    Program,
    SizeOf,
    Statement,
    Store,
    item,
    mul,
    num,
    var,
    walk,
)


def vectorise(program: Program) -> Program:
    """The program with innermost loops turned into array statements."""
    return replace(program, procedures=tuple(_procedure(p) for p in program.procedures))


def _procedure(p: Procedure) -> Procedure:
    body = _body(p.body)
    whole = {s.target for s in body if isinstance(s, Assign)}
    kept = [s for s in body if not (isinstance(s, Allocate) and s.name in whole)]
    used = repr([s for s in kept if not isinstance(s, SizeOf)])
    return replace(p, body=tuple(s for s in kept if not isinstance(s, SizeOf) or re.search(rf"\b{s.name}\b", used)))


def _body(body: tuple[Statement, ...], top: bool = True) -> tuple[Statement, ...]:
    out: list[Statement] = []
    for s in body:
        if isinstance(s, Loop):
            flat = _flatten(s, top)
            if flat is None:
                flat = [replace(s, body=_body(s.body, False))]
            for one in flat:
                _append(out, one)
        else:
            out.append(s)
    return tuple(out)


def _append(out: list[Statement], s: Statement) -> None:
    """Append a statement; ``s = 0; s += x`` becomes ``s = x``."""
    if isinstance(s, Increase):
        start = Assign(target=s.target, value=num(0))
        if start in out:
            out.remove(start)
            s = Assign(target=s.target, value=s.value)
    out.append(s)


def _loops(body: tuple[Statement, ...]) -> bool:
    return any(isinstance(s, Loop) for s in body)


def _flatten(loop: Loop, top: bool) -> list[Statement] | None:
    """Array statements of a loop, or None if it has to stay."""
    i = loop.index
    if _loops(loop.body) or (loop.through and not all(isinstance(s, Increase) for s in loop.body)):
        return None
    local = {s.target for s in loop.body if isinstance(s, Assign)}
    out: list[Statement] = []
    for s in loop.body:
        if isinstance(s, Comment):
            out.append(s)
            continue
        if not isinstance(s, Assign | Store | Increase):
            return None
        if any(e.op == "same" and i in e.args for e in walk(s.value)):
            return None
        value = _unit(_whole(s.value, i))
        varies = _varies(s.value, i, local)
        if isinstance(s, Assign):
            out.append(Assign(target=s.target, value=value))
        elif isinstance(s, Increase):
            total = Expr("total", (value,)) if varies else Expr("mul", (Expr("size", (loop.stop,)), value))
            out.append(Increase(target=s.target, value=total))
        elif s.indices.count(i) != 1:
            return None
        elif varies and top and s.indices == (i,):
            out.append(Assign(target=s.array, value=value))
        else:
            out.append(Store(array=s.array, indices=tuple(":" if x == i else x for x in s.indices), value=value))
    return out


def _unit(e: Expr) -> Expr:
    """A product without factors of one."""
    return mul(*e.args) if e.op == "mul" else e


def _varies(e: Expr, i: str, local: set[str]) -> bool:
    return any((x.op == "item" and i in x.args[1:]) or (x.op == "var" and x.args[0] in local) for x in walk(e))


def _whole(e: Expr, i: str) -> Expr:
    """An expression with one index replaced by the whole axis."""
    if e.op == "item" and i in e.args[1:]:
        indices = e.args[1:]
        if indices == (i,):
            return var(e.args[0])
        if indices.count(i) == 1:
            return item(e.args[0], *(":" if x == i else x for x in indices))
        return Expr("diagonal", (var(e.args[0]),))
    if e.op == "twice" and i in e.args:
        return num(1)
    if any(isinstance(a, Expr) for a in e.args):
        return Expr(e.op, tuple(_whole(a, i) if isinstance(a, Expr) else a for a in e.args))
    return e
