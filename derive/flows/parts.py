"""Pieces of a `Flow` that are read off a lowered model: tags, blocks, functions, assumptions, averages that were used.

Imported by `derive.flows.flow`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from derive.errors import DerivationError
from derive.matrices.composite import mentions
from derive.matrices.poly import Poly
from derive.matrices.words import Atom
from derive.spec.lowered import Draw, Lowered
from derive.spec.notation import text as tree_text
from derive.spec.tree import Tree
from derive.system import Assumption, Block, Function, Step

Tags = Mapping[str, tuple[str, ...]]


def tags_of(lowered: Lowered) -> dict[str, tuple[str, ...]]:
    """Symmetric arrays: second moments of one symbol with itself, named covariances, and facts  K = K'."""
    tags: dict[str, tuple[str, ...]] = {}
    for left, right in lowered.facts:
        for name, other in ((left, right), (right, left)):
            if isinstance(name, str) and other == ("T", name):
                tags[name] = ("sym",)
    for draw in lowered.draws:
        if isinstance(draw.cov, str) and lowered.shapes.get(draw.cov):
            tags[draw.cov] = ("sym",)
        if draw.law == "Moments":
            for tree, name in draw.moments:
                if _is_square(tree) and lowered.shapes.get(name):
                    tags[name] = ("sym",)
    return {name: tag for name, tag in tags.items() if lowered.shapes[name] != (1, 1)}


def _is_square(tree: Tree) -> bool:
    return isinstance(tree, tuple) and tree[0] == "matmul" and len(tree) == 3 and tree[2] == ("T", tree[1])


def functions_of(lowered: Lowered) -> dict[str, Function]:
    """The user's activations, as a `Flow` carries them."""
    return {n: Function(name=f.name, variable=f.variable, body=f.body) for n, f in sorted(lowered.functions.items())}


def blocks_of(
    lowered: Lowered, names: Sequence[str], tags: Tags, *, made: Mapping[str, Atom | None] | None = None
) -> tuple[Block, ...]:
    """Blocks of these names, with what is known about their meaning."""
    meanings = _meanings(lowered)
    out = []
    for name in names:
        if made and name in made:
            a = made[name]
            shape = () if a is None else (a.rows, a.cols)
            out.append(
                Block(name=name, shape=shape, meaning="average that the law leaves unnamed", tags=() if a is None else a.tags)
            )
        else:
            shape = tuple(lowered.shapes.get(name, ()))
            out.append(Block(name=name, shape=shape, meaning=meanings.get(name, ""), tags=tuple(tags.get(name, ()))))
    return tuple(out)


def _meanings(lowered: Lowered) -> dict[str, str]:
    found = dict.fromkeys(lowered.dims, "dimension")
    for draw in lowered.draws:
        if draw.law in ("Moments", "Choice"):
            found |= {name: f"E[{tree_text(tree)}]" for tree, name in draw.moments}
        if isinstance(draw.cov, str):
            found.setdefault(draw.cov, f"covariance of {draw.symbols[0]}")
        if draw.once:
            found |= dict.fromkeys(draw.symbols, "drawn once per run")
    return found


def average_steps(lowered: Lowered, shown: Sequence[Poly]) -> list[Step]:
    """How each data law was averaged."""
    return [step for draw in lowered.draws if not draw.once for step in [_average_step(draw, shown)] if step is not None]


def _average_step(draw: Draw, shown: Sequence[Poly]) -> Step | None:
    drawn = ", ".join(draw.symbols)
    if draw.law == "Moments":
        used = [f"E[{tree_text(tree)}] = {name}" for tree, name in draw.moments if any(mentions(p, name) for p in shown)]
        return Step(title=f"average over {drawn}", detail="; ".join(used) or "no second moment is needed")
    if draw.law == "Normal":
        return Step(title=f"average over {drawn}", detail="Gaussian: sum over all pairings")
    if draw.law == "Choice":
        return Step(title=f"average over {drawn}", detail="exact sum over the values")
    if draw.law == "Marginal":
        detail = (
            "sum over cumulants of the entries" if draw.cov is None else "second moments; signs by a conditional central limit"
        )
        return Step(title=f"average over {drawn}", detail=detail)
    return None


def assumptions_of(lowered: Lowered, read: Callable[[Tree], Poly]) -> tuple[Assumption, ...]:
    """Fresh draws, facts of the model, phases."""
    out = []
    fresh = [s for draw in lowered.draws if not draw.once for s in draw.symbols]
    if fresh:
        out.append(
            Assumption(
                text=f"Learning is slow: every rate is its average over {', '.join(fresh)}.",
                remedy="compare with a simulation at two step sizes; the difference falls in proportion to the step",
            )
        )
    out += [
        Assumption(
            text=f"Given one entry of {draw.symbols[0]}, a weighted sum of the others is Gaussian (conditional central limit): "
            "approximate, with an error that falls with the number of comparable terms; entries have mean 0 and variance 1.",
            remedy="compare with an exact sum over items at two sizes",
        )
        for draw in lowered.draws
        if draw.law == "Marginal" and draw.cov is not None
    ]
    for draw in lowered.draws:
        if not draw.once and (draw.odd or draw.even):
            flipped = ", ".join(s for s in draw.symbols if s not in draw.even)
            out.append(Assumption(text=f"The law looks the same when {flipped} change sign: odd averages vanish."))
    for left, right in lowered.facts:
        try:
            residual, scale = read(left) - read(right), read(left)
        except DerivationError:
            residual, scale = None, None
        out.append(
            Assumption(text=f"{tree_text(left)} = {tree_text(right)} (a fact of the model).", residual=residual, scale=scale)
        )
    if lowered.protocol:
        out.append(
            Assumption(
                text="Parameters keep their values; phases and events of the protocol change them from outside.",
                remedy="integrate phase by phase",
            )
        )
    return tuple(out)
