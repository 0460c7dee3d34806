"""Kernel and twin of transforms.kernels.pii side by side."""

import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import pii as twin
from transforms.kernels.pii import CARD, EMAIL, IBAN, IPV4, IPV6, NUM_KINDS, PHONE, find_pii
from transforms.kernels.pii_classes import word_table
from transforms.kernels.strings import string_views

ONE_EACH_K1 = np.arange(NUM_KINDS + 1)


def find(texts, kinds):
    """Spans in characters and kinds, a list for each text."""
    chosen_K = np.isin(np.arange(NUM_KINDS), kinds)
    places_F = np.empty((1000, 4), np.int64)
    skip_N = np.zeros(len(texts), np.bool_)
    offsets_N1, data = string_views(pa.array(texts, pa.string()))
    count = find_pii(offsets_N1, data, skip_N, word_table(), chosen_K, ONE_EACH_K1, places_F)
    found = [[] for _ in texts]
    for n, first, end, kind in places_F[:count].tolist():
        start = offsets_N1[n]
        left, right = (len(data[start:at].tobytes().decode()) for at in (first, end))
        found[n].append((left, right, kind))
    return found


# text -> what is found in it, in order
ADDRESSES = {
    "mail bob@example.org, please": ["bob@example.org"],
    "a.b+c@x-y.co.uk.": ["a.b+c@x-y.co.uk"],
    "x@y and a@b..c and @d.e and .f@g.h": ["f@g.h"],
    "\uff1abob@x.de\uff0c \xe9b@x.de": ["bob@x.de"],
    "a@[8.8.8.8] a@[300.1.1.1]": ["a@[8.8.8.8]"],
    "a@b@c.de a@-b.de a@b-.de": ["b@c.de"],
    "8.8.8.8 10.0.0.1 127.0.0.1 172.20.1.1 192.168.3.4": ["8.8.8.8"],
    "1.2.3.4.5 v1.2.3 256.1.1.1 08.8.8.8 08.8.8.808.8.8.8": ["1.2.3.4", "56.1.1.1", "8.8.8.8"],
    "8.8.8.8@x.de 8.8.8.8": ["8.8.8.8@x.de", "8.8.8.8"],
    "100.64.0.1 203.0.113.9 192.0.0.9 192.0.0.8 240.0.0.1 224.0.0.1": ["192.0.0.9", "224.0.0.1"],
}
SIX = {
    "2001:4860:4860::8888 and 2001:4860:4860:0:0:0:0:8844.": ["2001:4860:4860::8888", "2001:4860:4860:0:0:0:0:8844"],
    "::1 fe80::1 fc00::1 2001:db8::1 2002::1 ::ffff:8.8.8.8": [],
    "12:30:45 std::vector a::b ::: 2a00:1450:::1 2a00:1450": [],
    "[2a00:1450:4001:80f::200e]:80": ["2a00:1450:4001:80f::200e"],
    "x2a00:1450::1 2a00:1450::1x 2a00:1450::12345": [],
    "2a00::1:2:3:4:5:6 2a00::1:2:3:4:5:6:7 2a00:1:2:3:4:5:6:7:8": ["2a00::1:2:3:4:5:6"],
    "2a00::1.2.3.4 2a00:1:2:3:4:5:6:7.8.9.1": ["2a00::1.2.3.4"],
}
PHONES = {
    "+49 30 1234567, +1 (212) 555-0100.": ["+49 30 1234567", "+1 (212) 555-0100"],
    "(212) 555-0100 212-555-0100 212.555.0100 212 555 0100": ["(212) 555-0100", "212-555-0100", "212.555.0100"],
    "+0 123 456 789 +1234567 +1234567890123456 x+12345678 ++12345678": [],
    "1-212-555-0100 112-555-0100 212-555-01000 212-555.0100": [],
}
CARDS = {
    "4111 1111 1111 1111, 4111111111111111, 4111-1111-1111-1111.": 3,
    "4111 1111 1111 1112, 4111111111111112, 1111111111111117": 0,
    "3782 822463 10005, 378282246310005": 2,
    "4111 1111 1111 1111 1, 4111-1111 1111-1111, x4111111111111111": 0,
}
IBANS = {
    "DE89370400440532013000 DE89 3704 0044 0532 0130 00": 2,
    "GB82 WEST 1234 5698 7654 32, BE68 5390 0754 7034 OK": 2,
    "DE88370400440532013000 DE893704 0044 0532 0130 00 xDE89370400440532013000": 0,
}


