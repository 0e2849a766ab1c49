"""Least squares in expectation and strong growth against enumeration, quadrature, sampling and the raw data."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.datasets import load_diabetes, load_digits

from theorysim.analyses.certificate import certificate
from theorysim.backend import CPU
from theorysim.build import build_problem
from theorysim.findings import Verdict
from theorysim.model import Draw, Problem
from theorysim.noise import Draws
from theorysim.problems import _minibatches
from theorysim.problems._covariates import normalized, real
from theorysim.registry import problem

MANY = 20_000


def built(runs: int = 3, name: str = "least_squares", seed: int = 5, **setting: Any) -> Problem:
    return build_problem(problem(name, **setting), Draws(CPU, seed, np.arange(runs)))


def basis(instance: Problem) -> np.ndarray:
    """Q, its columns the eigenvectors: row k of what ``eigenbasis`` makes of the identity is row k of Q."""
    return np.asarray(instance.capabilities["eigenbasis"](np.eye(instance.shape[0])))


def gradients(e: np.ndarray, steps: int = 3, **setting: Any) -> tuple[Problem, np.ndarray]:
    """Independent stochastic gradients at w* + e: (steps * MANY, dim)."""
    instance = built(MANY, **setting)
    w = np.broadcast_to(instance.minimizer + e, (MANY, len(e)))
    return instance, np.concatenate([instance.sample(w, Draw(step)) for step in range(1, steps + 1)])


def in_errors(sample: np.ndarray, value: np.ndarray) -> float:
    """The largest distance of the column means from ``value``, in standard errors."""
    return float(np.max(np.abs(sample.mean(axis=0) - value) / (sample.std(axis=0) / np.sqrt(len(sample)))))


def law(instance: Problem, setting: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Points x and their weights whose moments up to the fourth are those of the law: quadrature, or all rows."""
    q, eigenvalues, dim = basis(instance), instance.capabilities["spectrum"], instance.shape[0]
    nodes, weights = np.array([-np.sqrt(3), 0.0, np.sqrt(3)]), np.array([1, 4, 1]) / 6  # of Gauss and Hermite
    if setting["data"] in ("gaussian", "equicorrelated"):
        z = np.stack(np.meshgrid(*[nodes] * dim), axis=-1).reshape(-1, dim)
        p = np.prod(np.stack(np.meshgrid(*[weights] * dim), axis=-1).reshape(-1, dim), axis=1)
        return (z * np.sqrt(eigenvalues)) @ q.T, p
    if setting["data"] == "decoupled":
        c = setting.get("kurtosis", 3.0)
        nodes, weights = np.array([-np.sqrt(c), 0.0, np.sqrt(c)]), np.array([0.5 / c, 1 - 1 / c, 0.5 / c])
        x = nodes[:, None, None] * np.diag(np.sqrt(dim * eigenvalues)) @ q.T
        return x.reshape(-1, dim), np.repeat(weights / dim, dim)
    if setting["data"] == "normalized":
        draws = Draws(CPU, 5, np.arange(3))
        rows = normalized(np.geomspace(1, 0.1, setting["dim"]), None, setting["samples"], draws).rows
    elif setting["data"] == "equicorrelated_rows":
        n, c = setting["samples"], setting["correlation"]
        rows = np.sqrt(1 - c) * np.eye(n, n + 1) + np.sqrt(c) * np.eye(n + 1)[-1]
    else:
        rows = real(setting["data"], setting.get("samples"), None).rows
    return rows, np.full(len(rows), 1 / len(rows))


LAWS: list[dict[str, Any]] = [
    {"data": "gaussian", "dim": 3, "spectrum": [2.0, 0.7, 0.1], "rotation": "random"},
    {"data": "gaussian", "dim": 3, "spectrum": [0.5, 0.0, 0.1]},
    {"data": "equicorrelated", "dim": 4, "correlation": 0.6, "scale": 2.0},
    {"data": "equicorrelated", "dim": 3, "correlation": -0.4},
    {"data": "decoupled", "dim": 4, "spectrum": "power"},
    {"data": "decoupled", "dim": 3, "kurtosis": 1.0, "rotation": "random"},
    {"data": "decoupled", "dim": 2, "kurtosis": 7.5},
    {"data": "normalized", "dim": 4, "samples": 9},
    {"data": "normalized", "dim": 5, "samples": 3},
    {"data": "equicorrelated_rows", "samples": 4, "correlation": 0.3},
    {"data": "equicorrelated_rows", "samples": 3, "correlation": 0.0},
    {"data": "diabetes", "samples": 40},
]
every_law = pytest.mark.parametrize("setting", LAWS, ids=[f"{each['data']}-{n}" for n, each in enumerate(LAWS)])


