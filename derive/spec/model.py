"""Model: one frozen spec of a learning problem, a role for every symbol; checked and lowered when it is made.

Equality and hash are those of the digest of the lowered spec (`derive.spec.canonical`), together with the bound arrays if
there are any. A Model has no field for claims or references, so no published equation can reach a pass. Imported by users and
every verb.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from derive.errors import InvalidSpec
from derive.spec.assemble import assemble
from derive.spec.canonical import digest
from derive.spec.laws import LAWS
from derive.spec.lowered import Lowered
from derive.spec.rules import Control, Limit, Optimum, Rate, Update
from derive.spec.symbols import NAME, closest
from derive.spec.validate import validate

SECTIONS = ("name", "state", "given", "data", "let", "learn", "start", "facts", "protocol", "limit", "observe", "control")


@dataclass(frozen=True, slots=True, init=False, eq=False, repr=False)
class Model:
    """A learning problem: what moves, what is fixed, where data come from, how learning goes, what is watched.

    ========  =========================================================================================
    section   holds
    ========  =========================================================================================
    state     symbols that the rule moves; each needs a rule
    given     parameters, teachers, covariances, fixed matrices; a `Phase` may bind these
    data      ordered laws: `Normal`, `Choice`, `Marginal`, `Moments`
    let       ordered definitions: forward map, loss; each uses earlier ones, only `root` may name itself
    learn     `Rate`, `Update`, `Optimum` or None
    start     values, laws or equations that hold at t = 0
    facts     equations about `given` and `data` that always hold
    protocol  `Phase`, `Event`, `Drop`, in order
    limit     `Limit({N: oo})`; every other dimension is of order one
    observe   name -> expression; ``mean(...)`` averages over fresh draws
    control   `Control(...)`
    ========  =========================================================================================

    Raises
    ------
    InvalidSpec
        A name, role, order, declaration or rule is wrong. The message names the symbol and the remedy.
    ShapeMismatch
        Shapes do not fit (strictly: dimensions must be the same expression).

    Examples
    --------
    >>> from derive import Model, Moments, Rate, dims, grad, matrix, norm2, scalars, vector
    >>> N, O = dims("N O")
    >>> W, x, y, L = matrix("W", O, N), vector("x", N), vector("y", O), scalars("L")
    >>> Sx, Syx = matrix("Sx", N, N), matrix("Syx", O, N)
    >>> m = Model(name="linear", state=W, data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx}),
    ...           let={L: norm2(y - W * x) / 2}, learn=Rate({W: -grad(L, W)}))
    >>> m.lowered.roles["Sx"], m.symbols["W"].shape
    ('moment', (O, N))
    """

    name: str
    state: tuple[Any, ...]
    given: tuple[Any, ...]
    data: tuple[Any, ...]
    let: Mapping[Any, Any]
    learn: Any
    start: Any
    facts: tuple[Any, ...]
    protocol: tuple[Any, ...]
    limit: Any
    observe: Mapping[str, Any]
    control: Any
    lowered: Lowered
    digest: str
    values: Mapping[str, Any]

    def __init__(
        self,
        *,
        name: str,
        state: Any = (),
        given: Any = (),
        data: Any = (),
        let: Any = None,
        learn: Rate | Update | Optimum | None = None,
        start: Any = (),
        facts: Any = (),
        protocol: Any = (),
        limit: Limit | None = None,
        observe: Any = None,
        control: Control | None = None,
        **unknown: Any,
    ) -> None:
        for word in unknown:
            close = closest(word, SECTIONS)
            raise InvalidSpec(
                f"Model has no section {word!r}; "
                + (f"did you mean {close!r}?" if close else f"there are {', '.join(SECTIONS)}")
            )
        sections = {
            "name": _name(name), "state": _tuple(state), "given": _tuple(given), "data": _tuple(data),
            "let": _mapping(let, "let"), "learn": learn, "facts": _tuple(facts), "protocol": _tuple(protocol),
            "start": dict(start) if isinstance(start, Mapping) else _tuple(start),
            "limit": limit, "observe": _mapping(observe, "observe"), "control": control,
        }  # fmt: skip
        _check_kinds(sections)
        lowered = assemble(sections)
        validate(lowered)
        for key, value in {**sections, "lowered": lowered, "digest": digest(lowered), "values": {}}.items():
            object.__setattr__(self, key, value)

    @property
    def symbols(self) -> Mapping[str, Any]:
        """SymPy symbol by name, dimensions included."""
        return self.lowered.symbols

    def replace(self, **changes: Any) -> Model:
        """The same Model with some sections changed; bound values are dropped unless their symbols stay.

        >>> from derive import Model, Rate, scalars
        >>> u = scalars("u")
        >>> Model(name="decay", state=u, learn=Rate({u: -u})).replace(name="other").name
        'other'
        """
        made = Model(**{**{s: getattr(self, s) for s in SECTIONS}, **changes})
        kept = {k: v for k, v in self.values.items() if k in made.symbols}
        return with_values(made, kept)

    def bind(self, **arrays: Any) -> Model:
        """The same Model on real data: the open law `Moments` becomes a random item of these arrays.

        Arrays have samples in rows: ``x`` of shape (P, n) for a column x of dimension n. The named averages become `given`
        symbols whose values are computed from the arrays; ``values`` of the result holds them, the data and the sizes of
        dimensions.

        Raises
        ------
        InvalidSpec
            If there is no open law, an array is missing, of the wrong shape, not numeric, not finite, or without variance.
        """
        from derive.spec.transform import bind

        return bind(self, arrays)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model):
            return NotImplemented
        return self.digest == other.digest and _same_values(self.values, other.values)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        from derive.printing.models import describe_model

        return describe_model(self, "text")

    def __repr__(self) -> str:
        return f"Model({self.name!r}, state={list(self.lowered.state)}, digest={self.digest[:12]!r})"

    def _repr_latex_(self) -> str:
        from derive.printing.models import describe_model

        return describe_model(self, "latex")


def with_values(model: Model, values: Mapping[str, Any]) -> Model:
    """A copy of a Model that carries these values."""
    made = object.__new__(Model)
    for key in Model.__slots__:
        object.__setattr__(made, key, dict(values) if key == "values" else getattr(model, key))
    return made


def _same_values(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    if sorted(a) != sorted(b):
        return False
    if not a:
        return True
    import numpy as np

    return all(np.array_equal(a[k], b[k]) for k in a)


def _name(name: Any) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > 64:
        raise InvalidSpec(
            f"name={name!r}: name the model with letters, digits and single underscores, for instance 'goldt_2019'"
        )
    return name


def _tuple(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (set, frozenset, Mapping)):
        raise InvalidSpec(f"{value}: the order matters here; use a tuple")
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _mapping(value: Any, word: str) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        example = "{y: W*x}" if word == "let" else "{'loss': mean(L)}"
        raise InvalidSpec(f"{word}: a mapping is needed, for instance {word}={example}")
    return dict(value)


def _check_kinds(sections: Mapping[str, Any]) -> None:
    for law in sections["data"]:
        if not isinstance(law, LAWS):
            raise InvalidSpec(f"data: {str(law)[:60]} is not a law; write Normal(x), Choice(s), Marginal(...) or Moments(...)")
    for name in sections["observe"]:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise InvalidSpec(f"observe: {name!r} is not a name; write observe={{'loss': mean(L)}}")
    if sections["limit"] is not None and not isinstance(sections["limit"], Limit):
        raise InvalidSpec("limit: write Limit({N: oo})")
    if sections["control"] is not None and not isinstance(sections["control"], Control):
        raise InvalidSpec("control: write Control((g,), running, horizon)")
