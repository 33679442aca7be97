"""codegen: systems of equations -> readable NumPy, Numba and mpmath kernels.

`compile` returns a `Kernel`, `emit` writes a module that runs without this project. Imports derive, sympy and numpy, and
Numba lazily.
"""

from codegen.kernel import Kernel, compile, emit
from codegen.layout import Layout

__all__ = ["compile", "emit", "Kernel", "Layout"]
