"""The text of kernels: what a program does to one coordinate, as Python for Numba and as C for CUDA."""

from __future__ import annotations

from typing import NamedTuple

from theorysim.fused.program import Program
from theorysim.fused.symbols import INPUTS, RANDOM

# The same arithmetic in both languages. Where NumPy has a rule for NaN, so has the text: a comparison with NaN is false.
_PYTHON = {
    "number": "{0}",
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negative": "-{0}",
    "sqrt": "np.sqrt({0})",
    "abs": "abs({0})",
    "sign": "1.0 if {0} > 0.0 else (-1.0 if {0} < 0.0 else (0.0 if {0} == 0.0 else {0}))",
    "maximum": "{0} if ({0} > {1}) | ({0} != {0}) else {1}",
    "minimum": "{0} if ({0} < {1}) | ({0} != {0}) else {1}",
    "raise_to": "{1} if ({0} < {1}) | ({1} != {1}) else {0}",
    "cut_to": "{1} if ({0} > {1}) | ({1} != {1}) else {0}",
    "where": "{1} if {0} else {2}",
    "less": "{0} < {1}",
    "less_equal": "{0} <= {1}",
    "equal": "{0} == {1}",
    "not_equal": "{0} != {1}",
    "and": "{0} & {1}",
    "or": "{0} | {1}",
    "not": "not {0}",
}
_C = {
    **_PYTHON,
    "sqrt": "sqrt({0})",
    "abs": "fabs({0})",
    "sign": "{0} > 0.0 ? 1.0 : ({0} < 0.0 ? -1.0 : ({0} == 0.0 ? 0.0 : {0}))",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "minimum": "{0} < {1} || {0} != {0} ? {0} : {1}",
    "raise_to": "{0} < {1} || {1} != {1} ? {1} : {0}",
    "cut_to": "{0} > {1} || {1} != {1} ? {1} : {0}",
    "where": "{0} ? {1} : {2}",
    "not": "!{0}",
}


class Language(NamedTuple):
    """``kinds``: the text of an operation on operands. ``line``: an assignment to a new name."""

    kinds: dict[str, str]
    line: str


PYTHON, C = Language(_PYTHON, "{name} = {value}"), Language(_C, "const auto {name} = {value};")


def body(program: Program, language: Language) -> list[str]:
    """Lines that compute the values ``n0, n1, ...`` of a program. Its inputs have names already: ``n..`` like the other values,
    and ``s1, s2, ...`` for the numbers of the step."""
    lines = []
    for place, (kind, *of) in enumerate(program.operations):
        if kind not in INPUTS + RANDOM:
            value = language.kinds[kind].format(*(f"n{index}" if index >= 0 else f"s{-index}" for index in of))
            lines.append(language.line.format(name=f"n{place}", value=value))
    return lines
