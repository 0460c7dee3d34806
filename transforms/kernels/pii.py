"""Personal data in text: where e-mail addresses, IP addresses, phone numbers, card numbers and IBANs stand.

E-mail and IPv4 addresses are those of datatrove's PIIFormatter, the others are ours. Every rule looks at a bounded
number of bytes, or walks over bytes that are not walked over again: the time is linear, whatever the text.

Shapes: N documents, M bytes, F findings.
"""

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.email_addresses import next_email
from transforms.kernels.ip_addresses import ipv4, ipv6
from transforms.kernels.jit import borrowing, kernel, part, wide
from transforms.kernels.pii_classes import CLASS, DIGIT, TRIGGER, is_a, is_word

EMAIL, IPV4, IPV6, PHONE, CARD, IBAN = 0, 1, 2, 3, 4, 5
NUM_KINDS = 6

_U = np.uint64
_SALT = np.uint64(88881)  # the first with which every replacement in `transforms.pii.TOKENS` is replaced by itself


@part
def _phone(text: NDArray[np.uint8], start: int, first: int, stop: int, words_C: NDArray[np.bool_]) -> int:
    """Return the end of the phone number at `first`, or 0.

    `+` and 8 to 15 digits with at most two of space, hyphen, full stop, slash and brackets between them; or the North
    American (212) 555-0100, 212-555-0100 and 212.555.0100.
    """
    if is_word(text, first - 1, start, stop, words_C):
        return 0
    if text[_U(first)] == 0x2B:
        if first > start and text[_U(first - 1)] == 0x2B:
            return 0
        digits = marks = end = 0
        i = first + 1
        while i < stop and digits < 17:
            byte = text[_U(i)]
            if CLASS[byte] & DIGIT:
                if digits == 0 and byte == 0x30:
                    return 0
                digits += 1
                marks, end = 0, i + 1
            elif digits and marks < 2 and (byte == 0x20 or byte == 0x28 or byte == 0x29 or 0x2D <= byte <= 0x2F):  # noqa: PLR1714
                marks += 1
            else:
                break
            i += 1
        return end if 8 <= digits <= 15 and not is_word(text, end, start, stop, words_C) else 0
    bracket = text[_U(first)] == 0x28
    area = first + bracket
    if area + 12 > stop or (first > start and 0x2D <= text[_U(first - 1)] <= 0x2E):
        return 0
    mark = text[_U(area + 3)]
    office = area + 3 + (2 if bracket and area + 4 < stop and text[_U(area + 4)] == 0x20 else 1)
    if not (mark == 0x29 if bracket else 0x2D <= mark <= 0x2E) or office + 8 > stop:
        return 0
    if text[_U(office + 3)] != (0x2D if bracket else mark) or text[_U(area)] < 0x32 or text[_U(office)] < 0x32:
        return 0
    for k in range(3):
        if not (CLASS[text[_U(area + k)]] & CLASS[text[_U(office + k)]] & DIGIT):
            return 0
    for k in range(4, 8):
        if not CLASS[text[_U(office + k)]] & DIGIT:
            return 0
    return office + 8 if not is_word(text, office + 8, start, stop, words_C) else 0


