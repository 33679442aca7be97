"""Matrix-level equations -> ordered assignments.

Arguments of elementwise functions, Hadamard products and inverses are equations of their own; kernels (`codegen.factor`)
and shared products (`codegen.share`) are taken out of all equations together; then every definition is stated just before
its first use. tr(A B) is the sum of the entries of A o B^T, never a product. Imported by codegen only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from codegen import chain
from codegen.equations import solved, solver
from codegen.factor import extract
from codegen.functions import HelperSet
from codegen.names import Names
from codegen.program import Assign, Comment, Expr, Statement, add, mul, num, power, var
from codegen.share import share
from derive.errors import UnsupportedNode
from derive.matrices.poly import Poly
from derive.matrices.words import PI, Atom, Composite, Elem, Had, Inverse, Key, Letter, Solution, Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One value to compute: its name in the code, its expression, and the comment above it."""

    name: str
    poly: Poly
    comment: str


@dataclass(frozen=True, slots=True)
class _Definition:
    """What an atom stands for: an equation, a product, or a composite of the equations in ``parts``."""

    kind: str  # poly word elem had inverse solution
    parts: tuple[str, ...] = ()
    word: Word = ()
    function: str = ""
    order: int = 0


STEMS = {"poly": "E", "word": "P", "elem": "H", "had": "D", "inverse": "V", "solution": "X"}


