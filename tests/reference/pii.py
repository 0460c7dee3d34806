"""Slow twin of transforms.kernels.pii: regular expressions over str, and `ipaddress`."""

import ipaddress
import re
from itertools import pairwise

ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
OCTET = "(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
V4 = rf"(?:{OCTET}\.){{3}}{OCTET}"
EMAIL = re.compile(rf"\b{ATOM}(?:\.{ATOM})*@(?:(?:{LABEL}\.)+{LABEL}|\[{V4}\])")
IPV4 = re.compile(V4)
IPV6 = re.compile(r"(?<![\w:])[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
PHONE = re.compile(
    r"(?<![\w+])\+[1-9](?:[ ().\/-]{0,2}[0-9]){7,14}(?![ ().\/-]{0,2}[0-9])(?!\w)"
    r"|(?<![\w.-])(?:\([2-9][0-9]{2}\) ?[2-9][0-9]{2}-[0-9]{4}|[2-9][0-9]{2}([.-])[2-9][0-9]{2}\1[0-9]{4})(?!\w)"
)
CARD = re.compile(
    r"(?<!\w)(?:[3-6][0-9]{12,18}|[3-6][0-9]{3}([ -])(?:[0-9]{6}\1[0-9]{5}|(?:[0-9]{4}\1){2,3}[0-9]{1,4}))"
    r"(?![ -]?[0-9])(?!\w)"
)
IBAN = re.compile(r"(?<!\w)[A-Z]{2}[0-9]{2}")
NOT_PUBLIC = [ipaddress.ip_network(n) for n in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]


def public_v4(text):
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return False
    protocols = address in ipaddress.ip_network("192.0.0.0/24")  # older Pythons know parts of it only
    return str(address) in ("192.0.0.9", "192.0.0.10") if protocols else address.is_global


def public_v6(text):
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return address in ipaddress.ip_network("2000::/3") and not any(address in network for network in NOT_PUBLIC)


def luhn(text):
    digits = [int(d) for d in re.sub("[ -]", "", text)][::-1]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0


def iban_end(text, start):
    """The end of the longest IBAN at `start`, or None."""
    ends = []
    for pattern in ("[A-Z0-9]{4,34}", "[A-Z0-9]{4}(?: [A-Z0-9]{4}){0,7}(?: [A-Z0-9]{1,4})?"):
        for stop in range(start + 15, min(len(text), start + 45) + 1):
            found = re.fullmatch(pattern, text[start:stop])
            if found and not re.match(r"\w", text[stop:]):
                code = found[0].replace(" ", "")
                if 15 <= len(code) <= 34 and int("".join(str(int(c, 36)) for c in code[4:] + code[:4])) % 97 == 1:
                    ends.append(stop)
    return max(ends, default=None)


def emails_and_ips(text):
    """Spans of e-mail and public IPv4 addresses, in order: (start, end, kind)."""
    found = [(m.start(), m.end(), "email") for m in EMAIL.finditer(text)]
    gaps = [(0, 0), *((start, end) for start, end, _ in found), (len(text), len(text))]
    for (_, left), (right, _) in pairwise(gaps):
        found += [(m.start(), m.end(), "ip") for m in IPV4.finditer(text, left, right) if public_v4(m[0])]
    return sorted(found)


def found_alone(text, kind):
    """Spans of one kind, looked for alone: ip6, phone, card or iban."""
    spans, at = [], 0
    if kind == "ip6":
        for m in IPV6.finditer(text):
            candidate = m[0].rstrip(".")
            candidate = candidate[:-1] if candidate.endswith(":") and not candidate.endswith("::") else candidate
            after = text[m.end() :]
            if public_v6(candidate.rstrip(".")) and not re.match(r"\w", after):
                spans.append((m.start(), m.start() + len(candidate.rstrip("."))))
        return spans
    pattern = {"phone": PHONE, "card": CARD, "iban": IBAN}[kind]
    while m := pattern.search(text, at):
        end = m.end()
        if kind == "card" and not (luhn(m[0]) and sum(map(str.isdigit, m[0])) <= 19):
            end = None
        if kind == "iban":
            end = iban_end(text, m.start())
        if end is not None:
            spans.append((m.start(), end))
        at = end or m.start() + 1
    return spans
