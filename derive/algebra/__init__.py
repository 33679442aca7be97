"""Algebra of scalars: polynomial systems branch by branch, signs under assumptions, null spaces, radicals."""