@part
def _card(text: NDArray[np.uint8], start: int, first: int, stop: int, words_C: NDArray[np.bool_]) -> int:
    """Return the end of the card number at `first`, or 0.

    13 to 19 digits that begin with 3 to 6 and pass Luhn's check, in one piece or in groups of four (or 4-6-5) with the
    same space or hyphen between them.
    """
    if not 0x33 <= text[_U(first)] <= 0x36 or is_word(text, first - 1, start, stop, words_C):
        return 0
    digits = odd = even = group = groups = 0
    mark, whole, amex = 0, True, False
    i = first
    while i < stop and digits < 20:
        byte = text[_U(i)]
        if CLASS[byte] & DIGIT:
            digit = wide(byte) - 0x30
            doubled = 2 * digit - 9 * (digit > 4)
            odd, even = odd + (doubled if digits & 1 else digit), even + (digit if digits & 1 else doubled)
            digits += 1
            group += 1
        elif (byte == 0x20 or byte == 0x2D) and (mark == 0 or byte == mark) and is_a(text, i + 1, start, stop, DIGIT):  # noqa: PLR1714
            amex = group == 6 and groups == 1
            if group != 4 and not amex:
                return 0
            mark, whole, group, groups = wide(byte), False, 0, groups + 1
        else:
            break
        i += 1
    total = odd if digits & 1 else even
    fits = whole or (group == 5 if amex else 1 <= group <= 4)
    more = i < stop and (text[_U(i)] == 0x20 or text[_U(i)] == 0x2D) and is_a(text, i + 1, start, stop, DIGIT)
    fits = fits and not more and not is_word(text, i, start, stop, words_C)
    return i if 13 <= digits <= 19 and total % 10 == 0 and fits else 0


@part
def _iban(text: NDArray[np.uint8], start: int, first: int, stop: int, words_C: NDArray[np.bool_]) -> int:
    """Return the end of the IBAN at `first`, or 0: two capitals, two check digits, 11 to 30 capitals and digits.

    In one piece or in groups of four with single spaces; the number modulo 97 is 1 (ISO 7064). The longest that fits.
    """
    if is_word(text, first - 1, start, stop, words_C):
        return 0
    rest = head = chars = best = 0
    i, spaced = first, False
    while i < stop and chars < 35:
        byte = text[_U(i)]
        capital = 0x41 <= byte <= 0x5A
        if not capital and not CLASS[byte] & DIGIT:
            break
        if chars < 4 and capital != (chars < 2):
            return 0
        value = wide(byte) - (0x37 if capital else 0x30)
        if chars < 4:
            head = head * (100 if capital else 10) + value
        else:
            rest = (rest * (100 if capital else 10) + value) % 97
        chars += 1
        i += 1
        valid = 15 <= chars <= 34 and (rest * 1_000_000 + head) % 97 == 1
        if valid and not is_word(text, i, start, stop, words_C):
            best = i
        if chars % 4 == 0 and (spaced or chars == 4):
            if i < stop and text[_U(i)] == 0x20:
                spaced = True
                i += 1
            elif spaced:
                break
    return best


@part
def _choice(text: NDArray[np.uint8], first: int, end: int, choices: int) -> int:
    """Return one of `choices`, by a hash of what was found: FNV-1a, finished as splitmix64 is."""
    state = _SALT
    for i in range(first, end):
        state = (state ^ _U(text[_U(i)])) * _U(0x100000001B3)
    state = (state ^ (state >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> _U(27))) * _U(0x94D049BB133111EB)
    return int((state ^ (state >> _U(31))) % _U(choices))


