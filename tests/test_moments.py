"""Exact expectations: against loops, 50-digit arithmetic, reference values and Monte Carlo."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import mpmath
import numpy as np
import pytest

import theorysim as ts
from theorysim.backend import CPU, Backend
from theorysim.build import build_algorithm, build_problem
from theorysim.model import Algorithm, Draw, LinearMethod, Spec
from theorysim.moments.growth import Noise
from theorysim.moments.setting import Setting
from theorysim.moments.walk import moments
from theorysim.noise import Draws
from theorysim.registry import ALGORITHMS, parameters

Floats = np.ndarray[Any, Any]
DIGITS = 50


def affine(q: Any, beta: Any, kick: Any) -> Any:
    """One step of (E e^2, E e v, E v^2, 1) of heavy ball, v = e_t - e_{t-1}."""
    rows = [[(1 - q) ** 2, 2 * (1 - q) * beta, beta**2, kick], [-q * (1 - q), beta * (1 - 2 * q), beta**2, kick]]
    return mpmath.matrix([*rows, [q**2, -2 * q * beta, beta**2, kick], [0, 0, 0, 1]])


def walked(lam: Floats, error: Any, variances: Any, method: LinearMethod, steps: list[int]) -> tuple[Floats, Floats]:
    """lam/2 E e^2 by direction, what the start has left and what the noise has added, ``(records, rows, dim)``."""
    error = np.atleast_2d(lam * 0 + error + method.lr * 0 + method.momentum * 0)
    case = Setting(lam, error, Noise(lam * 0 + variances, 0 * lam, None, None), method)
    found = list(moments(case, steps))
    bias, variance = (np.stack([lam / 2 * getattr(each, name) for each in found]) for name in ("output_bias", "output_variance"))
    return bias, variance


# ------------------------------------------------------------------------------------------------ whole runs
def stepwise(
    q_of: Any, lam: Floats, error: Floats, variances: Floats, momentum: Any, factors: list[float], outside: bool
) -> Floats:
    """E f by the covariance of (e, buffer), one step at a time, in the form in which the algorithm is programmed."""
    e, m, total = error + 0 * q_of, 0 * error + 0 * q_of, []
    ee, em, mm = np.zeros_like(e), np.zeros_like(e), np.zeros_like(e)
    for factor in factors:
        eta = q_of * factor
        kick, move = (1.0, eta) if outside else (eta, 1.0)  # gradient into the buffer, buffer into the iterate
        rows = (kick * lam, momentum + 0 * eta)  # m' = rows . (e, m) + kick n;  e' = e - move m'
        mean_m = rows[0] * e + rows[1] * m
        e, m = e - move * mean_m, mean_m
        new_mm = rows[0] ** 2 * ee + 2 * rows[0] * rows[1] * em + rows[1] ** 2 * mm + kick**2 * variances
        cross = rows[0] * ee + rows[1] * em  # E e m'
        ee, em, mm = ee - 2 * move * cross + move**2 * new_mm, cross - move * new_mm, new_mm
        total.append(0.5 * (lam * (e * e + ee)).sum(axis=-1))
    return np.array(total)


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("momentum", [0.0, np.array([[0.5], [0.81], [0.97]])])
def test_a_run_agrees_with_the_step_by_step_covariance(outside: bool, momentum: Any) -> None:
    lam, error, variances = np.array([1.0, 0.3, 0.02, 0.0]), np.array([1.0, -2.0, 0.5, 3.0]), np.array([0.4, 0.0, 2.0, 1.0])
    lr, stages = np.array([[1.0], [0.7], [2.5]]), [(1.0, 13), (0.5, 40), (0.4, 1), (0.1, 86)]
    method = LinearMethod(lr, momentum, lambda steps: stages, lr_outside=outside)
    steps = [0, 1, 5, 13, 14, 54, 55, 140]
    bias, variance = walked(lam, error, variances, method, steps)
    expected = stepwise(lr, lam, error, variances, momentum, [f for f, n in stages for _ in range(n)], outside)
    start = np.full((1, 3), 0.5 * (lam * error**2).sum())
    np.testing.assert_allclose((bias + variance).sum(axis=-1), np.concatenate([start, expected])[steps], rtol=1e-9)


def quadratic(lam: list[float], error: Any = 0.0, noise: Any = 0.0, **more: Any) -> Spec:
    start = [error] * len(lam) if isinstance(error, float) else list(error)
    return ts.problem("anisotropic_quadratic", dim=len(lam), spectrum=lam, start=start, noise=noise, **more)


def logarithmic(kappa: float) -> list[float]:
    return [kappa ** (-j / 15) for j in range(16)]


REFERENCE = [  # kappa, C, n, K, variance, bias: 60 digits, Polyak form, sigma = M = 1, e_0j^2 = 1/lam_j
    (1e2, 2, 14, 71, 0.0213709837688, 6.97913837018e-10),
    (1e3, 2, 21, 3120, 4.70913458192e-4, 3.96352313712e-133),
    (1e3, 4, 9, 333, 0.0104253938031, 2.10077334217e-10),
    (1e6, 2, 27, 3703, 4.15177138156e-4, 3.33068778775e-5),
    (1e6, 2, 40, 25_000_000, 5.79812548742e-8, 0.0),
    (1e10, 2, 40, 250_000, 6.31721968449e-6, 9.11777135307e-4),
]


@pytest.mark.parametrize(("kappa", "divisor", "n", "length", "variance", "bias"), REFERENCE)
def test_reference_values(kappa: float, divisor: int, n: int, length: int, variance: float, bias: float) -> None:
    lam = logarithmic(kappa)
    ball = ts.algorithm(
        "heavy_ball", lr=1.0, momentum="(1 - sqrt(lambda_min/lambda_max))**2", schedule=f"step_decay:{divisor},{length}"
    )
    noisy, moving = quadratic(lam, 0.0, [math.sqrt(x) for x in lam]), quadratic(lam, [1 / math.sqrt(x) for x in lam])
    np.testing.assert_allclose(ts.expected_gap(noisy, ball, n * length, device="cpu"), [variance], rtol=5e-12)
    np.testing.assert_allclose(ts.expected_gap(moving, ball, n * length, device="cpu"), [bias], rtol=1e-10)


def test_reference_values_at_a_batch_size() -> None:
    what = quadratic([1.0, 0.1, 0.01], 1.0, [1.0, math.sqrt(0.1), 0.1], batch=16)
    ball = ts.algorithm("heavy_ball", lr=1.0, momentum=0.81, schedule="step_decay:2,25")
    assert ts.expected_gap(what, ball, 300)[0] == pytest.approx(7.772200754673e-4, rel=1e-12)
    descent = ts.algorithm("sgd", lr=1.0, schedule="step_decay:2,25")
    assert ts.expected_gap(what, descent, 300)[0] == pytest.approx(2.352601953337e-3, rel=1e-12)


def test_the_floor_of_a_constant_step() -> None:
    lam = logarithmic(1e3)
    what = quadratic(lam, 0.0, [math.sqrt(x) for x in lam])
    ball = ts.algorithm("heavy_ball", lr=1.0, momentum="(1 - sqrt(lambda_min/lambda_max))**2")
    np.testing.assert_allclose(ts.expected_gap(what, ball, 10**5), [13.0635453755], rtol=1e-11)
    np.testing.assert_allclose(ts.expected_gap(what, ts.algorithm("sgd", lr=1.0), 10**6), [1.03902777950], rtol=1e-11)
    floors = [float(ts.exact_moments(what, each, 0).floor) for each in (ball, ts.algorithm("sgd", lr=1.0))]
    np.testing.assert_allclose(floors, [13.0635453755, 1.03902777950], rtol=1e-11)


@pytest.mark.parametrize(("kappa", "lr"), [(1e4, 1.0), (1e6, 4.0), (1e10, 1.0), (1e10, 4.0), (1e6, 3.2)])
def test_a_stiff_step_decay_agrees_with_fifty_digits(kappa: float, lr: float) -> None:
    """Both parts, from the same rounded parameters; lr = 4/(1 + delta)^2 is critical at both ends of the spectrum."""
    delta = kappa**-0.5
    lam, lr = np.array([1.0, 0.31, delta, 3 / kappa, 1 / kappa]), 4 / (1 + delta) ** 2 if lr == 4 else lr
    momentum, length = (1 - delta if lr < 3.9 else (1 - delta) / (1 + delta)) ** 2, int(2.3 / delta)
    stages = [(1.0, length), (0.999, 7), *((2.0**-i, length) for i in range(1, 11))]
    method = LinearMethod(lr, momentum, lambda steps: stages)
    records = [length, length + 7, 11 * length + 7]
    bias, variance = (each[:, 0] for each in walked(lam, 1 / np.sqrt(lam), lam, method, records))
    with mpmath.workdps(DIGITS):
        for j, x in enumerate(map(mpmath.mpf, lam)):
            mean, noise, done = mpmath.matrix([1, 0]), mpmath.matrix([0, 0, 0, 1]), 0
            for factor, count in stages:
                eta, beta = mpmath.mpf(factor) * mpmath.mpf(lr), mpmath.mpf(momentum)
                mean = mpmath.matrix([[1 - eta * x, beta], [-eta * x, beta]]) ** count * mean
                noise, done = affine(eta * x, beta, eta**2 * x) ** count * noise, done + count
                if done in records:
                    at = records.index(done)
                    assert variance[at, j] == pytest.approx(float(x * noise[0] / 2), rel=1e-8), (at, j)
                    assert bias[at, j] == pytest.approx(float(mean[0] ** 2 / 2), rel=1e-7, abs=1e-30), (at, j)


# ------------------------------------------------------------------------------------------------ through Specs
DENSE = ts.problem(
    "anisotropic_quadratic",
    dim=4,
    spectrum=[1.0, 0.4, 0.1, 0.0],
    start="uniform",
    rotation="random",
    noise=[0.1, 0.5, 0.3, 0.9],
    batch=2,
)
SCHEDULES = ("constant", "inverse", "cosine:20,0.2,0.1", "step_decay:2,7")


def methods() -> Iterator[Spec]:
    """Every algorithm, with every kind of schedule where it has one."""
    values = {"lr": 0.7, "momentum": 0.6, "of": ts.algorithm("sgd", lr=0.7), "fault": "no_root"}
    values |= {"alpha": 0.2, "kappa_tilde": 3.0, "delta": 1.9, "kappa_a": 9.0, "rho": 0.6}
    values |= {"horizon": 40, "batch": 4, "chance": 0.5, "rounds": 2}
    for name in ALGORITHMS.names():
        known = parameters(ALGORITHMS, name)
        given = {key: values[key] for key in known if key in values}
        for schedule in SCHEDULES if "schedule" in known else ("",):
            yield ts.algorithm(name, **given, **({"schedule": schedule} if schedule else {}))


def declares(method: Spec) -> bool:
    draws = Draws(CPU, 0, np.zeros(1, dtype=np.int64))
    try:
        built: Algorithm = build_algorithm(method, build_problem(DENSE, draws), draws)
    except ts.TheorysimError:
        return False  # it needs another problem
    return built.linear is not None


LINEAR = [method for method in methods() if declares(method)]


def test_who_declares_a_linear_transition() -> None:
    assert {method.name for method in LINEAR} >= {"gradient_descent", "sgd", "heavy_ball"}
    assert not {method.name for method in LINEAR} & {"adagrad", "adam", "muon"}


@pytest.mark.parametrize("method", LINEAR, ids=str)
def test_what_an_algorithm_declares_is_what_it_does(method: Spec) -> None:
    quiet = ts.problem("anisotropic_quadratic", **{**DENSE.arguments, "noise": 0.0})
    trace = ts.run(quiet, method, 25, record="all", seed=3, device="cpu")
    found = ts.expected_gap(quiet, method, range(26), seed=3, device="cpu")
    np.testing.assert_allclose(found, trace["gap"][0], rtol=1e-10, atol=1e-15)


def test_the_exact_gradient_has_no_noise() -> None:
    method = ts.algorithm("gradient_descent", lr=0.7)
    trace = ts.run(DENSE, method, 9, record="all", device="cpu")
    np.testing.assert_allclose(ts.expected_gap(DENSE, method, range(10)), trace["gap"][0], rtol=1e-12)


@pytest.mark.parametrize(
    "method",
    [
        ts.algorithm("sgd", lr=[0.5, 1.2], schedule="inverse_sqrt"),
        ts.algorithm("heavy_ball", lr=[0.3, 0.9], momentum=[0.9, 0.6], schedule="step_decay:2,12"),
    ],
    ids=str,
)
def test_monte_carlo_tends_to_the_expectation(method: Spec) -> None:
    """Noise that differs by coordinate and a rotated Hessian: noise correlated between eigendirections."""
    what = ts.problem("anisotropic_quadratic", **{**DENSE.arguments, "start": (1.0, -0.5, 2.0, 1.0)})
    steps, runs = (1, 10, 30), 4000
    trace = ts.run(what, method, 30, runs=runs, record=steps, seed=11, device="cpu")
    gaps = trace["gap"].reshape(2, runs, 3)
    z = (gaps.mean(axis=1) - ts.expected_gap(what, method, steps, seed=11)) / gaps.std(axis=1, ddof=1) * math.sqrt(runs)
    assert np.abs(z).max() <= 4
    assert (gaps.std(axis=1) / gaps.mean(axis=1) / math.sqrt(runs)).max() < 0.03  # so 4 sigma is a few percent


def test_variances_are_those_of_the_stochastic_gradient_in_the_eigenbasis() -> None:
    draws = Draws(CPU, 5, np.arange(20_000))
    made = build_problem(DENSE, draws)
    x, turn = made.start, made.capabilities["eigenbasis"]
    np.testing.assert_allclose(turn(made.gradient(x)), made.capabilities["spectrum"] * turn(x - made.minimizer), atol=1e-14)
    kicks = turn(made.sample(x, Draw(1)) - made.gradient(x))
    np.testing.assert_allclose(kicks.var(axis=0), made.capabilities["gradient_noise"].additive, rtol=0.05)


def test_a_device_needs_the_array_standard_only(strict: Backend) -> None:
    for method in (
        ts.algorithm("heavy_ball", lr=[0.4, 3.0], momentum=[0.5, 0.0]),
        ts.algorithm("sgd", lr=1.0, schedule="inverse"),
    ):
        found = ts.expected_gap(DENSE, method, [20, 0, 3], device=strict)
        np.testing.assert_allclose(found, ts.expected_gap(DENSE, method, [20, 0, 3], device="cpu"), rtol=1e-12)


def test_records_come_in_the_order_asked_for_and_variants_as_rows() -> None:
    one, two = ts.algorithm("sgd", lr=0.5), ts.algorithm("sgd", lr=0.25)
    both = ts.algorithm("sgd", lr=[0.5, 0.25])
    asked = [8, 0, 3, 8]
    found = ts.expected_gap(DENSE, both, asked)
    assert found.shape == (2, 4) and found.dtype == np.float64
    for row, single in zip(found, (one, two), strict=True):
        np.testing.assert_array_equal(row, ts.expected_gap(DENSE, single, asked))
        # A record cuts a power of the transition in two, so the way to a later one is another product.
        np.testing.assert_allclose(row, [ts.expected_gap(DENSE, single, t)[0] for t in asked], rtol=1e-14)
    assert ts.expected_gap(DENSE, one, np.int64(3)).shape == ts.expected_gap(DENSE, one, np.array([3])).shape == (1,)


def test_the_default_pair_of_heavy_ball_is_critical_at_both_ends() -> None:
    """(2 - delta)^2 = eta lambda_max: rounding may put it on either side."""
    for kappa in (10.0, 37.0, 1e3):
        what = ts.problem("anisotropic_quadratic", dim=5, spectrum="log", kappa=kappa, start="signs")
        trace = ts.run(what, ts.algorithm("heavy_ball"), 60, record="all", device="cpu")
        np.testing.assert_allclose(ts.expected_gap(what, ts.algorithm("heavy_ball"), range(61)), trace["gap"][0], rtol=1e-9)


def test_divergence_is_infinite_and_never_nan() -> None:
    for method in (ts.algorithm("sgd", lr=3.0), ts.algorithm("heavy_ball", lr=5.0, momentum=0.5, schedule="step_decay:1.01,400")):
        what = quadratic([1.0, 0.1], 1.0, 0.1)
        found = ts.expected_gap(what, method, [10, 600, 2000, 10**5])
        assert 1 < found[0] < math.inf and not np.isnan(found).any() and np.isinf(found[-2:]).any()
    # A direction that nothing moves stays where it is, however unstable.
    still = ts.expected_gap(quadratic([1.0, 0.1], [0.0, 1.0]), ts.algorithm("sgd", lr=3.0), 3000)
    np.testing.assert_allclose(still, [0.05 * 0.7**6000], rtol=1e-10)


@pytest.mark.parametrize(
    ("what", "method", "steps", "words"),
    [
        (DENSE, ts.algorithm("nesterov"), 5, "nesterov declares no linear transition.*allowed are methods"),
        (DENSE, ts.algorithm("average", of=ts.algorithm("adam")), 5, "average declares no linear transition"),
        (
            ts.problem("cosh_sum"),
            ts.algorithm("sgd", lr=0.1),
            5,
            "cosh_sum declares no spectrum and no eigenbasis and no gradient_noise.*known moments",
        ),
        (ts.problem("logistic_regression"), ts.algorithm("sgd", lr=0.1), 5, "logistic_regression declares no spectrum"),
        (DENSE, ts.algorithm("heavy_ball", lr=0.1, momentum=-1.0), 5, "momentum between -1 and 1"),
        (DENSE, ts.algorithm("heavy_ball", lr=0.1, momentum=1.0), 5, "momentum between -1 and 1"),
        (DENSE, ts.algorithm("sgd", lr=[0.1, -0.1]), 5, "lr at least 0"),
        (DENSE, ts.algorithm("sgd", lr=0.1), -1, "steps=-1 is not allowed; give an integer"),
        (DENSE, ts.algorithm("sgd", lr=0.1), [], "give an integer or a list"),
        (DENSE, ts.algorithm("sgd", lr=0.1), 2.5, "steps=2.5 is not allowed"),
        (DENSE, ts.algorithm("sgd", lr=0.1), [1, 2.5], "is not allowed; give an integer"),
        (ts.algorithm("sgd", lr=0.1), DENSE, 5, "kind of the first Spec"),
    ],
)
def test_refusals(what: Spec, method: Spec, steps: Any, words: str) -> None:
    with pytest.raises(ts.TheorysimError, match=words):
        ts.expected_gap(what, method, steps)


def test_no_step_is_recorded_twice() -> None:
    """Where nothing is run, where a stage is empty and where a record falls on the end of a stage."""
    one = np.ones(2)
    np.testing.assert_array_equal(walked(one, 1.0, 0.0, LinearMethod(0.5), [0])[0], [[0.5 * one]])
    method = LinearMethod(0.5, stages=lambda steps: [(1.0, 3), (0.1, 0), (0.5, 4)])
    found = walked(one, 1.0, 0.0, method, [0, 3, 5, 7])[0][:, 0, 0]
    np.testing.assert_allclose(found, [0.5, 0.5**7, 0.5**7 * 0.75**4, 0.5**7 * 0.75**8], rtol=1e-14)


def test_a_step_size_of_zero_outside_the_momentum() -> None:
    """It stops everything; coming back from it is refused."""
    one = np.ones(2)
    stop = LinearMethod(0.5, 0.5, lambda steps: [(1.0, 3), (0.0, 4)], lr_outside=True)
    three, seven = walked(one, 1.0, 0.3, stop, [3, 7])[1][:, 0]
    np.testing.assert_array_equal(three, seven)
    back = LinearMethod(0.5, 0.5, lambda steps: [(0.0, 3), (1.0, 4)], lr_outside=True)
    with pytest.raises(ts.TheorysimError, match="comes back from 0"):
        walked(one, 1.0, 0.3, back, [7])