def on_range(hessian: np.ndarray) -> np.ndarray:
    """R with R'HR = I on range(H), from an independent decomposition: (dim, rank)."""
    values, vectors = scipy.linalg.eigh(hessian)
    kept = values > 1e-12 * values[-1]
    return np.asarray(vectors[:, kept] / np.sqrt(values[kept]))


@every_law
def test_constants_are_those_of_the_enumerated_law(setting: dict[str, Any]) -> None:
    instance, m = built(batch=2, **setting), 2
    x, p = law(instance, setting)
    constants, hessian = instance.constants, (x.T * p) @ x
    np.testing.assert_allclose(instance.capabilities["hessian"](), hessian, rtol=1e-12, atol=1e-14)
    root = on_range(hessian)

    def smallest(matrix: np.ndarray) -> float:
        return float(np.linalg.eigvalsh(root.T @ matrix @ root)[-1])

    leverage = ((x @ root) ** 2).sum(axis=1)
    l1, tilde = smallest((x.T * p * (x**2).sum(axis=1)) @ x), smallest((x.T * p * leverage) @ x)
    assert constants["L1"] == pytest.approx(l1, rel=1e-11) and constants["kappa_tilde"] == pytest.approx(tilde, rel=1e-11)
    values = np.linalg.eigvalsh(hessian)
    lowest = values[values > 1e-12 * values[-1]][0]
    assert constants["rank"] == (values > 1e-12 * values[-1]).sum() == root.shape[1]
    assert constants["lambda_min"] == pytest.approx(lowest, rel=1e-10)
    assert constants["kappa"] == pytest.approx(l1 / lowest, rel=1e-10)
    pairs = 0.5 * (x[:, None, :, None] * x[:, None, None, :] + x[None, :, :, None] * x[None, :, None, :])
    chances = p[:, None] * p
    for name, inner in (("L_m", np.eye(len(hessian))), ("kappa_tilde_m", root @ root.T)):
        exact = smallest(np.einsum("ik,ikab,bc,ikcd->ad", chances, pairs, inner, pairs, optimize=True))
        if name == "L_m" and setting["data"] in ("normalized", "equicorrelated_rows", "diabetes"):
            assert exact <= constants[name] * (1 + 1e-11)
        else:
            assert constants[name] == pytest.approx(exact, rel=1e-10)
    assert constants["kappa_m"] == pytest.approx((l1 + (m - 1) * values[-1]) / m / lowest, rel=1e-10)


@every_law
def test_the_eigenbasis_diagonalizes_the_hessian(setting: dict[str, Any]) -> None:
    instance = built(**setting)
    q, hessian = basis(instance), instance.capabilities["hessian"]()
    np.testing.assert_allclose(q.T @ q, np.eye(len(q)), atol=1e-14)
    np.testing.assert_allclose(q.T @ hessian @ q, np.diag(instance.capabilities["spectrum"]), atol=1e-14 * 50)


@pytest.mark.parametrize(
    "setting",
    [
        {"data": "gaussian", "dim": 3, "spectrum": [2.0, 0.7, 0.1]},
        {"data": "gaussian", "dim": 4, "rotation": "hadamard", "label_noise": 0.8, "batch": 3},
        {"data": "equicorrelated", "dim": 3, "correlation": 0.7, "batch": 2},
        {"data": "decoupled", "dim": 3, "spectrum": [2.0, 0.7, 0.1], "batch": 2},
        {"data": "decoupled", "dim": 2, "kurtosis": 1.0, "label_noise": 0.5},
        {"data": "decoupled", "dim": 4, "kurtosis": 2.5, "rotation": "random", "label_noise": 0.3, "batch": 5},
    ],
)
def test_gradients_have_the_declared_variances(setting: dict[str, Any]) -> None:
    e = np.array([1.0, -0.6, 2.0, 0.3])[: setting["dim"]]
    instance, g = gradients(e, **setting)
    q, eigenvalues, noise = basis(instance), instance.capabilities["spectrum"], instance.capabilities["gradient_noise"]
    turned, error = g @ q, e @ q
    shared = 0.0 if noise.shared is None else noise.shared * (noise.shared * error**2).sum()
    variances = noise.additive + noise.own * error**2 + shared
    assert in_errors(turned, eigenvalues * error) < 4.5
    squares = (turned - eigenvalues * error) ** 2
    assert in_errors(squares, variances) < 4.5
    assert (squares.std(axis=0) / np.sqrt(len(g)) < 0.04 * variances).all()


@pytest.mark.parametrize("data", ["gaussian", "decoupled", "normalized"])
def test_at_the_minimizer_the_noise_of_the_labels_is_left(data: str) -> None:
    instance, g = gradients(np.zeros(3), data=data, dim=3, label_noise=0.6, batch=4)
    stated = instance.capabilities["noise_at_minimizer"]()
    assert in_errors(g, np.zeros(3)) < 4.5
    assert in_errors((g[:, :, None] * g[:, None, :]).reshape(len(g), -1), stated.reshape(-1)) < 4.5
    if data != "normalized":
        np.testing.assert_allclose(instance.capabilities["gradient_noise"].additive, np.diag(stated), rtol=1e-14)


