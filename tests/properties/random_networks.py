"""Random networks of two to four layers as plain data, with two roads from a network to numbers.

`specification` writes a network as a `derive.Model`, in an order of summands, definitions and symbols that may be shuffled.
`loss` evaluates the same network in NumPy from its plain data; it shares nothing with the engine and accepts complex arrays and
leading batch axes, so that differences of it are gradients:

    complex step  Im L(w + i h e) / h   exact to rounding,        central differences  O(h^2).

A layer maps level l - 1 to level l:  h_l = f( G (W h_{l-1} + b 1') + h_{l-1} )  with every ingredient optional.
Imported by the tests of this folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st

from derive import Model, Moments, Rate, dims, fn, grad, had, matrix, mean, norm2, scalars, vector

ITEMS = 3  # columns of the data; fewer than parameters, so gradients do not vanish
SIZES = (3, 2, 4)  # of the dimensions n0, n1, n2
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer; a weight that another layer uses too is a tie.

    ``turned`` multiplies by the transpose of the weight, ``power`` by its elementwise square. ``gate`` is "" (none), "number"
    (one for every context), "matrix" (a given matrix in front) or "entries" (one number for every unit and item).
    """

    weight: str
    turned: bool = False
    power: bool = False
    bias: bool = False
    gate: str = ""
    skip: bool = False
    act: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Plain data: which dimension every level has, the layers of every path, and how the weights learn.

    ``widths[l]`` numbers the dimension of level l. The outputs of paths are added. Every head has its own last layer and its
    own target. Every context has its own data and gates. ``rates`` maps a weight to "1", "eta" (its own rate) or "frozen".
    """

    widths: tuple[int, ...]
    paths: tuple[tuple[Layer, ...], ...]
    heads: int = 1
    contexts: int = 1
    data: str = "arrays"
    rates: tuple[tuple[str, str], ...] = ()
    penalised: tuple[str, ...] = ()
    pulled: tuple[str, str] | None = None

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Numbers of the dimensions of every weight (-1: one column), in order of appearance."""
        found: dict[str, tuple[int, int]] = {}
        for p, l, layer in self.layers():
            ends = (self.widths[l + 1], self.widths[l])
            for head in self.ends(l):
                found.setdefault(layer.weight + head, ends[::-1] if layer.turned else ends)
                if layer.bias:
                    found.setdefault(f"b{p}{l}{head}", (ends[0], -1))
        return found

    def layers(self) -> list[tuple[int, int, Layer]]:
        """(path, level below, layer)."""
        return [(p, l, layer) for p, path in enumerate(self.paths) for l, layer in enumerate(path)]

    def ends(self, l: int) -> tuple[str, ...]:
        """Suffixes of the weights of a level: one for every head at the last level."""
        return tuple("ac"[: self.heads]) if self.heads > 1 and l + 2 == len(self.widths) else ("",)

    def rate(self, weight: str) -> str:
        """How a weight learns."""
        return dict(self.rates).get(weight, "1")

    def ingredients(self) -> set[str]:
        """Names of what is in it besides plain layers, for counting."""
        rows = [layer for _, _, layer in self.layers()]
        found = {
            "transpose": any(r.turned for r in rows), "tie": len({r.weight for r in rows}) < len(rows),
            "bias": any(r.bias for r in rows), "skip": any(r.skip for r in rows), "power": any(r.power for r in rows),
            "gate": any(r.gate for r in rows), "tanh": any(r.act == "tanh" for r in rows),
            "relu": any(r.act == "relu" for r in rows), "heads": self.heads > 1, "contexts": self.contexts > 1,
            "paths": len(self.paths) > 1, "rates": "eta" in dict(self.rates).values(),
            "frozen": "frozen" in dict(self.rates).values(), "penalty": bool(self.penalised or self.pulled),
        }  # fmt: skip
        return {name for name, there in found.items() if there}

    def learned(self) -> tuple[str, ...]:
        """Weights that are not frozen."""
        return tuple(w for w in self.shapes() if self.rate(w) != "frozen")


# Road one: a model ------------------------------------------------------------------------------------------------------------


