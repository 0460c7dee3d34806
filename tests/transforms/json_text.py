"""Lines of JSON for tests: good ones as programs write them, and hostile ones, drawn from the same pieces."""

import json

import orjson
from hypothesis import strategies as st

_SPACE = st.sampled_from([b"", b"", b"", b" ", b"\t", b"\r", b" \r\t "])

_ESCAPES = rb"\n \" \\ \t \r \b \f \/ \u0000 \u001f \u007f \u00e9 \u4E2d \ud83d\uDE00".split()
# The first and the last character of each width, and those around the surrogates.
_CHARACTERS = [
    chr(code).encode() for code in (0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFEFF, 0xFFFF, 0x10000, 0x10FFFF)
]
_NO_ESCAPES = [
    *rb"\ud800 \uDFFF \ud83d\u0041 \ud83d\ud83d \ud83d\x \u12 \u12g4 \x".split(),
    b"\\",
    b'"',
    b"\0",
    b"\x1f",
    b"\t",
]
_NO_CHARACTERS = [
    bytes.fromhex(digits)
    for digits in "80 ff c080 c1bf c3 e09fbf e4b8 e4 eda080 edbfbf f08fbfbf f4908080 f5808080 f09080 e4b82d".split()
]
_PLAIN = st.text(st.characters(codec="ascii", exclude_characters='"\\', exclude_categories=["Cc"]), max_size=20)
_GOOD_PIECES = _PLAIN.map(str.encode) | st.sampled_from(_ESCAPES + _CHARACTERS)
_BAD_PIECES = st.sampled_from(_NO_ESCAPES + _NO_CHARACTERS)

_EDGES = (
    b"-0 -0.0 0.0 0.00 1.50 0.1 0.01 0.001 0.0001 0.00001 1e5 1E+07 1e-7 2e22 123456789012345678 1234567890123456789 "
    b"18446744073709551615 18446744073709551616 123456789012.345 12345678901234.5 123456789012345.5 100000000000000.0 "
    b"0.30000000000000004 9007199254740993.0 0.983856379985809326171875000000001"
)
_GOOD_NUMBERS = st.one_of(
    st.integers().map(lambda number: b"%d" % number),
    (st.floats(1e-90, 1e90) | st.floats(-1e90, -1e-90)).map(lambda number: repr(number).encode()),
    st.decimals(-1000, 1000, places=5).map(lambda number: format(number.normalize(), "f").encode()),
    st.sampled_from(_EDGES.split()),
)
_NO_VALUES = (
    b"NaN -Infinity 1e400 1e-999 00 01 1. .5 +1 - -a 1e 1e+ 0x1 1_0 tru nulL True [ { ] } [1,] [,1] {,} [1} [1;2] ' "
    b'{"a"} {"a":} {"a":1,} {1:2} {"a":[}] "'
)
_BAD_VALUES = st.sampled_from([*_NO_VALUES.split(), b"", b"[1 2]"])


def _strings(pieces):
    return st.lists(pieces, max_size=6).map(lambda found: b'"' + b"".join(found) + b'"')


def _values(strings, others):
    def nested(inner):
        item = st.tuples(_SPACE, inner, _SPACE).map(b"".join)
        pair = st.tuples(strings, _SPACE, st.just(b":"), item).map(b"".join)
        lists = st.lists(item, max_size=3).map(lambda items: b"[" + b",".join(items) + b"]")
        return lists | st.lists(pair, max_size=3).map(lambda pairs: b"{" + b",".join(pairs) + b"}")

    return st.recursive(st.one_of(strings, others, st.sampled_from([b"true", b"false", b"null"])), nested, max_leaves=6)


_GOOD_STRINGS = _strings(_GOOD_PIECES)
_GOOD_VALUES = _values(_GOOD_STRINGS, _GOOD_NUMBERS)
_ANY_STRINGS = _strings(_GOOD_PIECES | _BAD_PIECES)
_DEEP = st.sampled_from([60, 63, 64, 65, 66, 100]).map(lambda depth: b"[" * depth + b"]" * depth)
_LONG = st.sampled_from([b"7", b"["]).map(lambda byte: byte * 5000)  # not the bytes: they would be in every message
_ANY_VALUES = _values(_ANY_STRINGS, _GOOD_NUMBERS | _BAD_VALUES) | _DEEP | _LONG

_NAMES = st.sampled_from(
    [b'"id"', b'"score"', b'"token_count"', '"\u044f"'.encode(), rb'"\u044f"', b'"a b"', rb'"x\ny"']
)
_TWICE = st.sampled_from([b'"text"', b'"url"', rb'"te\u0078t"', rb'"\u0069d"', rb'"ur\l"', b'""', b"5"])


@st.composite
def _objects(draw, names, values, texts, urls):
    members = draw(st.lists(st.tuples(names, values), max_size=4))
    for name, found in ((b'"text"', texts), (b'"url"', urls)):
        if draw(st.integers(0, 7)):
            members.insert(draw(st.integers(0, len(members))), (name, draw(found)))
    spaces = [draw(_SPACE) for _ in range(4)]
    inner = b",".join(spaces[0] + name + spaces[1] + b":" + spaces[2] + value for name, value in members)
    return b"{" + inner + spaces[3] + b"}"


GOOD = _objects(_NAMES, _GOOD_VALUES, _GOOD_STRINGS, _GOOD_STRINGS | st.just(b"null"))
_ANYTHING = _ANY_STRINGS | _ANY_VALUES
_HOSTILE = _objects(_NAMES | _TWICE | _ANY_STRINGS, _ANYTHING, _ANYTHING, _ANYTHING)
_WRITTEN = st.builds(
    lambda record, dump: dump(record),
    st.dictionaries(
        st.sampled_from(["text", "url", "id", "n"]),
        st.text(max_size=30) | st.integers(-(2**63), 2**64 - 1) | st.floats(),
    ),
    st.sampled_from([lambda record: json.dumps(record).encode(), lambda record: orjson.dumps(record, default=str)]),
)


@st.composite
def _damaged(draw):
    """A good line in which something was put, maybe instead of some bytes."""
    line = draw(GOOD)
    start = draw(st.integers(0, len(line)))
    noise = draw(st.sampled_from([b"", b"", b",", b'"', b"}", b"\\", b"\xff", b"\xef\xbb\xbf", b"\x00", b" ", b"\r"]))
    return line[:start] + noise + line[start + draw(st.integers(0, 3)) :]


_OTHERS = st.sampled_from(
    [b"", b"", b" ", b"\r", b"\t \r", b"\x0b", b"\x0c ", b"{}", b"null", b'["text"]', b'"text"', b"12"]
)
LINES = GOOD | GOOD | _HOSTILE | _WRITTEN | _damaged() | _OTHERS
