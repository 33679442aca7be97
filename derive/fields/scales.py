r"""Dimensions that tend to infinity together, each a fixed multiple of one scale N.

    D_b = rho_b N,      overlaps  C_pq = V_p . V_q / N,      |x_b|^2 / N -> rho_b var(x_b).

With one such dimension it is the scale. With several, ``Limit({Nr: oo, Ni: oo}, fixed={rho: Nr/(Nr + Ni)})`` says what stays
fixed: the common denominator is the scale, a sum of the dimensions (at most one of them without a ratio of its own) or one of
them. Imported by the extraction of the field rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from derive.errors import UnsupportedNode
from derive.indices.indexed import Node, add, arr, const, mul
from derive.spec.lowered import Lowered
from derive.spec.tree import Tree, as_fraction, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The scale and what each infinite dimension is in it.

    Attributes
    ----------
    big : str
        Name of the scale N.
    shown : str
        The scale as the user writes it.
    sizes : mapping dimension -> Node
        Each infinite dimension as a multiple of ``arr(big)``.
    ratios : mapping dimension -> Node
        Those multiples, rho_b.
    """

    big: str
    shown: str
    sizes: Mapping[str, Node]
    ratios: Mapping[str, Node]


def scale_of(low: Lowered) -> Scale:
    """Read the limit of a model.

    Raises
    ------
    UnsupportedNode
        If nothing tends to infinity, or a ratio of two infinite dimensions is not fixed.
    """
    to, fixed = low.limit or ((), ())
    infinite = [name for name, value in to if value == ("oo",)]
    if not infinite:
        raise UnsupportedNode(
            f"{low.name}: online_limit needs a dimension that tends to infinity (found none); write limit=Limit({{N: oo}})"
        )
    if len(infinite) == 1:
        (n,) = infinite
        return Scale(big=n, shown=n, sizes={n: arr(n)}, ratios={n: const(1)})
    known = dict(_ratio(low, name, tree, infinite) for name, tree in fixed)
    scales = list(dict.fromkeys(scale for _, scale in known.values()))
    parts = _members(scales[0], infinite) if len(scales) == 1 else None
    if parts is None:
        raise _unfixed(low, infinite)
    big = parts[0] if len(parts) == 1 else _fresh((*low.shapes, *low.dims))
    ratios = {d: arr(name) for name, (d, _) in known.items()}
    missing = [d for d in infinite if d not in ratios]
    if len(parts) == 1 and parts[0] in missing:
        ratios[parts[0]] = const(1)
    elif len(missing) == 1 and missing[0] in parts:
        ratios[missing[0]] = add(const(1), *(mul(const(-1), ratios[d]) for d in parts if d != missing[0]))
    if any(d not in ratios for d in infinite):
        raise _unfixed(low, infinite)
    scale = arr(big)
    sizes = {d: add(*(mul(term, scale) for term in (r.args if r.op == "add" else (r,)))) for d, r in ratios.items()}
    return Scale(big=big, shown=" + ".join(parts), sizes=sizes, ratios=ratios)


def _unfixed(low: Lowered, infinite: Sequence[str]) -> UnsupportedNode:
    a, b = infinite[:2]
    return UnsupportedNode(
        f"{low.name}: {', '.join(infinite)} tend to infinity, but their ratios are not fixed by one scale; write "
        f"Limit({{{a}: oo, {b}: oo}}, fixed={{rho: {a}/({' + '.join(infinite)})}})"
    )


def _ratio(low: Lowered, name: str, tree: Tree, infinite: Sequence[str]) -> tuple[str, tuple[str, Tree]]:
    """``(name, (D, S))`` of a ratio D/S."""
    factors = tree[1:] if isinstance(tree, tuple) and tree[0] == "mul" else (tree,)
    tops = [f for f in factors if isinstance(f, str) and f in infinite]
    bottoms = [f[1] for f in factors if isinstance(f, tuple) and f[0] == "pow" and as_fraction(f[2]) == -1]
    if len(factors) != 2 or len(tops) != 1 or len(bottoms) != 1:
        raise UnsupportedNode(
            f"{low.name}: the fixed ratio {name} is not one infinite dimension over a scale; write it as D/(D + E) or D/N"
        )
    return name, (tops[0], bottoms[0])


def _members(scale: Tree, infinite: Sequence[str]) -> tuple[str, ...] | None:
    parts = (scale,) if isinstance(scale, str) else tuple(scale[1:]) if scale[0] == "add" else ()
    return parts if parts and all(p in infinite for p in parts) else None


def _fresh(taken: Sequence[str]) -> str:
    return next(n for n in ("N", "N_total", *(f"N_total_{i}" for i in range(1, 99))) if n not in taken)


def block_of(low: Lowered, name: str, scale: Scale) -> str | None:
    """The infinite dimension of an array, if it has one."""
    found = [d for d in low.shapes[name] if any(n in scale.sizes for n in names(d))]
    if len(found) > 1:
        rows, cols = low.shapes[name]
        raise UnsupportedNode(
            f"{name} has shape ({rows}, {cols}); a family of vectors has exactly one axis of length {scale.shown}"
        )
    if found and found[0] not in scale.sizes:
        raise UnsupportedNode(f"{name} has an axis of length {found[0]}; use {scale.shown} itself as the length")
    return found[0] if found else None


__all__ = ["Scale", "block_of", "scale_of"]