def specification(net: Network, order: int | None = None) -> Model:
    """The network as a spec; with ``order`` everything that may be permuted is, and intermediate results get names."""
    rng = Random(order)

    def shuffled(items: Sequence[Any]) -> list[Any]:
        return list(items) if order is None else rng.sample(list(items), len(items))

    n = dims("n0 n1 n2")
    weights = {w: matrix(w, n[r], n[c] if c >= 0 else 1) for w, (r, c) in net.shapes().items()}
    items, columns = dims("P"), 1 if net.data == "moments" else dims("P")
    definitions: dict[Any, Any] = {}
    terms, laws, given = [], [], []

    def named(e: Any, name: str, size: Any) -> Any:
        if order is None or rng.random() < 0.5:
            return e
        symbol = matrix(name, size, columns)
        definitions[symbol] = e
        return symbol

    for k in range(net.contexts):
        x = matrix(f"x{k}", n[net.widths[0]], columns)
        targets = [matrix(f"y{k}{h}", n[net.widths[-1]], columns) for h in range(net.heads)]
        if net.data == "moments":
            laws.append(_law(k, x, targets))
        else:
            given += [x, *targets]
        for h, y in enumerate(targets):
            out = []
            for p, path in enumerate(net.paths):
                signal = x
                for l, layer in enumerate(path):
                    end = net.ends(l)[h if len(net.ends(l)) > 1 else 0]
                    bias = weights.get(f"b{p}{l}{end}")
                    fed = _layer(layer, weights[layer.weight + end], bias, signal, (k, p, l), items, columns, given)
                    size = n[net.widths[l + 1]]
                    signal = named(fed, f"h{k}{h}{p}{l}", size)
                out.append(signal)
            error = y - sp.MatAdd(*shuffled(out)) if len(out) > 1 else y - out[0]
            terms.append(norm2(named(error, f"e{k}{h}", y.shape[0])) / 2)
    kappa, mu, L = scalars("kappa", positive=True), scalars("mu", positive=True), scalars("L")
    terms += [kappa * norm2(weights[w]) / 2 for w in net.penalised]
    terms += [mu * norm2(weights[net.pulled[0]] - weights[net.pulled[1]]) / 2] if net.pulled else []
    given += [kappa] * bool(net.penalised) + [mu] * bool(net.pulled)
    given += [w for name, w in weights.items() if net.rate(name) == "frozen"]
    rates = {}
    for name in shuffled(net.learned()):
        speed = scalars(f"eta_{name}", positive=True) if net.rate(name) == "eta" else sp.Integer(1)
        given += [speed] if net.rate(name) == "eta" else []
        rates[weights[name]] = -speed * grad(L, weights[name])
    definitions[L] = sp.Add(*shuffled(terms))
    known = tuple(shuffled(list(dict.fromkeys(given))))
    return Model(
        name="network", state=tuple(shuffled(tuple(rates))), given=known, data=tuple(laws), let=definitions, learn=Rate(rates),
        observe={"loss": mean(L) if laws else L},
    )  # fmt: skip


def _law(k: int, x: Any, targets: list[Any]) -> Moments:
    second = {x * x.T: matrix(f"Sx{k}", x.shape[0], x.shape[0]), x: vector(f"mx{k}", x.shape[0])}
    for h, y in enumerate(targets):
        second |= {y * x.T: matrix(f"Syx{k}{h}", y.shape[0], x.shape[0]), y: vector(f"my{k}{h}", y.shape[0])}
        second[y * y.T] = matrix(f"Syy{k}{h}", y.shape[0], y.shape[0])
    return Moments((x, *targets), second)


def _layer(
    layer: Layer, W: Any, b: Any, signal: Any, at: tuple[int, int, int], items: Any, columns: Any, given: list[Any]
) -> Any:
    k, p, l = at
    W = had(W, W) if layer.power else W
    z = (W.T if layer.turned else W) * signal
    if b is not None:
        z = z + (b if columns == 1 else b * sp.OneMatrix(1, items))
    if layer.gate == "number":
        g = scalars(f"g{k}{p}{l}")
        z = g * z
        given.append(g)
    elif layer.gate == "matrix":
        G = matrix(f"G{p}{l}", z.shape[0], z.shape[0])
        z = G * z
        given.append(G)
    elif layer.gate == "entries":
        E = matrix(f"E{k}{p}{l}", z.shape[0], columns)
        z = had(E, z)
        given.append(E)
    z = z + signal if layer.skip else z
    return getattr(fn, layer.act)(z) if layer.act else z


# Road two: NumPy --------------------------------------------------------------------------------------------------------------


