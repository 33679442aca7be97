r"""Averages over episodes: T independent inputs per step of learning, and functions of how many of them an event happened at.

An episode is a draw with several independent columns, ``Normal(X)`` with X of shape (N, T); its fields carry the label of the
step, lam_t. Steps are independent and alike, so for functions f_s of single steps and any function R of the count
k = sum_t 1[I_t] of an event (a decision was correct),

    E[R(k) f_1 .. f_m]  at m different steps  =  sum_{i in {0,1}^m} E_{Bin(T-m, P)}[R(k + |i|)] prod_s E[1{I = i_s} f_s],

with P = E[1[I]], and sums over steps are sums over the ways in which their labels coincide: T (T-1) .. for labels that nothing
else depends on. T stays a symbol; nothing is written out step by step. Several groups of steps (several draws) have counts of
their own. What is not a function of a count may be any polynomial of sums over steps, and functions of one sum over steps
(a decision on accumulated evidence) are averaged jointly. Imported by the extraction of the field rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial

from derive.errors import UnsupportedNode
from derive.fields.counts import Law, count_mean, falling
from derive.gaussian import expectation_of
from derive.gaussian.factors import Factor, factor
from derive.gaussian.measure import Measure
from derive.gaussian.product import product_average
from derive.gaussian.terms import Fields, Term, close, expand, random
from derive.indices.indexed import ZERO, Index, Node, add, arr, arrays, const, mul, rebuild, substitute, sum_over, text
from derive.indices.sign_algebra import Event, at_step, complement, event_of, open_signs

MARK = "step "


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """What an average over episodes needs: step families, the law of fields, and the events counted in each family."""

    families: tuple[str, ...]
    fields: Fields
    law: Measure
    events: Mapping[str, Node]


def draw_mean(node: Node, families: Sequence[str], fields: Fields, law: Measure) -> Node:
    """Average of an integrand over its Gaussian fields; ``families`` are the dimensions that count the steps of episodes.

    Raises
    ------
    UnsupportedNode
        If two different events are counted at the same steps, or a function of a sum over steps is not a function of a count.
    """
    node = open_signs(node, fields)
    if not any(_runs_over(node, families)):
        return expectation_of(node, fields, law)
    events = _events(node, families, fields)
    episode = Episode(families=tuple(families), fields=fields, law=law, events=events)
    return add(*(_term(t, episode) for t in expand(_counted(node, episode), fields)))


def different_steps(i: Index | None, j: Index | None) -> bool:
    """Whether two labels are marks of different steps, whose draws are independent."""
    return i is not None and j is not None and i != j and i.name.startswith(MARK) and j.name.startswith(MARK)


def _runs_over(node: Node, families: Sequence[str]) -> Iterator[bool]:
    yield node.op == "sum" and node.args[0].family in families
    for a in node.args:
        if isinstance(a, Node):
            yield from _runs_over(a, families)


# ---------------------------------------------------------------------------------------------------------------- counts
def counter(family: str) -> str:
    """Name that stands for the number of events among the steps of a family."""
    return f"#{family}"


def _sums(node: Node, families: Sequence[str], fields: Fields, inside: str) -> Iterator[tuple[Node, str]]:
    """Random sums over steps, outermost first, and the nonlinear function that they stand in (or "")."""
    if not random(node, fields):
        return
    if node.op == "sum" and node.args[0].family in families:
        yield node, inside
        return
    if node.op == "fun" or (node.op == "pow" and (node.args[1].denominator != 1 or node.args[1] < 0)):
        inside = inside or text(node)
    for a in node.args:
        if isinstance(a, Node):
            yield from _sums(a, families, fields, inside)


def _event(node: Node, fields: Fields) -> Event | None:
    label, body = node.args
    own = all(label in a.args[1] for a in _fields_in(body, fields))
    return event_of(body, label, fields) if own else None


def _events(node: Node, families: Sequence[str], fields: Fields) -> dict[str, Node]:
    """The event that is counted at the steps of each family: the one inside functions, or else the only one."""
    inner: dict[str, dict[Node, str]] = {}
    outer: dict[str, dict[Node, None]] = {}
    for total, where in _sums(node, families, fields, ""):
        family = total.args[0].family
        event = _event(total, fields)
        if event is None:
            if where and not _linear(total.args[1], fields):
                raise UnsupportedNode(
                    f"{where[:120]}: its argument sums {text(total.args[1])[:80]} over the steps of an episode, which is not "
                    "an event; a function of a sum over steps must be one of how often an event happened, with a summand "
                    "that takes two values and depends on one step"
                )
            continue
        if where:
            inner.setdefault(family, {}).setdefault(event.indicator, where)
        else:
            outer.setdefault(family, {})[event.indicator] = None
    chosen = {}
    for family in families:
        kinds = list(inner.get(family, {})) or list(outer.get(family, {}))
        kinds = [k for n, k in enumerate(kinds) if all(_opposite(k) != other for other in kinds[:n])]
        if len(kinds) > 1 and family in inner:
            shown = " and ".join(text(k).replace("*]", "t]") for k in kinds[:2])
            raise UnsupportedNode(
                f"two events are counted at the steps {family}: {shown[:200]}; their counts depend on each other, and one "
                "count for each group of steps is treated. Write one function of one count, or give each event steps of its own"
            )
        if len(kinds) == 1:
            chosen[family] = kinds[0]
    return chosen


def _opposite(indicator: Node) -> Node:
    return add(const(1), mul(const(-1), indicator))


def _linear(node: Node, fields: Fields) -> bool:
    return all(f.kind == "x" for t in expand(node, fields) for f in t.factors)


def _counted(node: Node, e: Episode) -> Node:
    """Sums of events as forms in the counters."""
    if node.op == "arr" or not random(node, e.fields):
        return node
    if node.op == "sum":
        label, body = node.args
        if label.family in e.events and (event := _event(node, e.fields)) is not None:
            k, n = arr(counter(label.family)), arr(label.family)
            if event.indicator == e.events[label.family]:
                return add(mul(const(event.low), n), mul(const(event.high - event.low), k))
            if complement(event) == e.events[label.family]:
                return add(mul(const(event.high), n), mul(const(event.low - event.high), k))
        return sum_over(label, _counted(body, e))
    return rebuild(node, [_counted(a, e) if isinstance(a, Node) else a for a in node.args])


# ------------------------------------------------------------------------------------------------------- one term at a time
def _term(term: Term, e: Episode) -> Node:
    factors = _cancelled(term.factors)
    for f in factors:
        if any(n.startswith("#") for n in arrays(f.slot)):
            raise UnsupportedNode(
                f"{f!r}: a count and fields of single steps stand in one function; keep them apart as factors"
            )
    loud = [i for i in term.bound if i.family in e.families and any(i in f.slot.free for f in factors)]
    rest = tuple(i for i in term.bound if i not in loud)
    alone = [_home(f, e) for f in factors]
    joint = any(h is None for h in alone)
    if joint and any(n.startswith("#") for n in arrays(term.coefficient)):
        shown = next(f for f, h in zip(factors, alone, strict=True) if h is None)
        raise UnsupportedNode(f"{shown!r} depends on several draws of an episode, and a count of events stands beside it")
    groups = [[i for i in loud if i.family == f] for f in e.families]
    out = []
    for parts in product(*(list(_partitions(g)) for g in groups)):
        blocks = [b for p in parts for b in p]
        marks = [Index(f"{MARK}{n}", b[0].family) for n, b in enumerate(blocks)]
        change = {i: m for b, m in zip(blocks, marks, strict=True) for i in b}
        placed = [factor(f.kind, substitute(f.slot, change), f.softness, f.function) for f in factors]
        c = substitute(term.coefficient, change)
        value = mul(c, product_average(e.law, _sorted(placed))) if joint else _split(placed, c, marks, e)
        out.append(_distinct(value, marks, e))
    return close(rest, add(*out))


def _sorted(factors: Sequence[Factor]) -> tuple[Factor, ...]:
    return tuple(sorted(_cancelled(factors)))


def _cancelled(factors: Sequence[Factor]) -> list[Factor]:
    """Without pairs of equal hard signs, whose square is one."""
    out: list[Factor] = []
    for f in factors:
        if f.function == "sgn" and f in out:
            out.remove(f)
        else:
            out.append(f)
    return out


def _home(f: Factor, e: Episode) -> str | None:
    """The step that a factor belongs to, "" if to none; None if it depends on several draws of the episode."""
    found = list(_fields_in(f.slot, e.fields))
    labels = {i.name: None for a in found for i in a.args[1] if i.family in e.families}
    if not labels:
        return ""
    everywhere = all(any(i.family in e.families for i in a.args[1]) for a in found)
    (name, *more) = labels
    return name if everywhere and not more and any(i.name == name for i in f.slot.free) else None


def _fields_in(node: Node, fields: Fields) -> Iterator[Node]:
    if node.op == "arr" and fields(node):
        yield node
    for a in node.args:
        if isinstance(a, Node):
            yield from _fields_in(a, fields)


def _partitions(items: Sequence[Index]) -> Iterator[list[list[Index]]]:
    """Set partitions."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for p in _partitions(rest):
        yield [[first], *p]
        for n in range(len(p)):
            yield [*p[:n], [first, *p[n]], *p[n + 1 :]]