@pytest.mark.parametrize("text", ADDRESSES)
def test_addresses(text):
    """E-mail and public IPv4 addresses in texts made for each rule; kernel and twin."""
    [spans] = find([text], [EMAIL, IPV4])
    assert [text[a:b] for a, b, _ in spans] == ADDRESSES[text]
    assert [text[a:b] for a, b, _ in twin.emails_and_ips(text)] == ADDRESSES[text]


@pytest.mark.parametrize("text", SIX)
def test_ipv6(text):
    """Public IPv6 addresses, in full, shortened, and with an IPv4 tail; nothing that only looks like one."""
    [spans] = find([text], [IPV6])
    assert [text[a:b] for a, b, _ in spans] == SIX[text]
    assert [text[a:b] for a, b in twin.found_alone(text, "ip6")] == SIX[text]


@pytest.mark.parametrize("text", PHONES)
def test_phones(text):
    """International and North American phone numbers."""
    [spans] = find([text], [PHONE])
    assert [text[a:b] for a, b, _ in spans] == PHONES[text]
    assert [text[a:b] for a, b in twin.found_alone(text, "phone")] == PHONES[text]


NUMBERS = [(CARD, "card", text) for text in CARDS] + [(IBAN, "iban", text) for text in IBANS]


@pytest.mark.parametrize(("kind", "name", "text"), NUMBERS)
def test_numbers_with_checks(kind, name, text):
    """Card numbers and IBANs are found by their checksum, in one piece and in groups."""
    assert len(find([text], [kind])[0]) == len(twin.found_alone(text, name)) == {**CARDS, **IBANS}[text]


PIECES = st.sampled_from(
    [
        *"0123456789", *"0123456789", "a", "Z", ".", ".", "@", "@", "-", "-", "_", "+", " ", " ", ":", "::", "(", ")",
        "/", "[", "]", "!", "\xe9", "\uff1a", "\u0663", "ab@c.de", "8.8.8.8", "10.0.0.", "2a00:", "+49 ", "1111",
        "212-555-0100", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", "DE89", " 0044",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=24).map("".join)


@given(TEXTS)
@settings(max_examples=1500, deadline=None)
def test_addresses_equal_twin(text):
    """Kernel and regular expressions find the same e-mail and IPv4 addresses in any mixture."""
    names = {EMAIL: "email", IPV4: "ip"}
    assert [(a, b, names[kind]) for a, b, kind in find([text], [EMAIL, IPV4])[0]] == twin.emails_and_ips(text)


@pytest.mark.parametrize(("kind", "name"), [(IPV6, "ip6"), (PHONE, "phone"), (CARD, "card"), (IBAN, "iban")])
@given(text=TEXTS)
@settings(max_examples=800, deadline=None)
def test_each_kind_equals_twin(kind, name, text):
    """Each other kind, looked for alone, is found where the twin finds it."""
    assert [(a, b) for a, b, _ in find([text], [kind])[0]] == twin.found_alone(text, name)


def test_hostile_text_takes_linear_time():
    """A megabyte that regular expressions choke on takes a second at most."""
    size = 1 << 20
    texts = [piece * size for piece in ("a.", "@", "a@", ":", "1", "1.2.3.", "c@b.", "+1 ", "A1", "4111 ")]
    find(texts[:1], range(NUM_KINDS))
    for text in texts:
        started = time.process_time()
        find([text], range(NUM_KINDS))
        assert time.process_time() - started < 1.0
