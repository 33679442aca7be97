"""Gradient flow, and what turns one flow into another: coordinates, elimination, limits, curves."""