def _split(factors: Sequence[Factor], c: Node, marks: Sequence[Index], e: Episode) -> Node:
    """Different steps are independent, except through the counts in the coefficient c."""
    fixed = [f for f in factors if _home(f, e) == ""]
    own = {m: [f for f in factors if _home(f, e) == m.name] for m in marks}
    watched = [f for f in e.events if counter(f) in arrays(c)]
    tied = [m for m in marks if m.family in watched]
    plain = mul(product_average(e.law, _sorted(fixed)), *(_step(own[m], const(1), m, e) for m in marks if m not in tied))
    out = []
    for pattern in product((1, 0), repeat=len(tied)):
        R = c
        for family in watched:
            here = [i for m, i in zip(tied, pattern, strict=True) if m.family == family]
            at = Index(MARK, family)
            law = Law(
                name=counter(family), n=add(arr(family), const(-len(here))), p=_step([], e.events[family], at, e),
                shown=f"the number of events among the {family} steps", sizes=(family,),
            )  # fmt: skip
            R = count_mean(R, law, sum(here))
        if ZERO == R:
            continue
        chances = [
            _step(own[m], e.events[m.family] if i else _opposite(e.events[m.family]), m, e)
            for m, i in zip(tied, pattern, strict=True)
        ]
        out.append(mul(R, *chances))
    return mul(plain, add(*out))


