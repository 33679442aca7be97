"""Compilation of the families' loops, at the first call and kept on disk where that is possible.

Only the fast-math rules that keep NaN and infinity apart from numbers are allowed: sums may be reordered (needed to vectorise a
dot product) and products contracted. A read-only installation, a damaged cache file or one written under another module name
costs a new compilation, nothing else. Imported by the families; imports Numba at the first call.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Numba version of a function of a module that is always called with the same types."""
    import numba

    options: dict[str, Any] = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, "error_model": "numpy", "nogil": True}
    plain: Callable[..., Any] = numba.njit(**options)(function)
    try:
        kept = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": neither the package nor the user's cache directory is writable
        return plain
    chosen: list[Callable[..., Any]] = []

    def call(*arguments: Any) -> Any:
        if not chosen:
            types = tuple(numba.typeof(argument) for argument in arguments)  # type: ignore[no-untyped-call]
            chosen.append(kept if _usable(kept, types) else plain)
        return chosen[0](*arguments)

    return call


def _usable(kept: Any, types: tuple[Any, ...]) -> bool:
    """Whether the version with a cache compiles; a cache that cannot be read is emptied and written anew."""
    for attempt in range(2):
        try:
            kept.compile(types)
            return True
        except Exception:  # whatever a damaged file raises; a fault of the code itself is raised again by the plain version
            if attempt == 0 and hasattr(kept, "_cache"):
                with suppress(OSError):
                    kept._cache.flush()
    return False
