r"""Flows whose right-hand side jumps where an entry of the state vanishes, as under an L1 penalty:  g' = ... - lam sgn(g).

Between two crossings the flow is smooth. ``smooth_branch`` replaces sgn(g) and step(g) by given arrays of the shape of g, so
that numerics can hold them fixed, stop at the crossing, and find out whether the state crosses or slides along  g_i = 0,  where
the fields of both sides point towards it (Filippov). Jumps at other places, step(W x) for instance, are kinks of the loss that
a state passes at once; they are left as they are. Imported by codegen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from derive.matrices.composite import inside, rebuilt
from derive.matrices.poly import Poly, atom, constant, identity, monomial, param, power, zero
from derive.matrices.word_space import state_poly
from derive.matrices.words import Atom, Elem, Key, Letter, Word
from derive.system import Block, Flow

JUMPS = ("sgn", "step")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """``function`` (sgn or step) of the state ``state``, held in the array ``held`` of the smooth branch."""

    state: str
    function: str
    held: str


def jumps(flow: Flow) -> tuple[Jump, ...]:
    """The jumps of a matrix-level flow at zeros of entries of its state, in the order of the state.

    >>> from derive.matrices.composite import elem
    >>> g = atom(Atom("g", "n", 1))
    >>> flow = Flow(name="lasso", state=(Block(name="g", shape=("n", 1)),), rhs={"g": -elem("sgn", g)})
    >>> jumps(flow)
    (Jump(state='g', function='sgn', held='sgn_g'),)
    """
    if flow.level != "matrix":
        return ()
    found: dict[tuple[str, str], None] = {}
    states = {state_poly(b): b.name for b in flow.state}
    for p in flow.rhs.values():
        assert isinstance(p, Poly)
        for e in _elements(p):
            if e.function in JUMPS and e.order == 0 and (e.argument in states or e.argument.T in states):
                found[states.get(e.argument) or states[e.argument.T], e.function] = None
    taken = {b.name for b in (*flow.state, *flow.parameters)}
    out = []
    for b in flow.state:
        for function in JUMPS:
            if (b.name, function) in found:
                held = f"{function}_{b.name}"
                while held in taken:
                    held += "_"
                out.append(Jump(state=b.name, function=function, held=held))
    return tuple(out)


def smooth_branch(flow: Flow, found: tuple[Jump, ...]) -> Flow:
    """The flow with every jump held: new given arrays in the place of sgn(g) and step(g)."""
    blocks = {b.name: b for b in flow.state}
    table = {(j.function, state_poly(blocks[j.state])): _array(j.held, blocks[j.state]) for j in found}
    held = tuple(
        Block(name=j.held, shape=blocks[j.state].shape, meaning=f"{j.function}({j.state}), held between crossings")
        for j in found
    )
    rhs = {n: _held(p, table) for n, p in flow.rhs.items() if isinstance(p, Poly)}
    return replace(flow, name=f"{flow.name}_branch", rhs=rhs, parameters=(*flow.parameters, *held), observables={})


def _array(name: str, b: Block) -> Poly:
    return atom(Atom(name, b.shape[0], b.shape[1])) if b.shape else param(name)


def _elements(p: Poly) -> list[Elem]:
    """Every elementwise function in an expression, those inside composites too."""
    out = []
    for key in p.terms:
        for word in (key.word or (), *(w for w, _ in key.traces)):
            for x in word:
                if isinstance(x.atom.comp, Elem):
                    out.append(x.atom.comp)
                if x.atom.comp is not None:
                    out += [e for q in inside(x.atom.comp) for e in _elements(q)]
    return out


def _held(p: Poly, table: dict[tuple[str, Poly], Poly]) -> Poly:
    total = zero(p.shape)
    for key, c in p.items():
        out = constant(c) * monomial(None, Key(key.params, (), None))
        for word, e in key.traces:
            out = out * power(_word(word, table).trace(), e)
        if key.word is not None:
            assert p.shape is not None
            out = out * (_word(key.word, table) if key.word else identity(p.shape[0]))
        total = total + out
    return total


def _word(word: Word, table: dict[tuple[str, Poly], Poly]) -> Poly:
    out = _letter(word[0], table)
    for x in word[1:]:
        out = out * _letter(x, table)
    return out


def _letter(x: Letter, table: dict[tuple[str, Poly], Poly]) -> Poly:
    comp = x.atom.comp
    if comp is None:
        new = atom(x.atom)
    elif isinstance(comp, Elem) and comp.order == 0 and (comp.function, comp.argument) in table:
        new = table[comp.function, comp.argument]
    elif isinstance(comp, Elem) and comp.order == 0 and (comp.function, comp.argument.T) in table:
        new = table[comp.function, comp.argument.T].T
    else:
        new = rebuilt(comp, tuple(_held(q, table) for q in inside(comp)))
    new = new * identity(1) if new.shape is None else new
    return new.T if x.t else new
