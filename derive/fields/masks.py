r"""Noises with independent entries that are not Gaussian: masks of dropout, failures of release, multiplicative noise.

    E[m_a^p m_b^q ..] = sum over set partitions of the labels a, b, .. of prod over blocks K(powers in the block) delta(labels),

where the cumulant K of powers of one entry follows from its moments mu_n = E[m^n]:

    K(p_1, .., p_r) = sum over set partitions of 1..r of (-1)^(n-1) (n-1)! prod over its n blocks of mu_(sum of p in the block).

So a mask with an index, ``Marginal(m, values=(0, 1), probs=(1 - p, p))`` with m of shape (K, 1), keeps K symbolic. It is
averaged before the Gaussian fields, from which it is independent; it may stand in products and powers, not inside a function.
Imported by the extraction of the field rule and by its checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial, prod
from typing import Any

from derive.errors import BudgetExceeded, UnsupportedNode
from derive.fields.values import Reader
from derive.gaussian.terms import close, expand, random
from derive.indices.indexed import Index, Node, add, const, kron, mul, power
from derive.spec.lowered import Draw, Lowered

MOST = 6  # labels of one mask in a product: 203 partitions
OUTCOMES = 256  # that a check enumerates


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A column (or number) of independent entries.

    Attributes
    ----------
    name : str
    moment : callable(order, label) -> Node
        E[m^order] of the entry at a label.
    values : tuple of pairs of Node callables, or None
        Value and probability of each outcome at a label; None if the law gives moments only.
    """

    name: str
    moment: Callable[[int, Index | None], Node]
    values: tuple[tuple[Callable[[Index | None], Node], Callable[[Index | None], Node]], ...] | None = None


def is_mask(draw: Draw) -> bool:
    """Whether a draw has independent entries that are averaged here."""
    return draw.law == "Marginal" and draw.cov is None and (draw.values is None or draw.shapes[draw.symbols[0]] != ())


def mask_draws(low: Lowered) -> dict[str, Draw]:
    """The masks of a model by symbol.

    Raises
    ------
    UnsupportedNode
        If one is drawn once per run, or given by a function of a normal number.
    """
    out = {}
    for draw in low.draws:
        if not is_mask(draw):
            continue
        (name,) = draw.symbols
        if draw.once:
            raise UnsupportedNode(
                f"{name} is drawn once per run; online_limit needs fresh draws at every step, drop once=True or make it given"
            )
        if draw.transform is not None:
            raise UnsupportedNode(
                f"{name} has the law Marginal with a transform; online_limit averages over the normal number itself, draw z "
                f"from Normal and define {name} as a function of z in `let`"
            )
        out[name] = draw
    return out


def read_mask(draw: Draw, name: str, reader: Reader, families: Sequence[str]) -> Mask:
    """The law of a mask, read at labels.

    Raises
    ------
    UnsupportedNode
        If it has the length of the inputs, several columns, the steps of an episode, or a law that depends on other draws.
    """
    low, shape = reader.lowered, draw.shapes[name]
    if any(reader.is_big(d) for d in shape):
        raise UnsupportedNode(
            f"{name} has an axis of length {reader.big} and is not Gaussian; online_limit treats inputs from Normal. What few "
            "fields see of independent entries is Gaussian too: write Normal with their variance, their mean as a given vector"
        )
    if shape and (shape[1] != 1 or shape[0] in families):
        raise UnsupportedNode(
            f"{name} has shape {shape}; a draw with the law Marginal is a number or a column over units here, write one symbol "
            "for each column and none over the steps of an episode"
        )

    def at(tree: Any) -> Callable[[Index | None], Node]:
        tree = low.inline(tree)
        return lambda i: reader.node(tree, i if low.shape(tree) else None, None)

    if draw.values is None:
        given = {k: at(tree) for k, tree in draw.moments}

        def moment(k: int, i: Index | None) -> Node:
            if k not in given:
                raise UnsupportedNode(
                    f"the average needs E[{name}^{k}], but the law Marginal({name}) gives moments of order "
                    f"{', '.join(map(str, given))}; add it, moments={{..., {k}: value}}"
                )
            return given[k](i)

        return Mask(name=name, moment=moment)
    count = len(draw.values)
    probs = draw.probs if draw.probs is not None else (("frac", 1, count) if count > 1 else 1,) * count
    pairs = tuple((at(v), at(p)) for (v,), p in zip(draw.values, probs, strict=True))
    return Mask(
        name=name, values=pairs, moment=lambda k, i: add(*(mul(chance(i), power(value(i), k)) for value, chance in pairs))
    )


