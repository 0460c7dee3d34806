"""Text repair before normalisation: mojibake, boilerplate lines, citation marks, lines made of bars.

Everything is looked for by RE2, in linear time and at hundreds of MB/s; only documents in which something is found are
touched. ftfy's own test for broken text is one of these expressions, so ftfy sees what it would change and no more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import ftfy
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from ftfy.badness import BADNESS_RE

from transforms.schema import alive_mask, count_edits, set_column

Repair = Literal["mojibake", "boilerplate", "citations", "symbol_lines"]

# Wikipedia's marks, with the space before them. [0] is also an index of an array: not for text about programs.
CITATIONS = (
    r"[ \x{a0}]?\[(?:[0-9]{1,3}(?: ?[,\x{2013}-] ?[0-9]{1,3})*|(?:note|nb) [0-9]{1,3}|edit|citation needed|who\?|when\?"
    r"|by whom\?|clarification needed|dubious|better source needed|failed verification)\]"
)

# A line that is nothing but one of these, in any case, with marks and white space around it. English.
_MENU = (
    "home|about(?: us)?|contact(?: us)?|privacy(?: policy| notice)?|terms(?: of (?:use|service)| and conditions)?"
    "|site ?map|cookies?(?: policy| settings| preferences)?|help|faq|search|menu|log ?in|log ?out|sign ?in|sign ?up"
    "|register|subscribe|advertise|careers|imprint"
)
_LINES = (
    "skip to (?:main )?(?:content|navigation)|back to top|(?:previous|next)(?: (?:page|post|article))?"
    "|page [0-9]+ of [0-9]+|read more|continue reading|show more|load more"
    "|click here(?: to (?:read more|subscribe|continue))?"
    "|(?:share|tweet|pin|like)(?: this)?(?: (?:article|page|post|story))?(?: on (?:facebook|twitter|linkedin))?"
    "|leave a (?:comment|reply)|[0-9]+ (?:comments?|shares?|likes?)|print this page|e-?mail this(?: page| article)?"
    "|(?:subscribe|sign up) (?:now|to our newsletter|for our newsletter)|advertisement|sponsored(?: content)?"
    r"|(?:copyright )?(?:\(c\)|\x{a9}) ?[0-9, \x{2013}-]{4,}.{0,80}|all rights reserved|loading|please wait"
)
_SEPARATOR = r"[ \t]*(?:[|/>\x{b7}\x{2022}\x{bb}-]|[ \t])[ \t]*"
BOILERPLATE = (
    rf"(?im)^[ \t*\x{{2022}}>|-]*(?:{_LINES}|(?:{_MENU})(?:{_SEPARATOR}(?:{_MENU}))*)[ \t.!:\x{{2026}}>\x{{bb}}|-]*\r?$"
)

SYMBOL_LINES = r"(?m)^(?:[ |]*\|[ |]*(?:\r?\n|\z))+"  # what tables leave; a run of them becomes a paragraph break

_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    remove_terminal_escapes=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    fix_surrogates=False,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)  # encoding only; the rest is the normaliser's


@cache
def mojibake_expression() -> str:
    """Return ftfy's test for text in a wrong encoding as RE2 writes it: 720 MB/s of English, in Python 8.

    ftfy leaves a text alone in which this finds nothing. Its expression is verbose, which RE2 does not know, and looks
    neither ahead nor behind.
    """
    parts, inside, i = [], False, 0
    pattern = BADNESS_RE.pattern
    while i < len(pattern):
        char = pattern[i]
        if char == "\\":
            parts.append(pattern[i : i + 2])
            i += 1
        elif char == "#" and not inside:
            i = pattern.index("\n", i)
        elif inside or not char.isspace():
            inside = char != "]" if inside else char == "["
            parts.append(char)
        i += 1
    return "".join(parts).replace(r"\w", r"[\pL\pN_]").replace(r"\s", r"[\s\x0b\x1c-\x1f\x{85}\pZ]")


def fixed(text: str) -> str:
    """Return a text with wrongly decoded parts put right, line by line."""
    return ftfy.fix_text(text, _FTFY)


@dataclass(frozen=True, kw_only=True)
class RepairText:
    """Repairs the texts of living documents and counts it as edits; a function of a batch.

    Args:
        what: of Repair. Mojibake counts documents, the others what they take away.
    """

    what: tuple[Repair, ...]

    def __post_init__(self) -> None:
        for name in self.what:
            if name not in get_args(Repair):
                raise ValueError(f"repair {name!r} is not one of {', '.join(get_args(Repair))}")

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        alive = pa.array(alive_mask(batch))
        for name in get_args(Repair):
            if name in self.what:
                text, count_N = _REPAIRS[name](batch.column("text"), alive)
                batch = count_edits(set_column(batch, "text", text), {f"repair.{name}": count_N})
        return batch


def _without_mojibake(text: pa.Array, where: pa.Array) -> tuple[pa.Array, np.ndarray]:
    broken = pc.and_(where, pc.match_substring_regex(text, mojibake_expression()))
    if not pc.any(broken).as_py():
        return text, np.zeros(len(text), np.int32)
    repaired = pa.array([fixed(one) for one in text.filter(broken).to_pylist()], pa.string())
    out = pc.replace_with_mask(text, broken, repaired)
    return out, pc.not_equal(out, text).to_numpy(zero_copy_only=False).astype(np.int32)


def _replacing(pattern: str, replacement: str) -> Callable[[pa.Array, pa.Array], tuple[pa.Array, np.ndarray]]:
    def replaced(text: pa.Array, where: pa.Array) -> tuple[pa.Array, np.ndarray]:
        found = pc.and_(where, pc.match_substring_regex(text, pattern))
        count_N = np.zeros(len(text), np.int32)
        if not pc.any(found).as_py():
            return text, count_N
        touched = text.filter(found)
        count_N[found.to_numpy(zero_copy_only=False)] = pc.count_substring_regex(touched, pattern)
        return pc.replace_with_mask(text, found, pc.replace_substring_regex(touched, pattern, replacement)), count_N

    return replaced


_REPAIRS = {
    "mojibake": _without_mojibake,
    "boilerplate": _replacing(BOILERPLATE, ""),
    "citations": _replacing(CITATIONS, ""),
    "symbol_lines": _replacing(SYMBOL_LINES, "\n"),
}
