"""Slow twin of transforms.kernels.language: langdetect's own n-gram state machine, floats, a dict for each profile."""

import json
import math
import unicodedata
from functools import cache
from importlib.resources import files

from langdetect.detector import Detector
from langdetect.utils.ngram import NGram

WINDOW, MAX_WINDOWS = 256, 16


@cache
def profiles():
    found = [json.loads(path.read_text("utf-8")) for path in (files("langdetect") / "profiles").iterdir()]
    return {p["name"]: p for p in sorted(found, key=lambda p: p["name"])}


def without_addresses(text):
    return Detector.MAIL_RE.sub(" ", Detector.URL_RE.sub(" ", text))


def windows(text):
    data = text.encode()
    if len(data) <= WINDOW * MAX_WINDOWS:
        chars = without_addresses(text)
        count = -(-len(data) // WINDOW)
        return [chars[len(chars) * w // count : len(chars) * (w + 1) // count] for w in range(count)]
    parts = []
    for w in range(MAX_WINDOWS):
        start = w * (len(data) - WINDOW) // (MAX_WINDOWS - 1)
        part = data[start : start + WINDOW]
        if w > 0:
            spaces = [k for k in range(64) if part[k] <= 0x20]
            part = part[spaces[0] if spaces else 0 :]
            part = b" " + part.lstrip(bytes(range(0x80, 0xC0)))
        parts.append(without_addresses(part.decode(errors="replace")))
    return parts


def is_symbol(char):
    return "\U00010000" <= char < "\U00020000" or (char >= "\x80" and unicodedata.category(char)[0] == "S")


def posteriors(text):
    """Label -> mean posterior; empty if no n-gram is known."""
    parts = ["".join(" " if is_symbol(ch) else ch for ch in part) for part in windows(text)]
    state, votes, total = NGram(), dict.fromkeys(profiles(), 0.0), 0
    for part in parts:
        sums, hits = dict.fromkeys(profiles(), 0.0), 0
        latin = sum("A" <= ch <= "z" for ch in part)
        far = sum(ch >= "\u0300" for ch in part)
        for ch in part:
            if latin < 3 * far and "A" <= ch <= "z":
                continue
            state.add_char(ch)
            known = False
            for n in (1, 2, 3):
                gram = state.get(n)
                if gram is None or not any(gram in p["freq"] for p in profiles().values()):
                    continue
                known = True
                for label, p in profiles().items():
                    sums[label] += math.log1p(p["freq"].get(gram, 0) / p["n_words"][n - 1] * 20_000)
            hits += known
        if not any("\uac00" <= ch <= "\ud7af" for ch in part):
            sums["ko"] = 0.0
        if hits:
            best = max(sums.values())
            norm = sum(math.exp(s - best) for s in sums.values())
            for label, s in sums.items():
                votes[label] += hits * math.exp(s - best) / norm
            total += hits
    return {label: vote / total for label, vote in votes.items()} if total else {}
