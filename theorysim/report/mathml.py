"""LaTeX to MathML, which browsers typeset by themselves; what cannot be converted stays readable as its source."""

from __future__ import annotations

import html
import re
from typing import Any
from xml.etree import ElementTree

_TAGS = {"math", "mrow", "mi", "mo", "mn", "ms", "mtext", "mspace", "msqrt", "mroot", "mfrac", "msub", "msup", "msubsup"}
_TAGS |= {"mover", "munder", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded", "mphantom", "menclose"}
_ENVIRONMENT = re.compile(r"\\(begin|end)\{(aligned|align\*?|gathered|gather\*?|split|equation\*?)\}")
_ALPHABET = re.compile(r"\\(mathbb|mathcal|mathbf|mathrm)\s+(\w)")  # the converter needs the braces that TeX does not


def display(latex: str) -> str:
    """LaTeX of a statement as HTML. Pieces parted by ``\\\\`` or ``\\qquad`` flow: on one line if it is wide enough.

    Text with formulas between dollar signs becomes prose with inline formulas.
    """
    if "$" in latex:
        return f'<p class="prose">{prose(latex)}</p>'
    aligned = _ENVIRONMENT.search(latex) is not None
    source = _ENVIRONMENT.sub(" ", latex).replace("&", " ") if aligned else latex
    pieces = [piece.strip() for piece in _split(source) if piece.strip()]
    return f'<div class="math">{"".join(formula(piece, block=True) for piece in pieces)}</div>'


def prose(text: str) -> str:
    """Text as HTML, with formulas between dollar signs as MathML."""
    parts = text.split("$")
    if len(parts) % 2 == 0:  # an odd number of dollar signs: no formulas meant
        return html.escape(text)
    return "".join(formula(part) if n % 2 else html.escape(part) for n, part in enumerate(parts))


def formula(latex: str, block: bool = False) -> str:
    """One formula as a <math> element, or its source as <code> where it cannot be converted."""
    from latex2mathml.converter import convert

    try:
        markup = convert(_ALPHABET.sub(r"\\\1{\2}", latex), xmlns="", display="block" if block else "inline")
        root = ElementTree.fromstring(markup)
    except Exception:  # the converter raises many types, and writes text unescaped, which then does not parse
        return f"<code>{html.escape(latex)}</code>"
    if not all(_is_safe(element) for element in root.iter()):
        return f"<code>{html.escape(latex)}</code>"
    for element in root.iter("mi"):
        if element.text == "~":  # the converter's \\sim, which is a relation and needs its spacing
            element.tag, element.text = "mo", "\N{TILDE OPERATOR}"
    return ElementTree.tostring(root, encoding="unicode")


def _is_safe(element: Any) -> bool:
    """Only presentation MathML without handlers or links, and no command left unconverted."""
    attributes = all(not key.startswith("on") and "href" not in key and key != "style" for key in element.attrib)
    return element.tag in _TAGS and attributes and "\\" not in (element.text or "")


def _split(latex: str) -> list[str]:
    """The pieces between ``\\\\`` and ``\\qquad`` that stand in no group and no environment."""
    pieces, depth, start = [], 0, 0
    for token in re.finditer(r"\\begin\b|\\end\b|\\left\b|\\right\b|\\qquad\b|\\\\|\\[{}]|[{}]", latex):
        word = token.group()
        depth += (word in ("{", r"\begin", r"\left")) - (word in ("}", r"\end", r"\right"))
        if word in (r"\qquad", r"\\") and depth == 0:
            pieces.append(latex[start : token.start()])
            start = token.end()
    return [*pieces, latex[start:]]