# --------------------------------------------------------------------------------------------------------------- average
def mask_mean(node: Node, masks: Mapping[str, Mask]) -> Node:
    """Average over all masks; what does not hold one stays as it is.

    Raises
    ------
    UnsupportedNode
        If a mask stands inside a function, a root or a quotient.
    BudgetExceeded
        If more than six labels of one mask meet in a product.

    >>> from derive.indices.indexed import arr
    >>> flip = Mask(name="m", moment=lambda k, i: arr("p"))
    >>> k, l = Index("k", "K"), Index("l", "K")
    >>> mask_mean(mul(arr("m", k), arr("m", l), arr("x", k)), {"m": flip})
    x[k]*(p^2 + delta[k,l]*(p - p^2))
    """
    held = lambda a: a.args[0] in masks  # noqa: E731
    if not masks or not random(node, held):
        return node
    out = []
    for term in expand(node, held, tag="mask"):
        powers: dict[str, dict[Index | None, int]] = {}
        for f in term.factors:
            if f.kind != "x":
                shown = ", ".join(n for n in masks if any(n == a.args[0] for a in _arrays(f.slot)))
                raise UnsupportedNode(
                    f"{f!r}: {shown} has independent entries that are not Gaussian and stands inside a function; multiply the "
                    "function by it, or write a Choice over a few values"
                )
            name, labels = f.slot.args[0], f.slot.args[1]
            own = powers.setdefault(name, {})
            label = labels[0] if labels else None
            own[label] = own.get(label, 0) + 1
        value = mul(*(_moments(masks[name], own) for name, own in powers.items()))
        out.append(close(term.bound, mul(term.coefficient, value)))
    return add(*out)


def _arrays(node: Node) -> Iterator[Node]:
    if node.op == "arr":
        yield node
    for a in node.args:
        if isinstance(a, Node):
            yield from _arrays(a)


def _moments(mask: Mask, powers: Mapping[Index | None, int]) -> Node:
    """E of a product of powers of entries at labels that may coincide."""
    labels = list(powers)
    if len(labels) > MOST:
        raise BudgetExceeded(
            f"{mask.name}: {len(labels)} labels of it meet in one product, at most {MOST} are grouped; lower the degree"
        )
    out = []
    for blocks in partitions(labels):
        parts = []
        for block in blocks:
            first, *others = block
            parts.append(_cumulant(mask, first, [powers[i] for i in block]))
            parts += [kron(first, i) for i in others if first is not None and i is not None]
        out.append(mul(*parts))
    return add(*out)


def _cumulant(mask: Mask, label: Index | None, orders: Sequence[int]) -> Node:
    terms = []
    for blocks in partitions(list(range(len(orders)))):
        n = len(blocks)
        sign = (-1) ** (n - 1) * factorial(n - 1)
        terms.append(mul(const(sign), *(mask.moment(sum(orders[i] for i in block), label) for block in blocks)))
    return add(*terms)


def partitions(items: Sequence[Any]) -> Iterator[list[list[Any]]]:
    """Set partitions.

    >>> len(list(partitions("abcd")))
    15
    """
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for p in partitions(rest):
        yield [[first], *p]
        for n in range(len(p)):
            yield [*p[:n], [first, *p[n]], *p[n + 1 :]]


def mask_outcomes(
    masks: Mapping[str, Mask], families: Mapping[str, str], value: Callable[[Node, Mapping[Index, int]], float],
    sizes: Mapping[str, int],
) -> list[tuple[float, dict[str, list[float] | float]]]:  # fmt: skip
    """(probability, values by name) of all joint outcomes; empty if there are too many, or a law gives moments only.

    ``families`` holds the axis of every mask, "" for a number; ``value`` evaluates a node at places of labels.
    """
    options: list[list[tuple[str, float, float]]] = []
    for name, m in masks.items():
        label = Index("@mask", families[name]) if families[name] else None
        for n in range(sizes[families[name]] if label else 1):
            at = {label: n} if label else {}
            options.append([(name, value(v(label), at), value(p(label), at)) for v, p in m.values or ()])
    if prod(len(o) for o in options) > OUTCOMES:
        return []
    out = []
    for chosen in product(*options):
        drawn: dict[str, list[float]] = {}
        for name, v, _ in chosen:
            drawn.setdefault(name, []).append(v)
        out.append((prod(p for *_, p in chosen), {n: v if families[n] else v[0] for n, v in drawn.items()}))
    return out


__all__ = ["Mask", "is_mask", "mask_draws", "mask_mean", "mask_outcomes", "partitions", "read_mask"]