class Emitter:
    """Statements that compute some targets; the arguments are those of `codegen.from_indexed.Emitter`."""

    def __init__(
        self,
        targets: list[Target],
        names: Names,
        leaf: Callable[[str, tuple[str, ...]], Expr],
        size: Callable[[str], str],
        helpers: HelperSet,
        rename: dict[str, str],
    ):
        self.targets, self.names, self.leaf, self.size = targets, names, leaf, size
        self.helpers, self.rename = helpers, rename
        self.polys: dict[str, Poly] = {f"\0out{n}": t.poly for n, t in enumerate(targets)}
        self.arguments: dict[Poly, str] = {}
        self.definitions: dict[Atom, _Definition] = {}
        for t in targets:
            self._composites(t.poly)
        for atom in extract(self.polys):
            self.definitions[atom] = _Definition("poly", (atom.name,))
        for atom, word in share(self.polys).items():
            self.definitions[atom] = _Definition("word", word=word)
        self.uses = self._count()
        self.known: dict[Any, Expr] = {}
        self.body: list[Statement] = []

    def statements(self) -> tuple[tuple[Statement, ...], tuple[Expr, ...]]:
        """The body, and the values of the targets in their order."""
        for n, t in enumerate(self.targets):
            value = self._poly(self.polys[f"\0out{n}"])
            self.body.append(Comment(text=t.comment))
            self.body.append(Assign(target=t.name, value=value))
        return tuple(self.body), tuple(var(t.name) for t in self.targets)

    def _composites(self, p: Poly) -> None:
        """Register the composites in a Poly and the equations of their arguments."""
        for key, _ in p.items():
            for word in (key.word or (), *(w for w, _ in key.traces)):
                for atom in (x.atom for x in word):
                    if atom.comp is not None and atom not in self.definitions:
                        self.definitions[atom] = self._composite(atom, atom.comp)

    def _composite(self, atom: Atom, comp: Composite) -> _Definition:
        if isinstance(comp, Elem):
            return _Definition("elem", (self._argument(comp.argument),), function=comp.function, order=comp.order)
        if isinstance(comp, Had):
            return _Definition("had", tuple(self._argument(f) for f in comp.factors))
        if isinstance(comp, Inverse):
            return _Definition("inverse", (self._argument(comp.argument),))
        if isinstance(comp, Solution):
            found = solver(atom)
            parts = tuple(self._argument(p) for p in found.arguments)
            return _Definition("solution", parts, function=" ".join(found.operations))
        raise UnsupportedNode(f"composite {type(comp).__name__}: no rule for emission")

    def _argument(self, p: Poly) -> str:
        if p not in self.arguments:
            self.arguments[p] = f"\0arg{len(self.arguments)}"
            self.polys[self.arguments[p]] = p
            self._composites(p)
        return self.arguments[p]

    def _count(self) -> dict[Any, int]:
        """How often each atom, argument and trace is used."""
        uses: dict[Any, int] = {}
        traces: dict[Word, None] = {}
        words: list[Word] = [d.word for d in self.definitions.values()]
        for p in self.polys.values():
            for key, _ in p.items():
                words.append(key.word or ())
                for w, _ in key.traces:
                    uses[w] = uses.get(w, 0) + 1
                    traces[w] = None
        for word in (*words, *traces):
            for x in word:
                uses[x.atom] = uses.get(x.atom, 0) + 1
        for d in self.definitions.values():
            for part in d.parts:
                uses[part] = uses.get(part, 0) + 1
        return uses

    def _named(self, key: Any, stem: str, value: Expr) -> Expr:
        name = self.names.numbered(stem)
        self.body.append(Assign(target=name, value=value))
        self.known[key] = var(name)
        return self.known[key]

    def _atom(self, atom: Atom) -> Expr:
        """Value of an atom; definitions that are used twice get a name."""
        if atom in self.known:
            return self.known[atom]
        d = self.definitions.get(atom)
        if d is None:
            return self._input(atom)
        if d.kind == "poly":
            return self._named(atom, STEMS["poly"], self._poly(self.polys[d.parts[0]]))
        if d.kind == "word":
            return self._named(atom, STEMS["word"], self._chain(d.word))
        parts = [self._part(p) for p in d.parts]
        if d.kind == "elem":
            scalar = self.polys[d.parts[0]].shape is None
            value = self.helpers.apply(d.function, d.order, parts, self.rename, each=not scalar)
        elif d.kind == "had":
            value = mul(*parts)
        elif d.kind == "solution":
            value = solved(d.function.split(), parts)
        else:
            value = Expr("inverse", (parts[0],))
        inline = d.kind == "had" and self.uses.get(atom, 0) < 2
        return value if inline else self._named(atom, STEMS[d.kind], value)

    def _part(self, name: str) -> Expr:
        """Value of the argument of a composite."""
        if name not in self.known:
            value = self._poly(self.polys[name])
            if self.uses.get(name, 0) < 2 or value.op in ("var", "T"):
                return value
            self._named(name, "Z", value)
        return self.known[name]

    def _input(self, atom: Atom) -> Expr:
        if atom.name.startswith("ones["):
            return Expr("ones", (self._size(atom.rows), self._size(atom.cols)))
        return self.leaf(atom.name, ())

    def _size(self, size: Any) -> str:
        if isinstance(size, tuple):
            op = {"add": " + ", "mul": " * "}.get(size[0])
            if op is None:
                raise UnsupportedNode(f"size {size}: it cannot be computed from array shapes; give that dimension a name")
            return "(" + op.join(self._size(s) for s in size[1:]) + ")"
        return str(size) if isinstance(size, int) else self.size(size)

    def _letter(self, x: Letter) -> Expr:
        value = self._atom(x.atom)
        return transpose(value) if x.t else value

    def _chain(self, word: Word) -> Expr:
        if len(word) == 1:
            return self._letter(word[0])
        k = chain.split(word)
        left = self._chain(word[:k])
        return Expr("matmul", (left, self._chain(word[k:])))

    def _trace(self, word: Word) -> Expr:
        """tr(word), named if it is used twice."""
        if word in self.known:
            return self.known[word]
        if len(word) == 1:
            atom = word[0].atom
            value = self._atom(atom)
            if not self._is_number(atom):
                value = Expr("entry" if atom.rows == 1 else "trace", (value,))
            return value
        _, k = chain.trace_split(word)
        left, right = self._chain(word[:k]), transpose(self._chain(word[k:]))
        if left.op == "T" and right.op == "T":
            left, right = left.args[0], right.args[0]
        value = Expr("total", (mul(left, right),))
        return self._named(word, "c", value) if self.uses.get(word, 0) > 1 else value

    def _is_number(self, atom: Atom) -> bool:
        d = self.definitions.get(atom)
        return d is not None and d.kind == "elem" and self.polys[d.parts[0]].shape is None

    def _poly(self, p: Poly) -> Expr:
        if not p.terms:
            return num(0) if p.shape is None else Expr("zeros", (self._size(p.shape[0]), self._size(p.shape[1])))
        return add(*(self._term(key, c, p) for key, c in p.items()))

    def _term(self, key: Key, c: Fraction, p: Poly) -> Expr:
        factors = [num(c)] if c != 1 else []
        for name, e in key.params:
            base = Expr("pi") if name == PI else num(int(name)) if name.isdigit() else self.leaf(name, ())
            factors.append(power(base, e))
        factors += [power(self._trace(w), e) for w, e in key.traces]
        if key.word:
            factors.append(self._chain(key.word))
        elif key.word is not None:
            assert p.shape is not None
            factors.append(Expr("eye", (self._size(p.shape[0]),)))
        return mul(*factors) if factors else num(1)


def transpose(value: Expr) -> Expr:
    """Transpose of an array expression."""
    return value.args[0] if value.op == "T" else Expr("T", (value,))
