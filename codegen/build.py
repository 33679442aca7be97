"""System -> Program: arguments, sizes, the two procedures ``rhs`` and ``observables``, and the module's docstring.

Arguments are ``t``, the states in order, the parameters in order, and those sizes that occur as numbers but are no axis of any
array. All other sizes are read off the arrays, so one program serves every size. Imported by codegen only.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import Any

from codegen import from_indexed, from_matrix
from codegen.functions import HelperSet
from codegen.names import Names
from codegen.program import Argument, Expr, Procedure, Program, Return, SizeOf, Statement, item, var
from derive.errors import InvalidSpec, UnsupportedNode
from derive.indices import indexed
from derive.matrices import poly
from derive.matrices.composite import inside
from derive.matrices.poly import Poly
from derive.matrices.words import PI
from derive.system import Block, Flow

WIDTH = 108


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A program with the blocks behind its arguments.

    Attributes
    ----------
    program : Program
    states, parameters : tuple of Block
        Parameters include the sizes that are arguments.
    observables : tuple of str
    """

    program: Program
    states: tuple[Block, ...]
    parameters: tuple[Block, ...]
    observables: tuple[str, ...]


def clean(text: str) -> str:
    """One line of text that cannot leave a docstring or a comment."""
    flat = " ".join(str(text).split())
    return "".join(c if c.isprintable() else "?" for c in flat).replace("\\", "/").replace('"', "'")


class _Builder:
    """Names of one system and the sizes that its code uses."""

    def __init__(self, flow: Flow):
        if not isinstance(flow, Flow):
            raise InvalidSpec(f"compile: {type(flow).__name__} is no Flow; pass a Flow, or the .system of a Reduction")
        self.flow, self.names = flow, Names()
        self.blocks = (*flow.state, *flow.parameters)
        seen: set[str] = set()
        for b in self.blocks:
            if b.name in seen:
                raise InvalidSpec(f"{b.name} occurs twice among states and parameters of {flow.name}; rename one of them")
            seen.add(b.name)
        for b in flow.state:
            if b.name not in flow.rhs:
                raise InvalidSpec(f"state {b.name} of {flow.name} has no right-hand side; add it to rhs")
        self.identifiers = {b.name: self.names.of("symbol", b.name) for b in self.blocks}
        self.axes: dict[str, tuple[str, int]] = {}
        for b in self.blocks:
            for n, s in enumerate(b.shape):
                if isinstance(s, str):
                    self.axes.setdefault(s, (self.identifiers[b.name], n))
        self.scalars = tuple(b.name for b in self.blocks if not b.shape)
        self.dims = tuple(self.axes)
        for d in self.dims:
            self.names.of("size", d)
        self.numbers: tuple[str, ...] = ()
        self.used: dict[str, None] = {}
        self.helpers = HelperSet(flow.functions, self.names)

    def size(self, name: str) -> str:
        """Identifier of a size; remembered, so that it is read off an array."""
        if name not in self.axes:
            raise UnsupportedNode(f"size {name}: it is the axis of no state or parameter; add an array with that axis")
        self.used[name] = None
        return self.names.of("size", name)

    def leaf(self, name: str, indices: tuple[str, ...]) -> Expr:
        """A state, a parameter, an entry of one, or a size as a number."""
        sized = name in self.axes and name not in self.scalars and not indices
        if name in self.identifiers and not (sized and self.flow.level == "index"):
            return item(self.identifiers[name], *indices) if indices else var(self.identifiers[name])
        if name in self.axes:
            self.used[name] = None
            return Expr("size", (self.names.of("size", name),))
        if name == "pi":
            return Expr("pi")
        if name in self.numbers:
            return var(self.names.of("number", name))
        raise InvalidSpec(
            f"{name} occurs in {self.flow.name} but is neither state nor parameter; add a Block for it to parameters"
        )

    def find_numbers(self) -> None:
        """Sizes that occur as numbers and are no axis: they become arguments."""
        found = sorted({n for e in (*self.flow.rhs.values(), *self.flow.observables.values()) for n in _scalars(e)})
        dims = {n for n, s in self.flow.symbols.items() if getattr(s, "is_integer", False)}
        dims |= {s for b in self.blocks for s in _names(b.shape)}
        unknown = [n for n in found if n not in self.identifiers and n not in self.axes and n != "pi"]
        self.numbers = tuple(n for n in unknown if n in dims or not self.flow.symbols)
        for n in self.numbers:
            self.names.of("number", n)

    def rename(self) -> dict[str, str]:
        """Identifiers by symbol name, for parameters inside functions."""
        return {**self.identifiers, **{n: self.names.of("number", n) for n in self.numbers}}

    def arguments(self) -> tuple[Argument, ...]:
        """Arguments of both procedures."""
        known = [Argument(name=self.identifiers[b.name], ndim=len(b.shape)) for b in self.blocks]
        return (Argument(name="t", ndim=0), *known, *(Argument(name=self.names.of("number", n), ndim=0) for n in self.numbers))

    def procedure(self, name: str, doc: str, targets: list[tuple[str, Block, Any, str]]) -> Procedure:
        """One function of the module; targets are (identifier stem, block, expression, comment)."""
        shared = self.names
        self.names, self.used = shared.copy(), {}
        try:
            made = [(self.names.of("target", stem), block, e, comment) for stem, block, e, comment in targets]
            if all(isinstance(e, Poly) for _, _, e, _ in made):
                emitter: Any = from_matrix.Emitter(
                    [from_matrix.Target(name=n, poly=e, comment=c) for n, _, e, c in made],
                    self.names, self.leaf, self.size, self.helpers, self.rename(),
                )  # fmt: skip
            else:
                emitter = from_indexed.Emitter(
                    [from_indexed.output(n, b, e, c) for n, b, e, c in made],
                    self.names, self.leaf, self.size, self.helpers, self.rename(),
                )  # fmt: skip
            body, values = emitter.statements()
            sizes: list[Statement] = []
            for d in self.dims:
                if d in self.used:
                    array, axis = self.axes[d]
                    sizes.append(SizeOf(name=self.names.of("size", d), array=array, axis=axis))
            return Procedure(name=name, arguments=self.arguments(), doc=doc, body=(*sizes, *body, Return(values=values)))
        finally:
            self.names = shared


