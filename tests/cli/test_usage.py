"""Wrong use and wrong input: one clear message, the documented exit code, no output left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.command import MODEL, gradientflow, user_file

SYSTEM = "saxe_2014_deep_linear"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["derive", "saxe_2014_deep_liner"], 2, "did you mean 'saxe_2014_deep_linear'"),
        (["derive", SYSTEM, "--set", "dpth=3"], 2, "did you mean 'depth'"),
        (["derive", SYSTEM, "--set", "depth"], 2, "write --set key=value"),
        (["derive", SYSTEM, "--set", "depth=three"], 2, "is not a number"),
        (["derive", SYSTEM, "--set", "depth=2.5"], 2, "an integer is needed"),
        (["derive", SYSTEM, "--set", "depth=3", "--set", "depth=4"], 2, "set twice"),
        (["derive", SYSTEM, "--format", "pdf"], 2, "use one of text, latex, markdown, json"),
        (["derive", "nowhere.py:model"], 2, "there is no file nowhere.py"),
        (["emit", SYSTEM, "--backend", "fortran"], 2, "use numpy, numba or mpmath"),
        (["emit", SYSTEM, "-o", "nowhere/k.py"], 2, "there is no folder nowhere"),
        (["emit", "goldt_2019_teacher_student", "--reduced", "-o", "k.py"], 2, "has no reduction"),
        (["verify"], 2, "give one NAME, or --all"),
        (["verify", SYSTEM, "--all"], 2, "give one NAME, or --all"),
        (["nonsense"], 2, "nonsense"),
        (["run", SYSTEM, "--seeed", "1"], 2, "--seeed"),
        (["derive", SYSTEM, "--set", "depth=99"], 3, "give 2 to 8 layers"),
        (["run", SYSTEM, "--set", "batch=0"], 3, "batch must be an integer from 1 to 1e+06"),
        (["run", SYSTEM, "--set", "eta=1.5"], 3, "give a step between 0 and 1"),
        (["run", "goldt_2019_teacher_student", "--set", "N=4"], 3, "give 20 or more"),
        (["run", "goldt_2019_teacher_student", "--data", "digits"], 3, "takes no --data"),
        (["run", SYSTEM, "--data", "dgits"], 3, "use digits, a file.npz"),
        (["run", SYSTEM, "--data", "nowhere.npz"], 3, "there is no file nowhere.npz"),
    ],
)
def test_wrong_use(arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = gradientflow(*arguments)
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.iterdir())


GOOD = np.random.default_rng(0).normal(size=(20, 3))
ONES = np.ones((20, 2))


def spoiled(row: int, column: int, value: float) -> np.ndarray:
    out = GOOD.copy()
    out[row, column] = value
    return out


@pytest.mark.parametrize(
    ("X", "Y", "message"),
    [
        (spoiled(4, 1, np.nan), GOOD, "X[4, 1] is nan"),
        (GOOD, spoiled(0, 2, np.inf), "Y[0, 2] is inf"),
        (GOOD[:, 0], GOOD, "X has shape (20,): two axes"),
        (GOOD, GOOD[:19], "X has 20 items (rows) but Y has 19"),
        (GOOD.astype(complex), GOOD, "X has dtype complex128"),
        (GOOD.astype("U8"), GOOD, "real numbers are needed"),
        (GOOD[:1], GOOD[:1], "correlations need at least two"),
        (ONES, GOOD, "X has zero variance"),
        (GOOD, ONES, "Y has zero variance"),
        (GOOD[:0], GOOD[:0], "it is empty"),
    ],
)
def test_bad_arrays(X: np.ndarray, Y: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", X=X, Y=Y)
    done = gradientflow("run", SYSTEM, "--data", tmp_path / "bad.npz", "--whiten", "--out", tmp_path / "out")
    assert done.code == 3
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_an_archive_without_y_names_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", X=GOOD, labels=GOOD)
    done = gradientflow("run", SYSTEM, "--data", tmp_path / "bad.npz")
    assert done.code == 3
    assert "has no array Y (found: X, labels)" in done.err


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", X=np.array([{}, {}], dtype=object), Y=GOOD)
    done = gradientflow("run", SYSTEM, "--data", tmp_path / "bad.npz")
    assert done.code == 3
    assert "cannot be read" in done.err


def test_a_bad_cell_of_a_csv_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,four\n5,6\n")
    (tmp_path / "y.csv").write_text("1\n2\n3\n")
    done = gradientflow("run", SYSTEM, "--data", f"{tmp_path / 'x.csv'},{tmp_path / 'y.csv'}")
    assert done.code == 3
    assert "column 2: 'four' is not a number" in done.err


def test_fewer_items_than_inputs_cannot_be_whitened(tmp_path: Path) -> None:
    X = np.random.default_rng(1).normal(size=(3, 5))
    np.savez(tmp_path / "few.npz", X=X, Y=X[:, :2])
    done = gradientflow("run", SYSTEM, "--data", tmp_path / "few.npz", "--whiten", "--out", tmp_path / "out")
    assert done.code == 3
    assert "give more items" in done.err


def test_missing_scikit_learn_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    done = gradientflow("run", SYSTEM, "--data", "digits")
    assert done.code == 3
    assert "gradientflow[data]" in done.err


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("W * x)", "W * z)", 3, "mine.py raised NameError"),
        ("W * x) / 2", "W.T * x) / 2", 3, "W"),
        ('matrix("W", O, N)', 'matrix("lambda", O, N)', 3, "lambda"),
        ("-grad(L, W)", '"-grad(L, W)"', 3, "text"),
        ("Rate({W", "Rate({x", 3, "x"),
        ("name=", "nam=", 3, "nam"),
    ],
)
def test_a_wrong_spec(old: str, new: str, code: int, message: str, tmp_path: Path) -> None:
    assert old in MODEL
    done = gradientflow("derive", f"{user_file(tmp_path, MODEL.replace(old, new, 1))}:model")
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err


def test_the_object_is_named_or_suggested(tmp_path: Path) -> None:
    path = user_file(tmp_path)
    done = gradientflow("derive", f"{path}:modle")
    assert done.code == 2
    assert "did you mean 'model'" in done.err
    done = gradientflow("derive", f"{path}:number")
    assert done.code == 3
    assert "an Entry, a Model" in done.err


def test_out_must_be_a_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    done = gradientflow("run", SYSTEM, "--out", tmp_path / "out")
    assert done.code == 2
    assert (tmp_path / "out").read_text() == "precious"
