"""Wikitext to plain text: what a reader of the article reads, without boxes, tables, notes and pictures.

mwparserfromhell parses 2 MB/s, and most of an article is templates, notes and tables, which are left out. Where their
braces balance they are found without a grammar; what is left parses to the same text, 6 MB/s in all.
"""

import html
import re
from collections.abc import Collection

import mwparserfromhell
from mwparserfromhell import nodes
from mwparserfromhell.wikicode import Wikicode

from transforms.sandbox import Refusal

_DROPPED_TAGS = frozenset(
    [
        "ref",
        "references",
        "table",
        "gallery",
        "math",
        "chem",
        "ce",
        "timeline",
        "imagemap",
        "score",
        "hiero",
        "style",
        "script",
        "templatestyles",
        "source",
        "syntaxhighlight",
        "graph",
        "mapframe",
        "maplink",
        "categorytree",
        "inputbox",
        "templatedata",
        "indicator",
        "includeonly",
    ]
)
_BLOCK_TAGS = frozenset(["p", "div", "blockquote", "poem", "center", "ul", "ol", "dl", "hr", "pre", "section", "br"])
_TOKEN = re.compile(
    r"<!--.*?(?:-->|\Z)"
    r"|(?P<opaque><(?P<name>nowiki|pre|math|source|syntaxhighlight)\b[^<>]*(?:/>|>.*?</(?P=name)\s*>))"
    r"|(?P<note><ref\b[^<>]*/>)|(?P<ref><ref\b[^<>]*>)|(?P<end_ref></ref\s*>)"
    r"|(?P<template>\{\{)|(?P<end_template>\}\})|(?P<table>^[ \t:*#]*\{\|)|(?P<end_table>^[ \t]*\|\}(?!\}))",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_OPENED_BY = {"end_ref": "ref", "end_template": "template", "end_table": "table"}
_GAP = "\ufdd0"  # stands for what was taken out, so that the quotes on both sides of it do not become one markup
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*|simple")
_MAGIC_WORD = re.compile(r"__[A-Z]{3,}__")
# What is left of brackets around nothing but templates: "Paris ( ; ) is".
_EMPTY_BRACKETS = re.compile(r"[ \u00a0]*(?:\([\s,;:]*\)|\uff08[\s\u3001\uff0c\uff1b]*\uff09)")
_QUOTES = re.compile("'{2,}")  # markup that does not close; MediaWiki shows none of it either
_SPACES = re.compile(r"[ \t\u00a0]+")
_EMPTY_LINES = re.compile(r"\s*\n\s*\n\s*")


def article_text(content: bytes, hint: str) -> str | Refusal:
    """Return the text of an article: paragraphs and headings with an empty line between them. A sandbox Parser.

    A heading without text below it is left out.

    Args:
        content: wikitext in UTF-8.
        hint: names of the namespaces whose links are no text (files, categories), in lower case, one a line.

    Refusals: `extract_empty` (value, threshold: characters).
    """
    text = content.decode("utf-8", "replace")
    reduced = without_nested(text)
    code = mwparserfromhell.parse(text if reduced is None else reduced)
    pieces: list[str | nodes.Heading] = []
    _write(code, pieces, frozenset(hint.split("\n")))
    return _joined(pieces) or Refusal("extract_empty", 0, 1)


def without_nested(text: str) -> str | None:
    """Return wikitext without comments, templates, notes and tables; None where they do not close as they open.

    None also where three braces open: those of an argument, or of a template in another, only a grammar tells apart.
    """
    if "{{{" in text:
        return None
    kept: list[str] = []
    opened: list[str] = []
    at = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "opaque":
            continue
        if not opened:
            kept += [text[at : token.start()], _GAP]
        if kind in _OPENED_BY:
            if not opened or opened.pop() != _OPENED_BY[kind]:
                return None
        elif kind is not None and kind != "note":
            opened.append(kind)
        at = token.end()
    return None if opened else "".join([*kept, text[at:]])


def _write(code: Wikicode, pieces: list[str | nodes.Heading], dropped: Collection[str]) -> None:
    """Append the text of the nodes, and headings as they are."""
    for node in code.nodes:
        match node:
            case nodes.Text():
                pieces.append(node.value)
            case nodes.HTMLEntity():
                pieces.append(html.unescape(str(node)))
            case nodes.Heading():
                pieces.append(node)
            case nodes.Wikilink():
                _write_link(node, pieces, dropped)
            case nodes.ExternalLink():
                if node.title is not None:
                    _write(node.title, pieces, dropped)
                elif not node.brackets:
                    pieces.append(str(node.url))
            case nodes.Tag():
                _write_tag(node, pieces, dropped)


def _write_link(link: nodes.Wikilink, pieces: list[str | nodes.Heading], dropped: Collection[str]) -> None:
    title = str(link.title).strip()
    namespace, colon, _ = title.partition(":")
    name = namespace.strip().lower().replace("_", " ")
    if colon and (name in dropped or (_LANGUAGE.fullmatch(namespace) and link.text is None)):
        return  # a leading colon makes a link out of both, and its namespace empty
    if link.text is not None:
        _write(link.text, pieces, dropped)
    else:
        pieces.append(title.removeprefix(":"))


def _write_tag(tag: nodes.Tag, pieces: list[str | nodes.Heading], dropped: Collection[str]) -> None:
    name = str(tag.tag).strip().lower()
    if name in _DROPPED_TAGS:
        return
    if name in _BLOCK_TAGS:
        pieces.append("\n")
    if tag.contents is not None and not tag.self_closing:
        _write(tag.contents, pieces, dropped)
    if name in _BLOCK_TAGS:
        pieces.append("\n")


def _joined(pieces: list[str | nodes.Heading]) -> str:
    """Join text and headings, without the headings that have no text below them."""
    kept: list[str] = []
    waiting: list[tuple[int, str]] = []  # headings since the last text
    run: list[str] = []
    for piece in [*pieces, None]:
        if isinstance(piece, str):
            run.append(piece)
            continue
        if text := _cleaned("".join(run)):
            kept += [title for _, title in waiting]
            kept.append(text)
            waiting = []
        run = []
        if piece is not None:
            waiting = [(level, title) for level, title in waiting if level < piece.level]
            title: list[str | nodes.Heading] = []
            _write(piece.title, title, frozenset())
            waiting.append((piece.level, _cleaned("".join(part for part in title if isinstance(part, str)))))
    return "\n\n".join(kept)


def _cleaned(text: str) -> str:
    text = _QUOTES.sub("", text.replace(_GAP, ""))
    text = _SPACES.sub(" ", _EMPTY_BRACKETS.sub("", _MAGIC_WORD.sub("", text)))
    return _EMPTY_LINES.sub("\n\n", text).replace("\n ", "\n").strip()
