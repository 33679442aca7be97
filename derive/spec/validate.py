"""Checks on a lowered Model: order of draws and definitions, shapes, roles at use, a rule for each state, nothing unused.

Names, text, undefined numbers and undeclared symbols are refused before, while lowering. Every message names the symbol and the
remedy. Imported by `derive.spec.model` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from derive.errors import InvalidSpec, ShapeMismatch
from derive.spec.lowered import Draw, Lowered, LoweredOptimum, LoweredRate, LoweredUpdate
from derive.spec.notation import text
from derive.spec.shapes import Shape, remedy_for_number, show_shape
from derive.spec.tree import Tree, children, names, walk


def validate(m: Lowered) -> None:
    """Check the whole spec.

    Raises
    ------
    InvalidSpec
        Order, roles, missing rules, unused declarations.
    ShapeMismatch
        Two sides of a definition, rule or law differ in shape.
    """
    _order(m)
    _shapes(m)
    _roles(m)
    _rules(m)
    _unused(m)


def expressions(m: Lowered) -> Iterator[tuple[str, Tree]]:
    """Every tree of the spec with the place where it stands; left sides are not included."""
    for draw in m.draws:
        for tree in draw_trees(draw):
            yield f"data {draw.law}({', '.join(draw.symbols)})", tree
    for name, tree in m.let:
        yield f"let {name}", tree
    for name, tree in rule_pairs(m):
        yield f"learn {name}", tree
    if isinstance(m.rule, LoweredUpdate):
        yield from (("learn dt", m.rule.dt), ("learn batch", m.rule.batch))
    if isinstance(m.rule, LoweredOptimum):
        yield from (("learn subject_to", side) for pair in m.rule.subject_to for side in pair)
    for kind, *rest in m.start:
        if kind == "value":
            yield f"start {rest[0]}", rest[1]
        elif kind == "law":
            yield from ((f"start {rest[0]}", tree) for tree in draw_trees(rest[1]))
        else:
            yield from (("start", side) for side in rest)
    yield from (("facts", side) for pair in m.facts for side in pair)
    yield from ((f"observe {name!r}", tree) for name, tree in m.observe)
    if m.limit:
        yield from ((f"limit {name}", tree) for pairs in m.limit for name, tree in pairs)
    for item in m.protocol:
        yield from (("protocol", tree) for tree in _protocol_trees(item))
    if m.control:
        controls, running, horizon, bounds = m.control
        yield from (
            ("control", tree) for tree in (*controls, running, horizon, *(side for _, *pair in bounds for side in pair))
        )
    for fn in m.functions.values():
        yield f"activation {fn.name!r}", fn.body


def _protocol_trees(item: tuple[Any, ...]) -> Iterator[Tree]:
    if item[0] == "phase":
        yield item[1]
        for name, kind, value in item[2]:
            yield name
            yield from draw_trees(value) if kind == "law" else (value,)
        if item[3] is not None:
            yield item[3]
    elif item[0] == "event":
        yield from (tree for _, tree in item[1])
    else:
        yield item[2]


def draw_trees(draw: Draw) -> tuple[Tree, ...]:
    """Trees inside a law (not the averages of an open law, which only name things)."""
    out = [t for t in (draw.cov, draw.mean) if t is not None]
    out += [t for row in draw.values or () for t in row]
    if draw.probs is not None:
        out += [draw.probs] if draw.values is None else list(draw.probs)  # one column, or one tree per value
    if draw.law == "Marginal":
        out += [t for _, t in draw.moments]
    return tuple(out)


def rule_pairs(m: Lowered) -> tuple[tuple[str, Tree], ...]:
    """(symbol, expression) of the rule; the objective of an `Optimum` stands under its name."""
    if isinstance(m.rule, LoweredRate):
        return m.rule.rates + m.rule.noise
    if isinstance(m.rule, LoweredUpdate):
        return tuple(pair for block in m.rule.blocks for pair in block)
    if isinstance(m.rule, LoweredOptimum):
        return (("objective", m.rule.objective),)
    return ()


def _order(m: Lowered) -> None:
    position = {name: i for i, (name, _) in enumerate(m.let)}
    for i, (name, tree) in enumerate(m.let):
        is_root = isinstance(tree, tuple) and tree[0] == "root"
        if any(isinstance(node, tuple) and node[0] == "root" for part in children(tree) for node in walk(part)):
            raise InvalidSpec(f"let {name}: root(...) must be the whole definition; give it a name of its own in `let`")
        for used in names(tree):
            if position.get(used, -1) > i:
                raise InvalidSpec(f"let {name}: {used} is defined later; move the definition of {used} before {name}")
            if used == name and not is_root:
                raise InvalidSpec(f"let {name}: {name} is defined by itself; write root(residual) if it solves an equation")
    drawn = {s: i for i, draw in enumerate(m.draws) for s in draw.symbols}
    latest: dict[str, int] = {}
    for name, tree in m.let:
        latest[name] = max((max(drawn.get(u, -1), latest.get(u, -1)) for u in names(tree)), default=-1)
    for i, draw in enumerate(m.draws):
        for tree in draw_trees(draw):
            for used in names(tree):
                if used in draw.symbols:
                    raise InvalidSpec(
                        f"data {draw.law}({', '.join(draw.symbols)}): the law uses {used}, its own symbol; use earlier draws"
                    )
                if max(drawn.get(used, -1), latest.get(used, -1)) >= i:
                    raise InvalidSpec(
                        f"data {draw.law}({', '.join(draw.symbols)}): {used} depends on this or a later draw; reorder `data`"
                    )


def _equal(m: Lowered, where: str, tree: Tree, shape: Shape) -> None:
    found = m.shape(tree)
    if found != shape:
        hint = f"; {remedy_for_number(tree, found)}" if shape == () else ""
        raise ShapeMismatch(f"{where}: {text(tree)} is {show_shape(found)}, but {show_shape(shape)} is needed{hint}")


def _shapes(m: Lowered) -> None:
    for name, tree in m.let:
        _equal(m, f"let {name}", tree, m.shapes[name])
    for draw in m.draws:
        _draw_shapes(m, draw)
    if not isinstance(m.rule, LoweredOptimum):
        for name, tree in m.rule.rates if isinstance(m.rule, LoweredRate) else rule_pairs(m):
            _equal(m, f"learn {name}", tree, m.shapes.get(name, ()))
    else:
        _equal(m, "learn objective", m.rule.objective, ())
    for name, tree in m.rule.noise if isinstance(m.rule, LoweredRate) else ():
        if m.shape(tree) != ():  # a number: equal strength in every entry; else a matrix that multiplies the white noise
            _equal(m, f"learn noise {name}", tree, (m.shapes[name][0],) * 2 if m.shapes[name] else ())
    if isinstance(m.rule, LoweredUpdate):
        _equal(m, "learn dt", m.rule.dt, ())
        _equal(m, "learn batch", m.rule.batch, ())
    for kind, *rest in m.start:
        if kind == "value":
            _equal(m, f"start {rest[0]}", rest[1], m.shapes[rest[0]])
        elif kind == "law":
            _draw_shapes(m, rest[1])


def _draw_shapes(m: Lowered, draw: Draw) -> None:
    where = f"data {draw.law}({', '.join(draw.symbols)})"
    shape = draw.shapes[draw.symbols[0]]
    column = (shape[0], 1) if shape else ()
    if draw.cov is not None:
        _equal(m, f"{where} cov", draw.cov, (shape[0], shape[0]) if shape else ())
    if draw.mean is not None:
        _equal(m, f"{where} mean (of each column)", draw.mean, column)
    for row in draw.values or ():
        for name, value in zip(draw.symbols, row, strict=True):
            _equal(m, f"{where} value", value, () if draw.law == "Marginal" else draw.shapes[name])
    if draw.probs is not None:
        for p in draw.probs if draw.values is not None else ():
            if draw.law != "Marginal" or m.shape(p) != column:
                _equal(m, f"{where} probability", p, ())
        if draw.values is None:
            _equal(m, f"{where} probabilities", draw.probs, shape)
    if draw.law != "Marginal":
        for tree, name in draw.moments:
            _equal(m, f"{where} average {name}", tree, m.shapes[name])


def _roles(m: Lowered) -> None:
    for where, tree in expressions(m):
        for node in walk(tree):
            if isinstance(node, tuple) and node[0] == "grad" and m.roles.get(node[2]) != "state":
                raise InvalidSpec(
                    f"{where}: grad by {node[2]}, which is {m.roles.get(node[2], 'a dimension')}; list {node[2]} in `state`"
                )
    for name, _ in rule_pairs(m) if not isinstance(m.rule, LoweredOptimum) else ():
        _needs(m, "learn", name, "state", "only `state` has a rule")
    for name in m.rule.over if isinstance(m.rule, LoweredOptimum) else ():
        _needs(m, "learn over", name, "state", "list it in `state`")
    for draw in m.draws:
        for tree, name in draw.moments if draw.law == "Moments" else ():
            for used in names(tree):
                if used not in draw.symbols and m.roles.get(used) not in ("given", None):
                    raise InvalidSpec(
                        f"data Moments: the average {name} uses {used}, not drawn here; average drawn symbols only"
                    )
    for kind, *rest in m.start:
        if kind != "equation":
            _needs(m, "start", rest[0], "state", "a value of `given` is passed with the run")
    for left, right in m.facts:
        for used in sorted({*names(m.inline(left)), *names(m.inline(right))}):
            if m.roles.get(used) == "state":
                raise InvalidSpec(
                    f"facts: an equation about {used}, which is state; put it into `start`, a pass must prove that it persists"
                )
    for item in m.protocol:
        for name in [b[0] for b in item[2]] if item[0] == "phase" else []:
            _needs(m, "protocol bind", name, "given", "a phase binds `given` symbols; use Event for the state")
        for name, _ in item[1] if item[0] == "event" else ():
            _needs(m, "protocol event", name, "state", "an event maps the `state`")
        if item[0] == "drop":
            _dropped(m, item[1])
    for name in m.control[0] if m.control else ():
        _needs(m, "control", name, "given", "list it in `given`")
    for name, tree in m.limit[0] if m.limit else ():
        if name not in m.dims and m.roles.get(name) != "given":
            raise InvalidSpec(
                f"limit {name} -> {text(tree)}: {name} is neither a dimension nor `given`; take the limit of those only"
            )


def _dropped(m: Lowered, name: str) -> None:
    if name not in m.dims:
        raise InvalidSpec(
            f"protocol drop: {name} is not a dimension; drop entries of a dimension that arrays of the state carry"
        )
    for symbol, shape in m.shapes.items():
        if shape.count(name) > 1:
            raise InvalidSpec(f"protocol drop: {symbol} carries {name} twice; use one dimension symbol per axis")


def _needs(m: Lowered, where: str, name: str, role: str, remedy: str) -> None:
    found = m.roles.get(name, "a dimension")
    if found != role:
        raise InvalidSpec(f"{where}: {name} is {found}, not {role}; {remedy}")


def _rules(m: Lowered) -> None:
    moved = m.rule.over if isinstance(m.rule, LoweredOptimum) else tuple(name for name, _ in rule_pairs(m))
    for name in m.state:
        if name not in moved:
            raise InvalidSpec(f"{name} is state but has no rule in `learn`; add one, or list it in `given` if it stays fixed")


def _unused(m: Lowered) -> None:
    used = {name for _, tree in expressions(m) for name in names(tree)}
    used |= {name for draw in m.draws if draw.opens for tree, moment in draw.moments for name in (*names(tree), moment)}
    for name, role in m.roles.items():
        if name not in used and role not in ("moment", "ratio"):
            raise InvalidSpec(
                f"{name} is declared as {role} but not used; remove it, or look for a typo "
                "(a term that cancels, such as x - x or 0*x, is gone)"
            )
