"""`run` and `verify`: complete files or none, honest reports, exit codes 0, 1, 4 and 130."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from numerics.run import FILES
from tests.cli.command import gradientflow, user_file

SYSTEM = "saxe_2014_deep_linear"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own data: 60 items, 5 correlated inputs, 3 targets."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    Y = X @ rng.normal(size=(5, 3)) / 3 + 0.2 * rng.normal(size=(60, 3))
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    np.savez(path, X=X, Y=Y)
    return path


@pytest.fixture(scope="module")
def white(archive: Path) -> tuple[Path, str]:
    """One whitened run that several tests look at: folder and standard output."""
    out = archive.parent / "white"
    done = gradientflow("run", SYSTEM, "--data", archive, "--whiten", "--out", out)
    assert done.code == 0, done.out + done.err
    return out, done.out


def test_it_writes_five_complete_files_and_nothing_else(white: tuple[Path, str]) -> None:
    out, _ = white
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    assert sorted(p.name for p in out.parent.iterdir()) == ["mine.npz", "white"]
    with xr.open_dataset(out / "trajectory.nc", engine="h5netcdf") as data:
        assert data["u"].shape == (len(data["t"]), 3)
        assert data.attrs["status"] == "ok"
    assert (out / "figure.png").read_bytes()[:4] == b"\x89PNG"
    compile((out / "kernel.py").read_text(), "kernel.py", "exec")


def test_the_report_has_bounds_reasons_and_measured_assumptions(white: tuple[Path, str]) -> None:
    report = json.loads((white[0] / "report.json").read_text())
    assert report["passed"] is True
    assert all(check["statistic"] <= check["bound"] and check["reason"] for check in report["checks"])
    roads = " ".join(check["claim"] for check in report["checks"])
    for word in ("conserved", "closed form", "mode equations follow", "order 1", "stretched", "SGD"):
        assert word in roads
    assert any("white" in row["assumption"] and row["violation"] <= 1e-8 for row in report["assumptions"])


def test_the_screen_shows_the_whole_chain(white: tuple[Path, str]) -> None:
    for word in (
        "whitened: rank 5 of 5",
        "dW1/dt =",
        "conserved quantities",
        "du[i]/dt = 2*u[i]*(s[i] - u[i])/tau",
        "closed form",
        "checks passed",
    ):
        assert word in white[1]
    assert "$$" in (white[0] / "derivation.md").read_text()


def test_unwhitened_data_are_measured_and_not_reduced(archive: Path, tmp_path: Path) -> None:
    done = gradientflow("run", SYSTEM, "--data", archive, "--out", tmp_path / "out", "--set", "seeds=6")
    assert done.code == 0, done.out + done.err
    assert "NOT used" in done.out
    assert "--whiten" in done.out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert any(row["holds"] is False and row["violation"] > 1e-3 for row in report["assumptions"])
    assert not any("closed form" in check["claim"] for check in report["checks"])


def test_order_parameters_over_sgd(tmp_path: Path) -> None:
    settings = ["--set", "K=3", "--set", "M=2", "--set", "N=400", "--set", "time=4", "--set", "seeds=10"]
    done = gradientflow("run", "goldt_2019_teacher_student", *settings, "--out", tmp_path / "out")
    assert done.code == 0, done.out + done.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(FILES)


def test_a_users_model_runs_by_the_tape(archive: Path, tmp_path: Path) -> None:
    """One layer: its own flow over SGD, from the spec alone."""
    done = gradientflow("run", f"{user_file(tmp_path)}:model", "--data", archive, "--out", tmp_path / "out")
    assert done.code == 0, done.out + done.err
    assert "dW/dt = Syx - W*Sx" in done.out
    assert "SGD" in done.out


def test_verify_json_is_the_contract_and_a_wrong_claim_is_code_1(tmp_path: Path) -> None:
    text = """
from derive import Conserved, Entry, linear_network

model = linear_network(depth=2)
W1, W2 = model.state
right = Entry(name="right", model=model, claims=(Conserved("balance", W2.T * W2 - W1 * W1.T),))
wrong = Entry(name="wrong", model=model, claims=(Conserved("sum", W2.T * W2 + W1 * W1.T),))
"""
    path = user_file(tmp_path, text)
    done = gradientflow("verify", f"{path}:right", "--json")
    data = json.loads(done.out)
    assert done.code == 0
    assert sorted(data) == ["checks", "passed", "system"]
    assert sorted(data["checks"][0]) == ["bound", "claim", "passed", "seconds", "seed", "statistic"]
    done = gradientflow("verify", f"{path}:wrong", "--json")
    assert done.code == 1
    assert json.loads(done.out)["passed"] is False


def test_a_blow_up_is_code_4_and_writes_nothing(tmp_path: Path) -> None:
    text = """
from derive import Entry, Model, Rate, dims, matrix

N = dims("N")
W = matrix("W", N, N)
model = Model(name="blowup", state=W, learn=Rate({W: W * W.T * W}))
entry = Entry(name="blowup", model=model, values={"N": 2, "scale": 1.0, "time": 50.0})
"""
    done = gradientflow("run", f"{user_file(tmp_path, text)}:entry", "--out", tmp_path / "out")
    assert done.code == 4, done.out + done.err
    assert "blowup" in done.err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_is_130_and_keeps_complete_files_only(tmp_path: Path) -> None:
    """A first run is complete; a second one into the same folder is interrupted while it simulates."""
    out = tmp_path / "out"
    out.mkdir()
    for name in FILES:
        (out / name).write_text("complete")
    arguments = ["run", "goldt_2019_teacher_student", "--set", "N=2000", "--set", "time=200", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "numerics.cli", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    time.sleep(6.0)  # imports, derivation and compilation take about 3 s; the whole run would take minutes
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    assert all((out / name).read_text() == "complete" for name in FILES)


def test_an_error_while_writing_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    from numerics.run import staging

    def interrupted() -> None:
        with staging(tmp_path / "out") as stage:
            (stage / "report.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
