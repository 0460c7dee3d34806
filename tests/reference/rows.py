"""The obvious twin of transforms.kernels.rows: one list of all rows."""


def copy_rows(pieces: list[tuple[int, list[list[int]]]], wanted: list[int]) -> list[list[int]] | None:
    """Return the wanted rows; None if one of them is in no piece."""
    rows = {first + i: row for first, piece in pieces for i, row in enumerate(piece)}
    return [rows[number] for number in wanted] if all(number in rows for number in wanted) else None
