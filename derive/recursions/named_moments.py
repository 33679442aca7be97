"""Which averages a recursion follows: the user's list, or means and second moments of every state about a centre.

    columns and numbers     m_a = E[a - c],    X_a = E[(a - c)(a - c)'],    X_a_b = E[(a - c)(b - e)']
    matrices                the same with (a - c)'(b - e), which closes for inputs on the right, else as above

Imported by `derive.recursions.averaged_step`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, NotClosed
from derive.matrices.composite import atoms, parameters
from derive.matrices.poly import Poly, atom, identity, text
from derive.matrices.words import Atom, is_ones
from derive.reductions.ansatz import name_of
from derive.spec.lower import Collector
from derive.spec.lowered import Lowered
from derive.spec.notation import text as tree_text
from derive.spec.symbols import check_name
from derive.spec.tree import Tree
from derive.system import Block


def typed_moments(moments: Mapping[Any, Any], lowered: Lowered, read: Callable[[Tree], Poly]) -> dict[Block, Poly]:
    """The user's moments as blocks, each with its expression.

    Raises
    ------
    InvalidSpec
        If there are none, a name is taken, a shape does not fit, or a symbol is not of the model.
    """
    if not isinstance(moments, Mapping) or not moments:
        raise InvalidSpec(f"recursion({lowered.name}): moments are a mapping, for instance {{X: (w - c)*(w - c).T}}")
    out: dict[Block, Poly] = {}
    for symbol, expression in moments.items():
        name = check_name(name_of(symbol))
        if name in lowered.symbols or any(b.name == name for b in out):
            raise InvalidSpec(f"recursion({lowered.name}): the name of the moment {name} is taken; choose another one")
        collector = Collector()
        for known in sorted(lowered.symbols):
            collector.symbol(lowered.symbols[known])
        tree = collector.lower(expression, f"recursion: moment {name}")
        lost = [n for n in collector.symbols if n not in lowered.symbols]
        p = read(tree) if not lost else None
        if p is None:
            raise InvalidSpec(f"recursion: the moment {name} uses {lost[0]}, which is no symbol of {lowered.name}")
        used = [*(a.name for a in atoms(p) if not is_ones(a)), *parameters(p)]
        drawn = [n for n in used if lowered.roles.get(n) == "draw"]
        if drawn:
            raise InvalidSpec(
                f"recursion: the moment {name} holds the draw {drawn[0]}; give a product of states, watch it by observe="
            )
        out[_block(name, symbol, p, text(p), lowered)] = p
    return {b: p.trace() if not b.shape and p.shape is not None else p for b, p in out.items()}


def _block(name: str, symbol: Any, p: Poly, shown: str, lowered: Lowered) -> Block:
    shape: tuple[Any, ...] = p.shape or ()
    if shape == (1, 1) and not isinstance(symbol, sp.MatrixSymbol):
        shape = ()
    if isinstance(symbol, sp.Symbol) and shape:
        raise InvalidSpec(
            f"recursion: the moment {name} is declared as a number, its expression is {tree_text(shape[0])} x "
            f'{tree_text(shape[1])}; declare it by matrix("{name}", ...) or give its name as text'
        )
    if isinstance(symbol, sp.MatrixSymbol):
        collector = Collector()
        collector.symbol(symbol)
        declared = tuple(collector.shapes[name])
        if declared != shape:
            raise InvalidSpec(
                f"recursion: the moment {name} has shape {declared}, its expression {shape}; declare it with that one"
            )
    tags = ("sym",) if shape and p == p.T else ()
    return Block(name=name, shape=shape, meaning=f"E[{shown}]", tags=tags)


def default_moments(lowered: Lowered, centre: Mapping[str, Poly]) -> Iterator[dict[Block, Poly]]:
    """Means and second moments about a centre; for matrices first E[a'b], then E[a b'].

    Raises
    ------
    NotClosed
        If no product of two states is a moment of all of them: their sizes differ.
    """
    shapes = {n: tuple(lowered.shapes[n]) or (1, 1) for n in lowered.state}
    columns = all(s[1] == 1 for s in shapes.values())
    ways = [] if columns or len({s[0] for s in shapes.values()}) > 1 else ["rows"]
    ways += ["columns"] if len({s[1] for s in shapes.values()}) == 1 else []
    if not ways:
        raise NotClosed(
            f"recursion({lowered.name}): the states {', '.join(shapes)} have neither rows nor columns of one size, so no "
            "product is common to all of them; say what to follow: recursion(model, {X: W.T*W, ...})"
        )
    for way in ways:
        yield _all_moments(lowered, centre, shapes, way)


def _all_moments(
    lowered: Lowered, centre: Mapping[str, Poly], shapes: Mapping[str, tuple[Any, ...]], way: str
) -> dict[Block, Poly]:
    made: dict[Block, Poly] = {}
    away, shown = {}, {}
    for n, s in shapes.items():
        about = centre[n] if centre[n].shape is not None else centre[n] * identity(1)
        away[n] = atom(Atom(n, s[0], s[1])) - about
        shown[n] = f"({n} - {text(centre[n])})" if centre[n] else n
    numbers = [n for n in shapes if not lowered.shapes[n]]

    def mark(n: str) -> str:
        return "" if n in numbers else "'"

    def add(stem: str, p: Poly, meaning: str, number: bool, sym: bool) -> None:
        name = next(x for x in (stem, *(f"{stem}_{k}" for k in range(1, 99))) if x not in lowered.symbols)
        assert p.shape is not None
        shape = () if number else p.shape
        tags = ("sym",) if sym and shape else ()
        made[Block(name=name, shape=shape, meaning=f"E[{meaning}]", tags=tags)] = p.trace() if number else p

    for n in shapes:
        add(f"m_{n}", away[n], shown[n].strip("()"), n in numbers, False)
    order = [*(n for n in shapes if n not in numbers), *numbers]
    for i, a in enumerate(order):
        for b in order[i:]:
            p = away[a].T * away[b] if way == "rows" else away[a] * away[b].T
            number = (a in numbers and b in numbers) if way == "columns" else p.shape == (1, 1)
            meaning = f"{shown[a]}{mark(a)}*{shown[b]}" if way == "rows" else f"{shown[a]}*{shown[b]}{mark(b)}"
            add(f"X_{a}" if a == b else f"X_{a}_{b}", p, meaning, number, a == b)
    return made


def symbol_of(block: Block, symbols: Mapping[str, Any]) -> sp.Basic:
    """The SymPy symbol of a moment, so that claims and users can speak of it."""
    if not block.shape:
        return sp.Symbol(block.name, real=True)
    sizes = [s if isinstance(s, int) else symbols.get(s, sp.Symbol(str(s), integer=True, positive=True)) for s in block.shape]
    return sp.MatrixSymbol(block.name, *sizes)
