r"""The law of fields and noises given the outcome of the labels: variances of inputs, moments of noises, one `Measure`.

    Cov(V_p . x, U_q . x') = delta_xx' var(x) C_pq,      noises independent of the inputs and of each other.

The columns of an input with several of them are the independent steps of an episode, Cov(lam_t, lam_t') = delta_tt' var C.

Means of inputs are not in this law: ``x = mean + centred x`` is inserted where x is read, so a mean of a field is an overlap.
Imported by the extraction of the field rule only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from derive.errors import UnsupportedNode
from derive.fields.episodes import different_steps
from derive.fields.labels import is_label, label_symbols
from derive.fields.masks import is_mask
from derive.fields.overlaps import Overlaps
from derive.fields.values import Reader
from derive.gaussian.measure import Measure, linear_measure
from derive.indices.indexed import ONE, ZERO, Index, Node, add, kron, mul
from derive.spec.lowered import Draw, Lowered
from derive.spec.tree import Tree, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A Gaussian draw of order-one shape: covariance and mean of its entries at two labels."""

    labels: tuple[Index, ...]
    covariance: Callable[[Index | None, Index | None], Node]
    mean: Callable[[Index | None], Node]


def gaussian_draws(low: Lowered) -> dict[str, Draw]:
    """The Normal draws by symbol.

    Raises
    ------
    UnsupportedNode
        If a draw is neither Normal nor a label nor a mask, or is drawn once per run.
    """
    out = {}
    for draw in low.draws:
        if is_label(draw) or is_mask(draw):
            continue
        shown = ", ".join(draw.symbols)
        if draw.law != "Normal":
            raise UnsupportedNode(
                f"{shown} has the law {draw.law}; online_limit averages over Normal draws, over labels (Choice), and over "
                "columns of independent entries with given values or moments (Marginal) only"
            )
        if draw.once:
            raise UnsupportedNode(
                f"{shown} is drawn once per run; online_limit needs fresh draws at every step, drop once=True or make it given"
            )
        out[draw.symbols[0]] = draw
    return out


def field_law(
    overlaps: Overlaps, variances: Mapping[str, Node], lengths: Mapping[str, Node], noises: Mapping[str, Noise]
) -> Measure:
    """The law of linear forms in fields and noises; ``lengths`` holds |x|^2 / N. The mappings may be filled later."""
    return linear_measure(
        lambda a: "." in a.args[0] or a.args[0] in noises,
        lambda a, b: _covariance(a, b, overlaps, variances, lengths, noises),
        lambda a: noises[a.args[0]].mean((a.args[1] or (None,))[0]) if a.args[0] in noises else ZERO,
    )


def _covariance(
    a: Node,
    b: Node,
    overlaps: Overlaps,
    variances: Mapping[str, Node],
    lengths: Mapping[str, Node],
    noises: Mapping[str, Noise],
) -> Node:
    p, q = a.args[0], b.args[0]
    if p in noises or q in noises:
        i, j = ((n.args[1] or (None,))[0] for n in (a, b))
        return noises[p].covariance(i, j) if p == q and not different_steps(i, j) else ZERO
    (v, x), (u, y) = p.split("."), q.split(".")
    if v in variances or u in variances:  # a product of two inputs
        if a.args[1] or b.args[1]:
            raise UnsupportedNode(
                f"{p if v in variances else q}: a product of two inputs of which one is an episode; online_limit treats "
                "products of single columns"
            )
        return mul(lengths[v], variances[x]) if p == q else ZERO
    if x != y:
        return ZERO
    (i, s), (j, t) = (field_labels(n.args[1], overlaps.families[f]) for n, f in ((a, v), (b, u)))
    if different_steps(s, t):
        return ZERO
    return mul(kron(s, t) if s and t else ONE, variances[x], overlaps.entry(v, i, u, j))


