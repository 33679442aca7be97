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

#: Module -> the public names that it defines. No package is called like a function, so an attribute is never one by accident.
_DEFINES = {
    "spec.symbols": ("dims", "scalars", "vector", "matrix", "activation", "t"),
    "spec.sugar": ("dot", "norm2", "had", "total", "stack", "case"),
    "spec.nodes": ("grad", "mean", "stop", "root"),
    "spec.laws": ("Normal", "Choice", "Marginal", "Moments"),
    "spec.rules": ("Rate", "Update", "Optimum", "Limit", "Phase", "Event", "Drop", "Control"),
    "spec.model": ("Model",),
    "spec.transform": ("as_updates",),
    "spec.simulation_plan": ("plan",),
    "claims.entry": (
        "Entry",
        "Published",
        "Conserved",
        "Solves",
        "Commutes",
        "MeanExit",
        "MatchesSimulation",
        "Throughout",
        "Spectrum",
        "LeadingOrder",
        "Approaches",
        "Rests",
        "RestsNear",
        "Concentrates",
    ),
    "rest_states.rest_points": ("fixed_points",),
    "rest_states.rest_expansion": ("expand_rest",),
    "solutions.asymptotics": ("learning_times",),
    "solutions.passage": ("exit_time",),
    "solutions.laplace": ("laplace",),
    "solutions.solve": ("closed_form",),
    "flows.limits": ("at_depth",),
    "flows.flow": ("gradient_flow",),
    "flows.elimination": ("eliminate",),
    "flows.change_of_variables": ("change_variables",),
    "flows.equivalence": ("equivalent",),
    "flows.lazy_limit": ("linearise",),
    "flows.paths": ("along", "coefficients"),
    "online.limit": ("online_limit",),
    "online.population": ("population_flow",),
    "online.alike_units": ("symmetric", "Group"),
    "online.chain_plan": ("exact_chain",),
    "fields.rule": ("field_rule",),
    "gaussian": ("average",),
    "recursions.averaged_step": ("recursion",),
    "recursions.discrete": ("Recursion",),
    "recursions.stationary_modes": ("stationary", "Stationary"),
    "recursions.affine_map": ("rest_in_numbers", "growth_in_numbers"),
    "system": ("ConservedQuantity", "Flow", "Reduction", "ClosedForm", "Assumption"),
    "errors": (
        "DerivationError",
        "InvalidSpec",
        "ShapeMismatch",
        "UnsupportedNode",
        "NotClosed",
        "NotInvariant",
        "NoClosedForm",
        "CheckFailed",
        "BudgetExceeded",
    ),
    "protocols.sequence": ("phases",),
    "protocols.courses": ("course",),
    "protocols.schedules": ("greedy",),
    "protocols.pontryagin": ("optimal",),
    "reductions.reduction": ("reduce",),
    "reductions.ansatz": ("Modes", "Balanced", "Manifold", "LambdaBalanced", "Gram"),
    "reductions.riccati_value": ("tangent_kernel",),
    "spectra.spectral": ("spectrum", "mode_classes"),
    "spectra.structures": ("Tree", "Bits", "Circulant", "Kron", "KronSum", "RankOne", "Plus", "diffusion_tree"),
    "spectra.mode_averages": ("spectral_average", "mean_over"),
    "spectra.densities": ("Density", "marchenko_pastur", "semicircle"),
    "invariants.search": ("conserved",),
    "invariants.mirror": ("mirror_invariants",),
    "invariants.broken": ("broken_invariants",),
    "invariants.darboux": ("darboux_polynomials",),
    "matrices.families": ("family",),
    "completion.closure": ("complete",),
    "printing.objects": ("describe",),
    "library.linear": ("linear_network",),
    "library.teacher": ("teacher_student",),
    "library.attention": ("linear_attention",),
    "library.tasks": ("two_tasks",),
    "library.autoencoder": ("denoising_autoencoder",),
    "library.episodes": ("rl_perceptron", "compositional_perceptron"),
}
_HOME = {name: module for module, names in _DEFINES.items() for name in names}
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
