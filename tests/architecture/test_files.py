"""Size and form of files: one idea each, a docstring, no forbidden construction, no trace of a private machine."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.source_tree import PACKAGES, ROOT, imports, shown, sources, tree

LONGEST = 400
LONGEST_ENTRY = 120


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_no_file_is_longer_than_one_idea() -> None:
    bad = [f"{shown(p)}: {lines(p)} lines" for p in sources(*PACKAGES, "tests") if lines(p) > LONGEST]
    bad += [f"{shown(p)}: {lines(p)} lines" for p in sources("derive/catalog") if lines(p) > LONGEST_ENTRY]
    assert not bad, f"at most {LONGEST} lines ({LONGEST_ENTRY} in the catalogue):\n" + "\n".join(bad)


def test_each_file_opens_with_a_docstring() -> None:
    bad = [shown(p) for p in sources(*PACKAGES) if not ast.get_docstring(tree(p))]
    assert not bad, "\n".join(bad)


def calls(module: ast.Module) -> list[tuple[int, str]]:
    """Line and name of every call: the last part of a dotted name."""
    out = []
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            f = node.func
            name = f.attr if isinstance(f, ast.Attribute) else f.id if isinstance(f, ast.Name) else ""
            out.append((node.lineno, ("." if isinstance(f, ast.Attribute) else "") + name))
    return out


FORBIDDEN = {
    "eval": "text is never executed",
    "exec": "text is never executed",
    ".parse_expr": "no string reaches SymPy's parser",
    "parse_expr": "no string reaches SymPy's parser",
    ".lambdify": "names of users would be executed",
    "lambdify": "names of users would be executed",
    ".simplify": "its result depends on the hash seed and its time is unbounded",
    "simplify": "its result depends on the hash seed and its time is unbounded",
    ".nsimplify": "it guesses",
}


def test_no_forbidden_call() -> None:
    bad = [
        f"{shown(p)}:{line}: {name}: {FORBIDDEN[name]}"
        for p in sources(*PACKAGES)
        for line, name in calls(tree(p))
        if name in FORBIDDEN
    ]
    assert not bad, "\n".join(bad)


#: Where `diff` is applied to the scalar body of a named function of one variable, which SymPy does right.
SCALAR_DIFFS = ("derive/fn.py", "derive/spec/assemble.py")


def diffs(module: ast.Module) -> list[int]:
    """Calls ``e.diff(...)``, ``diff(e, ...)`` and ``Derivative``."""
    return [line for line, name in calls(module) if name in (".diff", "diff", ".Derivative", "Derivative")]


def test_sympy_never_differentiates_a_matrix_expression() -> None:
    """SymPy returns 0 for a sum of traces; `diff` is allowed only where no matrix expression can be."""
    bad = []
    for path in sources("derive"):
        matrices = any(word in path.read_text(encoding="utf-8") for word in ("MatrixSymbol", "MatMul", "Trace(", "MatrixExpr"))
        if matrices and shown(path) not in SCALAR_DIFFS:
            bad += [f"{shown(path)}:{line}" for line in diffs(tree(path))]
    assert not bad, "\n".join(bad)


def test_the_scalar_exceptions_differentiate_once_each() -> None:
    """A second `diff` in such a file needs a second look."""
    assert {name: len(diffs(tree(ROOT / name))) for name in SCALAR_DIFFS} == dict.fromkeys(SCALAR_DIFFS, 1)


def test_sets_are_not_iterated() -> None:
    """A loop over a set display or a set call depends on the hash seed."""
    bad = []
    for path in sources(*PACKAGES):
        for node in ast.walk(tree(path)):
            loops = [node.iter] if isinstance(node, ast.For | ast.comprehension) else []
            for it in loops:
                is_call = isinstance(it, ast.Call) and isinstance(it.func, ast.Name) and it.func.id in ("set", "frozenset")
                if is_call or isinstance(it, ast.Set | ast.SetComp):
                    bad.append(f"{shown(path)}:{it.lineno}")
    assert not bad, "\n".join(bad)


ENGINE = (
    "derive.indices.indexed",
    "derive.matrices.poly",
    "derive.matrices.words",
    "derive.system",
    "derive.flows.flow",
    "derive.online.limit",
    "derive.reductions.reduction",
    "derive.solutions.solve",
)


def test_a_catalogue_file_specifies_and_does_not_derive() -> None:
    """It imports the spec language only, so it cannot hold a derived equation outside of its claims."""
    entries = [p for p in sources("derive/catalog") if p.stem != "__init__"]
    bad = [f"{shown(p)} imports {m}" for p in entries for m in imports(p) if m.startswith(ENGINE)]
    assert entries
    assert not bad, "\n".join(bad)


def test_published_equations_occur_in_claims_only() -> None:
    """No published equation stands inside the construction of a Model."""
    bad = []
    for path in sources("derive/catalog"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
                "Model",
                "linear_network",
                "teacher_student",
            ):
                bad += [f"{shown(path)}:{c.lineno}" for c in ast.walk(node) if isinstance(c, ast.Name) and c.id == "Published"]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("pattern", ["*.py", "*.md", "*.cfg", "*.toml", "*.cff"])
def test_no_file_names_an_absolute_private_path(pattern: str) -> None:
    words = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/op" + "t/"]
    files = [
        p
        for p in ROOT.rglob(pattern)
        if not any(part.startswith(".") or part in ("out", "build") for part in p.relative_to(ROOT).parts)
    ]
    assert files
    bad = [f"{shown(p)} holds {w}" for p in files for w in words if w in p.read_text(encoding="utf-8", errors="replace")]
    assert not bad, "\n".join(bad)