def test_the_gaussian_shortcut_has_the_law_of_a_minibatch() -> None:
    """Every projection of the gradient, and its length, against minibatches that are drawn in full."""
    e, spectrum, batch, noise = np.array([1.0, -0.5, 2.0]), np.array([1.0, 0.3, 0.1]), 2, 0.7
    _, g = gradients(e, steps=1, data="gaussian", dim=3, spectrum=list(spectrum), batch=batch, label_noise=noise)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(MANY, batch, 3)) * np.sqrt(spectrum)
    literal = (x * (x @ e - noise * rng.normal(size=(MANY, batch)))[..., None]).mean(axis=1)
    directions = [*np.eye(3), *rng.normal(size=(5, 3))]
    chances = [scipy.stats.ks_2samp(g @ u, literal @ u).pvalue for u in directions]
    chances.append(scipy.stats.ks_2samp((g**2).sum(axis=1), (literal**2).sum(axis=1)).pvalue)
    assert min(chances) > 1e-3


@pytest.mark.parametrize("setting", [LAWS[7] | {"batch": 2}, {"data": "equicorrelated_rows", "samples": 3, "correlation": 0.4}])
def test_gradients_on_rows_have_the_covariance_of_the_rows(setting: dict[str, Any]) -> None:
    e = np.array([1.0, -0.6, 2.0, 0.3])
    instance, g = gradients(e, **setting, label_noise=0.4)
    x, p = law(instance, setting)
    assert in_errors(g, (p * (x @ e)) @ x) < 4.5
    each = (x.T * p * ((x @ e) ** 2 + 0.4**2)) @ x - np.outer((p * (x @ e)) @ x, (p * (x @ e)) @ x)
    centred = g - (p * (x @ e)) @ x
    products = (centred[:, :, None] * centred[:, None, :]).reshape(len(g), -1)
    assert in_errors(products, each.reshape(-1) / setting.get("batch", 1)) < 4.5


def test_mass_on_gaussian_data() -> None:
    """Liu and Belkin's method with its own constants; E |w_20 - w*|^2 = 0.70040782965 (exact second moments, derived)."""
    instance = built(MANY, dim=3, spectrum=[1.0, 0.1, 0.01], batch=2)
    known = instance.constants
    s, eta = np.sqrt(known["kappa_m"] * known["kappa_tilde_m"]), 1 / known["L_m"]
    gamma, plus = (s - 1) / (s + 1), eta * s / (s + 1) * (1 - 1 / known["kappa_tilde_m"])
    assert (s, eta, gamma, plus) == pytest.approx((24.829418, 0.4866180049, 0.9225689097, 0.3118522157), rel=1e-8)
    w = u = instance.start
    for step in range(1, 21):
        g = instance.sample(u, Draw(step))
        after = u - eta * g
        w, u = after, (1 + gamma) * after - gamma * w + plus * g
    assert in_errors((w**2).sum(axis=1, keepdims=True), np.array([0.70040782965])) < 4


def test_label_noise_of_real_data_is_stated_exactly() -> None:
    setting: dict[str, Any] = {"data": "diabetes", "samples": 30, "labels": "real", "batch": 2}
    instance, g = gradients(np.zeros(10), **setting)
    stated = instance.capabilities["noise_at_minimizer"]()
    assert in_errors(g, np.zeros(10)) < 4.5
    assert in_errors((g[:, :, None] * g[:, None, :]).reshape(len(g), -1), stated.reshape(-1)) < 4.5
    assert "gradient_noise" not in instance.capabilities
    assert not built(**(setting | {"labels": "interpolated"})).capabilities["noise_at_minimizer"]().any()
    generated = built(data="decoupled", dim=3, rotation="random", label_noise=0.5, batch=4)
    np.testing.assert_allclose(generated.capabilities["noise_at_minimizer"](), generated.capabilities["hessian"]() / 16)