def draw_values(net: Network, seed: int) -> dict[str, Any]:
    """Numbers for every weight, gate, rate and data array; moments are those of the data."""
    rng = np.random.default_rng(seed)
    out: dict[str, Any] = {"P": ITEMS, "kappa": rng.uniform(0.5, 1.5), "mu": rng.uniform(0.5, 1.5)}
    for w, (r, c) in net.shapes().items():
        out[w] = 0.7 * rng.standard_normal((SIZES[r], SIZES[c] if c >= 0 else 1))
        out[f"eta_{w}"] = rng.uniform(0.5, 2)
    for k in range(net.contexts):
        x = out[f"x{k}"] = rng.standard_normal((SIZES[net.widths[0]], ITEMS))
        out[f"Sx{k}"], out[f"mx{k}"] = x @ x.T / ITEMS, x.mean(1, keepdims=True)
        for h in range(net.heads):
            y = out[f"y{k}{h}"] = rng.standard_normal((SIZES[net.widths[-1]], ITEMS))
            out[f"Syx{k}{h}"], out[f"Syy{k}{h}"], out[f"my{k}{h}"] = y @ x.T / ITEMS, y @ y.T / ITEMS, y.mean(1, keepdims=True)
        for p, l, layer in net.layers():
            rows = SIZES[net.widths[l + 1]]
            out[f"g{k}{p}{l}"] = float(rng.choice([0.0, 1.0, rng.standard_normal()]))  # closed, open, or in between
            out[f"E{k}{p}{l}"] = rng.integers(0, 2, (rows, ITEMS)).astype(float)
            if layer.gate == "matrix":
                out[f"G{p}{l}"] = rng.standard_normal((rows, rows))
    return out


def loss(net: Network, v: Values) -> Any:
    """Loss of the network, any leading batch axes."""
    return _loss(net, v)[0]


def margin(net: Network, v: Values) -> float:
    """Smallest distance of the input of a rectifier from its kink."""
    return _loss(net, v)[1]


def _loss(net: Network, v: Values) -> tuple[Any, float]:
    total, nearest = 0.0, np.inf
    scale = ITEMS if net.data == "moments" else 1
    for k in range(net.contexts):
        for h in range(net.heads):
            out = 0.0
            for p, path in enumerate(net.paths):
                signal = v[f"x{k}"]
                for l, layer in enumerate(path):
                    end = net.ends(l)[h if len(net.ends(l)) > 1 else 0]
                    W = v[layer.weight + end]
                    W = W * W if layer.power else W
                    z = (np.swapaxes(W, -1, -2) if layer.turned else W) @ signal
                    z = z + v[f"b{p}{l}{end}"] if layer.bias else z
                    z = v[f"g{k}{p}{l}"] * z if layer.gate == "number" else z
                    z = v[f"G{p}{l}"] @ z if layer.gate == "matrix" else z
                    z = v[f"E{k}{p}{l}"] * z if layer.gate == "entries" else z
                    z = z + signal if layer.skip else z
                    if layer.act == "relu":
                        nearest = min(nearest, float(np.abs(np.real(z)).min()))
                        z = np.where(np.real(z) > 0, z, 0)
                    signal = np.tanh(z) if layer.act == "tanh" else z
                out = out + signal
            total = total + ((v[f"y{k}{h}"] - out) ** 2).sum((-1, -2)) / (2 * scale)
    for w in net.penalised:
        total = total + v["kappa"] * (v[w] ** 2).sum((-1, -2)) / 2
    if net.pulled:
        total = total + v["mu"] * ((v[net.pulled[0]] - v[net.pulled[1]]) ** 2).sum((-1, -2)) / 2
    return total, nearest


def pack(net: Network, v: Values) -> Any:
    """Learned weights as one vector."""
    return np.concatenate([np.ravel(v[w]) for w in net.learned()])


def unpack(net: Network, v: Values, y: Any) -> dict[str, Any]:
    """Learned weights out of vectors of shape (..., size)."""
    out, at = {}, 0
    for w in net.learned():
        out[w] = y[..., at : at + v[w].size].reshape(*y.shape[:-1], *v[w].shape)
        at += v[w].size
    return out


def slopes(net: Network, v: Values, y: Any, step: complex) -> Any:
    """Gradient of the loss by a complex step (``step`` imaginary) or by central differences (real)."""
    moves = step * np.eye(len(y))
    if np.iscomplex(step):
        return np.imag(loss(net, {**v, **unpack(net, v, y + moves)})) / np.imag(step)
    up, down = (loss(net, {**v, **unpack(net, v, y + s * moves)}) for s in (1, -1))
    return (up - down) / (2 * step)


