"""README.md: its Python runs, its commands exist, its table is the catalogue, its first screen shows what it promises."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from derive.catalog import load, names
from tests.cli.command import gradientflow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = README.split("## Tutorial in five steps")[1].split("\n## ")[0]
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_the_ten_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, object] = {}
    code = compile(PYTHON[0], "README.md", "exec")
    exec(code, scope)
    shown = capsys.readouterr().out
    assert "dW1/dt = W2.T*(Syx - W2*W1*Sx)/tau" in shown
    assert "W2.T*W2 - W1*W1.T = const" in shown
    assert "du[i]/dt = 2*u[i]*(s[i] - u[i])/tau" in shown
    curve, s = scope["curve"], np.asarray(scope["given"]["s"])  # type: ignore[index]
    top = s > 0.1
    end = np.asarray(curve.values["u"])[-1]  # type: ignore[attr-defined]
    assert np.abs(end[top] / s[top] - 1).max() < 1e-3  # learned: u -> s; the slowest mode is at 1 - exp(-2 s t) s/u0 ~ 1 - 1e-7


def test_the_first_example_has_about_ten_lines() -> None:
    lines = [line for line in PYTHON[0].splitlines() if line.strip()]
    assert len(lines) <= 12


def test_the_users_model_derives() -> None:
    done = gradientflow("derive", f"{ROOT / 'docs' / 'examples' / 'mine.py'}:model")
    assert done.code == 0, done.err
    assert "dR[k,l]/dalpha" in done.out


def test_the_users_model_is_the_file() -> None:
    assert PYTHON[1] == (ROOT / "docs" / "examples" / "mine.py").read_text(encoding="utf-8")


COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"`(gradientflow [a-z][^`]*)`", TUTORIAL)]


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[0] in ("list", "derive")], ids=" ".join)
def test_the_quick_steps_of_the_tutorial_run(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    done = gradientflow(*command)
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) > 10


def test_the_long_steps_of_the_tutorial_name_systems_with_their_settings() -> None:
    """`run` itself is tested in test_run.py, with smaller sizes; a setting that the entry does not know is a run setting."""
    long = [c for c in COMMANDS if c[0] == "run"]
    assert long
    for command in long:
        settings = dict(command[n + 1].split("=") for n, word in enumerate(command) if word == "--set")
        known = inspect.signature(importlib.import_module(f"derive.catalog.{command[1]}").entry).parameters
        assert [k for k in settings if k not in {*known, "N", "seeds", "time", "eta", "batch"}] == []
        assert "--out" in command


def rows() -> str:
    """The table of the catalogue, one row per system."""
    verbs = ("gradient_flow", "online_limit", "population_flow", "recursion")
    verb = {kind: f"`{v}`" for kind, v in zip(("matrix", "online", "population", "recursion"), verbs, strict=True)}
    entries = [load(name) for name in names()]
    lines = [f"| `{e.name}` | {e.title} | {verb[e.kind]} | {e.reference} |" for e in entries]
    return "\n".join(["| system | what | derived by | reference |", "|---|---|---|---|", *lines])


def test_the_table_is_the_catalogue() -> None:
    """To refresh it after adding systems: ``GOLDEN=write python -m pytest tests/cli/test_readme.py``."""
    found = re.search(r"## Catalogue\n\n(\|.*?)\n\n", README, flags=re.DOTALL)
    assert found is not None
    made = rows()
    if os.environ.get("GOLDEN") == "write":
        (ROOT / "README.md").write_text(README.replace(found.group(1), made), encoding="utf-8")
        return
    assert found.group(1) == made, "refresh it: GOLDEN=write python -m pytest tests/cli/test_readme.py"


def test_every_link_points_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert not [link for link in links if not (ROOT / link).exists()]


def test_the_test_command_stands_between_its_marks() -> None:
    """`.ci/run` takes it from there, word for word."""
    block = README.split("<!-- test command -->")[1].split("<!-- end -->")[0]
    assert ".[test]" in block
    assert "pytest -n 2" in block