def _scalars(e: Any) -> tuple[str, ...]:
    """Names of the scalars in an expression."""
    if isinstance(e, indexed.Node):
        return indexed.arrays(e)
    found = {n for key in e.terms for n, _ in key.params if not n.isdigit() and n != PI}
    for key in e.terms:
        for word in (key.word or (), *(w for w, _ in key.traces)):
            for x in word:
                comp = x.atom.comp
                found |= {n for p in (() if comp is None else inside(comp)) for n in _scalars(p)}
    return tuple(sorted(found))


def _names(shape: Any) -> list[str]:
    return [s for s in shape if isinstance(s, str)] + [n for s in shape if isinstance(s, tuple) for n in _names(s[1:])]


def build(flow: Flow, *, discrete: bool = False) -> Built:
    """The program of a system; if it is discrete, its right-hand sides are the values after one step, not rates.

    Raises
    ------
    InvalidSpec
        If a symbol occurs that is neither state nor parameter, or a name occurs twice.
    UnsupportedNode
        If an expression has no rule for emission.
    """
    b = _Builder(flow)
    b.find_numbers()
    rates = [(stem, s, flow.rhs[s.name], _comment(left, s, flow.rhs[s.name])) for stem, left, s in _lefts(flow, discrete)]
    seen = [(n, _observable(n, e), e, _comment(n, _observable(n, e), e)) for n, e in flow.observables.items()]
    what = "Values after one step" if discrete else "Time derivatives"
    rhs = b.procedure("rhs", f"{what} ({', '.join(clean(s.name) for s in flow.state)}).", rates)
    watch = b.procedure("observables", f"({', '.join(clean(n) for n in flow.observables)}).", seen)
    numbers = tuple(Block(name=n, meaning="a size") for n in b.numbers)
    return Built(
        program=Program(
            doc=_doc(flow, b, numbers, discrete),
            helpers=b.helpers.made(),
            procedures=(rhs, watch),
            averages=b.helpers.averages(),
        ),
        states=flow.state,
        parameters=(*flow.parameters, *numbers),
        observables=tuple(flow.observables),
    )