def speeds(net: Network, v: Values) -> Any:
    """Learning rate of every entry of the packed weights."""
    return np.concatenate([np.full(v[w].size, v[f"eta_{w}"] if net.rate(w) == "eta" else 1.0) for w in net.learned()])


# Random networks --------------------------------------------------------------------------------------------------------------


LINEAR = (
    "turned",
    "tied",
    "gate",
    "matrix",
    "head",
    "context",
    "path",
    "eta",
    "frozen",
    "penalty",
    "pull",
    "bias",
    "skip",
    "power",
)
ANY = (*LINEAR, "tanh", "relu", "entries")


@st.composite
def networks(draw: Any, first: str | None = None) -> Network:
    """Two to four bare layers and up to three ingredients at random places; smaller examples have fewer of both.

    ``first`` names an ingredient that is always put in, where it fits.
    """
    depth = draw(st.integers(2, 4))
    data = draw(st.sampled_from(("moments", "arrays", "arrays"))) if first is None or first in LINEAR else "arrays"
    widths = tuple(draw(st.lists(st.integers(0, 2), min_size=depth + 1, max_size=depth + 1)))
    one = st.tuples(st.sampled_from(LINEAR if data == "moments" else ANY), st.integers(0, 7))
    wanted = [draw(one) for _ in range(draw(st.integers(0, 2)))]
    wanted += [(first, draw(st.integers(0, 7)))] if first is not None else []
    paths = 1 + any(what == "path" for what, _ in wanted) * (depth < 4)  # at most six layers, for time
    heads = 1 + any(what == "head" for what, _ in wanted)
    layers = [[Layer(weight=f"W{p}{l}") for l in range(depth)] for p in range(paths)]
    long = data == "moments" and depth == 4  # a bias doubles the number of words
    for what, place in [pair for pair in wanted if not (long and pair[0] == "bias")]:
        p, l = place % paths, place // paths % depth
        layers[p][l] = _with(layers[p][l], what, widths[l], widths[l + 1], depth - 1 - l)
    for _ in [what for what, _ in wanted if what == "tied"]:
        _tie(draw, layers, widths, heads)
    bare = Network(
        widths=widths, paths=tuple(tuple(path) for path in layers), heads=heads,
        contexts=1 + any(what == "context" for what, _ in wanted), data=data,
    )  # fmt: skip
    return _learning(bare, wanted)


def _with(layer: Layer, what: str, below: int, above: int, left: int) -> Layer:
    """A layer with one more ingredient, where it fits; ``left`` layers follow."""
    fits = {"skip": below == above, "tanh": left > 0, "relu": left > 0}
    changes: dict[str, dict[str, Any]] = {
        "turned": {"turned": True}, "bias": {"bias": True}, "skip": {"skip": True}, "power": {"power": True},
        "gate": {"gate": "number"}, "matrix": {"gate": "matrix"}, "entries": {"gate": "entries"},
        "tanh": {"act": "tanh"}, "relu": {"act": "relu"},
    }  # fmt: skip
    return replace(layer, **changes.get(what, {})) if fits.get(what, True) else layer


def _tie(draw: Any, layers: list[list[Layer]], widths: tuple[int, ...], heads: int) -> None:
    """Let one layer use the weight of another of the same or of the turned shape, if there are two such layers."""
    depth = len(widths) - 1
    at = [(p, l) for p in range(len(layers)) for l in range(depth - (heads > 1))]
    ends = {(p, l): (widths[l + 1], widths[l]) for p, l in at}
    pairs = [(a, b) for i, a in enumerate(at) for b in at[i + 1 :] if ends[b] in (ends[a], ends[a][::-1])]
    if pairs:
        (p, l), (q, m) = draw(st.sampled_from(pairs))
        first, turn = layers[p][l], ends[q, m] != ends[p, l]
        layers[q][m] = replace(layers[q][m], weight=first.weight, turned=first.turned != turn)


def _learning(net: Network, wanted: list[tuple[str, int]]) -> Network:
    """How the weights learn, and penalties."""
    names = tuple(net.shapes())
    rates = {names[place % len(names)]: what for what, place in wanted if what in ("eta", "frozen")}
    if list(rates.values()).count("frozen") == len(names):
        rates = {}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if net.shapes()[a] == net.shapes()[b]]
    pulls = [place for what, place in wanted if what == "pull"]
    return replace(
        net,
        rates=tuple(sorted(rates.items())),
        penalised=tuple(sorted({names[place % len(names)] for what, place in wanted if what == "penalty"})),
        pulled=pairs[pulls[0] % len(pairs)] if pulls and pairs else None,
    )
