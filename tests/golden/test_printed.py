"""Printed mathematics is a golden file, reviewed like code.

Sentences about checks carry measured numbers, which differ between machines, so only the equations are compared.
To refresh after an intended change: ``GOLDEN=write python -m pytest tests/golden/test_printed.py``, then read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from derive.catalog import load
from derive.derivation import derive_all
from derive.printing.objects import describe

FOLDER = Path(__file__).parent / "files"
CASES = {
    "printed_saxe_depth_2.txt": ("saxe_2014_deep_linear", {}, "text"),
    "printed_saxe_depth_3.tex": ("saxe_2014_deep_linear", {"depth": 3}, "latex"),
    "printed_goldt_first_layer.txt": ("goldt_2019_teacher_student", {"train": "first"}, "text"),
}


@pytest.mark.parametrize("file", CASES)
def test_printed(file: str) -> None:
    name, settings, format = CASES[file]
    entry = load(name, **settings)
    made = describe(derive_all(entry.model, title=entry.title), format).split("\nassumptions\n")[0]
    made = "\n".join(line.rstrip() for line in made.splitlines() if "checked:" not in line) + "\n"
    path = FOLDER / file
    if os.environ.get("GOLDEN") == "write":
        path.write_text(made, encoding="utf-8")
    assert made == path.read_text(encoding="utf-8")
