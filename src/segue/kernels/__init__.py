"""The hot loops, compiled by Numba: arrays and scalars in, filled arrays out."""
