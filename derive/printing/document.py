"""A document: headings over lines, each line a text and, where it is mathematics, LaTeX; and its three renderings.

Imported by the printers only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

WIDTH = 110
LATEX_WIDTH = 100  # letters seen in one row of a formula
TOKEN = re.compile(r"\\left(?![a-z])|\\right(?![a-z])|\\[{}]|[{}]| [+-] ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: ``left = right`` as text and LaTeX, or a sentence (then there is no LaTeX)."""

    text: str
    latex: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and its lines."""

    heading: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A title and sections; empty sections are left out."""

    title: str
    sections: tuple[Section, ...]


def as_text(document: Document) -> str:
    """Plain text, wrapped between the terms of a sum."""
    out = [document.title]
    for section in document.sections:
        if section.lines:
            out += ["", section.heading]
            out += ["  " + (_wrap(line.text) if line.latex else line.text.replace("\n", "\n     ")) for line in section.lines]
    return "\n".join(out)


def as_latex(document: Document) -> str:
    """The mathematics only, as one ``aligned`` block."""
    rows = [_aligned(line.latex) for section in document.sections for line in section.lines if line.latex]
    return "$$\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}$$"


def as_markdown(document: Document, level: int = 2) -> str:
    """Markdown with display formulas, which GitHub and Jupyter render."""
    out = [f"{'#' * level} {document.title}"]
    for section in document.sections:
        if not section.lines:
            continue
        out += ["", f"{'#' * (level + 1)} {section.heading[:1].upper()}{section.heading[1:]}", ""]
        formulas = [_aligned(line.latex) for line in section.lines if line.latex]
        if formulas:
            out += ["$$\\begin{aligned}", " \\\\\n".join(formulas), "\\end{aligned}$$"]
        sentences = [_item(line.text) for line in section.lines if not line.latex]
        out += ["", *sentences] if formulas and sentences else sentences
    return "\n".join(out)


def _item(text: str) -> str:
    """An item of a list; numbered sentences keep their number."""
    return ("" if text[:1].isdigit() else "- ") + text.replace("\n", "  \n   ")


def _aligned(formula: str | None) -> str:
    """The first equality sign becomes the place of alignment; a long sum goes on in new lines, indented."""
    assert formula is not None
    rows = _rows(formula)
    return " \\\\\n".join([rows[0].replace("=", "&=", 1), *(rf"&\quad {row}" for row in rows[1:])])


def _rows(formula: str) -> list[str]:
    """Break long LaTeX before the signs of its outermost sum."""
    if _width(formula) <= LATEX_WIDTH or "=" not in formula:
        return [formula]
    pieces, depth, begin, start = [], 0, 0, formula.index("=") + 2
    for found in TOKEN.finditer(formula):
        token = found.group()
        depth += (token in ("{", r"\left")) - (token in ("}", r"\right"))
        if token in (" + ", " - ") and depth == 0 and found.start() > start:
            pieces.append(formula[begin : found.start()])
            begin = found.start() + 1
    pieces.append(formula[begin:])
    rows: list[str] = []
    for piece in pieces:
        if rows and _width(rows[-1] + piece) <= LATEX_WIDTH:
            rows[-1] += " " + piece
        else:
            rows.append(piece)
    return rows


def _width(formula: str) -> int:
    """Letters that are seen, roughly: a fraction counts as both of its parts."""
    return len(
        re.sub(
            r"[{}^_\s]|\\(left|right|frac|operatorname|mathrm)",
            "",
            re.sub(r"\\(?!left|right|frac|op|ma)[A-Za-z]+", "x", formula),
        )
    )


def _wrap(line: str) -> str:
    """Break a long sum before ' + ' and ' - ' that stand outside of brackets."""
    if len(line) <= WIDTH or " = " not in line:
        return line
    start = line.index(" = ") + 1
    pieces, depth, begin = [], 0, 0
    for n, letter in enumerate(line):
        depth += (letter in "([") - (letter in ")]")
        if depth == 0 and n > start and line[n : n + 3] in (" + ", " - "):
            pieces.append(line[begin:n])
            begin = n
    pieces.append(line[begin:])
    out, row = [], ""
    for piece in pieces:
        if row and len(row) + len(piece) > WIDTH:
            out.append(row)
            row = "     " + " " * start
        row += piece
    return "\n".join([*out, row])
