r"""The field rule: a one-pass update of N-vectors, written in their fields.

An update is in the class treated here if every vector V_k of every learned family moves by

    V_k += (1/sqrt N) sum_x F_x(k) x + (1/N) sum_U sum_j G_U(k, j) U_j,        theta += (1/N) H,

where x are centred Gaussian inputs and F, G, H are of order one: functions of the fields ``V.x = V x / sqrt N``, of noises, of
overlaps and of O(1) arrays. The powers of N are counted, and any other one is refused with the term that carries it. Random
labels (`derive.fields.labels`) give one `Branch` for each outcome. A `FieldRule` is a value: it is printed, compared, averaged
(`online_limit`) and sampled (the derivation-time checks). Imported by `online_limit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.calculus import powers_of
from derive.fields.episodes import draw_mean
from derive.fields.increments import increments, row_labels, step_label
from derive.fields.labels import Outcome, outcomes
from derive.fields.later_blocks import Later, Push, later_block
from derive.fields.law import Noise, field_law, gaussian_draws, input_variance, read_noise, steps_of
from derive.fields.masks import Mask, mask_draws, mask_mean, read_mask
from derive.fields.overlaps import Overlaps, field_name, make_overlaps
from derive.fields.rates import rates, refuse_products
from derive.fields.scales import Scale, block_of, scale_of
from derive.fields.values import Reader
from derive.gaussian.collect import collect
from derive.gaussian.measure import Measure
from derive.gaussian.terms import random
from derive.indices.indexed import ONE, Index, Node, add, arr, mul, power, sum_over, text
from derive.spec.lowered import Draw, Lowered, LoweredUpdate, lowered_of
from derive.spec.tree import Tree, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """The rule under one outcome of the labels.

    Attributes
    ----------
    weight : Node
        Probability of the outcome, as far as it does not depend on fields.
    tilt : Node
        The factor of the probability that depends on fields (a policy); 1 otherwise.
    inner : tuple of (Index, Node)
        Places of unit columns and their probabilities.
    outcome : Outcome
    inputs : mapping name -> Node
        Gaussian N-vectors and the variance of their entries.
    noises : mapping name -> Noise
    F : mapping family -> mapping input -> Node
    G : mapping family -> tuple of Push
    H : mapping state -> Node
    steps : mapping input -> dimension
        What counts the columns of an input that is an episode; F along it holds the label `step_label`.
    masks : mapping name -> Mask
        Noises of independent entries that are not Gaussian.
    dropped : mapping state -> tuple of str
        Squares of inputs in its step beside which terms of lower order in N were dropped.
    """

    weight: Node
    tilt: Node
    inner: tuple[tuple[Index, Node], ...]
    outcome: Outcome
    inputs: Mapping[str, Node]
    noises: Mapping[str, Noise]
    F: Mapping[str, Mapping[str, Node]]
    G: Mapping[str, tuple[Push, ...]]
    H: Mapping[str, Node]
    law: Measure
    reader: Reader
    steps: Mapping[str, str] = field(default_factory=dict)
    masks: Mapping[str, Mask] = field(default_factory=dict)
    dropped: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def is_field(self, node: Node) -> bool:
        """Whether an ``arr`` node is Gaussian: a field or a noise."""
        return "." in node.args[0] or node.args[0] in self.noises

    def average(self, node: Node) -> Node:
        """Average over fresh draws under this outcome (and over the places of unit columns), without its weight."""
        whole = mask_mean(mul(self.tilt, node) if self.tilt != ONE else node, self.masks)
        value = draw_mean(whole, tuple(dict.fromkeys(self.steps.values())), self.is_field, self.law)
        for p, w in self.inner:
            value = sum_over(p, mul(w, value)) if p in value.free else value
        return value


def averaged(branches: Sequence[Branch], integrand: Callable[[Branch], Node]) -> Node:
    """Average over labels, outermost; a value that is the same for all of them stands alone."""
    groups: dict[Node, list[Node]] = {}
    for b in branches:
        groups.setdefault(b.average(integrand(b)), []).append(b.weight)
    if len(groups) == 1 and all(b.tilt == ONE for b in branches):
        return collect(next(iter(groups)))
    shared: dict[Node, list[Node]] = {}
    for value, weights in groups.items():
        shared.setdefault(add(*weights), []).append(value)
    return collect(add(*(mul(weight, add(*values)) for weight, values in shared.items())))


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """A one-pass update in its fields.

    Attributes
    ----------
    name, big : str
        Model, and the scale N that tends to infinity.
    overlaps : Overlaps
        Families and their Gram matrices.
    labels : mapping name -> tuple of Index
        Row labels used in F, G (families, learned) and H (states of order one).
    branches : tuple of Branch
        One for each outcome of the labels. If there is one only, its parts are attributes of the rule too.
    later : tuple of Later
        The blocks of the update after the first one.
    pace : Node
        1 / (N dt): 1 if the time of one step is 1/N.
    batch : Node
        Number of draws that the first block is averaged over.
    finite : bool
        N is a number like any other: F, G and H may depend on it, and nothing was dropped.
    """

    name: str
    big: str
    overlaps: Overlaps
    labels: Mapping[str, tuple[Index, ...]]
    branches: tuple[Branch, ...]
    pace: Node
    scale: Scale
    input_blocks: Mapping[str, str]
    later: tuple[Later, ...] = ()
    batch: Node = field(default=ONE)
    finite: bool = False

    @property
    def single(self) -> Branch:
        """The only branch.

        Raises
        ------
        UnsupportedNode
            If there are several outcomes, later blocks or a batch, so that F, G and H of one draw are not the whole rule.
        """
        if len(self.branches) != 1 or self.branches[0].inner:
            shown = "; ".join(b.outcome.shown for b in self.branches)
            raise UnsupportedNode(f"{self.name}: the rule depends on labels ({shown}); read each outcome in rule.branches")
        if self.later or self.batch != ONE:
            raise UnsupportedNode(
                f"{self.name}: the step is not the first block of one draw (later blocks: {len(self.later)}, batch: "
                f"{text(self.batch)}); read rule.branches, rule.later and rule.batch"
            )
        return self.branches[0]

    @property
    def F(self) -> Mapping[str, Mapping[str, Node]]:
        """F of the only branch."""
        return self.single.F

    @property
    def G(self) -> Mapping[str, tuple[Push, ...]]:
        """G of the only branch."""
        return self.single.G

    @property
    def H(self) -> Mapping[str, Node]:
        """H of the only branch."""
        return self.single.H

    @property
    def inputs(self) -> Mapping[str, Node]:
        """Inputs of the only branch and the variance of their entries."""
        return self.single.inputs

    @property
    def noises(self) -> Mapping[str, Noise]:
        """Noises of the only branch."""
        return self.single.noises

    @property
    def reader(self) -> Reader:
        """The reader of the only branch."""
        return self.single.reader

    def average(self, node: Node) -> Node:
        """Average over fresh draws, of the only branch."""
        return self.single.average(node)

    def ratio(self, x: str) -> Node:
        """Length of an input in units of N."""
        return self.scale.ratios[self.input_blocks[x]]

    def field(self, family: str, source: str, label: Index | None) -> Node:
        """The field of a vector and an input, at the step `step_label` of an episode."""
        return arr(field_name(family, source), *(i for i in (label, self.step(source)) if i))

    def step(self, source: str) -> Index | None:
        """Label of the steps of an input; None if it is a single column."""
        return step_label(self.branches[0].steps[source]) if source in self.branches[0].steps else None

    def __str__(self) -> str:
        from derive.fields.text import rule_text

        return rule_text(self)


def field_rule(model: Any) -> FieldRule:
    """Read the update of a model in its fields.

    Parameters
    ----------
    model : Model
        With an `Update`, a `Limit` in which at least one dimension tends to infinity, Gaussian inputs of that length, labels
        (`Choice`), and any number of weight families with one axis of that length. Blocks after the first one may normalise
        or shrink the weights, without draws.

    Raises
    ------
    UnsupportedNode
        If the update leaves the class, naming the term and the reason.

    Examples
    --------
    >>> from derive.library.teacher import teacher_student
    >>> print(field_rule(teacher_student(train=("W",), noise=False)))
    field rule of teacher_student (N -> oo), fields A.x = A x/sqrt(N)
      W[k] += N^(-1/2) * x * (-eta*v[k]*erf2'(W.x[k])*(Sum_#0(v[#0]*erf2(W.x[#0])) - Sum_#0(A[#0]*erf2(Wstar.x[#0]))))
    """
    return rule_of(lowered_of("field_rule", model))


def rule_of(low: Lowered, *, finite: bool = False) -> FieldRule:
    """The field rule of a lowered update; with ``finite``, N is a number like any other and F, G, H may depend on it."""
    rule, scale, overlaps = _rule(low), scale_of(low), overlaps_of(low)
    learned = {s: overlaps.families[s] for s in overlaps.learned}
    draws = gaussian_draws(low)
    input_blocks = {x: b for x in draws if (b := block_of(low, x, scale))}
    made: list[Branch] = []
    found = outcomes(low)
    mixed = len(found) > 1 or any(o.columns for o in found)

    def mixture(one: Callable[[Reader], Node]) -> Node:
        return averaged(made, lambda b: one(b.reader))

    openings = [_opening(low, scale, overlaps, draws, input_blocks, o, mixture if mixed else None, finite) for o in found]
    made += [Branch(**parts, F={}, G={}, H={}) for parts in openings]
    labels = {s: tuple(i for i in row_labels(low.shapes[s], made[0].reader) if i) for s, _ in rule.blocks[0]}
    branches = []
    for parts in openings:
        read = rates if finite else increments
        _, F, G, H, dropped = read(low, rule, parts["reader"], learned)
        branches.append(Branch(**parts, F=F, G=G, H=H, dropped=dropped))
    made[:] = branches
    reader = branches[0].reader
    pace = powers_of(power(reader.scalar(rule.dt), -1), scale.big, "dt")
    if list(pace) != [Fraction(1)]:
        unit = f"1/{scale.big}" if scale.shown == scale.big else f"1/({scale.shown})"
        raise UnsupportedNode(
            f"{low.name}: the time of one step, dt, must be of order 1/{scale.shown}; write Update(..., dt={unit})"
        )
    later = tuple(later_block(low, block, n, reader, row_labels) for n, block in enumerate(rule.blocks[1:], start=2))
    return FieldRule(
        name=low.name, big=scale.big, overlaps=overlaps, labels=labels, branches=tuple(branches), pace=pace[Fraction(1)],
        scale=scale, input_blocks=input_blocks, later=later, batch=_batch(low, rule, reader), finite=finite,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- the spec
def overlaps_of(low: Lowered) -> Overlaps:
    """Families of N-vectors of a model and the names of their overlaps."""
    scale = scale_of(low)
    blocks = {s: b for s in (*low.state, *low.given) if (b := block_of(low, s, scale))}
    learned = {s: _size(low, s, scale) for s in low.state if s in blocks}
    fixed = {s: _size(low, s, scale) for s in low.given if s in blocks}
    several = blocks if len(scale.sizes) > 1 else {}
    return make_overlaps(learned, fixed, taken=(*low.shapes, *low.dims), blocks=several)


def _rule(low: Lowered) -> LoweredUpdate:
    if not isinstance(low.rule, LoweredUpdate):
        raise UnsupportedNode(
            f"{low.name}: online_limit needs an Update with dt=1/N; for a Rate use gradient_flow or population_flow, or "
            "as_updates(model, eta) to make it one"
        )
    return low.rule


def _batch(low: Lowered, rule: LoweredUpdate, reader: Reader) -> Node:
    if any(n in reader.sizes for n in names(rule.batch)):
        raise UnsupportedNode(f"{low.name}: batch={rule.batch} tends to infinity; use noise='none' for an infinite batch")
    if any(low.roles.get(n) not in ("given", "ratio", None) for n in names(rule.batch)):
        raise UnsupportedNode(f"{low.name}: batch={rule.batch} is not fixed; use a number or a given symbol")
    return reader.scalar(rule.batch)


def _size(low: Lowered, name: str, scale: Scale) -> Tree:
    rows, cols = low.shapes[name]
    return cols if rows in scale.sizes else rows


def _opening(
    low: Lowered, scale: Scale, overlaps: Overlaps, draws: Mapping[str, Draw], input_blocks: Mapping[str, str],
    outcome: Outcome, mixture: Callable[[Callable[[Reader], Node]], Node] | None, finite: bool,
) -> dict[str, Any]:  # fmt: skip
    """Laws and reader under one outcome: everything of a `Branch` but its increments."""
    variances: dict[str, Node] = {}
    lengths: dict[str, Node] = {}
    noises: dict[str, Noise] = {}
    steps: dict[str, str] = {}
    masks: dict[str, Mask] = {}

    def is_field(a: Node) -> bool:
        return "." in a.args[0] or a.args[0] in noises

    law = field_law(overlaps, variances, lengths, noises)
    means = {x: low.inline(d.mean) for x, d in draws.items() if x in input_blocks and d.mean is not None}
    reader = Reader(
        lowered=low, big=scale.big, overlaps=overlaps, inputs=lengths, sizes=scale.sizes, means=means, outcome=outcome,
        average=lambda e: draw_mean(mask_mean(e, masks), tuple(dict.fromkeys(steps.values())), is_field, law), mixture=mixture,
        products=refuse_products if finite else None,
    )  # fmt: skip
    for x in input_blocks:
        variances[x] = input_variance(draws[x], x, reader)
        lengths[x] = mul(scale.ratios[input_blocks[x]], variances[x])
        if columns := steps_of(draws[x], x, reader):
            steps[x] = columns
    for x, d in draws.items():
        if x not in input_blocks:
            noises[x] = read_noise(d, x, reader, tuple(steps.values()))

    for x, d in mask_draws(low).items():
        masks[x] = read_mask(d, x, reader, tuple(steps.values()))

    weights = [reader.scalar(low.inline(w)) for w in outcome.weights]
    inner = []
    for p, probs in outcome.inner:
        w = power(arr(p.family), -1) if probs is None else reader.node(low.inline(probs), p, None)
        if random(w, is_field):
            raise UnsupportedNode(
                f"{low.name}: the probabilities of {outcome.shown} depend on fields; list the values, "
                "Choice(s, (v1, v2), (p1, p2))"
            )
        inner.append((p, w))
    return {
        "weight": mul(*(w for w in weights if not random(w, is_field))),
        "tilt": mul(*(w for w in weights if random(w, is_field))),
        "inner": tuple(inner), "outcome": outcome, "inputs": variances, "noises": noises, "law": law, "reader": reader,
        "steps": steps, "masks": masks,
    }  # fmt: skip
