"""One file per source format, each yielding record batches: no Beam."""
