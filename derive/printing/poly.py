"""Matrix-level expressions for people: a `Poly` as a factored tree, which `derive.spec.notation` turns into text or LaTeX.

The common right factor, scalars and coefficient of a sum of words are pulled out; the rest is grouped by the first letter, and
in each group the common left and right factors are pulled out:  W2'Syx/tau - W2'W2 W1 Sx/tau  reads  W2'(Syx - W2 W1 Sx)/tau.
Multiplying out gives the same Poly again.
Imported by the printers only.
"""

from __future__ import annotations

from fractions import Fraction

from derive.matrices.diagonals import diagonal_of
from derive.matrices.poly import Poly
from derive.matrices.words import PI, Elem, Had, Inverse, Key, Letter, Solution, Word
from derive.spec.tree import Tree

Term = tuple[Key, Fraction]


def poly_tree(p: Poly) -> Tree:
    """A factored tree of a Poly.

    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> a, b, c = (atom(Atom(name, "n", "n")) for name in "abc")
    >>> poly_tree(a.T * b - a.T * a * c)
    ('matmul', ('T', 'a'), ('add', 'b', ('mul', -1, ('matmul', 'a', 'c'))))
    """
    terms = list(p.items())
    if not terms:
        return 0 if p.shape is None else ("zeros", *p.shape)
    scale, params, terms = _pull_scalars(terms)
    right = _common([tuple(reversed(key.word or ())) for key, _ in terms]) if len(terms) > 1 else 0
    if right:
        last = (terms[0][0].word or ())[-right:]
        cut = [(Key(key.params, key.traces, (key.word or ())[:-right]), c) for key, c in terms]
        inner = _grouped(cut, p.shape)
        factors = inner[1:] if isinstance(inner, tuple) and inner[0] == "matmul" else (inner,)
        return _scaled(scale, params, ("matmul", *factors, *(letter_tree(x) for x in last)))
    return _scaled(scale, params, _grouped(terms, p.shape))


def _grouped(terms: list[Term], shape: tuple[object, object] | None) -> Tree:
    """Sum of groups of terms whose words begin with the same letter."""
    groups: dict[Letter | None, list[Term]] = {}
    for key, c in terms:
        groups.setdefault(key.word[0] if key.word else None, []).append((key, c))
    rows = shape[0] if shape else 1
    return _sum([_group(group, rows) for group in groups.values()])


def _sum(parts: list[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else ("add", *parts)


def _number(q: Fraction) -> Tree:
    return int(q) if q.denominator == 1 else ("frac", q.numerator, q.denominator)


def _scaled(c: Fraction, factors: list[Tree], body: Tree | None) -> Tree:
    """c * factors * body as one product."""
    parts: list[Tree] = [*([_number(c)] if c != 1 else []), *factors]
    if body is not None and body != 1:
        if isinstance(body, tuple) and body[0] == "mul":
            parts += body[1:]
        else:
            parts.append(body)
    if not parts:
        return 1
    return parts[0] if len(parts) == 1 else ("mul", *parts)


def _power(base: Tree, e: Fraction) -> Tree:
    return base if e == 1 else ("pow", base, _number(e))


def _pull_scalars(terms: list[Term]) -> tuple[Fraction, list[Tree], list[Term]]:
    """Coefficient and powers of parameters that every term has, and the terms without them."""
    sizes = sorted({abs(c) for _, c in terms})
    scale = sizes[0] if len(sizes) == 1 else Fraction(1)
    if all(c < 0 for _, c in terms):
        scale = -scale
    if len(terms) == 1:
        scale = terms[0][1]
    common: dict[str, Fraction] = dict(terms[0][0].params)
    for key, _ in terms[1:]:
        powers = dict(key.params)
        for name in list(common):
            both = (common[name], powers.get(name, Fraction(0)))
            same = min(both) if min(both) > 0 else max(both) if max(both) < 0 else Fraction(0)
            common[name] = same
    rest = []
    for key, c in terms:
        left = tuple((n, e - common.get(n, 0)) for n, e in key.params if e != common.get(n, 0))
        rest.append((Key(left, key.traces, key.word), c / scale))
    return scale, [_power(_radical(name), e) for name, e in common.items() if e], rest


def _group(terms: list[Term], rows: object) -> Tree:
    """Terms whose open words begin with the same letter (or have none)."""
    if len(terms) == 1 or not terms[0][0].word:
        return _sum([_term(key, c, key.word, rows) for key, c in terms])
    scale, params, terms = _pull_scalars(terms)
    words = [key.word or () for key, _ in terms]
    left = _common(words)
    right = _common([tuple(reversed(w[left:])) for w in words])
    inner = [_term(key, c, _middle(key.word or (), left, right), None) for key, c in terms]
    first, last = words[0][:left], words[0][len(words[0]) - right :]
    body = ("matmul", *(letter_tree(x) for x in first), _sum(inner), *(letter_tree(x) for x in last))
    return _scaled(scale, params, body)


def _middle(word: Word, left: int, right: int) -> Word:
    return word[left : len(word) - right]


def _common(words: list[Word]) -> int:
    """Length of the common beginning that leaves at least one letter of every word."""
    n = 0
    while all(len(w) > n + 1 for w in words) and len({w[n] for w in words}) == 1:
        n += 1
    return n


def _term(key: Key, c: Fraction, word: Word | None, rows: object) -> Tree:
    scalars = [_power(_radical(name), e) for name, e in key.params]
    scalars += [_power(_trace(w), e) for w, e in key.traces]
    if word is None:
        return _scaled(c, scalars, None)
    return _scaled(c, scalars, word_tree(word) if word else ("eye", rows))


def _trace(word: Word) -> Tree:
    """A trace; a function of a number is no matrix."""
    comp = word[0].atom.comp if len(word) == 1 else None
    return letter_tree(word[0]) if isinstance(comp, Elem) and comp.argument.shape is None else ("trace", word_tree(word))


def _radical(name: str) -> Tree:
    """Integers under a root are stored as digit strings, pi under a name of its own."""
    return ("pi",) if name == PI else int(name) if name.isdigit() else name


def word_tree(word: Word) -> Tree:
    """Product of the letters of a word."""
    letters = [letter_tree(x) for x in word]
    return letters[0] if len(letters) == 1 else ("matmul", *letters)


def letter_tree(x: Letter) -> Tree:
    """An atom or its transpose; composites show what they are made of."""
    inside: Tree = x.atom.name
    comp = x.atom.comp
    if isinstance(comp, Elem):
        inside = ("map", comp.function + "'" * comp.order, poly_tree(comp.argument))
    elif isinstance(comp, Had) and (column := diagonal_of(x)) is not None:
        return ("diag", poly_tree(column))
    elif isinstance(comp, Had):
        inside = ("had", *(poly_tree(f) for f in comp.factors))
    elif isinstance(comp, Inverse):
        inside = ("inv", poly_tree(comp.argument))
    elif isinstance(comp, Solution):
        inside = ("root", poly_tree(comp.equation))
    elif x.atom.name.startswith("ones["):
        inside = ("ones", x.atom.rows, x.atom.cols)
    return ("T", inside) if x.t else inside
