"""Huber functions: against SciPy, and as the worst of all smooth convex functions for gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import huber

import theorysim as ts
from theorysim.backend import CPU
from theorysim.build import build_problem
from theorysim.noise import Draws
from theorysim.registry import algorithm, problem

DESCENT = algorithm("gradient_descent", lr="1/lambda_max")


def test_values_and_slopes_against_scipy() -> None:
    instance = build_problem(problem("huber", dim=3, threshold=0.4, spectrum=[2.0, 0.5, 1.5]), Draws(CPU, 0, np.arange(5)))
    x = np.random.default_rng(0).normal(size=(5, 3))
    x[0], x[1] = [0.4, -0.4, 0.0], [1e-9, 1e9, -1e-200]
    weights = np.array([2.0, 0.5, 1.5])
    np.testing.assert_allclose(instance.gap(x), (weights * huber(0.4, x)).sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(instance.gradient(x), weights * np.clip(x, -0.4, 0.4), rtol=1e-15)
    assert instance.constants["lambda_max"] == 2.0 and instance.constants["lambda_min"] == 0.0


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
@pytest.mark.parametrize(("scale", "distance"), [(1.0, 1.0), (0.3, 20.0)])
def test_it_attains_the_worst_case_of_gradient_descent(steps: int, scale: float, distance: float) -> None:
    hardest = problem("huber", dim=1, threshold=distance / (2 * steps + 1), scale=scale, distance=distance)
    gap = ts.run(hardest, DESCENT, steps, record="all")["gap"][0]
    assert gap[steps] == pytest.approx(scale * distance**2 / (4 * steps + 2), rel=1e-12)
    easier = problem("huber", dim=1, threshold=1.2 * distance / (2 * steps + 1), scale=scale, distance=distance)
    assert ts.run(easier, DESCENT, steps, record="all")["gap"][0, steps] < 0.99 * gap[steps]


def _instances() -> list[Any]:
    """Generic convex instances: random thresholds, spectra, starts and data."""
    random = np.random.default_rng(1)
    found = []
    for _ in range(12):
        common = {"dim": int(random.integers(1, 9)), "decay": random.uniform(0, 3), "scale": random.uniform(0.1, 10)}
        start = {"start": str(random.choice(["uniform", "lognormal", "power"])), "distance": random.uniform(0.1, 10)}
        found.append(problem("huber", threshold=float(np.exp(random.uniform(-5, 1))), **common, **start))
        found.append(problem("anisotropic_quadratic", rotation="random", **common, **start))
    return [*found, problem("logistic_regression", samples=60, ridge=0.1, start="lognormal", distance=5.0)]


def test_no_run_of_gradient_descent_exceeds_the_exact_worst_case() -> None:
    count, largest = 0, 0.0
    for instance in _instances():
        trace = ts.run(instance, DESCENT, 30, runs=300, record="all")
        exact = trace.constant("lambda_max")[:, None] * trace.constant("D_2_0")[:, None] ** 2 / (4 * trace.steps + 2)
        assert np.isfinite(trace["gap"]).all()
        assert (trace["gap"] <= exact * (1 + 1e-12)).all(), instance
        count, largest = count + len(trace.runs), max(largest, float((trace["gap"] / exact).max()))
    assert count == 25 * 300 and largest > 0.9
