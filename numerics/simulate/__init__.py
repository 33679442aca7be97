"""The independent road: simulation of a plan that shares no code with the derivation.

``simulate`` interprets any plan on a small differentiation tape; ``families`` holds hand-written kernels that take arrays;
``replicate`` repeats runs over sizes and seeds; ``stats`` turns them into verdicts. Imports NumPy, SciPy and Numba only.
"""

from .engine import SimulationResult, one_step, simulate
from .ensemble import replicate
from .errors import BindingError, NotSimulable, PlanError, SimulationError
from .plan import Plan, read_plan
from .protocol import simulate_protocol
from .streams import Stream

__all__ = [
    "simulate", "simulate_protocol", "one_step", "SimulationResult", "Plan", "read_plan", "replicate", "Stream",
    "SimulationError", "PlanError", "BindingError", "NotSimulable",
]  # fmt: skip
