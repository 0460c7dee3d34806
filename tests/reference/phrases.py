"""Slow twin of transforms.kernels.phrases: regular expressions over str, as TFDS has them."""

import re


def contains_any(text, phrases, anywhere):
    """Whether a phrase is in the lower-cased text, between characters that are no word characters unless `anywhere`."""
    alternatives = "|".join(map(re.escape, phrases))
    pattern = alternatives if anywhere else rf"(?:\W|^)({alternatives})(?:\W|$)"
    return bool(phrases) and re.search(pattern, text.lower()) is not None
