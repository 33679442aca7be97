"""The independent road stays independent: no file of it imports the derivation, a plan is simulated without it."""

import ast
import subprocess
import sys
from pathlib import Path

from numerics.simulate import engine

FOLDER = Path(engine.__file__).parent
ALLOWED = ("numpy", "scipy", "numba")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]


def test_only_numpy_scipy_numba_and_the_standard_library_are_imported():
    files = sorted(FOLDER.rglob("*.py"))
    assert len(files) > 10
    for path in files:
        foreign = [name for name in imported(path) if name not in ALLOWED and name not in sys.stdlib_module_names]
        assert foreign == [], f"{path.name} imports {foreign}"


def test_relative_imports_stay_inside():
    for path in sorted(FOLDER.rglob("*.py")):
        depth = len(path.relative_to(FOLDER).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level <= depth, f"{path.name} imports from above its package"


def test_a_run_loads_neither_sympy_nor_numba():
    program = (
        "import sys; from numerics.simulate import simulate;"
        "rule = {'kind': 'update', 'blocks': [[['w', ['grad', ['pow', 'w', 2], 'w']]]]};"
        "p = {'version': 1, 'state': {'w': []}, 'rule': rule};"
        "r = simulate(p, {}, {'w': 1.5}, 1); assert r.values['w'][0, -1] == 3.0;"
        "print([m for m in ('sympy', 'derive', 'codegen', 'numba', 'matplotlib') if m in sys.modules])"
    )
    root = FOLDER.parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