def test_real_data_are_the_raw_ones() -> None:
    raw, answers = load_diabetes(return_X_y=True)
    x, y = scipy.stats.zscore(raw), scipy.stats.zscore(answers)
    diabetes = built(data="diabetes", labels="real", start="zeros")
    np.testing.assert_allclose(diabetes.minimizer, np.linalg.lstsq(x, y, rcond=None)[0], rtol=1e-10)
    assert not diabetes.start.any() and diabetes.constants["trace_H"] == pytest.approx(10)
    assert diabetes.constants["Delta_0"][0] == pytest.approx(
        ((y**2).mean() - ((y - x @ diabetes.minimizer) ** 2).mean()) / 2, rel=1e-11
    )
    assert diabetes.constants["label_noise"] == pytest.approx(np.sqrt(((y - x @ diabetes.minimizer) ** 2).mean()), rel=1e-12)
    images, shown = load_digits(return_X_y=True)
    for target, labels in ((None, shown / 9), (3, shown == 3)):
        digits = built(data="digits", labels="real", target=target, samples=200)
        residuals = labels[:200] - images[:200] / 16 @ digits.minimizer
        assert np.abs(residuals @ images[:200]).max() < 1e-9
        assert digits.constants["label_noise"] == pytest.approx(np.sqrt((residuals**2).mean()), rel=1e-12)


def test_digits_have_blank_pixels_outside_the_range() -> None:
    instance = built(data="digits", batch=256)
    blank = [0, 32, 39]
    assert instance.shape == (64,) and instance.constants["rank"] == 61 and instance.constants["samples"] == 1797
    assert np.abs(instance.start - instance.minimizer)[:, blank].max() < 1e-12
    assert not instance.gradient(instance.start)[:, blank].any() and not instance.sample(instance.start, Draw(1))[:, blank].any()
    assert instance.constants["kappa_tilde"] == pytest.approx(1797)  # a pixel that one image has alone


@pytest.mark.parametrize("setting", [LAWS[1], LAWS[8], LAWS[9]])
def test_runs_stay_where_the_data_are(setting: dict[str, Any]) -> None:
    instance = built(start="lognormal", batch=2, **setting)
    outside = instance.capabilities["spectrum"] == 0
    turn = instance.capabilities["eigenbasis"]
    for vector in (instance.start - instance.minimizer, instance.sample(instance.start, Draw(3))):
        assert outside.any() and np.abs(turn(vector)[:, outside]).max() < 1e-14 < np.abs(vector).max()
    parts = certificate(instance).leaves()
    assert all(part.verdict is Verdict.CONSISTENT for part in parts)


@pytest.mark.parametrize("data", ["decoupled", "normalized"])
def test_large_minibatches_are_worked_off_in_parts(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setting: dict[str, Any] = {"data": data, "dim": 4, "batch": 37, "label_noise": 0.2}
    whole = built(**setting)
    expected = whole.sample(whole.start, Draw(2))
    monkeypatch.setattr(_minibatches, "BLOCK", 20)
    np.testing.assert_allclose(whole.sample(whole.start, Draw(2)), expected, rtol=1e-12)
    parts = [range(37)[part] for part in _minibatches._parts(37, 4)]
    assert [i for part in parts for i in part] == list(range(37)) and max(map(len, parts)) == 5
    assert built(data=data, dim=100, batch=10**6).row_elements <= 2**18
    assert built(dim=100, batch=10**6).row_elements < 3 * 10**6


# ------------------------------------------------------------------------------------------------ strong growth
def test_strong_growth_is_attained_by_one_factor_for_all_coordinates() -> None:
    instance = built(MANY, "strong_growth", dim=5, rho=2.5)
    w = np.random.default_rng(1).normal(size=(MANY, 5))
    exact, sampled = instance.gradient(w), instance.sample(w, Draw(4))
    factor = sampled / exact
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1], factor.shape), rtol=1e-14)
    assert np.isclose(factor, 2.5).sum() + (factor == 0).sum() == factor.size
    assert in_errors(factor[:, :1], np.array([1.0])) < 4.5 and in_errors(factor[:, :1] ** 2, np.array([2.5])) < 4.5
    sure = built(2, "strong_growth", rho=1)
    assert np.array_equal(sure.sample(sure.start, Draw(1)), sure.gradient(sure.start))


@pytest.mark.parametrize("w", [1e-160, 1e-9, 1e-3, 0.7, -0.999, 1.001, 5.0, -40.0, 900.0])
def test_strong_growth_has_an_accurate_gap(w: float) -> None:
    instance = built(1, "strong_growth", dim=3, a_min=0.04)
    with mpmath.workdps(400):
        z = mpmath.mpf(w)
        value = float(z**2 / 2 + mpmath.log(mpmath.cosh(z)))
        slope = float(z + mpmath.tanh(z))
    for j, a in enumerate([1.0, 0.2, 0.04]):
        point = np.zeros((1, 3))
        point[0, j] = w
        assert instance.gap(point)[0] == pytest.approx(a * value, rel=4e-15, abs=1e-320)
        assert instance.gradient(point)[0, j] == pytest.approx(a * slope, rel=4e-15, abs=0)
    assert instance.start.tolist() == [[2.0, 2.0, 2.0]]
    assert {"mu": 0.04, "lambda_max": 2.0, "rho": 2.0}.items() <= dict(instance.constants).items()
