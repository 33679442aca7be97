"""From the sections of a Model to its lowered form: names, roles, declarations; then `derive.spec.validate` checks the whole.

The role of a symbol is the section that lists it; it has exactly one. Dimensions are not listed: a dimension is a positive
integer symbol that occurs in a declared shape. Imported by `derive.spec.model` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, ShapeMismatch
from derive.spec.laws import Choice, Law, Marginal, Moments, Normal, symbols_of
from derive.spec.lower import Collector
from derive.spec.lowered import Draw, Function, Lowered, LoweredOptimum, LoweredRate, LoweredUpdate, Pairs
from derive.spec.rules import Control, Drop, Event, Limit, Optimum, Phase, Rate, Update
from derive.spec.shapes import shape_of, show_shape
from derive.spec.symbols import closest
from derive.spec.tree import Tree, names


class _Assembly:
    """State of one assembly: the collector, the roles, the dimensions."""

    def __init__(self) -> None:
        self.collector = Collector()
        self.roles: dict[str, str] = {}
        self.dims: dict[str, None] = {}

    def declare(self, symbols: Iterable[Any], role: str) -> tuple[str, ...]:
        found = []
        for s in symbols:
            name = self.collector.symbol(s)
            if name == "t":
                raise InvalidSpec("t is time and needs no declaration; give this symbol another name")
            if name in self.roles:
                raise InvalidSpec(_two_roles(name, self.roles[name], role))
            self.roles[name] = role
            for dimension in self.collector.shapes[name]:
                self.dims |= dict.fromkeys(names(dimension))
            found.append(name)
        return tuple(found)

    def settle_dims(self) -> None:
        for name in self.dims:
            s = self.collector.symbols[name]
            if name in self.roles:
                raise InvalidSpec(
                    f"{name} is a dimension (it occurs in a shape) and is listed as {self.roles[name]}; do not list dimensions"
                )
            if not (s.is_integer and s.is_positive):
                raise InvalidSpec(f"{name} is used as a dimension but is no positive integer; make it with dims({name!r})")

    def tree(self, value: Any, where: str, *, time: bool = False, infinite: bool = False) -> Tree:
        tree = self.collector.lower(value, where, infinite=infinite)
        for name in names(tree):
            if name not in self.roles and name not in self.dims and not (time and name == "t"):
                raise InvalidSpec(f"{where}: {name} is not declared; {self._hint(name)}")
        return tree

    def _hint(self, name: str) -> str:
        if name == "t":
            return "time may stand in the bindings of a Phase only; make a clock a state with rate 1"
        close = closest(name, [*self.roles, *self.dims])
        if close:
            return f"did you mean {close}?"
        s = self.collector.symbols[name]
        if s.is_integer and s.is_positive:
            return "no declared symbol has it as a dimension; list it in `given`"
        return "list it in `state`, `given`, `data` or `let`"


def _two_roles(name: str, first: str, second: str) -> str:
    if first == second:
        return f"{name} is listed twice as {first}; list it once"
    if "moment" in (first, second):
        other = first if second == "moment" else second
        return f"{name} names an average of Moments, which declares it, and is listed as {other} too; remove it there"
    return f"{name} is listed as {first} and as {second}; a symbol has one role: `state` moves, `given` is fixed; list it once"


def assemble(sections: Mapping[str, Any]) -> Lowered:
    """Lower all sections of a Model (already of the right container types).

    Raises
    ------
    InvalidSpec
        For a name, role, declaration or expression that the spec language does not allow.
    """
    a = _Assembly()
    state = a.declare(symbols_of(sections["state"], "state"), "state")
    given = a.declare(symbols_of(sections["given"], "given"), "given")
    for law in sections["data"]:
        a.declare(law.symbols, "draw")
        if isinstance(law, Moments):
            a.declare(law.names, "moment")
    a.declare(symbols_of(tuple(sections["let"]), "let"), "let")
    limit: Limit | None = sections["limit"]
    if limit is not None and limit.fixed:
        a.declare((s for s in limit.fixed if getattr(s, "name", None) not in a.roles), "ratio")
    a.settle_dims()
    draws = tuple(_draw(a, law) for law in sections["data"])
    let = tuple((s.name, a.tree(e, f"let {s.name}")) for s, e in sections["let"].items())
    parts: dict[str, Any] = {
        "rule": _rule(a, sections["learn"]),
        "start": tuple(_start(a, item) for item in _items(sections["start"])),
        "facts": tuple(_equation(a, e, "facts") for e in sections["facts"]),
        "observe": tuple((str(n), a.tree(e, f"observe {n!r}")) for n, e in sections["observe"].items()),
        "limit": None
        if limit is None
        else (_pairs(a, limit.to, "limit", infinite=True), _pairs(a, limit.fixed or {}, "limit: fixed")),
        "protocol": tuple(_protocol(a, p) for p in sections["protocol"]),
        "control": _control(a, sections["control"]),
    }
    functions = {name: _function(a, fn) for name, fn in sorted(a.collector.functions.items())}
    known = [n for n in a.collector.symbols if n in a.roles or n in a.dims]
    return Lowered(
        name=sections["name"], dims=tuple(a.dims), state=state, given=given, draws=draws, let=let, functions=functions,
        shapes={n: a.collector.shapes[n] for n in known if n in a.roles}, roles=dict(a.roles),
        symbols={n: a.collector.symbols[n] for n in known}, **parts,
    )  # fmt: skip


def _optional(a: _Assembly, value: Any, where: str) -> Tree | None:
    return None if value is None else a.tree(value, where)


def _draw(a: _Assembly, law: Law) -> Draw:
    symbols = tuple(s.name for s in law.symbols)
    where = f"data {type(law).__name__}({', '.join(symbols)})"
    parts: dict[str, Any] = {}
    if isinstance(law, Normal):
        parts = {"cov": _optional(a, law.cov, f"{where} cov"), "mean": _optional(a, law.mean, f"{where} mean")}
    elif isinstance(law, Choice):
        rows = law.rows
        parts["values"] = None if rows is None else tuple(tuple(a.tree(v, f"{where} value") for v in row) for row in rows)
        parts["probs"] = _probabilities(a, law.probs, where)
        if law.realises is not None:
            parts["moments"] = _named_averages(a, law.realises, where)
            parts["opens"] = tuple(s.name for s in law.realises.symbols)
            parts |= {w: tuple(s.name for s in symbols_of(getattr(law.realises, w), where)) for w in ("odd", "even")}
    elif isinstance(law, Marginal):
        parts["cov"] = _optional(a, law.cov, f"{where} cov")
        if law.values is not None:
            parts["values"] = tuple((a.tree(v, f"{where} value"),) for v in law.values)
            parts["probs"] = _probabilities(a, law.probs, where)
        if law.moments is not None:
            parts["moments"] = tuple((k, a.tree(v, f"{where} moment {k}")) for k, v in sorted(law.moments.items()))
        if law.transform is not None:
            parts["transform"] = a.collector.function(law.transform)
    else:
        parts = {w: tuple(s.name for s in symbols_of(getattr(law, w), where)) for w in ("odd", "even")}
        parts["moments"] = _named_averages(a, law, where)
    shapes = {s: a.collector.shapes[s] for s in symbols}
    return Draw(law=type(law).__name__, symbols=symbols, shapes=shapes, once=bool(law.once), **parts)


def _named_averages(a: _Assembly, law: Moments, where: str) -> tuple[tuple[Tree, str], ...]:
    return tuple((a.tree(e, f"{where} average {s.name}"), s.name) for e, s in law.averages.items())


def _probabilities(a: _Assembly, probs: Any, where: str) -> Tree | None:
    if isinstance(probs, (tuple, list)):
        return tuple(a.tree(p, f"{where} probability") for p in probs)
    return _optional(a, probs, f"{where} probabilities")


def _pairs(a: _Assembly, mapping: Mapping[Any, Any], where: str, *, infinite: bool = False) -> Pairs:
    return tuple((_declared(a, s, where), a.tree(e, f"{where} {s.name}", infinite=infinite)) for s, e in mapping.items())


def _declared(a: _Assembly, s: Any, where: str) -> str:
    """Name of a symbol on a left side; it must have a role or be a dimension."""
    a.tree(s, where)
    return str(s.name)


def _rule(a: _Assembly, rule: Any) -> LoweredRate | LoweredUpdate | LoweredOptimum | None:
    if rule is None:
        return None
    if isinstance(rule, Rate):
        return LoweredRate(rates=_pairs(a, rule.rates, "learn"), noise=_pairs(a, rule.noise or {}, "learn noise"))
    if isinstance(rule, Update):
        blocks = tuple(_pairs(a, b, "learn") for b in rule.blocks)
        return LoweredUpdate(blocks=blocks, dt=a.tree(rule.dt, "learn dt"), batch=a.tree(rule.batch, "learn batch"))
    if isinstance(rule, Optimum):
        over = tuple(_declared(a, s, "learn over") for s in symbols_of(rule.over, "learn over"))
        equations = rule.subject_to if isinstance(rule.subject_to, (tuple, list)) else (rule.subject_to,)
        subject = tuple(_equation(a, e, "learn subject_to") for e in equations)
        return LoweredOptimum(
            objective=a.tree(rule.objective, "learn objective"), over=over, sense=rule.sense, subject_to=subject
        )
    raise InvalidSpec(f"learn: {type(rule).__name__} is not a rule; write Rate({{...}}), Update({{...}}), Optimum(...) or None")


def _equation(a: _Assembly, equation: Any, where: str) -> tuple[Tree, Tree]:
    if isinstance(equation, sp.Eq):
        left, right = equation.lhs, equation.rhs
    elif isinstance(equation, (tuple, list)) and len(equation) == 2:
        left, right = equation
    else:
        raise InvalidSpec(f"{where}: {str(equation)[:60]} is not an equation; write Eq(left, right) or the pair (left, right)")
    trees = a.tree(left, where), a.tree(right, where)
    shapes = [shape_of(t, a.collector.shapes) for t in trees]
    if shapes[0] != shapes[1]:
        raise ShapeMismatch(
            f"{where}: {left} is {show_shape(shapes[0])}, {right} is {show_shape(shapes[1])}; both sides need one shape"
        )
    return trees


def _items(start: Any) -> tuple[Any, ...]:
    if isinstance(start, Mapping):
        return tuple(start.items())
    return tuple(start)


def _start(a: _Assembly, item: Any) -> tuple[Any, ...]:
    if isinstance(item, (Normal, Choice, Marginal)):
        return ("law", _declared(a, symbols_of(item.symbol, "start")[0], "start"), _draw(a, item))
    if isinstance(item, sp.Eq):
        return ("equation", *_equation(a, item, "start"))
    if isinstance(item, (tuple, list)) and len(item) == 2:
        key, value = item
        if isinstance(key, (sp.Symbol, sp.MatrixSymbol)):
            if isinstance(value, (Normal, Choice, Marginal)):
                if symbols_of(value.symbol, "start") != (key,):
                    raise InvalidSpec(
                        f"start {key}: the law is about {value.symbol}; write {key}: {type(value).__name__}({key}, ...)"
                    )
                return ("law", _declared(a, key, "start"), _draw(a, value))
            return ("value", _declared(a, key, "start"), a.tree(value, f"start {key}"))
        return ("equation", *_equation(a, item, "start"))
    raise InvalidSpec(
        f"start: {str(item)[:60]} is no value, law or equation; write {{W: value}}, Normal(W, cov=...) or Eq(left, right)"
    )


def _protocol(a: _Assembly, item: Any) -> tuple[Any, ...]:
    if isinstance(item, Phase):
        binds = []
        for s, value in (item.bind or {}).items():
            name = _declared(a, s, "protocol")
            if isinstance(value, (Normal, Choice, Marginal)):
                binds.append((name, "law", _draw(a, value)))
            else:
                binds.append((name, "value", a.tree(value, f"protocol {name}", time=True)))
        until: Any = None
        if item.until is not None:
            if not isinstance(item.until, sp.Rel):
                raise InvalidSpec(
                    "protocol until: text is not a condition; write an inequality of symbols, for instance S > theta"
                )
            gap = (
                item.until.gts - item.until.lts
                if isinstance(item.until, (sp.Gt, sp.Ge, sp.Lt, sp.Le))
                else item.until.lhs - item.until.rhs
            )
            until = a.tree(gap, "protocol until", time=True)
        return ("phase", a.tree(item.length, "protocol length"), tuple(binds), until)
    if isinstance(item, Event):
        return ("event", _pairs(a, item.values, "protocol event"))
    if isinstance(item, Drop):
        return ("drop", _declared(a, item.dimension, "protocol drop"), a.tree(item.count, "protocol drop"))
    raise InvalidSpec(f"protocol: {type(item).__name__} is no part of a protocol; write Phase(...), Event(...) or Drop(...)")


def _control(a: _Assembly, control: Control | None) -> tuple[Any, ...] | None:
    if control is None:
        return None
    controls = tuple(_declared(a, s, "control") for s in symbols_of(control.controls, "control"))
    bounds = tuple(
        (_declared(a, s, "control"), a.tree(low, "control bound"), a.tree(high, "control bound"))
        for s, (low, high) in (control.bounds or {}).items()
    )
    return (controls, a.tree(control.running, "control running"), a.tree(control.horizon, "control horizon"), bounds)


def _function(a: _Assembly, fn: Any) -> Function:
    variable, body = a.collector.body(fn)
    for name in names(body):
        if name != variable and name not in a.roles and name not in a.dims:
            raise InvalidSpec(f"activation {fn.name!r}: {name} is not declared; {a._hint(name)}")
    try:
        derivative = Collector().lower_body(sp.diff(fn.body, fn.variable))
    except InvalidSpec:
        derivative = None  # a body whose slope has jumps: passes that need it say so
    return Function(name=fn.name, variable=variable, body=body, derivative=derivative)
