"""Compiled loops over Arrow buffers: numpy and numba, no Beam."""
