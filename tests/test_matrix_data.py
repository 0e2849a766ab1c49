"""Digits with matrix-shaped parameters: the softmax loss without cancellation, minimisers, gradients, constants, a network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from theorysim.analyses.certificate import certificate
from theorysim.backend import CPU
from theorysim.build import build_problem
from theorysim.findings import Verdict
from theorysim.model import Draw, Problem, TheorysimError
from theorysim.noise import Draws, Stream
from theorysim.problems import _logistic, _softmax
from theorysim.registry import problem

Floats = np.ndarray[Any, Any]


def built(name: str = "digits_regression", rows: int = 2, seed: int = 0, **setting: Any) -> Problem:
    return build_problem(problem(name, **setting), Draws(CPU, seed, np.arange(rows)))


def data(samples: int, pool: int = 1) -> tuple[Floats, Floats]:
    """Features and labels by plain loops over pixels."""
    images, labels = load_digits(return_X_y=True)
    side = 8 // pool
    features = np.zeros((samples, side * side))
    for i in range(samples):
        for r in range(8):
            for c in range(8):
                features[i, side * (r // pool) + c // pool] += images[i, 8 * r + c] / 16 / pool**2
    return features, labels[:samples]


def value(loss: str, features: Floats, labels: Floats, ridge: float, w: Floats) -> float:
    """f(W) by a loop over samples."""
    total = 0.0
    for a, y in zip(features, labels, strict=True):
        z = w.T @ a
        total += np.log(np.exp(z - z[y]).sum()) if loss == "softmax" else 0.5 * ((z - np.eye(10)[y]) ** 2).sum()
    return float(total / len(labels) + ridge / 2 * (w**2).sum())


def slope(f: Any, w: Floats, h: float = 1e-5) -> Floats:
    """The gradient of ``f`` by central differences."""
    out = np.zeros_like(w)
    for place in np.ndindex(*w.shape):
        e = np.zeros_like(w)
        e[place] = h
        out[place] = (f(w + e) - f(w - e)) / (2 * h)
    return out


# ------------------------------------------------------------------------------------------------ the softmax loss
CHANCES = [[0.2, 0.3, 0.5], [1 - 2e-9, 1e-9, 1e-9], [1e-200, 0.4, 0.6], [1 / 3, 1 / 3, 1 / 3], [1.0, 1e-17, 1e-30]]


@pytest.mark.parametrize("size", [1e-150, 1e-9, 1e-3, 0.00999, 0.3, 5.0, 400.0, 900.0, 1e5])
def test_the_divergence_is_exact_to_rounding_from_tiny_to_huge_arguments(size: float) -> None:
    mpmath.mp.dps = 700
    for p in CHANCES:
        for direction in ([1.0, -0.3, 0.2], [0.0, 1.0, 0.0], [-1.0, 0.5, 0.25], [0.1, 0.0, -1.0]):
            d = size * np.array(direction)
            got = float(_softmax.divergence(d, np.array(p)))
            total = mpmath.fsum(mpmath.mpf(q) for q in p)  # as numbers of 53 bits they do not add up to 1
            q = [mpmath.mpf(each) / total for each in p]
            steps = [mpmath.mpf(each) for each in d.tolist()]
            mean = mpmath.fsum(a * b for a, b in zip(q, steps, strict=True))
            exact = mpmath.log(mpmath.fsum(a * mpmath.exp(b) for a, b in zip(q, steps, strict=True))) - mean
            assert exact < 1e-290 or abs(got / exact - 1) < 2e-13, (p, direction, got, exact)


def test_with_two_classes_it_is_the_divergence_of_logistic_regression() -> None:
    r = np.array([0.5, 0.2, 1e-6])[:, None]
    t = np.array([-30.0, -0.02, 0.005, 1.0, 50.0])
    both = np.stack(np.broadcast_arrays(np.zeros_like(t), t), axis=-1) + np.zeros((3, 1, 1))
    chances = np.stack(np.broadcast_arrays(1 - r, r + 0 * t), axis=-1)
    np.testing.assert_allclose(_softmax.divergence(both, chances), _logistic.divergence(t, r), rtol=1e-12)


def test_chances_and_losses_neither_overflow_nor_lose_digits() -> None:
    scores = np.array([[1e4, 0.0, -1e4], [40.0, 0.0, 0.0], [0.0, 50.0, 1.0], [1.0, 2.0, 3.0]])
    classes = np.eye(3)[[1, 0, 0, 2]]
    with np.errstate(all="raise", under="ignore"):
        chances, losses = _softmax.chances(scores), _softmax.loss(scores, classes)
    expected = [1e4, 2 * np.exp(-40), 50 + np.log1p(np.exp(-50) + np.exp(-49)), np.log(1 + np.exp(-1) + np.exp(-2))]
    np.testing.assert_allclose(losses, expected, rtol=1e-14)
    np.testing.assert_allclose(chances[0], [1, 0, 0], atol=0)
    np.testing.assert_allclose(chances[3], np.exp(scores[3]) / np.exp(scores[3]).sum(), rtol=1e-14)


# ------------------------------------------------------------------------------------------------ the regression
@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_gap_and_gradient_are_those_of_a_plain_loop(loss: str) -> None:
    features, labels = data(60, 4)
    instance = built(loss=loss, samples=60, pool=4, ridge=0.03)
    best = np.asarray(instance.minimizer)
    w = np.random.default_rng(0).normal(size=(2, 4, 10))

    def f(x: Floats) -> float:
        return value(loss, features, labels, 0.03, x)

    for row in range(2):
        assert instance.gap(w)[row] == pytest.approx(f(w[row]) - f(best), rel=1e-12)
        np.testing.assert_allclose(instance.gradient(w)[row], slope(f, w[row]), atol=1e-9)
    assert instance.constants["Delta_0"][1] == pytest.approx(f(np.zeros((4, 10))) - f(best), rel=1e-12)


@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_gaps_down_to_1e_minus_14_agree_with_60_digits(loss: str) -> None:
    mpmath.mp.dps = 60
    features, labels = data(12, 4)
    instance = built(loss=loss, samples=12, pool=4, ridge=0.02, rows=1)
    best, direction = np.asarray(instance.minimizer), np.random.default_rng(1).normal(size=(4, 10))

    def f(w: Floats) -> Any:
        exact, images = mpmath.matrix(w.tolist()), mpmath.matrix(features.tolist())
        total = mpmath.mpf(0)
        for i, y in enumerate(labels):
            z = [mpmath.fsum(images[i, j] * exact[j, k] for j in range(4)) for k in range(10)]
            if loss == "softmax":
                total += mpmath.log(mpmath.fsum(mpmath.exp(each) for each in z)) - z[y]
            else:
                total += mpmath.fsum((each - (k == y)) ** 2 for k, each in enumerate(z)) / 2
        return total / 12 + mpmath.mpf(0.02) / 2 * mpmath.fsum(each**2 for each in exact)

    for size, accuracy in ((1e-7, 1e-6), (1e-3, 1e-9), (30.0, 1e-11)):
        w = best + size * direction
        assert float(instance.gap(w[None])[0]) == pytest.approx(float(f(w) - f(best)), rel=accuracy, abs=0.0)
    assert 1e-15 < float(instance.gap((best + 1e-7 * direction)[None])[0]) < 1e-12


def test_minimisers_are_those_of_scikit_learn() -> None:
    features, labels = data(300, 2)
    squared = built(loss="squared", samples=300, pool=2, ridge=1e-3).minimizer
    reference = Ridge(alpha=0.3, fit_intercept=False, solver="svd").fit(features, np.eye(10)[labels])
    np.testing.assert_allclose(squared, reference.coef_.T, atol=1e-11)
    softmax = built(samples=300, pool=2, ridge=0.02).minimizer
    other = LogisticRegression(C=1 / (300 * 0.02), fit_intercept=False, tol=1e-10, max_iter=5000).fit(features, labels)
    np.testing.assert_allclose(softmax, other.coef_.T, atol=1e-5)
    np.testing.assert_allclose(np.sum(softmax, axis=1), 0, atol=1e-12)


def test_without_ridge_the_least_squares_solution_nearest_to_zero_is_taken() -> None:
    features, labels = data(50)  # fewer samples than pixels
    instance = built(loss="squared", samples=50, ridge=0.0)
    np.testing.assert_allclose(instance.minimizer, np.linalg.pinv(features, rcond=1e-12) @ np.eye(10)[labels], atol=1e-9)
    assert np.abs(instance.gradient(np.zeros((2, 64, 10)))).max() > 0.01 and instance.constants["mu"] == 0


@pytest.mark.parametrize(("loss", "ridge"), [("softmax", 0.05), ("squared", 0.0)])
def test_a_minibatch_is_the_mean_over_the_drawn_samples(loss: str, ridge: float) -> None:
    features, labels = data(70, 4)
    instance = built(loss=loss, samples=70, pool=4, ridge=ridge, batch=3, rows=2, seed=5)
    w = np.random.default_rng(2).normal(size=(2, 4, 10))
    chosen = Draws(CPU, 5, np.arange(2)).integers(Stream.BATCH, Draw(9, 1), (3,), 70)
    got = instance.sample(w, Draw(9, 1))
    for row in range(2):
        few = chosen[row]
        expected = slope(lambda x, few=few: value(loss, features[few], labels[few], ridge, x), w[row])
        np.testing.assert_allclose(got[row], expected, atol=1e-8)
    assert instance.constants["M"] == 3 and ("V_nuclearnorm" in instance.constants) == (loss == "softmax")


def test_constants_are_those_of_the_definition() -> None:
    features, _ = data(80, 2)
    moment = features.T @ features / 80
    for loss, factor in (("squared", 1.0), ("softmax", 0.5)):
        instance = built(loss=loss, samples=80, pool=2, ridge=0.1, batch=4 if loss == "softmax" else None)
        left, c = factor * moment + 0.1 * np.eye(16), instance.constants
        np.testing.assert_allclose(instance.capabilities["left_smoothness"](), left, rtol=1e-12)
        assert c["L_nuclearnorm"] == pytest.approx(np.linalg.svd(left)[1].sum())
        assert c["L_opnorm"] == c["lambda_max"] == pytest.approx(np.linalg.norm(left, 2))
        assert c["l_1norm"] == pytest.approx(left.sum()) and c["L_1norm"] == pytest.approx(10 * left.sum())
        assert c["trace_H"] == pytest.approx(np.trace(instance.capabilities["hessian"]()))
        assert np.linalg.eigvalsh(np.kron(left, np.eye(10)) - instance.capabilities["hessian"]())[0] > -1e-12
        assert c["D_op_0"][0] == pytest.approx(np.linalg.norm(instance.minimizer, 2)) and c["D_2_0"][0] > c["D_op_0"][0]
    noise = instance.capabilities["left_noise"]()
    np.testing.assert_allclose(noise @ noise, 2 * moment, atol=1e-12)
    assert c["V_nuclearnorm"] == pytest.approx(np.trace(noise)) and c["V_opnorm"] == pytest.approx(np.linalg.norm(noise, 2))


def test_the_bound_of_the_noise_is_met_where_every_sample_is_wrong() -> None:
    """With all chances on class 3, ‖p - y‖^2 is 2 for all samples but the threes, and V^2 exceeds E G G' by the threes alone."""
    features, labels = data(90, 4)
    noise = built(samples=90, pool=4, batch=1).capabilities["left_noise"]()
    w = np.zeros((4, 10))
    w[:, 3] = 1e6
    second = np.zeros((4, 4))
    for a, y in zip(features, labels, strict=True):
        wrong = _softmax.chances(w.T @ a) - np.eye(10)[y]
        second += np.outer(a, wrong) @ np.outer(a, wrong).T / 90
    threes = features[labels == 3]
    np.testing.assert_allclose(noise @ noise - second, 2 * threes.T @ threes / 90, atol=1e-12)


