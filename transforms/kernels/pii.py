"""Personal data in text: where e-mail addresses, IP addresses, phone numbers, card numbers and IBANs stand.

E-mail and IPv4 addresses are those of datatrove's PIIFormatter, the others are ours. Every rule looks at a bounded
number of bytes, or walks over bytes that are not walked over again: the time is linear, whatever the text.

Shapes: N documents, M bytes, F findings.
"""

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

from transforms.kernels.jit import borrowing, inlined, kernel, part, wide
from transforms.kernels.tables import kept
from transforms.kernels.utf8 import code_point

EMAIL, IPV4, IPV6, PHONE, CARD, IBAN = 0, 1, 2, 3, 4, 5
NUM_KINDS = 6

_U = np.uint64
_SALT = np.uint64(88881)  # the first with which every replacement in `transforms.pii.TOKENS` is replaced by itself
_DIGIT, _LETTER, _ATOM, _HEX, _TRIGGER = 1, 2, 4, 8, 16
_CLASS = np.zeros(256, np.uint8)
_CLASS[0x30:0x3A] = _DIGIT | _ATOM | _HEX | _TRIGGER
_CLASS[0x41:0x5B] = _CLASS[0x61:0x7B] = _LETTER | _ATOM
_CLASS[0x41:0x47] = _CLASS[0x61:0x67] = _LETTER | _ATOM | _HEX
_CLASS[list(b"!#$%&'*+/=?^_`{|}~-")] = _ATOM
_CLASS[list(b":+(")] |= _TRIGGER

# First addresses and those behind the last of the networks that are not public (IANA special-purpose registry).
_PRIVATE = np.array(
    [
        (0x00000000, 0x01000000), (0x0A000000, 0x0B000000), (0x64400000, 0x64800000), (0x7F000000, 0x80000000),
        (0xA9FE0000, 0xA9FF0000), (0xAC100000, 0xAC200000), (0xC0000000, 0xC0000009), (0xC000000B, 0xC0000100),
        (0xC0000200, 0xC0000300), (0xC0A80000, 0xC0A90000), (0xC6120000, 0xC6140000), (0xC6336400, 0xC6336500),
        (0xCB007100, 0xCB007200), (0xF0000000, 0x100000000),
    ],
    np.int64,
)  # fmt: skip


@inlined
def _is(text: NDArray[np.uint8], i: int, start: int, stop: int, kind: int) -> bool:
    """Whether there is a byte of this class at `i`."""
    return start <= i < stop and _CLASS[text[_U(i)]] & kind != 0


@cache
def word_table() -> NDArray[np.bool_]:
    """Return bool [0x110000]: letters, numbers of any kind and the underscore, as in `w` of regular expressions."""
    [words_C] = kept(f"pii-{unicodedata.unidata_version}", lambda: (_word_table(),))
    return words_C


def _word_table() -> NDArray[np.bool_]:
    words_C = np.fromiter((chr(code).isalnum() for code in range(0x110000)), np.bool_, 0x110000)
    words_C[0x5F] = True
    return words_C


@part
def _is_word(text: NDArray[np.uint8], i: int, start: int, stop: int, words_C: NDArray[np.bool_]) -> bool:
    """Whether the character that has byte `i` belongs to a word; outside of the text none does."""
    if not start <= i < stop:
        return False
    while i > start and text[_U(i)] & 0xC0 == 0x80:
        i -= 1
    return words_C[_U(code_point(text, i, stop)[0])]


@part
def next_email(
    text: NDArray[np.uint8], start: int, first: int, stop: int, words_C: NDArray[np.bool_]
) -> tuple[int, int]:
    """Return start and end of the first e-mail address in text[first:stop] of a document from `start`, or (stop, stop).

    Atoms separated by full stops, from a word boundary on; `@`; two or more labels or an IPv4 address in brackets.
    """
    at = first
    while at < stop:
        if text[_U(at)] != 0x40:
            at += 1
            continue
        left = at
        while left > first and (
            _is(text, left - 1, start, stop, _ATOM)
            or (
                text[_U(left - 1)] == 0x2E
                and left < at
                and _is(text, left - 2, first, stop, _ATOM)
                and text[_U(left)] != 0x2E
            )
        ):
            left -= 1
        while left < at and not (
            text[_U(left)] != 0x2E
            and _is_word(text, left, start, stop, words_C) != _is_word(text, left - 1, start, stop, words_C)
        ):
            left += 1
        if left < at:
            end = _domain_end(text, at + 1, stop)
            if end > at:
                return left, end
        at += 1
    return stop, stop


