"""The loop of the overlap chain with deliberate errors, one switch for all of them, so that it is compiled once.

Imported by `benchmarks/chain_law.py` and by the tests of the chain.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from numerics.simulate import chain, chain_loop

#: text of the loop -> what a mutant has instead; {w} stands for "the mutant is switched on".
MUTANTS: Mapping[str, tuple[str, str]] = {
    "degrees of freedom off by the rank": ("left[row_block[pivot]] -= 1\n", "left[row_block[pivot]] -= 0 if {w} else 1\n"),
    "no fluctuation of the length": (
        "math.sqrt(rng.chisquare(left[b]))", "math.sqrt(float(left[b]) if {w} else rng.chisquare(left[b]))",
    ),
    "no rest of the inputs": ("where[top] = b\n", "where[top] = b\n{indent}X[s, top] *= 0.0 if {w} else 1.0\n"),
    "no G": ("push[G[k, 0]] += r[G[k, 1]] * share", "push[G[k, 0]] += (0.0 if {w} else r[G[k, 1]] * share)"),
    "no decay of the overlaps": (
        "A[pairs[k, 0], q] += push[k] * C[pairs[k, 1], q]", "A[pairs[k, 0], q] += 0.0 if {w} else push[k] * C[pairs[k, 1], q]",
    ),
    "first order only in D C D'": (
        "C[q, pairs[k, 0]] += push[k] * A[q, pairs[k, 1]]",
        "C[q, pairs[k, 0]] += push[k] * A[q, pairs[k, 1]] / (1.0 + push[k] if {w} else 1.0)",
    ),
    "no D in D B U'": (
        "M[q, pairs[k, 0]] += push[k] * first[q, pairs[k, 1]]",
        "M[q, pairs[k, 0]] += 0.0 if {w} else push[k] * first[q, pairs[k, 1]]",
    ),
    "no noise of the step": ("C[p, q] += s\n", "C[p, q] += 0.0 if {w} else s\n"),
    "fields of another law": ("s = C[p, pivot]\n", "s = C[p, pivot] * (0.9 if {w} else 1.0)\n"),
    "readout step too large by 1/N": (
        "drift[H[k, 0]] += r[H[k, 1]] * share", "drift[H[k, 0]] += r[H[k, 1]] * share * (1.0 + 1.0 / N if {w} else 1.0)",
    ),
    "columns that never meet": (
        "rng.standard_normal() if where[d] == b else 0.0",
        "rng.standard_normal() if where[d] == b and not ({w} and d >= rank) else 0.0",
    ),
}  # fmt: skip


def mutated_loop(folder: Path) -> Callable[..., int]:
    """The loop with a last argument ``which``: 0 runs it as it is, n the n-th mutant."""
    import numba

    text = inspect.getsource(chain_loop)
    for number, (old, new) in enumerate(MUTANTS.values(), start=1):
        assert text.count(old) == 1, f"the loop no longer contains {old!r} once"
        text = text.replace(old, new.format(w=f"which == {number}", indent=" " * 28))
    text = text.replace("    kept_theta: Array,\n", "    kept_theta: Array,\n    which: int,\n")
    path = folder / "mutated_loop.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("mutated_loop", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Callable[..., int] = numba.njit(error_model="numpy")(module.advance)  # type: ignore[no-untyped-call]
    return made


@contextmanager
def mutant(loop: Callable[..., int], name: str) -> Iterator[None]:
    """Within this context the chain runs a mutant; an empty name stands for the chain itself."""
    which = 1 + list(MUTANTS).index(name) if name else 0

    def kernel() -> Callable[..., Any]:
        return lambda *arguments: loop(*arguments, which)

    with patch.object(chain, "_kernel", kernel):
        yield


__all__ = ["MUTANTS", "mutant", "mutated_loop"]
