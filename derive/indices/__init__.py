"""Expressions at index level: scalars with symbolic indices, and sums over index families."""
