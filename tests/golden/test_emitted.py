"""Emitted files, kept as text and reviewed like code.

To refresh them after a change that is meant: ``python -m tests.golden.test_emitted``, then read the difference.
"""

from pathlib import Path

import pytest

from codegen import emit
from tests.codegen import flows

FILES = Path(__file__).parent / "files"
CASES = {
    "deep_linear_2_numpy.py": (lambda: flows.deep_linear(2), "numpy"),
    "deep_linear_3_numpy.py": (lambda: flows.deep_linear(3), "numpy"),
    "composites_numpy.py": (flows.composites, "numpy"),
    "composites_mpmath.py": (flows.composites, "mpmath"),
    "modes_numba.py": (flows.modes, "numba"),
    "committee_numpy.py": (flows.committee, "numpy"),
    "committee_numba.py": (flows.committee, "numba"),
}


@pytest.mark.parametrize("name", CASES)
def test_emitted_text_is_the_reviewed_one(name, tmp_path):
    make, backend = CASES[name]
    made = emit(make(), tmp_path / name, backend).read_bytes()
    assert made == (FILES / name).read_bytes(), f"{name} changed; if it was meant to: python -m tests.golden.test_emitted"


def refresh():
    """Write all files again."""
    FILES.mkdir(exist_ok=True)
    for name, (make, backend) in CASES.items():
        emit(make(), FILES / name, backend)
        print(FILES / name)


if __name__ == "__main__":
    refresh()
