"""Notebooks run from the first to the last cell, whose assertions are their claim; .py and .ipynb hold the same cells."""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py"))


def cells(path: Path) -> list[tuple[str, str]]:
    notebook = jupytext.read(path)
    return [(c.cell_type, c.source.strip()) for c in notebook.cells if c.source.strip()]


def test_there_are_notebooks() -> None:
    assert "first_light" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_hold_the_same_cells(name: str) -> None:
    assert cells(FOLDER / f"{name}.py") == cells(FOLDER / f"{name}.ipynb")


@pytest.mark.parametrize("name", NAMES)
def test_the_last_cell_asserts_the_claim(name: str) -> None:
    assert "assert" in cells(FOLDER / f"{name}.py")[-1][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name: str) -> None:
    notebook = nbformat.from_dict(jupytext.read(FOLDER / f"{name}.py"))
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(FOLDER.parent)}}).execute()
    assert notebook.cells[-1].cell_type == "code"
    assert notebook.cells[-1].execution_count is not None
