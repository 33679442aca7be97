"""Hand-written simulations of common systems: fast kernels that take arrays and know nothing of plans.

One step of each equals one step of the tape on the same draws, and so does a whole run from the same stream.
Imports NumPy, SciPy and (at the first call) Numba.
"""

from . import committee, deep_linear

__all__ = ["committee", "deep_linear"]
