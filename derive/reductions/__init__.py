"""Reductions: ansatz, proof that the manifold is invariant, reduced equations."""
