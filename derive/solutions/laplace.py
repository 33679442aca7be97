r"""`laplace`: the evidence of a loss by its quadratic expansion at a minimum, and its energy and entropy.

    Z = int e^-L(w) dw,      -log Z ~ F = L(w*) + (1/2) log det (L''(w*) / 2 pi),      L'(w*) = 0

The first term is the energy of the minimum, the second the (negative) entropy of the volume around it: of two minima of one
depth the flatter one has the larger evidence. The formula is exact if and only if L'' does not depend on w. Gradient and
curvature are words of matrices, L'' as the map u -> L'' u; each is compared with differences when it is made. Imported by users
through `derive.laplace`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derive.errors import InvalidSpec, UnsupportedNode
from derive.flows.check import TOLERANCE, check_gradient
from derive.flows.flow import model_reader
from derive.matrices.calculus import grad
from derive.matrices.composite import mentions
from derive.matrices.entrywise import freed
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, param, text
from derive.matrices.words import Atom
from derive.printing.document import Document, Line, Section
from derive.printing.objects import expression_latex, expression_text, step_lines
from derive.reductions.ansatz import name_of
from derive.spec.lower import Collector
from derive.system import EMPTY, Function, Step

STEPS = 100  # of Newton's method; a quadratic loss needs one
SMALL = 1e-13  # last step relative to the minimum: the rounding of a linear solution


@dataclass(frozen=True, slots=True, kw_only=True)
class Laplace:
    """Quadratic expansion of a loss.

    Attributes
    ----------
    over : str
        The variable w that is integrated over.
    energy : Poly
        L(w).
    gradient : Poly
        L'(w).
    curvature : Poly
        L''(w) u, a linear function of ``probe``.
    probe : str
        Name of u.
    exact : bool
        The loss is quadratic in w, so that F = -log Z.
    functions : mapping
    steps : tuple of Step
    """

    over: str
    energy: Poly
    gradient: Poly
    curvature: Poly
    probe: str
    exact: bool
    functions: Mapping[str, Function] = field(default_factory=lambda: EMPTY)
    steps: tuple[Step, ...] = ()

    def evaluate(self, values: Mapping[Any, Any], start: Any) -> dict[str, Any]:
        """Minimum, energy, curvature, entropy and free energy at given arrays.

        Parameters
        ----------
        values : mapping symbol or name -> array or number
        start : array
            Where Newton's method begins; a loss that is not quadratic may have several minima.

        Returns
        -------
        dict
            ``minimum``, ``energy`` L(w*), ``curvature`` (n, n), ``log_det`` of it, ``free_energy`` F.

        Raises
        ------
        InvalidSpec
            If no minimum is reached, or it is flat in some direction.
        """
        known = {name_of(k): v for k, v in values.items() if name_of(k) != self.over}
        w = np.asarray(start, dtype=float)
        for _ in range(STEPS):
            H, g = self._curvature(known, w), np.ravel(self._value(self.gradient, known, w))
            try:
                step = np.linalg.solve(H, g)
            except np.linalg.LinAlgError:
                raise InvalidSpec(f"laplace: the curvature is singular near the start; {self._remedy()}") from None
            w = w - step.reshape(w.shape)
            if not np.isfinite(w).all():
                raise InvalidSpec(f"laplace: Newton's method leaves all bounds; {self._remedy()}")
            if np.abs(step).max() <= SMALL * (np.abs(w).max() + SMALL) or self.exact:
                break
        else:
            raise InvalidSpec(f"laplace: no minimum within {STEPS} steps of Newton's method; {self._remedy()}")
        H = self._curvature(known, w)
        least = float(np.linalg.eigvalsh(H).min())
        if not least > 0:
            raise InvalidSpec(
                f"laplace: the point that was reached is no minimum, a curvature is {least:.3g}; {self._remedy()}"
            )
        energy, log_det = float(self._value(self.energy, known, w)), float(np.linalg.slogdet(H)[1])
        free = energy + log_det / 2 - len(H) / 2 * np.log(2 * np.pi)
        return {"minimum": w, "energy": energy, "curvature": H, "log_det": log_det, "free_energy": float(free)}

    def _remedy(self) -> str:
        return "start nearer to a minimum, or add a quadratic term that bounds the loss"

    def _value(self, p: Poly, known: Mapping[str, Any], w: Any) -> Any:
        return np.asarray(evaluate(p, {**known, self.over: w}, functions=self.functions))

    def _curvature(self, known: Mapping[str, Any], w: Any) -> Any:
        n = int(w.size)
        rows = [self._value(self.curvature, {**known, self.probe: e.reshape(w.shape)}, w).ravel() for e in np.eye(n)]
        H = np.array(rows)
        return (H + H.T) / 2

    def as_document(self) -> Document:
        """Document for `describe`."""
        lines = [
            Line(text=f"{left} = {expression_text(p)}", latex=f"{tex} = {expression_latex(p)}")
            for left, tex, p in (("L", "L", self.energy), ("L'", "L'", self.gradient), ("L'' u", r"L'' u", self.curvature))
        ]
        form = Line(
            text=f"F = L(w*) + log det(L''(w*)/2 pi)/2, L'(w*) = 0{': equal to -log Z' if self.exact else ''}",
            latex=r"F = L(w^*) + \frac{1}{2} \log\det\frac{L''(w^*)}{2\pi}",
        )
        return Document(
            title=f"evidence of L over {self.over}",
            sections=(
                Section(heading=f"loss, gradient and curvature in {self.over}", lines=tuple(lines)),
                Section(heading="free energy (energy and entropy)", lines=(form,)),
                Section(heading="derivation", lines=step_lines(self.steps)),
            ),
        )

    def as_data(self) -> dict[str, Any]:
        """Plain data for `describe(..., "json")`."""
        words = {"energy": text(self.energy), "gradient": text(self.gradient), "curvature": text(self.curvature)}
        return {"kind": "laplace", "over": self.over, "exact": self.exact, **words}

    def __str__(self) -> str:
        from derive.printing.objects import describe

        return describe(self, format="text")


def laplace(model: Any, loss: Any, over: Any) -> Laplace:
    """Quadratic expansion of a loss in a state of a model.

    Parameters
    ----------
    model : Model
        Says what the symbols are; its rule plays no part.
    loss : expression
        In the symbols of the model: a definition of its ``let``, or a sum of them; -log of a likelihood times a prior.
    over : symbol
        The state w that is integrated over.

    Raises
    ------
    InvalidSpec
        If w is no state, or the loss is no number or holds a symbol of another model.
    UnsupportedNode
        If the loss is drawn: integrate over weights at fixed data.
    CheckFailed
        If gradient or curvature disagree with differences.

    Examples
    --------
    Least squares with a Gaussian prior; the curvature does not depend on w, so the evidence is exact.

    >>> from derive import Model, Rate, dims, grad, matrix, norm2, scalars, vector
    >>> d, n = dims("d n")
    >>> w, X, y, (L, b) = vector("w", d), matrix("X", n, d), vector("y", n), scalars("L b")
    >>> ridge = Model(name="ridge", state=w, given=(X, y, b), let={L: norm2(y - X * w) / 2 + b * norm2(w) / 2},
    ...               learn=Rate({w: -grad(L, w)}))
    >>> made = laplace(ridge, L, w)
    >>> made.curvature, made.exact
    (b*u + X'*X*u, True)
    """
    lowered, name = model.lowered, name_of(over)
    if name not in lowered.state:
        raise InvalidSpec(f"laplace({lowered.name}): {name} is no state; integrate over one of {', '.join(lowered.state)}")
    collector = Collector()
    for known in sorted(lowered.symbols):
        collector.symbol(lowered.symbols[known])
    tree = collector.lower(loss, "laplace: loss")
    lost = [n for n in collector.symbols if n not in lowered.symbols]
    if lost:
        raise InvalidSpec(f"laplace({lowered.name}): the loss uses {lost[0]}, which is no symbol of the model")
    reader = model_reader(lowered, model)
    p = reader.read(tree)
    if p.shape is not None:
        raise InvalidSpec(f"laplace({lowered.name}): the loss is a matrix; give a number, for instance by norm2 or total")
    drawn = [s for d in lowered.draws for s in d.symbols if mentions(p, s)]
    if drawn:
        raise UnsupportedNode(
            f"laplace({lowered.name}): the loss holds the draw {drawn[0]}; integrate at fixed data, state them as given arrays"
        )
    return _expanded(reader, p, name, tuple(lowered.shapes[name]))


def _expanded(reader: Any, p: Poly, name: str, shape: tuple[Any, ...]) -> Laplace:
    w: Atom | str = Atom(name, *shape) if shape else name
    probe = next(u for u in ("u", *(f"u{i}" for i in range(1, 99))) if u not in reader.known and not mentions(p, u))
    gradient = grad(p, w)
    along = (atom(Atom(probe, *shape)).T * gradient).trace() if shape else param(probe) * gradient
    curvature = grad(along, w)
    for loss, found in ((p, gradient), (along, curvature)):
        check_gradient(freed(loss), w, freed(found), functions=reader.functions)
    exact = not mentions(curvature, name)
    step = Step(
        title=f"gradient and curvature by {name}",
        detail="cyclic derivative of words, twice" + ("; the loss is quadratic, so the evidence is exact" if exact else ""),
        check=f"agree with central differences at random sizes and points to {TOLERANCE:.0e}",
    )
    return Laplace(
        over=name, energy=p, gradient=gradient, curvature=curvature, probe=probe, exact=exact,
        functions=reader.used((p, gradient, curvature)), steps=(step,),
    )  # fmt: skip
