"""Names of closed variables: readable where they can be, never taken twice."""

import pytest

from derive.completion.names import name_unit
from derive.completion.units import UnitKey
from derive.matrices.words import Atom, Letter
from derive.spec.symbols import check_name

a, b, S = (Letter(Atom(n, *s), False) for n, s in (("a", ("d", 1)), ("b", ("d", 1)), ("S", ("d", "d"))))
r = Letter(Atom("r", 1, "d"), False)
A, B = (Letter(Atom(n, "m", "d"), False) for n in "AB")


@pytest.mark.parametrize(
    ("kind", "word", "name"),
    [
        ("trace", (a.flip(), a), "n_a"),
        ("trace", (r, r.flip()), "n_r"),
        ("trace", (A, A.flip()), "n_A"),
        ("trace", (B.flip(), A.flip(), A, B), "n_A_B"),
        ("trace", (a.flip(), b), "x_a_b"),
        ("trace", (a.flip(), S, b), "x_a_S_b"),
        ("trace", (a.flip(), S.flip(), b), "x_a_St_b"),
        ("trace", (A.flip(), B), "x_A_B"),
        ("trace", (A, B.flip()), "x_A_B"),
        ("trace", (S,), "tr_S"),
        ("trace", (S, S), "tr_S_S"),
        ("open", (A.flip(), A), "At_A"),
        ("open", (A,), "A"),
    ],
)
def test_readable_names(kind, word, name):
    assert name_unit(UnitKey(kind, "", word), ()) == name
    assert check_name(name) == name  # a user could type it


def test_a_taken_or_unwritable_name_is_replaced():
    norm = UnitKey("trace", "", (a.flip(), a))
    assert name_unit(norm, ["n_a"]) == "z1"
    assert name_unit(norm, ["n_a", "z1"]) == "z2"
    odd = Letter(Atom("(a o b)", "d", 1), False)
    assert name_unit(UnitKey("trace", "", (odd.flip(), a)), ()) == "z1"
    assert name_unit(UnitKey("open", "", (A, S) * 9), ()) == "z1"  # longer than a name may be
