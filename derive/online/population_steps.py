r"""A `Rate` on vectors of length N as the step  W <- W + rate / N  that the field rule reads; N stays a number.

    V_p . x = sqrt(N) lam_p,      C_pq = V_p . V_q / N        if the model divides its fields by sqrt(N), as in g(W x / sqrt N),
    V_p . x = lam_p,              C_pq = V_p . V_q            if it does not, as in g(W x):

the second case is the first one for the vectors sqrt(N) V, which is how it is read (`derive.online.population` reads both and
takes the one that leaves less of N in the equations). A gradient of an average is the average of
the gradient, so ``grad(mean(L), W)`` in a rate is read as ``grad(L, W)``: rates are averaged anyway. Imported by
`derive.online.population`, and by numerics through it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from derive.errors import UnsupportedNode
from derive.fields.labels import is_label
from derive.spec.lowered import Lowered, LoweredRate, LoweredUpdate
from derive.spec.tree import Tree, as_fraction, children, names, rebuild, walk

_HALF = ("frac", 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """The step of a rate.

    Attributes
    ----------
    lowered : Lowered
        With an update, and with the dimensions of the inputs in its limit.
    divided : bool
        Overlaps are divided by N; if not, the vectors of ``lowered`` are sqrt(N) times those of the model.
    declared : bool
        The model itself says that N tends to infinity.
    """

    lowered: Lowered
    divided: bool
    declared: bool


def readings(low: Lowered) -> tuple[Stepped, ...]:
    """The steps of a rate with and without a division by N in its overlaps, the likelier one first.

    Raises
    ------
    UnsupportedNode
        If the rule is no `Rate`, has white noise, or it is not clear which dimension is that of the inputs.
    """
    if not isinstance(low.rule, LoweredRate):
        raise UnsupportedNode(
            f"population_flow({low.name}): the rule is no Rate; for an Update take online_limit(model, noise='none')"
        )
    if low.rule.noise:
        raise UnsupportedNode(
            f"population_flow({low.name}): {low.rule.noise[0][0]} has white noise; a Flow is deterministic, drop noise= from "
            "the Rate"
        )
    rates = {name: _opened(low.inline(tree), low) for name, tree in low.rule.rates}
    watched = {name: _averaged(low.inline(tree), low) for name, tree in _observed(low)}
    declared = low.limit is not None and any(value == ("oo",) for _, value in low.limit[0])
    long = (
        tuple(n for n, value in low.limit[0] if value == ("oo",)) if declared and low.limit else _lengths(low, rates, watched)
    )
    trees = [*rates.values(), *watched.values(), *(t for d in low.draws for t in (d.mean, d.cov) if t is not None)]
    divided = any(_is_root(node, long) for tree in trees for node in walk(low.inline(tree)))
    choices = (True,) if len(long) > 1 else (divided, not divided)
    return tuple(_step(low, rates, watched, long, divided=d, declared=declared) for d in choices)


def _step(
    low: Lowered, rates: dict[str, Tree], watched: dict[str, Tree], long: tuple[str, ...], *, divided: bool, declared: bool
) -> Stepped:
    n, limit = long[0], low.limit if declared else (tuple((d, ("oo",)) for d in long), ())
    draws, let = low.draws, low.let
    if not divided:
        families = [s for s in (*low.state, *low.given) if n in low.shapes[s]]
        let = tuple((name, _unscaled(tree, families, n)) for name, tree in low.let)
        draws = tuple(
            replace(d, **{w: _unscaled(t, families, n) for w in ("mean", "cov") if (t := getattr(d, w)) is not None})
            for d in low.draws
        )
        watched = {name: _unscaled(tree, families, n) for name, tree in watched.items()}
        rates = {
            name: ("mul", ("pow", n, _HALF), r) if name in families else r
            for name, r in ((name, _unscaled(tree, families, n)) for name, tree in rates.items())
        }
    small = ("pow", n if len(long) == 1 else ("add", *long), -1)
    block = tuple((name, ("add", name, ("mul", small, rate))) for name, rate in rates.items())
    rule = LoweredUpdate(blocks=(block,), dt=small)
    made = replace(low, rule=rule, limit=limit, let=let, draws=draws, observe=tuple(watched.items()))
    return Stepped(lowered=made, divided=divided, declared=declared)


def _lengths(low: Lowered, rates: Mapping[str, Tree], watched: Mapping[str, Tree]) -> tuple[str, ...]:
    """The dimension along which weights and Gaussian draws are multiplied."""
    long: dict[str, str] = {}
    drawn = {s: d.shapes[s] for d in low.draws if d.law == "Normal" and not is_label(d) for s in d.symbols}
    for tree in (*rates.values(), *watched.values()):
        for node in walk(tree):
            factors = node[1:] if isinstance(node, tuple) and node[0] == "matmul" else ()
            for a, b in pairwise(factors):
                d = low.shape(a)[1]
                for side, other in ((a, b), (b, a)):
                    weights = [w for w in names(side) if w in (*low.state, *low.given) and d in low.shapes[w]]
                    inputs = [x for x in names(other) if x in drawn and drawn[x] and drawn[x][0] == d]
                    if inputs and weights and isinstance(d, str):
                        long.setdefault(d, f"{weights[0]} and {inputs[0]}")
    if len(long) == 1:
        return tuple(long)
    if not long:
        raise UnsupportedNode(
            f"population_flow({low.name}): no product of weights and a Normal draw was found; draw the inputs as Normal(x), or "
            "use gradient_flow"
        )
    shown = "; ".join(f"{d} of {pair}" for d, pair in long.items())
    raise UnsupportedNode(
        f"population_flow({low.name}): weights meet Gaussian draws along several dimensions ({shown}); say which one the "
        f"vectors have by limit=Limit({{{next(iter(long))}: oo}})"
    )


def _is_root(node: Tree, long: tuple[str, ...]) -> bool:
    """Whether a node is a negative odd power of sqrt(N)."""
    if not (isinstance(node, tuple) and node[0] == "pow"):
        return False
    e = as_fraction(node[2])
    return e is not None and e < 0 and e.denominator == 2 and any(d in names(node[1]) for d in long)


def _unscaled(tree: Tree, families: list[str], n: str) -> Tree:
    """The tree with every family V replaced by V / sqrt(N), gradients by V included."""
    if isinstance(tree, str):
        return ("mul", ("pow", n, ("frac", -1, 2)), tree) if tree in families else tree
    if isinstance(tree, tuple) and tree[0] == "grad":
        made = ("grad", _unscaled(tree[1], families, n), tree[2])
        return ("mul", ("pow", n, _HALF), made) if tree[2] in families else made
    parts = children(tree)
    return rebuild(tree, tuple(_unscaled(p, families, n) for p in parts)) if parts else tree


# ------------------------------------------------------------------------------------------------------------- averages
def _drawn(low: Lowered) -> tuple[str, ...]:
    return tuple(s for d in low.draws for s in d.symbols)


def _observed(low: Lowered) -> tuple[tuple[str, Tree], ...]:
    """What the model watches; without any, the losses of its gradients that have a name."""
    if low.observe:
        return low.observe
    assert isinstance(low.rule, LoweredRate)
    grads = [node for _, tree in low.rule.rates for node in walk(tree) if isinstance(node, tuple) and node[0] == "grad"]
    losses = [node[1][1] if isinstance(node[1], tuple) and node[1][0] == "mean" else node[1] for node in grads]
    return tuple((name, name) for name, _ in low.let if name in losses)


def _averaged(tree: Tree, low: Lowered) -> Tree:
    """``mean`` around an observable that depends on a draw."""
    return ("mean", tree) if any(n in _drawn(low) for n in names(_outside(tree, "mean"))) else tree


def _outside(tree: Tree, head: str) -> Tree:
    """The tree with every node of one kind replaced by a number."""
    if isinstance(tree, tuple) and tree[0] == head:
        return 1
    parts = children(tree)
    return rebuild(tree, tuple(_outside(p, head) for p in parts)) if parts else tree


def _opened(tree: Tree, low: Lowered) -> Tree:
    """A rate whose gradients of averages are gradients of what is averaged, if nothing else in it is drawn."""
    if any(n in _drawn(low) for n in names(_outside(tree, "grad"))):
        return tree
    return _open(tree, low)


def _open(tree: Tree, low: Lowered) -> Tree:
    if isinstance(tree, tuple) and tree[0] == "grad":
        return ("grad", _without_mean(tree[1], low), tree[2])
    parts = children(tree)
    return rebuild(tree, tuple(_open(p, low) for p in parts)) if parts else tree


def _without_mean(loss: Tree, low: Lowered) -> Tree:
    """The loss of one draw, if the loss is linear in averages; else the loss as it is."""
    if not isinstance(loss, tuple):
        return loss
    if loss[0] == "mean":
        return loss[1]
    if loss[0] == "add":
        return ("add", *(_without_mean(p, low) for p in loss[1:]))
    if loss[0] == "mul":
        means = [p for p in loss[1:] if isinstance(p, tuple) and p[0] == "mean"]
        rest = [n for p in loss[1:] if p not in means for n in names(p)]
        if len(means) == 1 and not any(n in (*_drawn(low), *low.state) for n in rest):
            return ("mul", *(p[1] if p in means else p for p in loss[1:]))
    return loss


__all__ = ["Stepped", "readings"]
