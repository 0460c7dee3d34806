"""A tiny fastText model for tests, written byte by byte: two words, two labels."""

import struct

WORDS, LABELS = ("</s>", "good", "bad"), ("__label__good", "__label__bad")


def write_model(path):
    """A supervised model of two dimensions, in fastText's format: good points one way, bad the other."""
    arguments = struct.pack("<12i", 2, 5, 1, 1, 5, 1, 3, 3, 0, 0, 0, 100)  # dim 2; softmax; supervised; no n-grams
    entries = b"".join(
        name.encode() + b"\0" + struct.pack("<qb", 1, kind)
        for names, kind in ((WORDS, 0), (LABELS, 1))
        for name in names
    )
    dictionary = struct.pack("<iiiqq", 5, 3, 2, 5, -1) + entries

    def matrix(*rows):
        values = [value for row in rows for value in row]
        return struct.pack("<?qq", False, len(rows), 2) + struct.pack(f"<{len(values)}f", *values)

    content = struct.pack("<ii", 793712314, 12) + arguments + struct.pack("<d", 1e-4) + dictionary
    path.write_bytes(content + matrix((0, 0), (4, -4), (-4, 4)) + matrix((1, 0), (0, 1)))
    return str(path)
