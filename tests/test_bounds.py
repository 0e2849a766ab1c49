"""Bounds as expressions: values, exponents, LaTeX, and nothing but arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from theorysim.bounds import Bound, symbol_latex
from theorysim.model import TheorysimError

THEOREM = "4*L_1norm*D_inf**2/T + 2*sqrt(2)*sigma_1norm*D_inf/sqrt(M*T) + sqrt(2)*eps*dim*D_inf/T"
VALUES = {"L_1norm": 3.7, "D_inf": 1.9, "T": 200.0, "sigma_1norm": 0.8, "M": 4, "eps": 1e-2, "dim": 50}


def theorem(L_1norm: float, D_inf: float, T: float, sigma_1norm: float, M: float, eps: float, dim: float) -> float:
    smooth = 4 * L_1norm * D_inf * D_inf / T
    return smooth + 2 * 2**0.5 * sigma_1norm * D_inf / (M * T) ** 0.5 + 2**0.5 * eps * dim * D_inf / T


def test_value_is_the_formula() -> None:
    bound = Bound(THEOREM)
    assert bound.symbols == ("D_inf", "L_1norm", "M", "T", "dim", "eps", "sigma_1norm")
    assert bound(VALUES) == pytest.approx(theorem(**VALUES), rel=1e-14)
    assert bound(VALUES | {"another": "name"}) == bound(VALUES)


def test_arrays_are_broadcast_together() -> None:
    steps, reach = np.array([1.0, 10.0, 100.0]), np.array([[0.5], [2.0]])
    found = Bound(THEOREM)(VALUES | {"T": steps, "D_inf": reach})
    expected = [[theorem(**(VALUES | {"T": t, "D_inf": d})) for t in steps] for d in reach.ravel()]
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_all_functions_of_the_grammar() -> None:
    text = "Min(x, y)**2 + Max(x, log(y)) - exp(-x)*cosh(y)/pi + -x"
    x, y = 0.7, 1.3
    expected = min(x, y) ** 2 + max(x, np.log(y)) - np.exp(-x) * np.cosh(y) / np.pi - x
    assert Bound(text)({"x": x, "y": y}) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("variable", ["T", "D_inf", "L_1norm", "M"])
def test_exponent_is_the_local_slope(variable: str) -> None:
    bound, h = Bound(THEOREM), 1e-6
    up, down = (np.log(bound(VALUES | {variable: VALUES[variable] * np.exp(s * h)})) for s in (1, -1))
    assert bound.exponent(variable, VALUES) == pytest.approx((up - down) / (2 * h), abs=1e-8)


def test_exponent_of_a_power_law_is_its_power() -> None:
    assert Bound("3*d**0.75/T").exponent("d", {"d": 17.0, "T": 5.0}) == pytest.approx(0.75, abs=1e-15)
    assert Bound("3*d**0.75/T").exponent("T", {"d": 17.0, "T": 5.0}) == pytest.approx(-1, abs=1e-15)
    assert Bound("3/T").exponent("d", {"d": 17.0, "T": 5.0}) == 0


def test_a_missing_name_is_reported_with_the_known_ones() -> None:
    with pytest.raises(TheorysimError, match="uses D_inf, T; known here: L_1norm, M"):
        Bound("L_1norm*D_inf**2/(M*T)")({"L_1norm": 1.0, "M": 2})


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "x.__class__",
        "[x for x in (1, 2)]",
        "lambda: 1",
        "'text'",
        "x if x else y",
        "open(x)",
        "x[0]",
        "f'{x}'",
        "x == y",
        "2*",
        "",
        "1j*x",
    ],
)
def test_only_arithmetic_passes(text: str) -> None:
    """Expressions also come from the command line, and sympy evaluates Python."""
    with pytest.raises(TheorysimError, match="is not an arithmetic expression"):
        Bound(text)


def test_names_of_sympy_stay_symbols() -> None:
    """``S``, ``N``, ``E`` or ``beta`` mean something else to sympy; in a bound they are the paper's letters."""
    assert Bound("S + N*E + beta*gamma")({"S": 1.0, "N": 2.0, "E": 3.0, "beta": 4.0, "gamma": 5.0}) == 27.0


def test_latex_keeps_the_letters_of_the_paper() -> None:
    assert symbol_latex("L_1norm") == r"\|L\|_{1}"
    assert symbol_latex("sigma_1norm") == r"\|\sigma\|_{1}"
    assert symbol_latex("D_inf_0") == r"D_{\infty,0}"
    assert symbol_latex("lambda_max") == r"\lambda_{\max}"
    assert symbol_latex("dim") == r"\mathrm{dim}"
    assert Bound("4*L_1norm*D_inf**2/T").latex() == r"\frac{4 \, D_{\infty}^{2} \, \|L\|_{1}}{T}"
