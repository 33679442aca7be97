"""`list`, `derive`, `emit`: JSON contracts, formats, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from derive.catalog import load, names
from tests.cli.command import gradientflow, user_file


def test_list_is_the_catalogue() -> None:
    rows = json.loads(gradientflow("list", "--json").out)
    assert [row["name"] for row in rows] == list(names())
    assert all(sorted(row) == ["claims", "kind", "name", "reference", "title"] for row in rows)
    shown = gradientflow("list").out
    assert all(name in shown for name in names())


def test_derive_json_has_the_documented_fields() -> None:
    data = json.loads(gradientflow("derive", "saxe_2014_deep_linear", "--format", "json", "--white").out)
    assert data["state"] == {"W1": {"shape": ["N1", "N0"]}, "W2": {"shape": ["N2", "N1"]}}
    assert data["equations"]["W1"] == "W2.T*(Syx - W2*W1*Sx)/tau"  # gradient of the trace of words, multiplied out by hand
    assert data["conserved"] == ["W2.T*W2 - W1*W1.T"]
    assert list(data["closed_form"]) == ["u(t)"]
    assert data["latex"]["W1"].startswith(r"\frac{dW_{1}}{dt} = ")
    assert all(isinstance(data[key], list) and data[key] for key in ("assumptions", "steps"))


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("format", ["text", "latex", "markdown", "json"])
def test_every_format_of_every_system(name: str, format: str) -> None:
    done = gradientflow("derive", name, "--format", format)
    assert done.code == 0, done.err
    discrete = load(name).kind == "recursion"  # values after a step, where a flow has time derivatives
    needed = {"text": "recursion" if discrete else "equations", "latex": r"\begin{aligned}", "json": '"equations"'}
    needed["markdown"] = f"### {needed['text'].capitalize()}"
    assert needed[format] in done.out


def test_depth_is_a_setting() -> None:
    out = gradientflow("derive", "saxe_2014_deep_linear", "--set", "depth=3").out
    assert "dW2/dt = W3.T*(Syx - W3*W2*W1*Sx)*W1.T/tau" in out
    assert "du[i]/dt = 3*u[i]**(4/3)*" in out


def test_emitted_file_runs_without_the_project(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    assert gradientflow("emit", "saxe_2014_deep_linear", "-o", path).code == 0
    code = (
        f"import importlib.util as u; s = u.spec_from_file_location('k', {str(path)!r}); m = u.module_from_spec(s); "
        "s.loader.exec_module(m); print(m.__doc__.splitlines()[0])"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "linear_network_2" in done.stdout


def test_a_users_model_is_a_name(tmp_path: Path) -> None:
    done = gradientflow("derive", f"{user_file(tmp_path)}:model")
    assert done.code == 0, done.err
    assert "dW/dt = Syx - W*Sx" in done.out


def test_text_is_the_same_under_every_hash_seed() -> None:
    texts = []
    for seed in ("0", "7"):
        done = subprocess.run(
            [sys.executable, "-m", "numerics.cli", "derive", "saxe_2014_deep_linear"],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            cwd=Path(__file__).parents[2],
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        texts.append(done.stdout)
    assert texts[0] == texts[1]
