"""Systematic single mutations of a Flow: the equations that a good check must reject.

At every sum inside a right-hand side: one term with the opposite sign, doubled, or dropped. At every array with two labels of
one family: the labels swapped; at every label: replaced by another label in scope. In words: a letter transposed or two
neighbours swapped where shapes permit. Mutations that give the same normal form are left out; those that are equal for another
reason (a symmetric array) must be filtered by value, see `differs`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from derive.indices import indexed
from derive.indices.indexed import Index, Node
from derive.matrices.poly import Poly, monomial, zero
from derive.matrices.words import Key, Letter, Word, normal_open
from derive.system import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """A wrong system: which right-hand side, what was done to it, and the system."""

    block: str
    label: str
    flow: Flow


def mutants(flow: Flow) -> Iterator[Mutant]:
    """Every single mutation of every right-hand side, in a fixed order."""
    for name, rhs in flow:
        edits = node_edits(rhs, flow.block(name).indices) if isinstance(rhs, Node) else poly_edits(rhs)
        seen = {rhs}
        for label, wrong in edits:
            if wrong not in seen:
                seen.add(wrong)
                yield Mutant(block=name, label=label, flow=flow.replace(rhs={**flow.rhs, name: wrong}))


def node_edits(node: Node, scope: tuple[Index, ...]) -> Iterator[tuple[str, Node]]:
    """Mutations of an index-level expression; ``scope`` holds the labels that may occur."""
    yield from term_edits(node)
    if node.op == "arr":
        yield from _label_edits(node, scope)
        return
    inner = (*scope, node.args[0]) if node.op == "sum" else scope
    for n, kid in enumerate(node.args):
        if isinstance(kid, Node):
            for label, wrong in node_edits(kid, inner):
                yield label, _with_kid(node, n, wrong)


def term_edits(node: Node) -> Iterator[tuple[str, Node]]:
    """Each term of a sum with the opposite sign, doubled, dropped."""
    terms = node.args if node.op == "add" else ()
    for n, term in enumerate(terms):
        rest = [t for t in terms if t is not term]
        shown = _short(indexed.text(term))
        yield f"sign of term {n}: {shown}", indexed.add(*rest, -term)
        yield f"twice term {n}: {shown}", indexed.add(*rest, term, term)
        yield f"without term {n}: {shown}", indexed.add(*rest)


def _label_edits(node: Node, scope: tuple[Index, ...]) -> Iterator[tuple[str, Node]]:
    name, labels = node.args
    if len(labels) == 2 and labels[0].family == labels[1].family:
        yield f"swapped labels of {indexed.text(node)}", Node("arr", (name, labels[::-1]))
    for n, old in enumerate(labels):
        for new in scope:
            if new != old and new.family == old.family:
                changed = (*labels[:n], new, *labels[n + 1 :])
                yield f"label {old} -> {new} in {indexed.text(node)}", Node("arr", (name, changed))


def _with_kid(node: Node, n: int, kid: Node) -> Node:
    args = [*node.args[:n], kid, *node.args[n + 1 :]]
    if node.op == "sum":
        return indexed.sum_over(node.args[0], kid)
    return {"add": indexed.add, "mul": indexed.mul, "pow": indexed.power, "fun": indexed.fun}[node.op](*args)


def poly_edits(p: Poly) -> Iterator[tuple[str, Poly]]:
    """Mutations of a matrix-level expression."""
    for n, (key, c) in enumerate(p.items()):
        term = monomial(p.shape, key, c)
        rest = p - term
        shown = _short(repr(term))
        yield f"sign of term {n}: {shown}", rest - term
        yield f"twice term {n}: {shown}", p + term
        yield f"without term {n}: {shown}", rest
        for what, word in _word_edits(key.word):
            scalars, normal = normal_open(word)
            if not scalars:
                yield f"{what} in term {n}: {shown}", rest + Poly(p.shape, {Key(key.params, key.traces, normal): c})


def _word_edits(word: Word | None) -> Iterator[tuple[str, Word]]:
    letters = word or ()
    for n, letter in enumerate(letters):
        if letter.rows == letter.cols and not letter.atom.symmetric:
            yield f"{letter.atom.name} transposed", (*letters[:n], Letter(letter.atom, not letter.t), *letters[n + 1 :])
    for n in range(len(letters) - 1):
        swapped = (*letters[:n], letters[n + 1], letters[n], *letters[n + 2 :])
        same_ends = (swapped[0].rows, swapped[-1].cols) == (letters[0].rows, letters[-1].cols)
        if same_ends and all(a.cols == b.rows for a, b in pairwise(swapped)):
            yield f"{letters[n].atom.name} and {letters[n + 1].atom.name} swapped", swapped


def frozen(flow: Flow, name: str) -> Flow:
    """The system in which one state does not move: the coarsest mutant."""
    rhs = flow.rhs[name]
    still = zero(rhs.shape) if isinstance(rhs, Poly) else indexed.ZERO
    return flow.replace(rhs={**flow.rhs, name: still})


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def top_level(flow: Flow) -> Iterator[Mutant]:
    """Mutations of whole terms of the index-level right-hand sides only: sign, twice, without."""
    for name, rhs in flow:
        for label, wrong in term_edits(rhs):
            yield Mutant(block=name, label=label, flow=flow.replace(rhs={**flow.rhs, name: wrong}))


def differs(flow: Flow, mutant: Mutant, state: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether a mutant's rate differs from the right one at a state, by the slow oracle of index-level expressions."""
    functions: dict[str, Any] = {"pi": math.pi, "asin": math.asin, "exp": math.exp, "tanh": math.tanh}
    block = flow.block(mutant.block)
    values = {**params, **state}
    for at in np.ndindex(np.shape(state[mutant.block])):
        labels = dict(zip(block.indices, at, strict=True))
        right, wrong = (indexed.evaluate(f.rhs[mutant.block], values, labels, functions) for f in (flow, mutant.flow))
        if abs(right - wrong) > 1e-8 * (1 + abs(right)):  # a real difference; equal expressions differ by rounding
            return True
    return False
