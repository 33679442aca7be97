"""Import direction: derive <- codegen <- numerics; the simulation is an independent road; import stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT, imports, imports_of, shown, sources, top

STANDARD = sys.stdlib_module_names
COMMAND = {"sklearn", "typer", "rich", "h5netcdf"}
ALLOWED = {
    "derive": {"derive", "sympy", "mpmath", "numpy", "scipy"},  # scipy in functions only, see below
    "codegen": {"codegen", "derive", "sympy", "numpy", "numba", "mpmath"},
    "numerics": {"numerics", "codegen", "derive", "sympy", "numpy", "scipy", "numba", "xarray", "matplotlib"} | COMMAND,
    "numerics/simulate": {"numerics.simulate", "numpy", "scipy", "numba"},
}


def forbidden(modules: dict[str, int], folder: str) -> list[str]:
    """Modules that a file of a folder must not import."""
    out = []
    for module, line in modules.items():
        inside = any(module == a or module.startswith(a + ".") for a in ALLOWED[folder])
        if not inside and top(module) not in STANDARD:
            out.append(f"line {line}: {module}")
    return out


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_each_package_imports_only_what_stands_below_it(folder: str) -> None:
    bad = [f"{shown(path)}, {entry}" for path in sources(folder) for entry in forbidden(imports(path), folder)]
    assert not bad, "\n".join(bad)
    assert sources(folder), f"{folder} has no files: this test would pass without looking at anything"


@pytest.mark.parametrize(
    ("folder", "line"),
    [
        ("derive", "from codegen import compile"),
        ("derive", "def f():\n    import numba"),
        ("codegen", "import numerics.integrate"),
        ("numerics/simulate", "from derive.spec.model import Model"),
        ("numerics/simulate", "from ..files import write_text"),
        ("numerics", "import torch"),
    ],
)
def test_the_rule_catches_a_wrong_import(folder: str, line: str) -> None:
    path = ROOT / folder / "example.py"
    assert forbidden(imports_of(ast.parse(line), path), folder)


def test_derive_loads_scipy_only_where_a_special_function_or_a_solver_is_called() -> None:
    early = [shown(p) for p in sources("derive") if any(top(m) == "scipy" for m in imports(p, lazy=False))]
    assert not early, "import scipy inside the function that needs it: " + ", ".join(early)
    assert any(top(m) == "scipy" for p in sources("derive") for m in imports(p)), "nothing is looked at"


def test_no_engine_file_knows_a_catalogue_system() -> None:
    """Systems are data: neither their names nor the catalogue package occur in a pass, an emitter or a numerical routine."""
    systems = [p.stem for p in sources("derive/catalog") if p.stem != "__init__"]
    assert systems
    readers = {
        "numerics/target.py",
        "numerics/cli_show.py",
        "numerics/cli_verify.py",
        "numerics/cli_errors.py",
        "derive/__init__.py",
    }
    bad = []
    for path in sources("derive", "codegen", "numerics"):
        if "catalog" in path.parts or shown(path) in readers:
            continue
        text = code_without_docstrings(path)
        bad += [f"{shown(path)} names {s}" for s in systems if s in text]
        bad += [f"{shown(path)} imports {m}" for m in imports(path) if m.startswith("derive.catalog")]
    assert not bad, "\n".join(bad)


def code_without_docstrings(path: Path) -> str:
    """The code of a file; docstrings and comments may cite a paper."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(module)


def test_display_and_heavy_libraries_are_imported_lazily() -> None:
    heavy = {"matplotlib", "rich", "xarray", "sklearn", "numba"}
    files = [p for p in sources("derive", "codegen", "numerics") if "families" not in p.parts and p.name != "cli_table.py"]
    bad = [f"{shown(p)}: {m}" for p in files for m in imports(p, lazy=False, typing=False) if top(m) in heavy]
    assert not bad, "\n".join(bad)


def seconds(*arguments: str) -> float:
    """Best of three runs of a command (the best, because other processes share the machine)."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT)
        best = min(best, time.perf_counter() - start)
    return best


def test_help_is_quick() -> None:
    assert seconds("-m", "numerics.cli", "--help") <= 0.5  # 0.1 s measured; more means that something heavy is imported


def test_import_derive_is_quick() -> None:
    bare = seconds("-c", "import sympy, numpy, mpmath")
    assert seconds("-c", "import derive") <= max(0.9, 1.5 * bare)  # on a busy machine sympy alone may take 0.9 s


def test_help_imports_no_mathematics() -> None:
    code = textwrap.dedent("""
        import sys
        from numerics.cli import app
        heavy = {"sympy", "numpy", "scipy", "numba", "matplotlib", "xarray", "rich"} & {m.split(".")[0] for m in sys.modules}
        sys.exit(", ".join(sorted(heavy)) or 0)
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
