"""Slow, obvious twins of the kernels; the same test body runs on both."""
