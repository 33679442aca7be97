"""Module assembly: Program + Backend -> text of a file that runs without this project.

Support functions are printed only if they are called, imports only if they are used. The text depends on the system and the
backend alone, and is the same under every hash seed. Imported by codegen only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from codegen import functions_counts, functions_linear, functions_signs
from codegen.printer import Backend, Printer
from codegen.program import Program


def source(program: Program, backend: Backend) -> str:
    """Source text of the module of a program."""
    printer = Printer(backend, program.helpers)
    functions = [printer.helper(h) for h in program.helpers if h.name not in printer.primitive]
    functions += [printer.procedure(p) for p in (*program.averages, *program.procedures)]
    blocks = ["\n".join(lines) for lines in functions]
    code = "\n".join(_without_strings(b) for b in blocks)
    known = {**backend.support, **functions_linear.support(backend.name), **functions_signs.support(backend.name, code)}
    support = _needed({**known, **functions_counts.support(backend.name)}, code)
    everything = "\n".join([*backend.prelude, *support, code])
    imports = [line for line in backend.imports if not line or _used(line, everything)]
    while imports and not imports[0]:
        imports.pop(0)
    head = f"""\"\"\"{program.doc}
\"\"\"

# Written by gradientflow for {backend.name}: {backend.run}.
# rhs(t, states, parameters) and observables(...) return tuples.
"""
    parts = [head, "\n".join(imports)]
    if backend.prelude:
        parts.append("\n" + "\n".join(backend.prelude))
    for block in (*support, *blocks):
        parts.append("\n\n" + block if block.startswith(("def ", "@")) else "\n" + block)
    return "\n".join(parts) + "\n"


def _needed(known: Mapping[str, str], code: str) -> list[str]:
    """The definitions that the code uses, and those that they use."""
    found: dict[str, str] = {}
    while True:
        text = "\n".join((code, *(_without_strings(t).partition("(")[2] for t in found.values())))
        more = {key: t for key, t in known.items() if key not in found and any(_called(n, text) for n in key.split(", "))}
        if not more:
            return [t for key, t in known.items() if key in found]
        found.update(more)


def _called(name: str, code: str) -> bool:
    pattern = rf"(?<![\w.]){name}\b" if name.isupper() or name[-2:].isdigit() else rf"(?<![\w.]){name}\("
    return re.search(pattern, code) is not None or f"({name}, " in code


def _used(line: str, code: str) -> bool:
    """Is a name of an import line used?"""
    names = re.findall(r"\w+", line.split(" as ")[-1] if " as " in line else line.split("import ")[-1])
    return any(re.search(rf"\b{n}\b", code) for n in names)


def _without_strings(code: str) -> str:
    """Code without docstrings and comments."""
    return re.sub(r"#.*", "", re.sub(r'""".*?"""', "", code, flags=re.S))
