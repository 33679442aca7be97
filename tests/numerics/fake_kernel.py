"""A minimal kernel that keeps the contract of docs/architecture.md, for tests that need no compiled system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FakeLayout:
    shapes: dict

    def pack(self, values):
        return np.concatenate([np.asarray(values[n], dtype=float).ravel() for n in self.shapes])

    def unpack(self, y):
        out, at = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape, dtype=int))
            out[name] = y[at : at + size].reshape(shape)
            at += size
        return out


@dataclass(frozen=True)
class FakeKernel:
    """``rhs(t, *state, *params)`` returns a tuple of arrays in the order of ``state``; ``observables`` likewise."""

    rhs: object
    state: tuple
    params: tuple = ()
    observe: object = None
    observed: tuple = ()
    name: str = "fake"

    @property
    def observable_names(self):
        return self.observed

    def layout(self, values):
        return FakeLayout({n: np.shape(values[n]) for n in self.state})

    def arguments(self, params):
        return tuple(np.asarray(params[n], dtype=float) for n in self.params)

    def flat_rhs(self, layout, args):
        def f(t, y):
            parts = self.rhs(t, *layout.unpack(y).values(), *args)
            return np.concatenate([np.ravel(p) for p in parts]).astype(float)

        return f

    def flat_observables(self, layout, args):
        return lambda t, y: dict(zip(self.observed, self.observe(t, *layout.unpack(y).values(), *args), strict=True))
