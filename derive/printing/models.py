"""A Model as text, LaTeX, Markdown or JSON, section by section, from its lowered form. Imported by `Model` and by printers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from derive.errors import InvalidSpec
from derive.spec.canonical import canonical
from derive.spec.lowered import Draw, Lowered, LoweredOptimum, LoweredRate, LoweredUpdate, lowered_of
from derive.spec.model import Model
from derive.spec.notation import latex, latex_name, text
from derive.spec.shapes import Shape
from derive.spec.tree import Tree

FORMATS = ("text", "latex", "markdown", "json")


class _Words:
    """How names, trees and shapes are written in one format."""

    def __init__(self, tex: bool) -> None:
        self.tex = tex
        self.tree: Callable[[Tree], str] = latex if tex else text
        self.name: Callable[[str], str] = latex_name if tex else str

    def typed(self, name: str, shape: Shape) -> str:
        if not shape:
            return self.name(name)
        sizes = (r" \times " if self.tex else " x ").join(self.tree(d) for d in shape)
        return rf"{self.name(name)} \in \mathbb{{R}}^{{{sizes}}}" if self.tex else f"{name} ({sizes})"

    def equals(self, left: str, right: str) -> str:
        return f"{left} = {right}"

    def join(self, parts: list[str]) -> str:
        return (r",\; " if self.tex else ", ").join(parts)

    def prose(self, words: str) -> str:
        return rf"\text{{{words}}}" if self.tex else words

    @property
    def arrow(self) -> str:
        return r"\leftarrow" if self.tex else "<-"


def describe_model(model: Model, format: str = "text") -> str:
    """The spec in one of four formats; LaTeX is one ``aligned`` block.

    Raises
    ------
    InvalidSpec
        If the format is unknown.

    >>> from derive import Model, Normal, Update, dims, vector
    >>> w, x = vector("w", dims("N")), vector("x", dims("N"))
    >>> print(describe_model(Model(name="mean", state=w, data=Normal(x), learn=Update({w: w + (x - w) / 10}))))
    Model mean
      state    w (N x 1)
      data     x ~ Normal
      learn    w <- x/10 + 9*w/10
               one step takes time 1
    """
    if format not in FORMATS:
        raise InvalidSpec(f"describe: format={format!r}; write one of {', '.join(FORMATS)}")
    m = lowered_of("describe", model)
    if format == "json":
        return json.dumps({"name": m.name, **canonical(m)}, indent=2, sort_keys=True)
    words = _Words(format != "text")
    sections = [(title, lines) for title, lines in _sections(m, words) if lines]
    if format == "text":
        out = [f"Model {m.name}"]
        for title, lines in sections:
            out += [f"  {title if i == 0 else '':<9}{line}" for i, line in enumerate(lines)]
        return "\n".join(out)
    if format == "markdown":
        out = [f"**{m.name}**", ""]
        for title, lines in sections:
            out += [f"- *{title}*: " + "; ".join(f"${line}$" for line in lines)]
        return "\n".join(out)
    rows = [rf"\text{{{title if i == 0 else ''}}}\quad & {line}" for title, lines in sections for i, line in enumerate(lines)]
    return "$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$"


def _sections(m: Lowered, w: _Words) -> list[tuple[str, list[str]]]:
    given = [w.typed(n, m.shapes[n]) for n in m.given]
    return [
        ("state", [w.join([w.typed(n, m.shapes[n]) for n in m.state])] if m.state else []),
        ("given", [w.join(given)] if given else []),
        ("data", [_draw(d, w) for d in m.draws]),
        ("let", [w.equals(w.name(n), w.tree(tree)) for n, tree in m.let]),
        ("learn", _rule(m, w)),
        ("start", [_start(item, w) for item in m.start]),
        ("facts", [w.equals(w.tree(a), w.tree(b)) for a, b in m.facts]),
        ("protocol", [_protocol(item, w) for item in m.protocol]),
        ("limit", _limit(m, w)),
        ("observe", [w.equals(w.prose(n), w.tree(tree)) for n, tree in m.observe]),
        ("control", _control(m, w)),
    ]


def _draw(d: Draw, w: _Words) -> str:
    names = w.join([w.name(s) for s in d.symbols])
    head = f"({names})" if len(d.symbols) > 1 else names
    parts: list[str] = []
    if d.law in ("Moments", "Marginal"):
        parts += [
            w.equals(w.tree(("mean", tree)) if d.law == "Moments" else f"m{tree}", w.tree(name)) for tree, name in d.moments
        ]
    if d.values is not None:
        parts.append(
            w.prose("values ")
            + w.join([w.tree(v[0]) if len(v) == 1 else f"({w.join([w.tree(t) for t in v])})" for v in d.values])
        )
    if d.probs is not None:
        probs = w.tree(d.probs) if d.values is None else w.join([w.tree(p) for p in d.probs])
        parts.append(w.prose("probabilities ") + probs)
    for word, tree in (("mean", d.mean), ("covariance", d.cov)):
        if tree is not None:
            parts.append(w.prose(f"{word} ") + w.tree(tree))
    if d.transform:
        parts.append(w.prose(f"{d.transform} of a standard normal number"))
    if d.law == "Choice" and d.values is None:
        parts.insert(0, w.prose("a random unit column"))
    parts += [
        w.prose(f"{word} in ") + w.join([w.name(n) for n in found])
        for word, found in (("odd", d.odd), ("even", d.even))
        if found
    ]
    if d.once:
        parts.append(w.prose("drawn once"))
    law = rf" \sim \text{{{d.law}}}" if w.tex else f" ~ {d.law}"
    return head + law + ((r":\; " if w.tex else ": ") + w.join(parts) if parts else "")


def _rule(m: Lowered, w: _Words) -> list[str]:
    if isinstance(m.rule, LoweredRate):
        noise = dict(m.rule.noise)
        out = []
        for name, tree in m.rule.rates:
            left = rf"\frac{{d{w.name(name)}}}{{dt}}" if w.tex else f"d{name}/dt"
            extra = (
                ""
                if name not in noise
                else (r" + \text{white noise} \cdot " if w.tex else " + white noise * ") + w.tree(noise[name])
            )
            out.append(w.equals(left, w.tree(tree) + extra))
        return out
    if isinstance(m.rule, LoweredUpdate):
        out = [f"{w.name(n)} {w.arrow} {w.tree(tree)}" for block in m.rule.blocks for n, tree in block]
        batch = "" if m.rule.batch == 1 else w.prose(", averaged over ") + w.tree(m.rule.batch) + w.prose(" draws")
        return [*out, w.prose("one step takes time ") + w.tree(m.rule.dt) + batch]
    if isinstance(m.rule, LoweredOptimum):
        over = w.join([w.name(n) for n in m.rule.over])
        subject = [w.equals(w.tree(a), w.tree(b)) for a, b in m.rule.subject_to]
        return [w.prose(f"{m.rule.sense} over ") + over + w.prose(" of ") + w.tree(m.rule.objective), *subject]
    return []


def _start(item: tuple[Any, ...], w: _Words) -> str:
    if item[0] == "law":
        return _draw(item[2], w)
    return w.equals(w.tree(item[1]), w.tree(item[2]))


def _protocol(item: tuple[Any, ...], w: _Words) -> str:
    if item[0] == "phase":
        binds = [_draw(v, w) if kind == "law" else w.equals(w.name(n), w.tree(v)) for n, kind, v in item[2]]
        until = [] if item[3] is None else [w.prose("until 0 < ") + w.tree(item[3])]
        return w.prose("for time ") + w.tree(item[1]) + (": " if binds or until else "") + w.join([*binds, *until])
    if item[0] == "event":
        return w.join([f"{w.name(n)} {w.arrow} {w.tree(tree)}" for n, tree in item[1]])
    return w.prose("drop ") + w.tree(item[2]) + w.prose(" entries of ") + w.name(item[1])


def _limit(m: Lowered, w: _Words) -> list[str]:
    if m.limit is None:
        return []
    to = r" \to " if w.tex else " -> "
    parts = [w.name(n) + to + w.tree(tree) for n, tree in m.limit[0]]
    return [w.join(parts + [w.equals(w.name(n), w.tree(tree)) + w.prose(" fixed") for n, tree in m.limit[1]])]


def _control(m: Lowered, w: _Words) -> list[str]:
    if m.control is None:
        return []
    controls, running, horizon, bounds = m.control
    limits = [
        (rf"{w.tree(a)} \le {w.name(n)} \le {w.tree(b)}" if w.tex else f"{text(a)} <= {n} <= {text(b)}") for n, a, b in bounds
    ]
    names = w.join([w.name(n) for n in controls])
    return [
        names + w.prose(" maximise the integral of ") + w.tree(running) + w.prose(" up to time ") + w.tree(horizon),
        *limits,
    ]
