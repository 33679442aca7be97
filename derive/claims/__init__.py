"""Entries of the catalogue and their claims, as data."""