def field_labels(labels: Sequence[Index], size: Tree) -> tuple[Index | None, Index | None]:
    """The labels of a field as (row of its family, step of its episode)."""
    rest = list(labels)
    row = rest.pop(0) if size != 1 else None
    return row, (rest[0] if rest else None)


def steps_of(draw: Draw, x: str, reader: Reader) -> str:
    """The dimension that counts the columns of an input; "" for a single column.

    Raises
    ------
    UnsupportedNode
        If the number of columns has no name, or is an axis of weights or of the state.
    """
    columns = draw.shapes[x][1]
    if columns == 1:
        return ""
    low = reader.lowered
    if not isinstance(columns, str) or reader.is_big(columns):
        raise UnsupportedNode(
            f"{x} has {columns} columns; the steps of an episode are counted by a dimension of order one with a name, "
            "dims('T'), whose size is chosen at run time"
        )
    for name in (*low.state, *reader.overlaps.families):
        if columns in low.shapes[name]:
            raise UnsupportedNode(
                f"{columns} counts the columns of {x}, which are the independent steps of an episode, and is an axis of {name} "
                "too; give the episode a dimension of its own"
            )
    return columns


def input_variance(draw: Draw, x: str, reader: Reader) -> Node:
    """Variance of the entries of an input.

    Raises
    ------
    UnsupportedNode
        If the input has a covariance that is no multiple of the identity.
    """
    if draw.cov is None:
        return ONE
    return _multiple(reader.lowered.inline(draw.cov), x, draw.shapes[x][0], reader)


def _multiple(cov: Tree, x: str, dimension: Tree, reader: Reader) -> Node:
    """s of ``s * identity``."""
    if cov == ("eye", dimension):
        return ONE
    if isinstance(cov, tuple) and cov[0] == "add":
        return add(*(_multiple(part, x, dimension, reader) for part in cov[1:]))
    if isinstance(cov, tuple) and cov[0] == "mul" and cov[-1] == ("eye", dimension):
        return mul(*(reader.scalar(s) for s in cov[1:-1]))
    raise UnsupportedNode(
        f"{x} has a covariance that is not a number times the identity; whiten the input, or use gradient_flow"
    )


def read_noise(draw: Draw, x: str, reader: Reader, families: Sequence[str] = ()) -> Noise:
    """Law of a noise of order one.

    Raises
    ------
    UnsupportedNode
        If it has several columns, its law depends on another Gaussian draw, or differs between the steps of an episode.
    """
    low = reader.lowered
    shape = draw.shapes[x]
    if shape and shape[1] != 1:
        raise UnsupportedNode(
            f"{x} has {shape[1]} columns; online_limit treats numbers and columns as noises, write one column for each"
        )
    cov = None if draw.cov is None else low.inline(draw.cov)
    mean = None if draw.mean is None else low.inline(draw.mean)
    default = ("eye", shape[0]) if shape else 1
    labels = label_symbols(low)
    for tree in (cov, mean):
        if tree is not None and any(low.roles.get(n) == "draw" and n not in labels for n in names(tree)):
            raise UnsupportedNode(
                f"{x}: its law depends on another Gaussian draw; online_limit treats independent noises, add the other draw "
                "in `let` instead"
            )
    label = reader.label(shape[0]) if shape else None
    if label and label.family in families:
        if cov is not None:
            _multiple(cov, x, shape[0], reader)  # refuses
        if mean is not None and label in reader.node(mean, label, None).free:
            raise UnsupportedNode(
                f"{x} has a mean that differs between the steps {label.family} of an episode, which are exchangeable here; "
                "give the steps that differ a draw of their own"
            )
    return Noise(
        labels=(label,) if label else (),
        covariance=lambda i, j: reader.node(default if cov is None else cov, i, j),
        mean=lambda i: ZERO if mean is None else reader.node(mean, i, None),
    )


__all__ = ["Noise", "field_labels", "field_law", "gaussian_draws", "input_variance", "read_noise", "steps_of"]