@kernel
def find_pii(
    offsets_N1: NDArray[np.int32],
    text: NDArray[np.uint8],
    skip_N: NDArray[np.bool_],
    words_C: NDArray[np.bool_],
    chosen_K: NDArray[np.bool_],
    choices_K1: NDArray[np.int64],
    places_F: NDArray[np.int64],
) -> int:
    """Write every finding as document, start, end and replacement; return their number, or -1 if there is no room.

    Args:
        offsets_N1: int32, see `string_views`.
        text: uint8, UTF-8.
        skip_N: bool, documents that are left alone.
        words_C: bool [0x110000], see `word_table`.
        chosen_K: bool [NUM_KINDS], what to look for.
        choices_K1: int64 [NUM_KINDS + 1], the first replacement of each kind in the list of all. Which of them is a
            hash of what is replaced, so that copies of a text stay copies.
        places_F: int64 [F, 4], written.

    E-mail addresses come first: nothing else is looked for inside them. About 1 ns a byte of prose.
    """
    found = 0
    for n in range(len(skip_N)):
        if skip_N[n]:
            continue
        start, stop = wide(offsets_N1[n]), wide(offsets_N1[n + 1])
        i = floor = behind = start
        left, right = stop, stop
        if chosen_K[EMAIL]:
            left, right = next_email(text, start, start, stop, words_C)
        while i < stop:
            kind, first, end = -1, i, 0
            if i == left:
                kind, end = EMAIL, right
                left, right = next_email(text, start, right, stop, words_C)
            elif not CLASS[text[_U(i)]] & TRIGGER:
                i += 1
                continue
            elif text[_U(i)] == 0x3A:
                if chosen_K[IPV6]:
                    first, end, public = ipv6(text, start, floor, i, left, words_C)
                    if public:
                        kind = IPV6
                    else:
                        end = 0
            elif not CLASS[text[_U(i)]] & DIGIT:
                if chosen_K[PHONE]:
                    end = _phone(text, start, i, left, words_C)
                    kind = PHONE
            elif i == behind or not is_a(text, i - 1, start, left, DIGIT):
                run = i
                while is_a(text, run, i, left, DIGIT):
                    run += 1
                if chosen_K[IPV4] and run < left and text[_U(run)] == 0x2E:
                    for first in range(max(i, run - 3), run):
                        end, public = ipv4(text, first, left)
                        if end:
                            kind = IPV4 if public else -1
                            break
                capitals = i - floor >= 2 and 0x41 <= text[_U(i - 1)] <= 0x5A and 0x41 <= text[_U(i - 2)] <= 0x5A
                if end == 0 and chosen_K[IBAN] and capitals:
                    kind, first = IBAN, i - 2
                    end = _iban(text, start, first, left, words_C)
                if end == 0 and chosen_K[CARD]:
                    kind, first = CARD, i
                    end = _card(text, start, i, left, words_C)
                if end == 0 and chosen_K[PHONE]:
                    kind, first = PHONE, i
                    end = _phone(text, start, i, left, words_C)
                if end == 0:
                    end = run
                    kind = -1
            if end == 0:
                i += 1
                continue
            if kind >= 0:
                if found == len(places_F):
                    return -1
                choices = choices_K1[kind + 1] - choices_K1[kind]
                places_F[found, 0], places_F[found, 1], places_F[found, 2] = n, first, end
                places_F[found, 3] = choices_K1[kind] + _choice(text, first, end, choices)
                found += 1
                floor = end
            i = behind = end
    return found


@borrowing
def replace_pii(
    offsets_N1: NDArray[np.int32],
    text: NDArray[np.uint8],
    places_F: NDArray[np.int64],
    tokens_M: NDArray[np.uint8],
    tokens_C1: NDArray[np.int64],
    out_offsets_N1: NDArray[np.int32],
    out_M: NDArray[np.uint8],
) -> None:
    """Write the documents with every finding replaced.

    Args:
        offsets_N1: int32, see `string_views`.
        text: uint8, UTF-8.
        places_F: int64 [F, 4], all findings of `find_pii`.
        tokens_M: uint8, the replacements one after the other.
        tokens_C1: int64, where each begins.
        out_offsets_N1: int32, written.
        out_M: uint8, written; exactly as long as the output.
    """
    o = f = 0
    out_offsets_N1[0] = 0
    for n in range(len(offsets_N1) - 1):
        i, stop = wide(offsets_N1[n]), wide(offsets_N1[n + 1])
        while i < stop:
            here = f < len(places_F) and places_F[f, 0] == n
            until = places_F[f, 1] if here else stop
            for k in range(until - i):
                out_M[_U(o + k)] = text[_U(i + k)]
            o += until - i
            i = until
            if here:
                token = places_F[f, 3]
                for k in range(tokens_C1[token], tokens_C1[token + 1]):
                    out_M[_U(o)] = tokens_M[_U(k)]
                    o += 1
                i = places_F[f, 2]
                f += 1
        out_offsets_N1[n + 1] = o
