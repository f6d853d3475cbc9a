"""Loops that numba compiles: arrays in, arrays out."""

from zsds.kernels.cache import first_use  # before any kernel, which is kept where this says

__all__ = ["first_use"]
