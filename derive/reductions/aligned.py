"""Reduction of a chain of weights to singular modes.

    W_l = R_{l+1} diag(a_l) R_l',    R_1 = V, R_{L+1} = U,    correlation U S V' + rest,    input covariance V D V' + rest,

(an auto-encoder, whose correlation is the input covariance, has U = V and S = D), R_l isometries (R'R = I) that must cancel,
the rests on orthogonal complements. The roles of given arrays are read off the flow: what follows the first layer inside a
product is a covariance of inputs, what stands alone between the layers a correlation. The ansatz is proved by
`derive.reductions.manifold`; diagonal words then become one equation per mode. Imported by `derive.reductions.reduction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.indices.indexed import Index, Node, add, arr, arrays, mul, power
from derive.matrices.poly import Poly, atom, identity, text
from derive.matrices.words import Atom, Word
from derive.reductions.ansatz import Modes
from derive.reductions.entries import FAMILY, to_modes
from derive.reductions.manifold import Proposal, on_manifold, prove
from derive.reductions.modes_numeric import ModeNumbers
from derive.system import Assumption, Block, Flow, Reduction, Step

LETTERS = ("U", "V", "S", "D", "U_rest", "V_rest", "S_rest", "D_rest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The chain of a flow: weights (first layer first) and the roles of the given arrays."""

    weights: tuple[Block, ...]
    cross: Atom
    inner: Atom | None

    @property
    def reconstructs(self) -> bool:
        """The target is the input itself (an auto-encoder): correlation and covariance are one array, and U = V."""
        return self.cross == self.inner


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names that the flow does not use: mode factors, their diagonal matrices, parameters, and other letters by role."""

    states: tuple[str, ...]
    diagonals: tuple[str, ...]
    s: str
    d: str
    letter: Mapping[str, str]


def reduce_modes(flow: Flow, ansatz: Modes) -> Reduction:
    """Prove the aligned ansatz and return one equation per mode and layer.

    Raises
    ------
    UnsupportedNode
        If the flow has no chain of weights with one correlation and one input covariance.
    NotInvariant
        If it leaves the manifold.
    """
    chain = find_chain(flow, ansatz)
    names = fresh_names(flow, len(chain.weights))
    proposal = _propose(chain, names, ansatz.white)
    rates = prove(flow, proposal)
    i = Index("i", FAMILY)
    letters = dict(
        zip((*names.diagonals, names.letter["S"], names.letter["D"]), (*names.states, names.s, names.d), strict=True)
    )
    rhs = {a: to_modes(rates[z], letters, i) for a, z in zip(names.states, names.diagonals, strict=True)}
    constants: dict[str, Poly] = {}
    observables = {}
    for name, p in flow.observables.items():
        node = _observable(on_manifold(p, proposal), letters, flow, constants) if isinstance(p, Poly) else None
        if node is not None:
            observables[name] = node
    used = sorted({n for e in (*rhs.values(), *observables.values()) for n in arrays(e)} - set(names.states) - {FAMILY})
    vectors = [n for n in (names.s, names.d) if n in used]
    scalars = [n for n in used if n not in vectors]
    meanings = {names.s: f"singular values of {chain.cross.name}", names.d: "input variances along the modes"}
    system = Flow(
        name=f"{flow.name}_modes",
        state=tuple(
            Block(name=a, shape=(FAMILY,), indices=(i,), meaning=f"strength of each mode in {b.name}")
            for a, b in zip(names.states, chain.weights, strict=True)
        ),
        rhs=rhs,
        parameters=(
            *(Block(name=n, shape=(FAMILY,), indices=(i,), meaning=meanings[n]) for n in vectors),
            *(Block(name=n, meaning=_meaning(flow, n, constants)) for n in scalars),
        ),
        observables=observables,
        time=flow.time,
        assumptions=(*flow.assumptions, *_assumptions(chain, ansatz.white)),
        steps=(*flow.steps, *_steps(chain, names, ansatz.white)),
        symbols=_symbols(flow, names, used),
        source=flow,
    )
    numbers = ModeNumbers(
        weights=chain.weights,
        states=names.states,
        cross=chain.cross.name,
        inner=None if chain.inner is None else chain.inner.name,
        s=names.s,
        d=names.d,
        white=ansatz.white,
        scalars=tuple(n for n in scalars if n not in constants),
        constants=constants,
    )
    return Reduction(
        full=flow,
        system=system,
        lift=dict(proposal.lift),
        data=_shown_data(chain, names, ansatz.white),
        proof="proved",
        assumptions=_assumptions(chain, ansatz.white),
        steps=_steps(chain, names, ansatz.white),
        parameters_from=numbers.parameters_from,
        lift_state=numbers.lift_state,
        project_state=numbers.project_state,
    )


def find_chain(flow: Flow, ansatz: Modes) -> Chain:
    """Order of the weights by their product in the flow, and the roles of given arrays by their neighbours."""
    blocks = {b.name: b for b in flow.state}
    if flow.level != "matrix":
        raise UnsupportedNode(f"Modes: {flow.name} is no flow of matrices; Modes reduces the result of gradient_flow")
    for name in ansatz.weights:
        if name not in blocks:
            raise InvalidSpec(f"Modes: {name} is no state of {flow.name}; its states are {', '.join(sorted(blocks))}")
    if ansatz.weights and set(ansatz.weights) != set(blocks):
        lost = next(n for n in blocks if n not in ansatz.weights)
        raise InvalidSpec(f"Modes: the state {lost} of {flow.name} is not in the chain; name every state, or write Modes()")
    words = [
        w for e in flow.rhs.values() if isinstance(e, Poly) for k in e.terms for w in (k.word or (), *(x for x, _ in k.traces))
    ]
    order = next((found for w in words if (found := _product_in(w, blocks)) is not None), None)
    if order is None:
        raise UnsupportedNode(
            f"Modes: the equations of {flow.name} contain no product of all its weights ({', '.join(sorted(blocks))}): "
            "it is no chain; state your own ansatz with Manifold"
        )
    first, last = order[0], order[-1]
    crosses: dict[str, Atom] = {}
    inners: dict[str, Atom] = {}
    for w in words:
        for n, x in enumerate(w):
            if x.atom.name in blocks:
                continue
            if x.atom.comp is not None:
                raise UnsupportedNode(
                    f"Modes: {flow.name} is not linear in its weights ({x.atom.name}); state your own Manifold"
                )
            before = w[n - 1] if n else None
            after = w[n + 1] if n + 1 < len(w) else None
            if before is not None and before.atom.name == first and not before.t:
                inners[x.atom.name] = x.atom
            elif (after is not None and after.atom.name == last and not after.t) or x.t:
                raise UnsupportedNode(f"Modes: {x.atom.name} in {flow.name} acts on the output side; state your own Manifold")
            else:
                crosses[x.atom.name] = x.atom
    if len(crosses) != 1 or len(inners) > 1:
        raise UnsupportedNode(
            f"Modes: {flow.name} has the correlations {sorted(crosses)} and the input covariances {sorted(inners)}; "
            "one correlation and at most one covariance can be diagonalised together; state your own Manifold"
        )
    return Chain(
        weights=tuple(blocks[n] for n in order), cross=next(iter(crosses.values())), inner=next(iter(inners.values()), None)
    )


def _product_in(w: Word, blocks: Mapping[str, Block]) -> tuple[str, ...] | None:
    """States in the order of application, if w contains their product W_L ... W_1 (plain letters, each once)."""
    size = len(blocks)
    for n in range(len(w) - size + 1):
        run = w[n : n + size]
        names = [x.atom.name for x in run]
        if all(not x.t for x in run) and sorted(names) == sorted(blocks):
            return tuple(reversed(names))
    return None


def fresh_names(flow: Flow, depth: int) -> Names:
    """Names for modes that the flow does not use: a, b for two layers, u for one, else a1 .. aL."""
    taken = {b.name for b in (*flow.state, *flow.parameters)}

    def fresh(name: str) -> str:
        return next(n for n in (name, f"{name}_mode", *(f"{name}_mode{k}" for k in range(2, 9))) if n not in taken)

    states = ("u",) if depth == 1 else ("a", "b") if depth == 2 else tuple(f"a{l}" for l in range(1, depth + 1))
    diagonals = ("A",) if depth == 1 else tuple(n.upper() for n in states)
    roles = (*LETTERS, *(f"R{l}" for l in range(2, depth + 1)))
    return Names(
        states=tuple(map(fresh, states)),
        diagonals=tuple(map(fresh, diagonals)),
        s=fresh("s"),
        d=fresh("d"),
        letter={n: fresh(n) for n in roles},
    )


def _isometries(chain: Chain, names: Names) -> list[Poly]:
    rows = [chain.weights[0].shape[1], *(b.shape[0] for b in chain.weights)]
    labels = ["V", *(f"R{l}" for l in range(2, len(rows))), "U"]
    if chain.reconstructs:
        labels[-1] = "V"
    return [atom(Atom(names.letter[n], size, FAMILY, ("orth",))) for n, size in zip(labels, rows, strict=True)]


def _diagonal(name: str) -> Poly:
    return atom(Atom(name, FAMILY, FAMILY, ("diag",)))


def _propose(chain: Chain, names: Names, white: bool) -> Proposal:
    frames, letter = _isometries(chain, names), names.letter
    diagonals = [_diagonal(n) for n in names.diagonals]
    lift = {b.name: frames[l + 1] * diagonals[l] * frames[l].T for l, b in enumerate(chain.weights)}
    back = {
        n: frames[l + 1].T * atom(Atom(b.name, b.shape[0], b.shape[1], b.tags)) * frames[l]
        for l, (b, n) in enumerate(zip(chain.weights, names.diagonals, strict=True))
    }
    n_in, n_out = chain.cross.cols, chain.cross.rows
    others_v, others_u = (
        atom(Atom(letter[n], k, c, ("orth",))) for n, k, c in (("V_rest", n_in, "r_in"), ("U_rest", n_out, "r_out"))
    )
    data = _shown_data(chain, names, white)
    if (
        len(chain.weights) > 1 and not chain.reconstructs
    ):  # directions beyond the narrowest layer stay unlearned; a single layer has none
        rest = others_u * atom(Atom(letter["S_rest"], "r_out", "r_in")) * others_v.T
        data[chain.cross.name] = data[chain.cross.name] + rest
    if chain.inner is not None and not white:
        rest = others_v * atom(Atom(letter["D_rest"], "r_in", "r_in", ("sym",))) * others_v.T
        data[chain.inner.name] = data[chain.inner.name] + rest
    return Proposal(
        lift=lift,
        data=data,
        coordinates=tuple(Block(name=n, shape=(FAMILY, FAMILY), tags=("diag",)) for n in names.diagonals),
        solve_for=back,
        orthogonal=((letter["V"], letter["V_rest"]), (letter["U"], letter["U_rest"])),
    )


def _shown_data(chain: Chain, names: Names, white: bool) -> dict[str, Poly]:
    """The given arrays in the modes, without the directions that drop out."""
    frames = _isometries(chain, names)
    v, u = frames[0], frames[-1]
    data = {} if chain.reconstructs else {chain.cross.name: u * _diagonal(names.letter["S"]) * v.T}
    if chain.inner is not None:
        data[chain.inner.name] = identity(chain.cross.cols) if white else v * _diagonal(names.letter["D"]) * v.T
    return data


def _observable(p: Poly, letters: Mapping[str, str], flow: Flow, constants: dict[str, Poly]) -> Node | None:
    """A scalar on the manifold; traces of given arrays become new parameters. None if other arrays remain."""
    if p.shape is not None:
        return None
    given = {b.name for b in flow.parameters}
    total = []
    for key, c in p.items():
        own = tuple((w, e) for w, e in key.traces if all(x.atom.name in letters for x in w))
        rest = tuple((w, e) for w, e in key.traces if (w, e) not in own)
        node = to_modes(Poly(None, {key._replace(traces=own): c}), letters, Index("i", FAMILY))
        for w, e in rest:
            if any(x.atom.name not in given or x.atom.comp is not None for x in w):
                return None
            name = "tr_" + "_".join(x.atom.name for x in w)
            constants[name] = Poly(None, {key._replace(params=(), traces=((w, e / e),), word=None): c / c})
            node = mul(node, power(arr(name), e))
        total.append(node)
    return add(*total)


def _meaning(flow: Flow, name: str, constants: Mapping[str, Poly]) -> str:
    if name in constants:
        return text(constants[name])
    return next((b.meaning for b in flow.parameters if b.name == name), "")


def _assumptions(chain: Chain, white: bool) -> tuple[Assumption, ...]:
    if chain.reconstructs and not white:
        return (_alignment("eigenvectors", chain.cross.name),)
    syx = atom(chain.cross)
    name = chain.cross.name
    out = []
    remedy = "whiten the inputs, or integrate the full matrix flow"
    if chain.inner is not None and white:
        sx = atom(chain.inner)
        out.append(
            Assumption(
                text=f"the inputs are white, {chain.inner.name} = I",
                residual=sx - identity(chain.cross.cols),
                scale=sx,
                remedy=remedy,
            )
        )
    elif chain.inner is not None:
        sx, square = atom(chain.inner), syx.T * syx
        out.append(
            Assumption(
                text=f"{chain.inner.name} and {name}'*{name} have common eigenvectors",
                residual=sx * square - square * sx,
                scale=sx * square,
                remedy=remedy,
            )
        )
    return (*out, _alignment("singular vectors", name))


def _alignment(vectors: str, name: str) -> Assumption:
    return Assumption(
        text=f"the start is aligned with the {vectors} of {name}: W_l(0) = R_(l+1) diag(a_l(0)) R_l'",
        remedy="start from lift_state, or integrate the full matrix flow; a small random start aligns approximately",
    )


def _steps(chain: Chain, names: Names, white: bool) -> tuple[Step, ...]:
    product = "*".join(b.name for b in reversed(chain.weights))
    covariance = "" if chain.inner is None else f", {chain.inner.name} = {'I' if white else 'V*D*V.T + rest'}"
    shown = ", ".join(f"{b.name}: {a}" for b, a in zip(chain.weights, names.states, strict=True))
    correlation = "" if chain.reconstructs else f"; {chain.cross.name} = U*S*V.T + rest"
    return (
        Step(
            title="aligned singular modes",
            detail=f"chain {product}{correlation}{covariance}; mode factors {shown}",
            check="free isometries cancel, the directions in the rests drop out, and every equation is met word by word",
        ),
    )


def _symbols(flow: Flow, names: Names, used: list[str]) -> dict[str, sp.Basic]:
    """The flow's scalars keep their symbols; strengths and variances are positive (a zero is a limit)."""
    made = {
        n: sp.Symbol(n, positive=True) if n in (names.s, names.d) else sp.Symbol(n, real=True) for n in (*names.states, *used)
    }
    return {n: flow.symbols.get(n, s) for n, s in made.items()}