@part
def _domain_end(text: NDArray[np.uint8], first: int, stop: int) -> int:
    """Return the end of the domain at `first`, or -1."""
    if first < stop and text[_U(first)] == 0x5B:
        end, _ = _ipv4(text, first + 1, stop)
        return end + 1 if 0 < end < stop and text[_U(end)] == 0x5D else -1
    labels, end, i = 0, -1, first
    while _is(text, i, first, stop, _DIGIT | _LETTER):
        last = i
        while i < stop and (_CLASS[text[_U(i)]] & (_DIGIT | _LETTER) or text[_U(i)] == 0x2D):
            if text[_U(i)] != 0x2D:
                last = i
            i += 1
        labels += 1
        end = last + 1
        if i > end or i == stop or text[_U(i)] != 0x2E:
            break
        i += 1
    return end if labels > 1 else -1


@part
def _octet(text: NDArray[np.uint8], i: int, stop: int) -> int:
    """Return the length of the longest number up to 255 at `i`, or 0."""
    value = length = 0
    while length < 3 and _is(text, i + length, i, stop, _DIGIT) and value * 10 + text[_U(i + length)] - 0x30 <= 255:
        value = value * 10 + text[_U(i + length)] - 0x30
        length += 1
    return length


@part
def _ipv4(text: NDArray[np.uint8], first: int, stop: int) -> tuple[int, bool]:
    """Return the end of the four dotted numbers at `first` (or 0), and whether they are a public address."""
    i, address, proper = first, 0, True
    for n in range(4):
        length = _octet(text, i, stop)
        if length == 0 or (n < 3 and (i + length == stop or text[_U(i + length)] != 0x2E)):
            return 0, False
        value = 0
        for k in range(i, i + length):
            value = value * 10 + text[_U(k)] - 0x30
        proper = proper and (length == 1 or text[_U(i)] != 0x30)
        address = address << 8 | value
        i += length + (n < 3)
    for n in range(len(_PRIVATE)):
        proper = proper and not _PRIVATE[n, 0] <= address < _PRIVATE[n, 1]
    return i, proper


@part
def _ipv6(
    text: NDArray[np.uint8], start: int, floor: int, colon: int, stop: int, words_C: NDArray[np.bool_]
) -> tuple[int, int, bool]:
    """Return start and end of the IPv6 address around the colon at `colon` (or 0, 0), and whether it is public."""
    left, right = colon, colon
    while left > max(floor, colon - 46) and (_is(text, left - 1, start, stop, _HEX) or text[_U(left - 1)] == 0x3A):
        left -= 1
    while right < min(stop, colon + 46) and (_is(text, right, start, stop, _HEX) or text[_U(right)] in (0x2E, 0x3A)):
        right += 1
    if (
        right - left > 45
        or _is_word(text, left - 1, start, stop, words_C)
        or _is_word(text, right, start, stop, words_C)
    ):
        return 0, 0, False
    while right > left and (
        text[_U(right - 1)] == 0x2E
        or (text[_U(right - 1)] == 0x3A and (right - left < 2 or text[_U(right - 2)] != 0x3A))
    ):
        right -= 1
    groups, gap, top, i = 0, False, 0, left
    while i < right:
        if text[_U(i)] == 0x3A:
            double = i + 1 < right and text[_U(i + 1)] == 0x3A
            if double and gap:
                return 0, 0, False
            if not double and (i == left or groups == 0):
                return 0, 0, False
            if double:
                gap = True
                if groups < 2:
                    top <<= 16 * (2 - groups)
            i += 1 + double
            if i == right and not double:
                return 0, 0, False
            if i < right and text[_U(i)] == 0x3A:
                return 0, 0, False
            continue
        value = digits = 0
        group = i
        while _is(text, i, left, right, _HEX):
            value = value << 4 | _nibble(text[_U(i)])
            digits += 1
            i += 1
        if i < right and text[_U(i)] == 0x2E:
            end, _ = _ipv4(text, group, right)
            if end != right:
                return 0, 0, False
            groups += 2
            break
        if digits == 0 or digits > 4:
            return 0, 0, False
        if groups < 2 and not gap:
            top = top << 16 | value
        groups += 1
    if not (groups == 8 and not gap) and not (gap and groups < 8):
        return 0, 0, False
    public = top >> 29 == 1 and top >> 9 != 0x20010000 >> 9 and top != 0x20010DB8
    return left, right, public and top >> 16 != 0x2002 and top >> 12 != 0x3FFF0


@inlined
def _nibble(byte: int) -> int:
    return byte - 0x30 if byte < 0x40 else (byte | 0x20) - 0x57


