"""Averages over the data at matrix level, one rule for each data law."""
