"""Names of the variables that a closure makes.

====================  =============  ==========================================
unit                  name           example
====================  =============  ==========================================
a state               its own        ``v``, ``W``
norm  tr(u'u)         ``n_u``        ``n_a`` = a'a,  ``n_W2_W1`` = tr(W1'W2'W2 W1)
product  tr(u'v)      ``x_u_v``      ``x_a_astar`` = a'astar,  ``x_k_S_q`` = k'S q
other trace           ``tr_A_Bt``    ``tr_A_B`` = tr(A B)
open word             ``A_Bt``       ``W1t_W1`` = W1'W1
====================  =============  ==========================================

A ``t`` after a name is a transpose. A name that is taken, too long or not writable (composites) becomes ``z1``, ``z2``, ...
Imported by `derive.completion.closure`.
"""

from __future__ import annotations

from collections.abc import Collection

from derive.completion.units import UnitKey
from derive.errors import InvalidSpec
from derive.matrices.words import Word, flip, is_ones, sort_runs
from derive.spec.symbols import check_name


def name_unit(key: UnitKey, taken: Collection[str]) -> str:
    """A readable name for a unit that is not taken.

    >>> from derive.matrices.words import Atom, Letter
    >>> a, b = (Letter(Atom(n, "d", 1), False) for n in ("a", "b"))
    >>> name_unit(UnitKey("trace", "", (a.flip(), a)), ()), name_unit(UnitKey("trace", "", (a.flip(), b)), ())
    ('n_a', 'x_a_b')
    """
    wish = key.name if key.kind == "name" else trace_name(key.word) if key.kind == "trace" else _joined(key.word)
    own = key.kind == "name" or (len(key.word) == 1 and wish == key.word[0].atom.name)
    if own or (writable(wish) and wish not in taken):
        return wish
    return next(n for n in (f"z{i}" for i in range(1, 10**6)) if n not in taken)


def writable(name: str) -> bool:
    """May this name be used for a symbol?"""
    try:
        check_name(name)
    except InvalidSpec:
        return False
    return True


def trace_name(word: Word) -> str:
    """Name of a trace, by the table above."""
    if len(word) == 1:
        return _joined(word) if word[0].rows == 1 else f"tr_{_joined(word)}"
    half = len(word) // 2
    for turned in (word[i:] + word[:i] for i in range(1 if word[0].rows == 1 else len(word))):
        if len(word) % 2 == 0 and sort_runs(flip(turned[half:])) == turned[:half]:
            return f"n_{_joined(min(turned[half:], turned[:half], key=_transposes))}"
    if word[0].t and (len(word) == 2 or word[0].rows == 1):
        return f"x_{word[0].atom.name}_{_joined(word[1:])}"
    if word[0].rows == 1:
        return f"x_{_joined(word)}"
    if len(word) == 2 and word[1].t:
        return f"x_{_joined(word[:1])}_{word[1].atom.name}"
    return f"tr_{_joined(word)}"


def _transposes(word: Word) -> int:
    return sum(x.t for x in word)


def _joined(word: Word) -> str:
    return "_".join(("1" if is_ones(x.atom) else x.atom.name) + ("t" if x.t else "") for x in word)
