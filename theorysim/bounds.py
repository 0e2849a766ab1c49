"""Bounds as expressions: the only file that imports sympy, and only when an expression is first used.

An expression is text in the letters of the paper, ``"4*L_1norm*D_inf**2/T + sqrt(2)*eps*d*D_inf/T"``. It evaluates on
numbers or arrays, knows its local exponent in each variable and prints itself as LaTeX.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from theorysim.model import TheorysimError
from theorysim.syntax import parsed

_GREEK = {
    "eta": r"\eta",
    "eps": r"\varepsilon",
    "sigma": r"\sigma",
    "lambda": r"\lambda",
    "kappa": r"\kappa",
    "gamma": r"\gamma",
    "delta": r"\delta",
    "Delta": r"\Delta",
}
_MARKS = {"inf": r"\infty", "max": r"\max", "min": r"\min", "nuclear": "*", "op": r"\mathrm{op}", "row": r"\mathrm{row}"}


class Bound:
    """A parsed expression. Raises TheorysimError for text that is no expression."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._expression, self.symbols = _parse(text)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """The value at ``values`` (name -> number or array; extra names are ignored), broadcast together."""
        missing = [name for name in self.symbols if name not in values]
        if missing:
            raise TheorysimError(
                f"the expression {self.text!r} uses {', '.join(missing)}; known here: {', '.join(sorted(values))}"
            )
        return _compiled(self.text)(*[values[name] for name in self.symbols])

    def exponent(self, variable: str, values: Mapping[str, Any]) -> Any:
        """Local exponent d log(bound) / d log(variable): how steeply the bound itself scales at ``values``."""
        import sympy

        symbol = sympy.Symbol(variable, positive=True)
        local = symbol * sympy.diff(self._expression, symbol) / self._expression
        function = sympy.lambdify([sympy.Symbol(name, positive=True) for name in self.symbols], local, "numpy")
        return function(*[np.asarray(values[name], dtype=float) for name in self.symbols])

    def latex(self) -> str:
        import sympy

        names = {sympy.Symbol(name, positive=True): symbol_latex(name) for name in self.symbols}
        return str(sympy.latex(self._expression, symbol_names=names, mul_symbol=r" \, "))


@functools.cache
def _parse(text: str) -> tuple[Any, tuple[str, ...]]:
    import ast

    import sympy

    # sympify evaluates Python, so only arithmetic may pass: expressions also come from the command line.
    allowed = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Constant, ast.Call, ast.operator, ast.unaryop)
    functions = {"sqrt": sympy.sqrt, "log": sympy.log, "exp": sympy.exp, "Min": sympy.Min, "Max": sympy.Max}
    functions |= {"cosh": sympy.cosh, "pi": sympy.pi}
    try:
        nodes = list(ast.walk(parsed(text, "eval")))
        if not all(isinstance(node, allowed) for node in nodes):
            raise ValueError("only arithmetic and " + ", ".join(functions))
        if any(isinstance(node, ast.Constant) and type(node.value) not in (int, float) for node in nodes):
            raise ValueError("only numbers")
        names = tuple(sorted({node.id for node in nodes if isinstance(node, ast.Name)} - set(functions)))
        expression = sympy.sympify(text, locals=functions | {name: sympy.Symbol(name, positive=True) for name in names})
        if expression.has(sympy.zoo, sympy.nan, sympy.oo):
            raise ValueError("it divides by zero")
    except (SyntaxError, ValueError, TypeError, sympy.SympifyError) as error:
        raise TheorysimError(f"{text!r} is not an arithmetic expression ({error}); write for example 'D_inf_0/sqrt(2)'") from None
    return expression, names


@functools.cache
def _compiled(text: str) -> Any:
    import sympy

    expression, names = _parse(text)
    return sympy.lambdify([sympy.Symbol(name, positive=True) for name in names], expression, "numpy")


def symbol_latex(name: str) -> str:
    """The letters of the paper in LaTeX: ``L_1norm`` -> ‖L‖_1, ``D_inf_0`` -> D_{∞,0}, ``sigma`` -> σ."""
    if name.endswith("norm"):
        base, _, order = name.removesuffix("norm").rpartition("_")
        return rf"\|{symbol_latex(base)}\|_{{{_MARKS.get(order, order)}}}"
    base, *marks = name.split("_")
    letter = _GREEK.get(base, base if len(base) == 1 else rf"\mathrm{{{base}}}")
    return letter + (rf"_{{{','.join(_MARKS.get(mark, mark) for mark in marks)}}}" if marks else "")