def _step(factors: Sequence[Factor], indicator: Node, mark: Index, e: Episode) -> Node:
    """Average of ``indicator * factors`` at one step."""
    return add(
        *(
            mul(t.coefficient, product_average(e.law, _sorted((*factors, *t.factors))))
            for t in expand(at_step(indicator, mark), e.fields)
        )
    )


def _distinct(value: Node, marks: Sequence[Index], e: Episode) -> Node:
    """Sum over all values of the marks that differ within each family."""
    for family in e.families:
        own = [m for m in marks if m.family == family]
        if not any(m in value.free for m in own):
            value = _times(falling(arr(family), len(own)), value) if own else value
            continue
        terms = []
        for p in _partitions(own):
            weight = mul(*(const((-1) ** (len(b) - 1) * factorial(len(b) - 1)) for b in p))
            merged = substitute(value, {m: b[0] for b in p for m in b})
            for b in p:
                merged = sum_over(b[0], merged)
            terms.append(mul(weight, merged))
        value = add(*terms)
    return value


def _times(weight: Node, value: Node) -> Node:
    """``weight * value``, multiplied into the sum whose terms are divided by it, so that the number of steps cancels."""
    if value.op == "add":
        return add(*(_times(weight, v) for v in value.args))
    parts = value.args if value.op == "mul" else (value,)
    for n, f in enumerate(parts):
        if f.op == "add" and all(_divided(v, weight) for v in f.args):
            return mul(*parts[:n], add(*(mul(weight, v) for v in f.args)), *parts[n + 1 :])
    return mul(weight, value)


def _divided(node: Node, by: Node) -> bool:
    return any(f.op == "pow" and f.args[0] == by and f.args[1] < 0 for f in (node.args if node.op == "mul" else (node,)))


__all__ = ["Episode", "counter", "different_steps", "draw_mean"]
