"""Figures are complete files with the right letters; what they show is looked at by people, what they read is tested here."""

import os

import numpy as np
import pytest

from derive.errors import InvalidSpec
from numerics.plot import default_panels, figure, letter, plot_modes, plot_overlaps
from numerics.simulate import SimulationResult
from numerics.status import Status
from numerics.trajectory import Trajectory

T = np.linspace(0, 5, 30)


def theory():
    u = 1 / (1 + np.exp(-2 * (T[:, None] - np.array([1.0, 2.0, 3.0]))))
    Q = np.einsum("tk,tl->tkl", u[:, :2], u[:, :2])
    return Trajectory(
        t=T, values={"u": u, "Q": Q, "R": Q}, status=Status.OK, observables={"loss": 1 - u[:, 0], "eg": 1 - u[:, 1]}
    )


def runs(path):
    rng = np.random.default_rng(0)
    noisy = {n: a + 0.02 * rng.normal(size=(8, *a.shape)) for n, a in path.values.items()}
    seen = {n: a + 0.02 * rng.normal(size=(8, *a.shape)) for n, a in path.observables.items()}
    return SimulationResult(name="s", t=T, steps=np.arange(30), values=noisy, observables=seen, status=("ok",) * 8, seed=0)


def is_png(path):
    data = path.read_bytes()
    return data.startswith(b"\x89PNG") and data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82") and len(data) > 10_000


@pytest.mark.parametrize("draw", [figure, plot_modes, plot_overlaps])
@pytest.mark.parametrize("band", ["deviation", "percentile"])
def test_figures_are_complete_files(tmp_path, draw, band):
    path = theory()
    made = draw(path, runs(path), tmp_path / "f.png", band=band, title="test")
    assert is_png(made)
    assert os.listdir(tmp_path) == ["f.png"]


def test_the_theory_alone_can_be_drawn(tmp_path):
    assert is_png(figure(theory(), None, tmp_path / "f.png"))


def test_letters():
    assert letter("u", (2,)) == "$u_{3}$"
    assert letter("W1", (0, 9)) == r"$W_{1,1,10}$"
    assert letter("Sx") == r"$\mathrm{Sx}$"
    assert letter("lam_1") == r"$\lambda_{1}$"


def test_panels_and_unknown_names(tmp_path):
    assert default_panels(theory()) == [["loss", "eg"], ["u"], ["Q"], ["R"]]
    with pytest.raises(InvalidSpec, match="has no q; it has Q, R, eg, loss, u"):
        figure(theory(), None, tmp_path / "f.png", panels=[["q"]])
    with pytest.raises(InvalidSpec, match="deviation or percentile"):
        figure(theory(), None, tmp_path / "f.png", band="error")
    assert os.listdir(tmp_path) == []
