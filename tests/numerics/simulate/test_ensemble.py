"""Ensembles and streams: results depend on positions, not on workers or order; a failing run ends the ensemble."""

import operator
from operator import methodcaller

import numpy as np
import pytest

from numerics.simulate import Stream, replicate


def bits(cell, stream):
    """A run that shows its stream."""
    return cell, stream.generator("train").integers(0, 2**40, size=3).tolist()


def fail(cell, stream):
    raise ValueError(f"cell {cell} went wrong")


def interrupt(cell, stream):
    raise KeyboardInterrupt


def test_streams_are_positions():
    keys = [(c, r, p) for c in (0, 1) for r in (0, 1) for p in ("train", "once", "observe", "start", "data")]
    firsts = [Stream(root=1, cell=c, replica=r).generator(p).integers(0, 2**60) for c, r, p in keys]
    assert len(set(firsts)) == len(keys)
    by_hand = np.random.default_rng(np.random.SeedSequence(entropy=1, spawn_key=(1, 0, 2))).integers(0, 2**60)
    assert firsts[keys.index((1, 0, "observe"))] == by_hand
    with pytest.raises(ValueError, match="train"):
        Stream(root=1).generator("trian")


def test_adding_replicas_or_cells_changes_no_other_run():
    small = replicate(bits, (100,), 2, root=3)
    large = replicate(bits, (100, 200), 3, root=3)
    assert large[0][:2] == small[0]
    assert large[0][0][1] != large[1][0][1]
    assert replicate(bits, (100,), 2, root=4) != small


def test_results_do_not_depend_on_the_number_of_workers():
    # operator.call(cell, stream) is cell(stream), and both are known to every worker; a generator travels with its state
    cells = (methodcaller("generator", "train"), methodcaller("generator", "data"))
    seen = []
    two = replicate(operator.call, cells, 2, workers=2, progress=lambda *at: seen.append(at))
    one = replicate(operator.call, cells, 2)
    assert [rng.random() for row in two for rng in row] == [rng.random() for row in one for rng in row]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_error_and_an_interrupt_reach_the_caller():
    with pytest.raises(ValueError, match="cell 5"):
        replicate(fail, (5,), 1)
    with pytest.raises(KeyboardInterrupt):
        replicate(interrupt, (5,), 1)
    with pytest.raises(ValueError, match="at least 1"):
        replicate(bits, (5,), 0)
