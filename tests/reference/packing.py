"""Slow twins of transforms.kernels.packing."""

_MASK = (1 << 64) - 1


def permutation(seed, order_N):
    """Fisher and Yates with splitmix64, in Python's integers."""
    order = []
    state = int(seed)
    for i in range(len(order_N)):
        state = (state + 0x9E3779B97F4A7C15) & _MASK
        mixed = state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        mixed ^= mixed >> 31
        j = ((mixed >> 32) * (i + 1)) >> 32
        order.append(i)
        order[i], order[j] = order[j], order[i]
    order_N[:] = order


def best_fit(lengths_P, capacity, row_P):
    """Look at every row for every piece."""
    free = []
    order = sorted(range(len(lengths_P)), key=lambda piece: -max(int(lengths_P[piece]), capacity // 8))
    for piece in order:
        fitting = [row for row in range(len(free)) if free[row] >= lengths_P[piece]]
        row = min(fitting, key=lambda row: free[row], default=len(free))
        if row == len(free):
            free.append(capacity)
        free[row] -= int(lengths_P[piece])
        row_P[piece] = row
    return len(free)


def best_fit_decreasing(lengths, capacity):
    """The number of rows of plain best-fit-decreasing: every piece sorted, the short ones too."""
    free = []
    for length in sorted(map(int, lengths), reverse=True):
        fitting = [row for row in range(len(free)) if free[row] >= length]
        row = min(fitting, key=lambda row: free[row], default=len(free))
        if row == len(free):
            free.append(capacity)
        free[row] -= length
    return len(free)


def concatenate(num_tokens_N, capacity, document_P, start_P, lengths_P, row_P):
    """Token by token: a new piece at each new document and each new row, a new row when a piece of one does not fit."""
    pieces = []
    row, free = 0, capacity
    for document, num_tokens in enumerate(num_tokens_N):
        for start in range(num_tokens):
            continues = start > 0 and free > 0
            if continues:
                pieces[-1][2] += 1
                free -= 1
                continue
            if free < 3:
                row, free = row + 1, capacity
            pieces.append([document, start, 3, row])
            free -= 3
    for piece, values in enumerate(pieces):
        document_P[piece], start_P[piece], lengths_P[piece], row_P[piece] = values
    return len(pieces)


def place(order_P, row_P, lengths_P, first_piece_R1, first_token_R1, slot_P, target_P):
    """Sort by row, keeping the order given, and count."""
    slot = token = 0
    ordered = sorted(range(len(order_P)), key=lambda i: row_P[order_P[i]])
    last_row = -1
    for i in ordered:
        piece = order_P[i]
        if row_P[piece] != last_row:
            last_row = row_P[piece]
            first_piece_R1[last_row], first_token_R1[last_row] = slot, token
        slot_P[piece], target_P[piece] = slot, token
        slot += 1
        token += lengths_P[piece]
    first_piece_R1[-1], first_token_R1[-1] = slot, token


def write_pieces(ids_T, begin_P, lengths_P, target_P, cls, sep, out_S):
    """One piece after the other, as lists."""
    for begin, length, target in zip(begin_P.tolist(), lengths_P.tolist(), target_P.tolist(), strict=True):
        out_S[target : target + length] = [cls, *ids_T[begin : begin + length - 2].tolist(), sep]
