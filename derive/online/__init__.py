"""Order-parameter equations of one-pass learning in high dimension, their checks, and the exact overlap chain."""