@pytest.mark.parametrize(("constant", "share"), [("left_smoothness", 0.9), ("left_noise", 0.15)])
def test_a_smaller_matrix_constant_is_contradicted(constant: str, share: float) -> None:
    """On softmax regression L is nearly attained; at the start ‖p - y‖^2 is .9 and not 2, and half of that is noise."""
    instance = built(samples=120, pool=4, ridge=0.01, batch=2, rows=8)
    matrix = instance.capabilities[constant]()
    assert certificate(instance).verdict is Verdict.CONSISTENT
    found = certificate(replace(instance, capabilities={**instance.capabilities, constant: lambda: share * matrix}))
    against = [leaf.label for leaf in found.leaves() if leaf.verdict is Verdict.VIOLATED]
    assert any(label.startswith(constant.replace("_", " ")) for label in against), against


# ------------------------------------------------------------------------------------------------ the network
@pytest.mark.parametrize("loss", ["softmax", "squared"])
@pytest.mark.parametrize("activation", ["tanh", "softplus"])
def test_the_network_is_that_of_a_plain_loop(activation: str, loss: str) -> None:
    features, labels = data(20, 4)
    instance = built("two_layer_network", hidden=3, samples=20, pool=4, ridge=0.2, activation=activation, loss=loss)
    assert instance.shape == (3, 4 + 1 + 10) and instance.minimizer is None

    def f(w: Floats) -> float:
        total = 0.0
        for a, y in zip(features, labels, strict=True):
            z = np.zeros(10)
            for neuron in w:
                heard = neuron[:4] @ a + neuron[4]
                z += neuron[5:] * (np.tanh(heard) if activation == "tanh" else np.log(1 + np.exp(heard)))
            total += np.log(np.exp(z).sum()) - z[y] if loss == "softmax" else 0.5 * ((z - np.eye(10)[y]) ** 2).sum()
        return float(total / 20 + 0.1 * (w**2).sum())

    w = np.random.default_rng(0).normal(size=(2, 3, 15))
    for row in range(2):
        assert instance.gap(w)[row] == pytest.approx(f(w[row]), rel=1e-13)
        np.testing.assert_allclose(instance.gradient(w)[row], slope(f, w[row]), atol=1e-8)