def _lefts(flow: Flow, discrete: bool) -> list[tuple[str, str, Block]]:
    """Stem of the identifier, and left-hand side, of every equation."""
    return [(f"new_{s.name}", f"{s.name}(n+1)", s) if discrete else (f"d{s.name}", f"d{s.name}/dt", s) for s in flow.state]


def _observable(name: str, e: Any) -> Block:
    free = e.free if isinstance(e, indexed.Node) else ()
    return Block(name=name, shape=tuple(i.family for i in free), indices=free)


def _equation(name: str, block: Block, e: Any) -> str:
    labels = f"[{','.join(i.name for i in block.indices)}]" if block.indices else ""
    head, slash, tail = name.partition("/")
    return clean(f"{head}{labels}{slash}{tail} = {poly.text(e) if isinstance(e, Poly) else _node_text(e)}")


def _node_text(e: indexed.Node) -> str:
    """Text of an index expression, with letters for bound labels."""
    used = {i.name for i in e.free} | set(indexed.arrays(e))
    letters = [x for x in (*"ijpqabcdefgh", *(f"i{n}" for n in range(1, 50))) if x not in used]
    return re.sub(r"#(\d+)", lambda m: letters[int(m[1])], indexed.text(e))


def _comment(name: str, block: Block, e: Any) -> str:
    full = _equation(name, block, e)
    return full if len(full) <= WIDTH else f"{full.split(' = ')[0]} (equation above)"


def _doc(flow: Flow, b: _Builder, numbers: tuple[Block, ...], discrete: bool) -> str:
    """Docstring of the module: equations, symbols, assumptions, derivation."""
    lines = [f"{clean(flow.name)}: right-hand side and observables.", "", f"Time: {clean(flow.time)}.", "", "Equations"]
    pairs = [(left, s, flow.rhs[s.name]) for _, left, s in _lefts(flow, discrete)]
    pairs += [(n, _observable(n, e), e) for n, e in flow.observables.items()]
    for name, block, e in pairs:
        lines += textwrap.wrap(
            _equation(name, block, e), WIDTH, initial_indent="    ", subsequent_indent="        ", break_long_words=False
        )
    lines += ["", "Symbols"]
    rows = [("state" if x in flow.state else "given", x) for x in b.blocks] + [("given", x) for x in numbers]
    ids = {**b.identifiers, **{x.name: b.names.of("number", x.name) for x in numbers}}
    width = max((len(ids[x.name]) for _, x in rows), default=1)
    for role, x in rows:
        shape = f"({', '.join(_size_text(s) for s in x.shape)}{',' if len(x.shape) == 1 else ''})" if x.shape else "number"
        was = f" (the user's {x.name})" if ids[x.name] != x.name else ""
        more = [x.meaning + was if x.meaning else was.strip(), "symmetric" if x.symmetric else "", *x.tags]
        text = clean("; ".join(m for m in more if m))
        lines.append(f"    {ids[x.name]:{width}}  {role}  {shape}{'  ' + text if text else ''}".rstrip())
    if flow.assumptions:
        lines += ["", "Assumptions"]
        for a in flow.assumptions:
            lines += textwrap.wrap(clean(a.text), WIDTH, initial_indent="    - ", subsequent_indent="      ")
    if flow.steps:
        lines += ["", "Derivation"]
        for n, s in enumerate(flow.steps, 1):
            parts = f"{n}. {s.title}" + (f": {s.detail}" if s.detail else "") + (f" [{s.check}]" if s.check else "")
            lines += textwrap.wrap(clean(parts), WIDTH, initial_indent="    ", subsequent_indent="       ")
    return "\n".join(lines)


def _size_text(s: Any) -> str:
    return clean(str(s) if not isinstance(s, tuple) else f"{s[0]}({', '.join(_size_text(x) for x in s[1:])})")
