r"""The field rule: a one-pass update of N-vectors, written in their fields.

An update is in the class treated here if every vector V_k of every learned family moves by

    V_k += (1/sqrt N) sum_x F_x(k) x + (1/N) sum_U sum_j G_U(k, j) U_j,        theta += (1/N) H,

where x are Gaussian inputs and F, G, H are of order one: functions of the fields ``V.x = V x / sqrt N``, of noises, of
overlaps and of O(1) arrays. The powers of N are counted, and any other one is refused with the term that carries it. A
`FieldRule` is a value: it is printed, compared, averaged (`online_limit`) and sampled (the derivation-time checks). Imported
by `online_limit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from derive.errors import UnsupportedNode
from derive.field_calculus import powers_of, without_stops
from derive.field_values import Part, Reader, Vector
from derive.gaussian import expectation_of
from derive.gaussian.measure import Measure, linear_measure
from derive.indexed import ONE, ZERO, Index, Node, add, arr, const, mul, power, sum_over, text
from derive.lowered import Draw, Lowered, LoweredUpdate
from derive.overlaps import Overlaps, field_name, make_overlaps
from derive.tree import Tree, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """A Gaussian draw of order-one shape: covariance and mean of its entries at two labels."""

    labels: tuple[Index, ...]
    covariance: Callable[[Index | None, Index | None], Node]
    mean: Callable[[Index | None], Node]


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """``coefficient * family[index]``, summed over ``bound``: one term of G."""

    bound: tuple[Index, ...]
    coefficient: Node
    family: str
    index: Index | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """A one-pass update in its fields.

    Attributes
    ----------
    name, big : str
        Model, and the dimension N that tends to infinity.
    overlaps : Overlaps
        Families and their Gram matrices.
    inputs : mapping name -> Node
        Gaussian N-vectors and the variance of their entries.
    noises : mapping name -> Noise
    labels : mapping name -> tuple of Index
        Row labels used in F, G (families, learned) and H (states of order one).
    F : mapping family -> mapping input -> Node
    G : mapping family -> tuple of Push
    H : mapping state -> Node
    pace : Node
        1 / (N dt): 1 if the time of one step is 1/N.
    """

    name: str
    big: str
    overlaps: Overlaps
    inputs: Mapping[str, Node]
    noises: Mapping[str, Noise]
    labels: Mapping[str, tuple[Index, ...]]
    F: Mapping[str, Mapping[str, Node]]
    G: Mapping[str, tuple[Push, ...]]
    H: Mapping[str, Node]
    pace: Node
    law: Measure
    reader: Reader

    def is_field(self, node: Node) -> bool:
        """Whether an ``arr`` node is random: a field or a noise."""
        return "." in node.args[0] or node.args[0] in self.noises

    def average(self, node: Node) -> Node:
        """Average over fresh draws."""
        return expectation_of(node, self.is_field, self.law)

    def field(self, family: str, source: str, label: Index | None) -> Node:
        """The field of a vector and an input."""
        return arr(field_name(family, source), *((label,) if label else ()))

    def __str__(self) -> str:
        out = [f"field rule of {self.name} ({self.big} -> oo), fields A.x = A x/sqrt({self.big})"]
        for a, parts in self.F.items():
            row = _entry(a, self.labels[a])
            for x, f in parts.items():
                out.append(f"  {row} += {self.big}^(-1/2) * {x} * ({text(f)})")
            for g in self.G[a]:
                u = _entry(g.family, (g.index,) if g.index else ())
                sums = "".join(f"Sum_{i.name} " for i in g.bound)
                out.append(f"  {row} += {self.big}^(-1) * {sums}{u} * ({text(g.coefficient)})")
        for s, h in self.H.items():
            out.append(f"  {_entry(s, self.labels[s])} += {self.big}^(-1) * ({text(h)})")
        return "\n".join(out)


def _entry(name: str, labels: tuple[Index, ...]) -> str:
    return f"{name}[{','.join(i.name for i in labels)}]" if labels else name


def field_rule(model: Any) -> FieldRule:
    """Read the update of a model in its fields.

    Parameters
    ----------
    model : Model
        With a one-block `Update`, ``Limit({N: oo})`` for one dimension, standard Gaussian inputs of that length, and any
        number of weight families with one axis of that length.

    Raises
    ------
    UnsupportedNode
        If the update leaves the class, naming the term and the reason.

    Examples
    --------
    >>> from derive.library_teacher import teacher_student
    >>> print(field_rule(teacher_student(train=("W",), noise=False)))
    field rule of teacher_student (N -> oo), fields A.x = A x/sqrt(N)
      W[k] += N^(-1/2) * x * (-eta*v[k]*erf2'(W.x[k])*(Sum_#0(v[#0]*erf2(W.x[#0])) - Sum_#0(A[#0]*erf2(Wstar.x[#0]))))
    """
    low: Lowered = model.lowered
    rule, big = _rule(low), _limit(low)
    learned = {s: _size(low, s, big) for s in low.state if big in _axes(low, s)}
    fixed = {s: _size(low, s, big) for s in low.given if big in _axes(low, s)}
    overlaps = make_overlaps(learned, fixed, taken=(*low.shapes, *low.dims))
    draws = {d.symbols[0]: d for d in low.draws if _checked(d, low)}
    inputs = {x: d for x, d in draws.items() if big in _axes(low, x)}
    variances: dict[str, Node] = {}
    noises: dict[str, Noise] = {}
    reader: Reader
    law = linear_measure(
        lambda a: "." in a.args[0] or a.args[0] in noises,
        lambda a, b: _covariance(a, b, overlaps, variances, noises),
        lambda a: noises[a.args[0]].mean((a.args[1] or (None,))[0]) if a.args[0] in noises else ZERO,
    )
    reader = Reader(
        lowered=low, big=big, overlaps=overlaps, inputs=variances,
        average=lambda e: expectation_of(e, lambda a: "." in a.args[0] or a.args[0] in noises, law),
    )  # fmt: skip
    for x, d in draws.items():
        if x in inputs:
            variances[x] = _input_variance(d, x, big, reader)
        else:
            noises[x] = _noise(d, x, reader)
    labels, F, G, H = _increments(low, rule, reader, learned)
    pace = powers_of(power(reader.scalar(rule.dt), -1), big, "dt")
    if list(pace) != [Fraction(1)]:
        raise UnsupportedNode(f"{low.name}: the time of one step, dt, must be of order 1/{big}; write Update(..., dt=1/{big})")
    return FieldRule(
        name=low.name, big=big, overlaps=overlaps, inputs=dict(variances), noises=noises, labels=labels, F=F, G=G, H=H,
        pace=pace[Fraction(1)], law=law, reader=reader,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- the spec
def _rule(low: Lowered) -> LoweredUpdate:
    if not isinstance(low.rule, LoweredUpdate):
        raise UnsupportedNode(
            f"{low.name}: online_limit needs an Update with dt=1/N; for a Rate use gradient_flow, or as_updates(model, "
            "eta) to make it one"
        )
    if len(low.rule.blocks) != 1:
        raise UnsupportedNode(
            f"{low.name}: an Update of {len(low.rule.blocks)} blocks uses one input several times within a step; write "
            "it as one block"
        )
    if low.rule.batch != 1:
        raise UnsupportedNode(f"{low.name}: batch={low.rule.batch}; online_limit treats one sample per step, set batch=1")
    return low.rule


def _limit(low: Lowered) -> str:
    infinite = [name for name, value in (low.limit[0] if low.limit else ()) if value == ("oo",) and isinstance(name, str)]
    if len(infinite) != 1:
        raise UnsupportedNode(
            f"{low.name}: online_limit needs exactly one dimension that tends to infinity (found {infinite}); write "
            f"limit=Limit({{N: oo}})"
        )
    return infinite[0]


def _axes(low: Lowered, name: str) -> tuple[str, ...]:
    return tuple(n for d in low.shapes[name] for n in names(d))


def _size(low: Lowered, name: str, big: str) -> Tree:
    rows, cols = low.shapes[name]
    if (rows == big) == (cols == big):
        raise UnsupportedNode(f"{name} has shape ({rows}, {cols}); a family of vectors has exactly one axis of length {big}")
    return cols if rows == big else rows


def _checked(draw: Draw, low: Lowered) -> bool:
    shown = ", ".join(draw.symbols)
    if draw.law != "Normal":
        raise UnsupportedNode(f"{shown} has the law {draw.law}; online_limit averages over Normal draws only")
    if draw.once:
        raise UnsupportedNode(
            f"{shown} is drawn once per run; online_limit needs fresh draws at every step, drop once=True or make it given"
        )
    return True


def _input_variance(draw: Draw, x: str, big: str, reader: Reader) -> Node:
    if draw.mean is not None:
        raise UnsupportedNode(f"{x} has a mean; online_limit treats centred inputs only, subtract the mean")
    if draw.shapes[x][1] != 1:
        raise UnsupportedNode(
            f"{x} has {draw.shapes[x][1]} columns; online_limit treats one input column per draw, write one vector for each"
        )
    cov = draw.cov
    if cov is None or cov == ("eye", big):
        return ONE
    if isinstance(cov, tuple) and cov[0] == "mul" and cov[-1] == ("eye", big):
        return mul(*(reader.scalar(reader.lowered.inline(s)) for s in cov[1:-1]))
    raise UnsupportedNode(
        f"{x} has a covariance that is not a number times the identity; whiten the input, or use gradient_flow"
    )


def _noise(draw: Draw, x: str, reader: Reader) -> Noise:
    shape = draw.shapes[x]
    if shape and shape[1] != 1:
        raise UnsupportedNode(
            f"{x} has {shape[1]} columns; online_limit treats numbers and columns as noises, write one column for each"
        )
    cov = None if draw.cov is None else reader.lowered.inline(draw.cov)
    mean = None if draw.mean is None else reader.lowered.inline(draw.mean)
    default = ("eye", shape[0]) if shape else 1
    for tree in (cov, mean):
        if tree is not None and any(reader.lowered.roles.get(n) == "draw" for n in names(tree)):
            raise UnsupportedNode(f"{x}: its law depends on another draw; online_limit treats independent noises only")
    label = reader.label(shape[0]) if shape else None
    return Noise(
        labels=(label,) if label else (),
        covariance=lambda i, j: reader.node(default if cov is None else cov, i, j),
        mean=lambda i: ZERO if mean is None else reader.node(mean, i, None),
    )


def _covariance(a: Node, b: Node, overlaps: Overlaps, variances: Mapping[str, Node], noises: Mapping[str, Noise]) -> Node:
    (p, i), (q, j) = ((n.args[0], (n.args[1] or (None,))[0]) for n in (a, b))
    if p in noises or q in noises:
        return noises[p].covariance(i, j) if p == q else ZERO
    (v, x), (u, y) = p.split("."), q.split(".")
    return mul(variances[x], overlaps.entry(v, i, u, j)) if x == y else ZERO


# ------------------------------------------------------------------------------------------------------- the increments
def _increments(low: Lowered, rule: LoweredUpdate, reader: Reader, learned: Mapping[str, Tree]) -> tuple[Any, Any, Any, Any]:
    labels: dict[str, tuple[Index, ...]] = {}
    F: dict[str, dict[str, Node]] = {}
    G: dict[str, tuple[Push, ...]] = {}
    H: dict[str, Node] = {}
    for name, tree in rule.blocks[0]:
        row, col = row_labels(low.shapes[name], reader)
        labels[name] = tuple(i for i in (row, col) if i)
        tree = low.inline(tree)
        if name in learned:
            value = reader.value(tree, row, col)
            assert isinstance(value, tuple)
            minus = Part(coefficient=const(-1), vector=name, index=row or col)
            F[name], G[name] = _vector(name, (*value, minus), reader)
        else:
            step = add(reader.node(tree, row, col), mul(const(-1), arr(name, *labels[name])))
            H[name] = _order_one(without_stops(step), Fraction(-1), name, reader.big, f"the step of {name}")
    return labels, F, G, H


def row_labels(shape: tuple[Tree, ...], reader: Reader) -> tuple[Index | None, Index | None]:
    """Printable labels of the two axes: k, l, m, ... by axis, None for axes of length 1 and N."""
    if not shape:
        return None, None
    letters = iter([c for c in "klmnpqrsijabcdefgh" if c not in (*reader.lowered.shapes, *reader.lowered.dims)])
    made = [reader.label(d) for d in shape]
    row, col = (None if i is None else Index(next(letters), i.family) for i in made)
    return row, col


def _vector(name: str, parts: Vector, reader: Reader) -> tuple[dict[str, Node], tuple[Push, ...]]:
    pushes: dict[tuple[str, Index | None, tuple[Index, ...]], Node] = {}
    inputs: dict[str, Node] = {}
    for p in parts:
        coefficient = without_stops(p.coefficient)
        if p.vector in reader.inputs:
            for i in p.bound:
                coefficient = sum_over(i, coefficient)
            inputs[p.vector] = add(inputs.get(p.vector, ZERO), coefficient)
        else:
            key = (p.vector, p.index, p.bound)
            pushes[key] = add(pushes.get(key, ZERO), coefficient)
    half = Fraction(-1, 2)
    F = {x: _order_one(c, half, x, reader.big, f"the step of {name} along {x}") for x, c in sorted(inputs.items()) if c != ZERO}
    G = tuple(
        Push(bound=bound, coefficient=made, family=vector, index=index)
        for (vector, index, bound), c in pushes.items()
        if (made := _order_one(c, Fraction(-1), vector, reader.big, f"the step of {name} along {vector}")) != ZERO
    )
    return {x: f for x, f in F.items() if f != ZERO}, G


def _order_one(node: Node, expected: Fraction, name: str, big: str, where: str) -> Node:
    parts = powers_of(node, big, where)
    for p, c in sorted(parts.items()):
        if p != expected:
            fate = "diverges" if p > expected else "vanishes in the limit"
            raise UnsupportedNode(
                f"{where}: the term {text(c)[:120]} is of order {big}^({p}), but a step must be of order "
                f"{big}^({expected}), so it {fate}; "
                f"multiply it by {big}^({expected - p})"
            )
    return parts.get(expected, ZERO)
