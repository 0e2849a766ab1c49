"""The exact worst case against closed forms, against a program written by hand, and against runs that attain it."""

from __future__ import annotations

import importlib.util
import sys
from math import sqrt
from typing import Any

import numpy as np
import pytest

import theorysim as ts
from theorysim.model import Spec, TheorysimError
from theorysim.registry import algorithm, problem
from theorysim.worst_case import worst_case

DESCENT, NESTEROV, BALL = algorithm("gradient_descent"), algorithm("nesterov"), algorithm("heavy_ball")
ACCURACY = 1e-6


@pytest.mark.parametrize("n", [*range(1, 11)])
def test_gradient_descent_on_smooth_convex_functions(n: int) -> None:
    assert worst_case(DESCENT, n) == pytest.approx(1 / (4 * n + 2), abs=ACCURACY, rel=0)


def test_smoothness_and_radius_scale_it() -> None:
    assert worst_case(DESCENT, 3, smoothness=7.0, radius=0.3) == pytest.approx(7 * 0.09 / 14, abs=7 * 0.09 * ACCURACY, rel=0)
    fixed = worst_case(algorithm("gradient_descent", lr=1 / 7), 3, smoothness=7.0, radius=0.3)
    assert fixed == pytest.approx(7 * 0.09 / 14, abs=7 * 0.09 * ACCURACY, rel=0)


@pytest.mark.parametrize("n", [1, 3, 6])
@pytest.mark.parametrize("mu", [0.05, 0.5])
def test_gradient_descent_on_strongly_convex_functions(n: int, mu: float) -> None:
    """L R^2/2 kappa / (kappa - 1 + (1 - kappa)^(-2n)) with kappa = mu/L. [Taylor, Hendrickx, Glineur 2017, recalled]"""
    expected = 0.5 * mu / (mu - 1 + (1 - mu) ** (-2 * n))
    assert worst_case(DESCENT, n, strong_convexity=mu) == pytest.approx(expected, abs=ACCURACY, rel=0)


def by_hand(n: int, mu: float, lr: float, ball: bool) -> float:
    """The same two methods, written for the solver directly: heavy ball, or Nesterov with its convex sequence."""
    from PEPit import PEP
    from PEPit.functions import SmoothStronglyConvexFunction

    program = PEP()
    f = program.declare_function(SmoothStronglyConvexFunction, mu=mu, L=1.0)
    best, old = f.stationary_point(), program.set_initial_point()
    program.set_initial_condition((old - best) ** 2 <= 1)
    momentum, new = ((1 - sqrt(mu)) / (1 + sqrt(mu))) ** 2, old
    for t in range(1, n + 1):
        if ball:
            old, new = new, new - lr * f.gradient(new) + momentum * (new - old)
        else:
            y = new + (t - 1) / (t + 2) * (new - old)
            old, new = new, y - lr * f.gradient(y)
    program.set_performance_metric(f(new) - f(best))
    return float(program.solve(wrapper="cvxpy", solver="CLARABEL", verbose=0))


@pytest.mark.parametrize("n", [1, 2, 4])
def test_momentum_methods_as_written_by_hand(n: int) -> None:
    mu = 0.1
    assert worst_case(BALL, n, strong_convexity=mu) == pytest.approx(
        by_hand(n, mu, 4 / (1 + sqrt(mu)) ** 2, ball=True), abs=ACCURACY
    )
    assert worst_case(NESTEROV, n) == pytest.approx(by_hand(n, 0.0, 1.0, ball=False), abs=ACCURACY)
    assert worst_case(NESTEROV, n) <= 2 / (n + 1) ** 2


@pytest.mark.parametrize("method", [DESCENT, NESTEROV], ids=["descent", "nesterov"])
def test_a_run_of_the_same_code_attains_it(method: Spec) -> None:
    """The hardest function is a Huber function that the run never leaves the straight part of, up to the last step."""
    exact = worst_case(method, 7)
    hardest = problem("huber", dim=1, threshold=2 * exact, start="ones")
    assert ts.run(hardest, method, 7, record="all")["gap"][0, -1] == pytest.approx(exact, abs=ACCURACY)


def test_the_average_of_gradient_descent() -> None:
    """w_1 counts, so the average is as bad as D^2/(2n): the textbook bound is attained."""
    for n in (1, 2, 4):
        assert worst_case(algorithm("average", of=DESCENT), n) == pytest.approx(1 / (2 * n), abs=ACCURACY)


@pytest.mark.parametrize("method", [DESCENT, NESTEROV, BALL], ids=["descent", "nesterov", "ball"])
def test_no_quadratic_is_worse(method: Spec) -> None:
    instance = problem("anisotropic_quadratic", dim=3, spectrum=[1.0, 0.4, 0.1], start="lognormal", normalize="2")
    worst = ts.run(instance, method, 4, runs=500, record="last")["gap"][:, -1].max()
    exact = worst_case(method, 4, strong_convexity=0.1)
    assert 0.01 * exact < worst <= exact + ACCURACY


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (algorithm("adagrad", lr=0.1), {}, "only fixed-step methods"),
    (algorithm("adagrad"), {}, "only fixed-step methods"),
    (algorithm("adam"), {}, "only fixed-step methods"),
    (algorithm("adagrad_norm", lr=0.1), {}, "only fixed-step methods"),
    (algorithm("full_matrix_adagrad", lr=0.1), {}, "only fixed-step methods"),
    (algorithm("sgd", lr="1/L_1norm"), {}, "L_1norm"),
    (algorithm("gradient_descent", lr=[0.1, 0.2]), {}, "list of variants"),
    (DESCENT, {"steps": 31}, "at most 30"),
    (DESCENT, {"steps": 0}, "at least 1"),
    (DESCENT, {"strong_convexity": 1.0}, "not below"),
    (DESCENT, {"radius": 0.0}, "radius"),
    (DESCENT, {"smoothness": float("nan")}, "smoothness"),
    (problem("huber"), {}, "algorithm"),
]


@pytest.mark.parametrize(("method", "options", "words"), REFUSED, ids=[f"{m.name}-{w}" for m, _, w in REFUSED])
def test_what_has_no_exact_worst_case_is_refused(method: Spec, options: dict[str, Any], words: str) -> None:
    with pytest.raises(TheorysimError, match=words):
        worst_case(method, **({"steps": 2} | options))


def test_a_solution_that_is_not_optimal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["theorysim.worst_case"], "_TOLERANCES", (1e-16,))
    with pytest.raises(TheorysimError, match="the solver says"):
        worst_case(BALL, 5, strong_convexity=0.1)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "clarabel" else find(name, *rest))
    with pytest.raises(TheorysimError, match=r'clarabel.*pip install "theorysim\[pep\]"'):
        worst_case(DESCENT, 1)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert np.isfinite(worst_case(BALL, 2, strong_convexity=0.3))
    assert capfd.readouterr() == ("", "")
