"""The source files as syntax trees: what the architecture tests read. It imports nothing of the project."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("derive", "codegen", "numerics")


def sources(*folders: str) -> list[Path]:
    """All Python files under folders, sorted."""
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py") if "__pycache__" not in p.parts)


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def shown(path: Path) -> str:
    """A path relative to the project."""
    return str(path.relative_to(ROOT))


def imports(path: Path, *, lazy: bool = True, typing: bool = True) -> dict[str, int]:
    """Absolute modules that a file imports -> line. Without ``lazy``, only those that run when the module is imported."""
    return imports_of(tree(path), path, lazy=lazy, typing=typing)


def imports_of(module: ast.Module, path: Path, *, lazy: bool = True, typing: bool = True) -> dict[str, int]:
    """The same for a given syntax tree."""
    found: dict[str, int] = {}

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update({alias.name: node.lineno for alias in node.names})
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = path.relative_to(ROOT).with_suffix("").parts
                package = parts[: len(parts) - node.level]
                base = ".".join([*package, *([node.module] if node.module else [])])
            found[base] = node.lineno
            found.update({f"{base}.{alias.name}": node.lineno for alias in node.names})
        postponed = not lazy and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if postponed or (not typing and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(module)
    return found


def top(module: str) -> str:
    """First part of a dotted name."""
    return module.split(".")[0]