@part
def _phone(text: NDArray[np.uint8], start: int, first: int, stop: int, words_C: NDArray[np.bool_]) -> int:
    """Return the end of the phone number at `first`, or 0.

    `+` and 8 to 15 digits with at most two of space, hyphen, full stop, slash and brackets between them; or the North
    American (212) 555-0100, 212-555-0100 and 212.555.0100.
    """
    if _is_word(text, first - 1, start, stop, words_C):
        return 0
    if text[_U(first)] == 0x2B:
        if first > start and text[_U(first - 1)] == 0x2B:
            return 0
        digits = marks = end = 0
        i = first + 1
        while i < stop and digits < 17:
            byte = text[_U(i)]
            if _CLASS[byte] & _DIGIT:
                if digits == 0 and byte == 0x30:
                    return 0
                digits += 1
                marks, end = 0, i + 1
            elif digits and marks < 2 and (byte == 0x20 or byte == 0x28 or byte == 0x29 or 0x2D <= byte <= 0x2F):  # noqa: PLR1714
                marks += 1
            else:
                break
            i += 1
        return end if 8 <= digits <= 15 and not _is_word(text, end, start, stop, words_C) else 0
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
        if not (_CLASS[text[_U(area + k)]] & _CLASS[text[_U(office + k)]] & _DIGIT):
            return 0
    for k in range(4, 8):
        if not _CLASS[text[_U(office + k)]] & _DIGIT:
            return 0
    return office + 8 if not _is_word(text, office + 8, start, stop, words_C) else 0


@part
def _card(text: NDArray[np.uint8], start: int, first: int, stop: int, words_C: NDArray[np.bool_]) -> int:
    """Return the end of the card number at `first`, or 0.

    13 to 19 digits that begin with 3 to 6 and pass Luhn's check, in one piece or in groups of four (or 4-6-5) with the
    same space or hyphen between them.
    """
    if not 0x33 <= text[_U(first)] <= 0x36 or _is_word(text, first - 1, start, stop, words_C):
        return 0
    digits = odd = even = group = groups = 0
    mark, whole, amex = 0, True, False
    i = first
    while i < stop and digits < 20:
        byte = text[_U(i)]
        if _CLASS[byte] & _DIGIT:
            digit = wide(byte) - 0x30
            doubled = 2 * digit - 9 * (digit > 4)
            odd, even = odd + (doubled if digits & 1 else digit), even + (digit if digits & 1 else doubled)
            digits += 1
            group += 1
        elif (byte == 0x20 or byte == 0x2D) and (mark == 0 or byte == mark) and _is(text, i + 1, start, stop, _DIGIT):  # noqa: PLR1714
            amex = group == 6 and groups == 1
            if group != 4 and not amex:
                return 0
            mark, whole, group, groups = wide(byte), False, 0, groups + 1
        else:
            break
        i += 1
    total = odd if digits & 1 else even
    fits = whole or (group == 5 if amex else 1 <= group <= 4)
    more = i < stop and (text[_U(i)] == 0x20 or text[_U(i)] == 0x2D) and _is(text, i + 1, start, stop, _DIGIT)
    fits = fits and not more and not _is_word(text, i, start, stop, words_C)
    return i if 13 <= digits <= 19 and total % 10 == 0 and fits else 0


@part
def _iban(text: NDArray[np.uint8], start: int, first: int, stop: int, words_C: NDArray[np.bool_]) -> int:
    """Return the end of the IBAN at `first`, or 0: two capitals, two check digits, 11 to 30 capitals and digits.

    In one piece or in groups of four with single spaces; the number modulo 97 is 1 (ISO 7064). The longest that fits.
    """
    if _is_word(text, first - 1, start, stop, words_C):
        return 0
    rest = head = chars = best = 0
    i, spaced = first, False
    while i < stop and chars < 35:
        byte = text[_U(i)]
        capital = 0x41 <= byte <= 0x5A
        if not capital and not _CLASS[byte] & _DIGIT:
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
        if valid and not _is_word(text, i, start, stop, words_C):
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
            elif not _CLASS[text[_U(i)]] & _TRIGGER:
                i += 1
                continue
            elif text[_U(i)] == 0x3A:
                if chosen_K[IPV6]:
                    first, end, public = _ipv6(text, start, floor, i, left, words_C)
                    if public:
                        kind = IPV6
                    else:
                        end = 0
            elif not _CLASS[text[_U(i)]] & _DIGIT:
                if chosen_K[PHONE]:
                    end = _phone(text, start, i, left, words_C)
                    kind = PHONE
            elif i == behind or not _is(text, i - 1, start, left, _DIGIT):
                run = i
                while _is(text, run, i, left, _DIGIT):
                    run += 1
                if chosen_K[IPV4] and run < left and text[_U(run)] == 0x2E:
                    for first in range(max(i, run - 3), run):
                        end, public = _ipv4(text, first, left)
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
