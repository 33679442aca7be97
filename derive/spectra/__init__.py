"""Spectra of structured matrices, and averages over spectral densities."""
