"""What does not close says so: the word, the factor that repeats, the remedy. Wrong requests name the symbol."""

import pytest

import derive
from derive.completion.closure import complete
from derive.completion.refusal import repeated_factor
from derive.matrices.words import Atom, Letter


def linear(depth):
    return derive.gradient_flow(derive.linear_network(depth=depth))


def test_three_layers_lack_a_relation_among_hidden_layers():
    flow = linear(3)
    W1, W2, W3 = (flow.symbols[n] for n in ("W1", "W2", "W3"))
    with pytest.raises(derive.NotClosed, match=r"hidden factor W2'\*W2 repeats.*Modes\(\)"):
        complete(flow, [W3 * W2 * W1])


def test_traces_of_two_layers_point_to_matrices():
    with pytest.raises(derive.NotClosed, match=r"max_length=8.*ask for matrices"):
        complete(linear(2), ["loss"])


def test_general_data_repeat_and_the_remedy_is_isotropy():
    from derive.library.attention import linear_attention

    flow = derive.gradient_flow(linear_attention("separate", 1))
    with pytest.raises(derive.NotClosed, match=r"given factor Lam repeats.*isotropic.*diagonalise"):
        complete(flow, ["loss"])


def test_the_caps_are_obeyed():
    flow = linear(2)
    product = flow.symbols["W2"] * flow.symbols["W1"]
    with pytest.raises(derive.NotClosed, match="one variable more than cap=2"):
        complete(flow, [product], cap=2)
    with pytest.raises(derive.NotClosed, match="longer than max_length=1"):
        complete(flow, [product], max_length=1)
    assert len(complete(flow, [product], cap=3).system.state) == 3


def test_wrong_requests():
    flow = linear(2)
    W1, W2 = flow.symbols["W1"], flow.symbols["W2"]
    other = derive.matrix("V", *W1.shape)
    with pytest.raises(derive.InvalidSpec, match="did you mean loss"):
        complete(flow, ["losss"])
    with pytest.raises(derive.InvalidSpec, match=r"V .* is no symbol of linear_network_2"):
        complete(flow, [W2 * other])
    with pytest.raises(derive.InvalidSpec, match="the name of a symbol"):
        complete(flow, {"Sx": W2 * W1})
    with pytest.raises(derive.InvalidSpec, match="at least one"):
        complete(flow, [])
    with pytest.raises(derive.InvalidSpec, match="does not depend on the state"):
        complete(flow, [flow.symbols["Sx"]])
    with pytest.raises(derive.InvalidSpec, match="differ by a factor"):
        complete(flow, {"P": W2 * W1, "Q": 2 * W2 * W1})


def test_index_systems_are_refused():
    modes = derive.reduce(linear(2), derive.Modes(white=True)).system
    with pytest.raises(derive.UnsupportedNode, match="no flow of matrices"):
        complete(modes, ["a"])


@pytest.mark.parametrize(("word", "factor"), [("kLLLq", "L"), ("aWVWVb", "WV"), ("abc", ""), ("WVWVWVLLLL", "WV"), ("", "")])
def test_repeated_factor(word, factor):
    letters = tuple(Letter(Atom(c, "n", "n"), False) for c in word)
    assert "".join(x.atom.name for x in repeated_factor(letters)) == factor
