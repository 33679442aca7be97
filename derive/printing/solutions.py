"""Names for matrices that are solutions of equations, so that a printed line shows a letter and a second line its equation.

    dW/dt = X2*X1,      where    0 = A*X1 + X1*A' + u*u',    0 = A'*X2 + X2*A + v*v'

Imported by the printers only.
"""

from __future__ import annotations

from fractions import Fraction

from derive.matrices.calculus import substitute
from derive.matrices.composite import inside, rebuilt, scalar_power
from derive.matrices.poly import Poly, atom, identity, monomial
from derive.matrices.words import Atom, Key, Letter, Solution, Word
from derive.system import Flow

LETTERS = ("X", "Y", "Z", "S")


def name_solutions(flow: Flow) -> tuple[Flow, dict[str, Poly]]:
    """A flow with names for its solutions, and the expression that vanishes for each name (empty if there is none).

    >>> from derive.matrices.implicit import solution
    >>> from derive.system import Block
    >>> A, P, C = (atom(Atom(n, "n", "n")) for n in "APC")
    >>> flow = Flow(name="f", state=(Block(name="A", shape=("n", "n")),), rhs={"A": solution(A * P + P * A.T + C, "P")})
    >>> shown, equations = name_solutions(flow)
    >>> shown.rhs["A"], equations["X1"]
    (X1, C + A*X1 + X1*A')
    """
    taken = {*flow.symbols, *(b.name for b in (*flow.state, *flow.parameters))}
    letter = next(x for x in (*LETTERS, "solution") if not any(n == x or n.rstrip("0123456789") == x for n in taken))
    work = _Work(letter)
    rhs = {n: work.poly(p) if isinstance(p, Poly) else p for n, p in flow.rhs.items()}
    observables = {n: work.poly(p) if isinstance(p, Poly) else p for n, p in flow.observables.items()}
    if not work.equations:
        return flow, {}
    return flow.replace(rhs=rhs, observables=observables), work.equations


class _Work:
    """Names given so far."""

    def __init__(self, letter: str):
        self.letter = letter
        self.names: dict[Atom, Atom] = {}
        self.equations: dict[str, Poly] = {}

    def poly(self, p: Poly) -> Poly:
        total = Poly(p.shape, {})
        for key, c in p.items():
            term = monomial(None, Key(key.params, (), None), c)
            for word, e in key.traces:
                part = (
                    self.word(word).trace()
                    if any(_holds(x) for x in word)
                    else monomial(None, Key((), ((word, Fraction(1)),), None))
                )
                term = term * scalar_power(part, e)
            if key.word is not None:
                assert p.shape is not None
                term = term * (self.word(key.word) if key.word else identity(p.shape[0]))
            total = total + term
        return total

    def word(self, word: Word) -> Poly:
        out: Poly | None = None
        for x in word:
            made = self.letter_of(x)
            out = made if out is None else out * made
        assert out is not None
        return out

    def letter_of(self, x: Letter) -> Poly:
        comp = x.atom.comp
        if comp is None or not _holds(x):
            made = atom(x.atom)
        elif isinstance(comp, Solution):
            made = atom(self.named(x.atom, comp))
        else:
            made = rebuilt(comp, tuple(self.poly(q) for q in inside(comp)))
            made = made * identity(1) if made.shape is None else made
        return made.T if x.t else made

    def named(self, a: Atom, comp: Solution) -> Atom:
        if a not in self.names:
            inner = self.poly(comp.equation)
            self.names[a] = Atom(f"{self.letter}{len(self.names) + 1}", a.rows, a.cols, a.tags)
            free = Atom(self.names[a].name, a.rows, a.cols)
            self.equations[free.name] = substitute(inner, {comp.unknown: atom(free)})
        return self.names[a]


def _holds(x: Letter) -> bool:
    """Is the letter a solution, or does it hold one?"""
    comp = x.atom.comp
    if comp is None:
        return False
    if isinstance(comp, Solution):
        return True
    return any(
        _holds(y) for q in inside(comp) for key in q.terms for w in (*(w for w, _ in key.traces), key.word or ()) for y in w
    )
