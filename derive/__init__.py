"""gradientflow, the symbolic part: from a learning problem to its exact equations.

A `Model` states the problem; verbs derive its dynamics (`gradient_flow`, `online_limit`), reduce them (`reduce`), find what
they conserve (`conserved`) and solve them (`closed_form`). This is the only public face; it loads nothing until it is asked.

>>> import derive
>>> derive.dims("N K")
(N, K)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

#: Public name -> module that defines it. No module is called like a function, so an attribute is never a module by accident.
_HOME = {
    "dims": "symbols", "scalars": "symbols", "vector": "symbols", "matrix": "symbols", "activation": "symbols", "t": "symbols",
    "dot": "sugar", "norm2": "sugar", "had": "sugar", "total": "sugar", "stack": "sugar", "case": "sugar",
    "grad": "nodes", "mean": "nodes", "stop": "nodes", "root": "nodes",
    "Normal": "laws", "Choice": "laws", "Marginal": "laws", "Moments": "laws",
    "Rate": "rules", "Update": "rules", "Optimum": "rules", "Limit": "rules",
    "Phase": "rules", "Event": "rules", "Drop": "rules", "Control": "rules",
    "Model": "model", "as_updates": "transform", "plan": "simulation_plan",
    "Entry": "entry", "Published": "entry", "Conserved": "entry", "Solves": "entry", "Commutes": "entry",
    "MeanExit": "entry", "MatchesSimulation": "entry",
    "Throughout": "entry", "Spectrum": "entry", "LeadingOrder": "entry", "Approaches": "entry", "Rests": "entry",
    "fixed_points": "rest_points", "learning_times": "asymptotics", "at_depth": "limits",
    "gradient_flow": "flow", "online_limit": "online", "field_rule": "fields", "average": "gaussian",
    "phases": "protocols", "course": "courses",
    "reduce": "reduction", "Modes": "ansatz", "Balanced": "ansatz", "Manifold": "ansatz", "LambdaBalanced": "ansatz",
    "Gram": "ansatz", "spectrum": "spectra", "mode_classes": "spectra", "Tree": "structures", "Bits": "structures",
    "Circulant": "structures", "Kron": "structures", "KronSum": "structures", "RankOne": "structures", "Plus": "structures",
    "diffusion_tree": "structures", "tangent_kernel": "riccati_value",
    "conserved": "invariants", "eliminate": "elimination", "change_variables": "change_of_variables",
    "equivalent": "equivalence", "linearise": "lazy_limit",
    "mirror_invariants": "mirror", "broken_invariants": "broken", "family": "families", "exit_time": "passage",
    "darboux_polynomials": "darboux", "closed_form": "solve", "complete": "completion", "describe": "printing",
    "linear_network": "library_linear", "teacher_student": "library_teacher", "linear_attention": "library_attention",
    "two_tasks": "library_tasks",
    "along": "paths", "coefficients": "paths",
    "symmetric": "alike_units", "Group": "alike_units", "expand_rest": "rest_expansion", "RestsNear": "entry",
    "exact_chain": "chain_plan", "greedy": "schedules", "rl_perceptron": "library_episodes",
    "compositional_perceptron": "library_episodes",
    "spectral_average": "mode_averages", "mean_over": "mode_averages", "Density": "densities", "Concentrates": "entry",
    "marchenko_pastur": "densities", "semicircle": "densities",
    "ConservedQuantity": "system", "Flow": "system", "Reduction": "system", "ClosedForm": "system", "Assumption": "system",
    "DerivationError": "errors", "InvalidSpec": "errors", "ShapeMismatch": "errors", "UnsupportedNode": "errors",
    "NotClosed": "errors", "NotInvariant": "errors", "NoClosedForm": "errors", "CheckFailed": "errors",
    "BudgetExceeded": "errors",
}  # fmt: skip
#: Modules that are public themselves.
_MODULES = ("fn", "catalog")

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"derive.{name}")
    if name not in _HOME:
        from difflib import get_close_matches

        close = get_close_matches(name, sorted(_HOME), n=1)
        raise AttributeError(f"module 'derive' has no attribute {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    value = getattr(import_module(f"derive.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