def test_minibatches_of_the_network_are_means_over_the_drawn_samples() -> None:
    setting = {"hidden": 3, "pool": 4, "ridge": 0.1}
    instance = built("two_layer_network", samples=12, batch=4, seed=3, **setting)
    w = np.random.default_rng(1).normal(size=(2, 3, 15))
    chosen = Draws(CPU, 3, np.arange(2)).integers(Stream.BATCH, Draw(6), (4,), 12)
    # the gradient on the first samples alone, so the i-th sample's is a difference of two of them
    sums = [np.zeros_like(w)] + [i * built("two_layer_network", samples=i, **setting).gradient(w) for i in range(1, 13)]
    for row in range(2):
        each = [sums[i + 1][row] - sums[i][row] for i in chosen[row]]
        np.testing.assert_allclose(instance.sample(w, Draw(6))[row], np.mean(each, axis=0), atol=1e-12)
    assert instance.constants["M"] == 4 and "sigma" not in instance.vectors


def test_starts_of_the_network_have_the_declared_sizes() -> None:
    w = np.asarray(built("two_layer_network", rows=300, hidden=4, samples=10, scale=3.0).start)
    assert w[:, :, :65].std() == pytest.approx(3 / 8, rel=0.02) and w[:, :, 65:].std() == pytest.approx(3 / 2, rel=0.03)
    rows = np.arange(15.0).reshape(1, 15).tolist()
    given = built("two_layer_network", hidden=1, samples=10, pool=4, start=rows, scale=2.0)
    np.testing.assert_array_equal(given.start[1], 2 * np.arange(15.0)[None])


def test_pools_and_samples_are_whole_numbers() -> None:
    for setting in ({"pool": 2.5}, {"samples": 10.5}, {"pool": "2"}):
        with pytest.raises(TheorysimError, match=next(iter(setting))):
            built(**setting)
